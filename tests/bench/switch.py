"""``python -m tests.bench.switch [PORTS] [ROUNDS]`` (root): ports of Open vSwitch by cnm, by one ovs-vsctl, by one ovs-vsctl a port.

Each contender plugs the same veth ends, tagged and labelled, into a bridge of the userspace datapath in a private host with real
daemons, and waits until ovs-vswitchd has them. cnm looks, plans, keeps its journal, and looks again whether it holds. Last, whole
endpoints: namespaces, veth pairs, addresses and ports, from manifests by `cnm`, and as the script ovs-docker makes one.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

from reconciler.engine.controller import NetworkController
from reconciler.engine.observe import observe, read_facts
from reconciler.engine.result import Planned
from reconciler.planner.diff import make_plan
from reconciler.resources.ovs import OvsBridge, OvsInterface, OvsPort, ovs_bridge_key, ovs_port_key
from reconciler.resources.resource import Entries, Resource
from tests.bench.scene import ip_batch
from tests.kernel.switch import START
from tests.lab import Host

Figures = dict[str, list[float]]


def host_with_links(ports: int) -> Host:
    """A host with a switch, a bridge of somebody else's for the others, and as many veth pairs."""
    host = Host("bench")
    host.run("sh", "-c", START)
    with host.entered():
        lines = [f"link add v{n} up type veth peer name p{n}" for n in range(ports)]
        for start in range(0, ports, 500):
            ip_batch("\n".join(lines[start : start + 500]))
    return host


def by_cnm(host: Host, ports: int) -> dict[str, float]:
    wanted: list[Resource] = [OvsBridge(key=ovs_bridge_key("sw"), datapath_type="netdev", fault="")]
    wanted += [
        OvsPort(
            key=ovs_port_key(f"v{n}"),
            bridge="sw",
            tag=n % 4000 + 1,
            external_ids=Entries((("container", f"c{n}"),)),
            interfaces=(OvsInterface(name=f"v{n}", fault=""),),
        )
        for n in range(ports)
    ]
    found: dict[str, float] = {}
    with host.entered(), NetworkController(node="bench") as controller:
        facts = read_facts(controller.host, "bench")
        for what in ("create", "nothing to change", "destroy"):
            if what == "destroy":
                wanted = []
            start = perf_counter()
            seen = observe(controller.host, wanted, facts)
            plan = make_plan(wanted, seen, owner="cnm", node="bench")
            if what == "nothing to change":
                assert plan.empty
            else:
                report = controller.execute(Planned(plan, seen, tuple(wanted)))
                assert report.ok, report
            found[what] = perf_counter() - start
    return found


def by_one_call(host: Host, ports: int) -> dict[str, float]:
    host.run("ovs-vsctl", "add-br", "sw", "--", "set", "bridge", "sw", "datapath_type=netdev")
    clauses: list[str] = []
    for n in range(ports):
        clauses += ["--", "add-port", "sw", f"v{n}", f"tag={n % 4000 + 1}"]
        clauses += ["--", "set", "interface", f"v{n}", f"external_ids:container=c{n}"]
    return {"create": _timed(host, "ovs-vsctl", *clauses), "destroy": _timed(host, "ovs-vsctl", "del-br", "sw")}


def by_call_a_port(host: Host, ports: int) -> dict[str, float]:
    """As ovs-docker does: one call to add it, one to tag it."""
    host.run("ovs-vsctl", "add-br", "sw", "--", "set", "bridge", "sw", "datapath_type=netdev")
    script = "".join(
        f"ovs-vsctl --may-exist add-port sw v{n} -- set interface v{n} external_ids:container=c{n}\n"
        f"ovs-vsctl set port v{n} tag={n % 4000 + 1}\n"
        for n in range(ports)
    )
    return {"create": _timed(host, "sh", "-e", stdin=script)}


