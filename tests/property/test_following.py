"""Following changed files comes to what a load of everything comes to, whatever was changed; and mostly without one."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from reconciler.engine.controller import NetworkController
from reconciler.engine.following import Following
from reconciler.engine.result import PlanOptions
from reconciler.errors import ManifestError, PlanError
from reconciler.topology.view import HostLink, NodeFacts

BASE = """\
kind: Node
metadata: {name: here}
spec: {addresses: [192.0.2.1]}
---
kind: Node
metadata: {name: there}
spec: {addresses: [192.0.2.2]}
---
kind: Network
metadata: {name: front}
spec: {driver: bridge, subnets: [{cidr: 10.1.0.0/24}, {cidr: "fd01::/64"}]}
---
kind: Network
metadata: {name: back}
spec: {driver: bridge, internal: true, subnets: [{cidr: 10.2.0.0/24}]}
---
kind: Network
metadata: {name: lan}
spec: {driver: macvlan, subnets: [{cidr: 10.3.0.0/24, gateway: 10.3.0.1}], options: {parent: uplink}}
---
kind: Network
metadata: {name: app}
spec: {driver: overlay, subnets: [{cidr: 10.4.0.0/24}]}
"""
NETWORKS = {"front": "10.1.0", "back": "10.2.0", "lan": "10.3.0", "app": "10.4.0"}
FACTS = NodeFacts(name="here", links=(HostLink("uplink", "veth", 1500, ("192.0.2.1/24",)),))
ROUNDS = 60
LOCKED = 12  # sandboxes whose automatic addresses are in the lock file; the first four stay as they are


class Files:
    """A folder of a base and of small files of a sandbox each, with its endpoints."""

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self.folder = folder
        self.rng = rng
        (folder / "base.yaml").write_text(self._whole(BASE))
        for number in range(LOCKED):
            self.write(number, plain=True)

    @staticmethod
    def _whole(text: str) -> str:
        return "---\n".join(f"apiVersion: cnm/v1alpha1\n{part}" for part in text.split("---\n"))

    def write(self, number: int, *, plain: bool = False) -> None:
        rng, name = self.rng, f"s{number}"
        node = "there" if number % 4 == 3 else "here"
        parts = [f"kind: Sandbox\nmetadata: {{name: {name}}}\nspec: {{node: {node}{self._stack(number, plain)}}}\n"]
        networks = list(NETWORKS) if plain else rng.sample(list(NETWORKS), rng.randrange(4))
        for network in networks:
            host = 10 + number if plain or rng.random() < 0.9 else rng.randrange(9, 24)
            addresses = f"{NETWORKS[network]}.{host}"
            if network == "front" and number >= LOCKED and rng.random() < 0.8:
                addresses += f", 'fd01::{host}'"
            fields = [f"network: {network}", f"sandbox: {name}", f"addresses: [{addresses}]"]
            if not plain:
                fields += self._more(network)
            parts.append(f"kind: Endpoint\nmetadata: {{name: {name}}}\nspec: {{{', '.join(fields)}}}\n")
        if not plain:
            rng.shuffle(parts)
        (self.folder / f"{name}.yaml").write_text("# \n" * rng.randrange(3) + self._whole("---\n".join(parts)))

    def _stack(self, number: int, plain: bool) -> str:
        chance = 1.0 if plain else self.rng.random()
        if chance < 0.1:
            return f", stack: {{path: /run/netns/x{self.rng.randrange(3)}}}"
        return f", stack: {{container: s{(number + 1) % LOCKED}}}" if chance < 0.13 else ""

    def _more(self, network: str) -> list[str]:
        rng = self.rng
        choices = {
            "mtu: 1400": 0.3,
            f"routes: [{{to: 198.51.100.{rng.randrange(4)}/32, via: {NETWORKS[network]}.1}}]": 0.3,
            f"gatewayPriority: {rng.randrange(3)}": 0.3,
            f"mac: '02:00:00:00:00:0{rng.randrange(6)}'": 0.1,
            "guard: false": 0.1,
            f"publish: [{{port: 80, hostPort: {8000 + rng.randrange(3)}}}]": 0.05,
            "rates: {send: {rate: 10mbit}}": 0.1,
            "rates: {connectionsIn: 5}": 0.05,
            "sysctls: {net.ipv4.conf.IFNAME.rp_filter: '1'}": 0.2,
            "mistake: 1": 0.02,
        }
        found = [text for text, chance in choices.items() if rng.random() < chance]
        return found if sum(text.startswith("rates") for text in found) < 2 else found[:1]

    def mend(self) -> None:
        """As it was in the beginning."""
        for number in range(4, LOCKED + 2):
            self.write(number, plain=True)
        for number in range(LOCKED, LOCKED + 2):
            (self.folder / f"s{number}.yaml").unlink()

    def change(self) -> None:
        rng = self.rng
        number = rng.randrange(4, LOCKED + 2)
        path = self.folder / f"s{number}.yaml"
        if rng.random() < 0.2 and path.exists():
            path.unlink()
        elif rng.random() < 0.1:
            base = self.folder / "base.yaml"
            base.write_text(base.read_text().replace("internal: true", "internal: false"))
        else:
            self.write(number, plain=rng.random() < 0.3)


@pytest.mark.parametrize("seed", range(6))
def test_following_comes_to_what_loading_everything_does(seed: int, tmp_path: Path) -> None:
    files = Files(tmp_path, random.Random(seed))
    with NetworkController(node="here") as controller:
        options = PlanOptions(locked=True)
        controller.lock([str(tmp_path)])  # the IPv6 addresses
        following = Following(controller, options)
        following.take([str(tmp_path)], FACTS)
        steps = 0
        for _ in range(ROUNDS):
            files.change()
            before = dict(following.desired)
            try:
                whole = controller.validate([str(tmp_path)], options=options, facts=FACTS)
            except (ManifestError, PlanError) as error:
                with pytest.raises(type(error), match=re.escape(str(error))):
                    following.take([str(tmp_path)], FACTS)
                assert following.desired == before, "the last good state is kept"
                files.mend()
                continue
            loads = following.whole
            changed = following.take([str(tmp_path)], FACTS)
            steps += following.whole == loads
            assert [*sorted(following.desired)] == [resource.key for resource in whole.desired]
            for resource in whole.desired:
                assert following.desired[resource.key] == resource
                assert following.desired[resource.key].origin == resource.origin, resource.key
            wanted = {
                key for key in before.keys() | following.desired.keys() if before.get(key) != following.desired.get(key)
            }
            assert changed == wanted
            assert following.topology == whole.topology
        print(f"{steps} of {ROUNDS} changes were followed without loading everything")
        assert steps > 5
