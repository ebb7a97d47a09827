"""What driver overlay refuses, before any host is looked at, and the VNIs that it keeps."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.engine.controller import NetworkController
from reconciler.errors import ManifestError
from tests.kernel.overlay import DUAL, endpoint, network

_HEAD = "apiVersion: cnm/v1alpha1\n"
KEYS = "encryption: {keyFile: /etc/keys, primary: one}"
SECOND = "subnets: [{cidr: 10.6.0.0/24}]"


def node(name: str, spec: str) -> str:
    return f"kind: Node\nmetadata: {{name: {name}}}\nspec: {{{spec}}}"


NODES = [node("n1", "addresses: [192.0.2.1]"), node("n2", "addresses: [192.0.2.2]")]
SPEAKING = [node("n1", "bgp: {}, addresses: [192.0.2.1]"), node("n2", "bgp: {asn: 5}, addresses: [192.0.2.2]")]


def write(folder: Path, *texts: str, places: tuple[str, ...] = ("app/a@n1", "app/b@n2")) -> None:
    documents = [*texts, *(text for place in places for text in endpoint(place))]
    (folder / "all.yaml").write_text("---\n".join(f"{_HEAD}{text}\n" for text in documents))


@pytest.mark.parametrize(
    ("nodes", "networks", "said"),
    [
        ([NODES[0], node("n2", "addresses: []")], [network()], "node n2, which has no IPv4 address"),
        (NODES, [network(options="{underlay: ipv6}")], "node n1, which has no IPv6 address"),
        (NODES, [network(options="{vnis: [5, 6]}")], "2 VNIs for 1 link layers"),
        (NODES, [network(options="{vnis: [5]}"), network("back", SECOND, "{vnis: [5]}")], "have the same VNI 5"),
        (NODES, [network(options="{gatewayMode: {ipv4: isolated}}")], "isolated (IPv4) is for internal networks"),
        (
            NODES,
            [network(options=f"{{{KEYS}, port: 4789}}"), network("back", SECOND)],
            "share UDP port 4789, which is encrypted",
        ),
        (NODES, [network(options="{encryption: {keyFile: keys, primary: one}}")], "write an absolute one"),
        (NODES, [network(options="{encryption: {keyFile: /k, primary: 'a b'}}")], "is not a key id"),
        (NODES, [network(options="{control: evpn}")], "BGP, which node n1 does not speak"),
        (SPEAKING, [network(options="{control: evpn}")], "node n1 is in AS 64512, others in 5"),
        (NODES, [network(), network("back", SECOND, "{control: evpn}")], "have different control planes"),
    ],
)
def test_what_cannot_work_is_refused(nodes: list[str], networks: list[str], said: str, tmp_path: Path) -> None:
    write(tmp_path, *nodes, *networks)
    with NetworkController(node="n1") as controller, pytest.raises(ManifestError) as caught:
        controller.validate([str(tmp_path)])
    assert said in str(caught.value)


def test_an_address_of_each_of_two_link_layers_is_refused(tmp_path: Path) -> None:
    subnets = 'subnets: [{cidr: 10.5.0.0/24}, {cidr: 10.6.0.0/24}, {cidr: "fd05::/64"}, {cidr: "fd06::/64"}]'
    write(tmp_path, *NODES, network(subnets=subnets))
    text = (tmp_path / "all.yaml").read_text()
    mixed = '{network: app, sandbox: a, addresses: [10.5.0.9, "fd06::9"]}'
    (tmp_path / "all.yaml").write_text(text.replace("{network: app, sandbox: a}", mixed))
    with NetworkController(node="n1") as controller, pytest.raises(ManifestError, match="several link layers"):
        controller.validate([str(tmp_path)])


def test_vnis_are_kept_whatever_comes_or_goes(tmp_path: Path) -> None:
    def vnis() -> dict[str, tuple[int, ...]]:
        with NetworkController(node="n1") as controller:
            return {view.name: view.vnis for view in controller.lock([str(tmp_path)]).topology.networks}

    write(tmp_path, *NODES, network("one", SECOND), network(), places=())
    assert vnis() == {"app": (4096,), "one": (4097,)}
    more = DUAL.replace("subnets: [", "subnets: [{cidr: 10.7.0.0/24}, ")
    new = network("aaa", "subnets: [{cidr: 10.9.0.0/24}]")
    write(tmp_path, *NODES, new, network("one", SECOND), network(subnets=more), places=())
    # The IPv6 subnet is now one link layer with the new IPv4 one; the old one keeps what it had.
    assert vnis()["one"] == (4097,)
    assert len({number for numbers in vnis().values() for number in numbers}) == 4
    write(tmp_path, *NODES, network("one", SECOND), network(options="{vnis: [4097]}"), places=())
    assert vnis() == {"app": (4097,), "one": (4096,)}, "a number that is written goes before one that is kept"