def whole_by_cnm(host: Host, ports: int) -> dict[str, float]:
    head = {"apiVersion": "cnm/v1alpha1"}
    options = {"datapath": "netdev", "bridge": "sw", "vlan": 10}
    spec = {"driver": "ovs", "subnets": [{"cidr": "10.9.0.0/16"}], "options": options}
    documents = [head | {"kind": "Network", "metadata": {"name": "lan"}, "spec": spec}]
    for n in range(ports):
        documents.append(head | {"kind": "Sandbox", "metadata": {"name": f"c{n}"}})
        documents.append(
            head | {"kind": "Endpoint", "metadata": {"name": f"e{n}"}, "spec": {"network": "lan", "sandbox": f"c{n}"}}
        )
    with tempfile.TemporaryDirectory() as folder, host.entered(), NetworkController(node="bench") as controller:
        (Path(folder) / "all.json").write_text("\n---\n".join(map(json.dumps, documents)))
        found = {}
        for what in ("create", "nothing to change", "destroy"):
            start = perf_counter()
            planned = controller.plan_destroy() if what == "destroy" else controller.plan([folder])
            assert controller.execute(planned, purpose="destroy" if what == "destroy" else "apply").ok
            found[what] = perf_counter() - start
    return found


def whole_by_script(host: Host, ports: int) -> dict[str, float]:
    """What ovs-docker's add-port and set-vlan call for one container, in its order."""
    host.run("ovs-vsctl", "add-br", "sw", "--", "set", "bridge", "sw", "datapath_type=netdev")
    script = "".join(
        f"ip netns add d{n}\n"
        f"ip link add h{n} type veth peer name i{n}\n"
        f"ovs-vsctl --may-exist add-port sw h{n} -- set interface h{n} external_ids:container_id=d{n} "
        f"external_ids:container_iface=eth0\n"
        f"ip link set h{n} up\n"
        f"ip link set i{n} netns d{n}\n"
        f"ip netns exec d{n} ip link set dev i{n} name eth0\n"
        f"ip netns exec d{n} ip link set eth0 up\n"
        f"ip netns exec d{n} ip addr add 10.9.{n // 250}.{n % 250 + 1}/16 dev eth0\n"
        f"ovs-vsctl set port h{n} tag=10\n"
        for n in range(ports)
    )
    return {"create": _timed(host, "sh", "-e", stdin=script)}


def _timed(host: Host, *argv: str, stdin: str = "") -> float:
    start = perf_counter()
    done = subprocess.run(host.argv(*argv), input=stdin, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    return perf_counter() - start


CONTENDERS: dict[str, Callable[[Host, int], dict[str, float]]] = {
    "cnm, ports": by_cnm,
    "one ovs-vsctl": by_one_call,
    "ovs-vsctl a port": by_call_a_port,
    "cnm, endpoints": whole_by_cnm,
    "as ovs-docker": whole_by_script,
}
_SLOW = frozenset(("ovs-vsctl a port", "as ovs-docker"))  # once is enough


def main(ports: int, rounds: int) -> None:
    figures: dict[str, Figures] = {}
    for number in range(rounds):
        for name, play in CONTENDERS.items():
            if number and name in _SLOW:
                continue
            with host_with_links(ports) as host:
                found = play(host, ports)
            print(f"{name}: {', '.join(f'{what} {seconds:.2f} s' for what, seconds in found.items())}", file=sys.stderr)
            for what, seconds in found.items():
                figures.setdefault(name, {}).setdefault(what, []).append(seconds)
    print(f"| {ports} | create | nothing to change | destroy |\n|---|--:|--:|--:|")
    for name, all_of_it in figures.items():
        cells = [
            f"{statistics.median(all_of_it[what]) * 1000:,.0f} ms" if what in all_of_it else "-"
            for what in ("create", "nothing to change", "destroy")
        ]
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    numbers = [int(text) for text in sys.argv[1:]]
    main(*(numbers + [500, 3][len(numbers) :]))
