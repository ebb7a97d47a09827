"""Whole loads: what comes out, in which order, and that order of files and documents does not matter."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.drivers import registry
from reconciler.manifest.kinds.endpoint import EndpointSpec
from reconciler.manifest.kinds.network import NetworkSpec
from reconciler.manifest.load import load
from tests.manifest.conftest import Load, Refused

DOCUMENTS = [
    "apiVersion: cnm/v1alpha1\nkind: Network\nmetadata: {name: web}\nspec: {mtu: 1400}\n",
    "apiVersion: cnm/v1alpha1\nkind: Network\nmetadata: {name: back}\n",
    "apiVersion: cnm/v1alpha1\nkind: Sandbox\nmetadata: {name: shop}\n",
    "apiVersion: cnm/v1alpha1\nkind: Sandbox\nmetadata: {name: web}\n",
    "apiVersion: cnm/v1alpha1\nkind: Endpoint\nmetadata: {name: a}\nspec: {network: web, sandbox: shop}\n",
    "apiVersion: cnm/v1alpha1\nkind: Endpoint\nmetadata: {name: a}\nspec: {network: back, sandbox: shop}\n",
    "apiVersion: cnm/v1alpha1\nkind: Node\nmetadata: {name: a}\n",
    "apiVersion: cnm/v1alpha1\nkind: Patch\nmetadata: {name: p}\nspec:\n"
    "  target: {kind: Network, name: back}\n  operations: [{op: add, path: /spec, value: {mtu: 1300}}]\n",
]


def test_documents_come_typed_with_their_places(read: Load) -> None:
    text = (
        "apiVersion: cnm/v1alpha1\nkind: Network\nmetadata: {name: web}\nspec:\n"
        "  subnets:\n    - cidr: 2001:db8::/64\n      gateway: 2001:db8::1\n"
        "  options:\n    gatewayMode: {ipv6: routed}\n"
        "---\napiVersion: cnm/v1alpha1\nkind: Endpoint\nmetadata: {name: a}\nspec:\n"
        "  network: web\n  sandbox: s\n  addresses: ['2001:db8::7']\n  mac: 02-42-AC-11-00-02\n"
        "  sysctls: {net.ipv4.conf.IFNAME.rp_filter: 2}\n"
    )
    endpoint, network = read(text).documents
    spec = network.model.spec  # type: ignore[attr-defined]  # a Network has one
    assert isinstance(spec, NetworkSpec)
    assert spec.subnets is not None
    assert (spec.subnets[0].cidr, spec.subnets[0].gateway) == (ip_network("2001:db8::/64"), ip_address("2001:db8::1"))
    assert network.options.gateway_mode.ipv6 == "routed"
    assert str(network.at("spec", "subnets", 0, "gateway")) == "<stdin>:7:16"
    assert str(network.at("spec", "subnets", 0, "range")) == "<stdin>:6:7"
    assert str(network.at("spec", "options", "gatewayMode")) == "<stdin>:9:5"
    assert network.at("spec").document == "Network/web"
    own = endpoint.model.spec  # type: ignore[attr-defined]  # an Endpoint has one
    assert isinstance(own, EndpointSpec)
    assert (own.addresses, own.mac) == ([ip_address("2001:db8::7")], "02:42:ac:11:00:02")
    assert own.sysctls == {"net.ipv4.conf.IFNAME.rp_filter": "2"}
    assert (endpoint.origin.line, endpoint.origin.document) == (11, "Endpoint/web/a")


@pytest.mark.parametrize(
    ("written", "shape"),
    [
        ("netns", "netns"),
        ("host", "host"),
        ("{path: /run/netns/a}", {"path": "/run/netns/a"}),
        ("{pid: 7}", {"pid": 7}),
        ("{docker: shop_1}", {"docker": "shop_1"}),
        ("{container: other}", {"container": "other"}),
    ],
)
def test_every_shape_of_a_stack(written: str, shape: object, read: Load) -> None:
    text = f"apiVersion: cnm/v1alpha1\nkind: Sandbox\nmetadata: {{name: a}}\nspec: {{stack: {written}}}\n"
    (document,) = read(text).documents
    assert document.model.model_dump(by_alias=True)["spec"]["stack"] == shape


@given(st.permutations(DOCUMENTS), st.lists(st.integers(0, 2), min_size=len(DOCUMENTS), max_size=len(DOCUMENTS)))
def test_order_of_files_and_documents_does_not_matter(
    tmp_path_factory: pytest.TempPathFactory, documents: list[str], files: list[int]
) -> None:
    root = tmp_path_factory.mktemp("order")
    for number in range(3):
        chosen = [text for text, file in zip(documents, files, strict=True) if file == number]
        (root / f"{number}.yaml").write_text("---\n".join(chosen))
    found = [(document.kind, document.model) for document in load([str(root)], options=registry.options()).documents]
    (root / "0.yaml").write_text("---\n".join(DOCUMENTS))
    for number in (1, 2):
        (root / f"{number}.yaml").unlink()
    wanted = [(document.kind, document.model) for document in load([str(root)], options=registry.options()).documents]

    def by_network(item: tuple[str, object]) -> tuple[str, str]:
        return item[0], repr(item[1])

    assert sorted(found, key=by_network) == sorted(wanted, key=by_network)


def test_endpoints_of_one_name_come_in_order_of_network(read: Load) -> None:
    for documents in (DOCUMENTS, DOCUMENTS[::-1]):
        networks = [d.origin.document for d in read("---\n".join(documents)).documents if d.kind == "Endpoint"]
        assert networks == ["Endpoint/back/a", "Endpoint/web/a"]


def test_all_problems_of_all_files_are_told_in_order(tmp_path: Path, refused: Refused) -> None:
    (tmp_path / "a.yaml").write_text(DOCUMENTS[0].replace("1400", "big"))
    (tmp_path / "b.yaml").write_text("a: [\n")
    (tmp_path / "c.yaml").write_text(DOCUMENTS[4].replace("sandbox", "sandboks") + "---\n" + DOCUMENTS[0])
    os_link = tmp_path / "d.yaml"
    os_link.symlink_to("/etc/passwd")
    problems = refused(paths=[str(tmp_path), "nowhere.yaml"])
    assert [f"{problem.origin.file}:{problem.origin.line}" for problem in problems] == [
        "a.yaml:4",
        "b.yaml:2",
        "c.yaml:4",
        "c.yaml:4",
        "c.yaml:6",
        "d.yaml:0",
        "nowhere.yaml:0",
    ]


def test_nothing_at_all_is_no_error_here(read: Load, tmp_path: Path) -> None:
    assert read("# nothing\n---\n").documents == ()
    assert load([str(tmp_path)], options=registry.options()).root == tmp_path


def test_an_unknown_driver_is_told_with_those_there_are(refused: Refused) -> None:
    (problem,) = refused(DOCUMENTS[0].replace("{mtu: 1400}", "{driver: zzz}"))
    assert problem.hint.startswith(f"there are: {', '.join(sorted(registry.options())[:12])}")
