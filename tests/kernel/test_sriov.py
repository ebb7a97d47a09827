"""Driver sriov: virtual functions set, given away, and given back as they were.

netdevsim has the switches of a real NIC, but no interfaces behind its virtual functions: here a whole port of it is moved, and
representors are made ports of bridges. What moves virtual functions runs on a NIC (`make test-sriov`).
"""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from reconciler.engine.controller import NetworkController
from reconciler.engine.reach import Reach, service
from reconciler.errors import CnmError
from reconciler.host import eswitch, sysfs
from reconciler.host.step import Step, unhindered
from tests.kernel import switch
from tests.kernel.private import answers, isolated, run
from tests.kernel.scene import Scene
from tests.kernel.watched import Watched

pytestmark = pytest.mark.requires("netns", "nft", "own-kernel")

_BUS = Path("/sys/bus/netdevsim")
_EVERY = bool(os.environ.get("CNM_SOAK"))  # every step takes minutes in the lane


@contextmanager
def simulated() -> Iterator[str]:
    """A netdevsim NIC in this namespace, whose interface is called nic0."""
    number = secrets.randbelow(1 << 24)  # process numbers repeat, in namespaces of their own
    (_BUS / "new_device").write_text(f"{number} 1")
    try:
        name = next(link["ifname"] for link in links() if link.get("parentdev") == f"netdevsim{number}")
        run("ip", "link", "set", name, "name", "nic0")
        yield f"netdevsim/netdevsim{number}"
    finally:
        (_BUS / "del_device").write_text(str(number))


def links(*where: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(run("ip", *where, "-j", "-d", "link", "show"))
    return found


def state() -> list[tuple[Any, ...]]:
    """What must be as before: names, places, addresses, MTUs, what the NIC lets virtual functions do (MAC address, VLAN,
    rates, spoof check, trust), to which driver each is bound, and in which mode the NIC's switch is; namespaces; what is
    remembered."""
    with NetworkController(node="here") as controller:
        memory = controller.host.inventory
        held = memory.devices.whole()
        for key, entry in held.items():
            if entry["device"].startswith("rep:"):  # netdevsim draws an address whenever it makes one
                held[key] = {**entry, "mac": ""}
        remembered = json.dumps([held, memory.settings.whole()], sort_keys=True)
    namespaces = " ".join(sorted(line.split()[0] for line in run("ip", "netns", "list").splitlines()))
    found: list[tuple[Any, ...]] = [("", namespaces, remembered)]
    for link in links():
        device = f"{link.get('parentbus')}/{link.get('parentdev')}"
        number = sysfs.vf_count(device) if "parentdev" in link else None
        found.append(
            (
                link["ifname"],
                link.get("parentdev", ""),
                link["address"] if "pf0vf" not in link.get("phys_port_name", "") else "",
                link["mtu"],
                "UP" in link["flags"],
                link.get("master", ""),
                eswitch.mode(device) if number is not None else "",
                json.dumps(link.get("vfinfo_list", []), sort_keys=True),
                json.dumps(link.get("altnames", [])),
                *(sysfs.driver(vf) for index in range(number or 0) if (vf := sysfs.vf_device(device, index))),
            )
        )
    return sorted(found)


def network(options: str, name: str = "fast", number: int = 1) -> str:
    subnets = f"[{{cidr: 10.{number}.0.0/24}}, {{cidr: 'fd0{number}::/64'}}]"
    return (
        f"kind: Network\nmetadata: {{name: {name}}}\nspec:\n  driver: sriov\n"
        f"  subnets: {subnets}\n  options: {options}\n---\n"
    )


def endpoints(name: str, *sandboxes: str, options: str = "{}") -> str:
    parts = []
    for sandbox in sandboxes:
        parts.append(f"kind: Sandbox\nmetadata: {{name: {sandbox}}}\n---\n")
        parts.append(f"kind: Endpoint\nmetadata: {{name: {sandbox}}}\n")
        parts.append(f"spec: {{network: {name}, sandbox: {sandbox}, options: {options}}}\n---\n")
    return "".join(parts)


@pytest.mark.requires("netdevsim")
@isolated
def test_a_whole_nic_goes_in_and_comes_back_as_it_was(tmp_path: Path) -> None:
    with simulated(), Scene(tmp_path) as scene:
        run("ip", "link", "set", "nic0", "mtu", "1450", "up")
        before = state()
        scene.apply(network("{pf: nic0, mode: passthrough}") + endpoints("fast", "a"))
        (inside,) = [link for link in links("-n", "a") if link["ifname"] == "eth0"]
        assert "nic0" not in {link["ifname"] for link in links()}
        assert "UP" in inside["flags"]
        assert inside["mtu"] == 1500
        scene.apply(network("{pf: nic0, mode: passthrough}") + endpoints("fast", "b"))
        assert [link["ifname"] for link in links("-n", "b")] == ["lo", "eth0"]
        scene.destroy()
        assert state() == before


@pytest.mark.requires("netdevsim")
@isolated
def test_killed_between_any_two_steps_hardware_comes_back(tmp_path: Path) -> None:
    with simulated():
        run("ip", "link", "set", "nic0", "mtu", "1450")
        with Scene(tmp_path) as scene:
            scene.write(network("{pf: nic0, mode: passthrough}") + endpoints("fast", "a"))
        survive_every_step(tmp_path, 9)


# -- representors --------------------------------------------------------------------------------------------

_LAN = """
kind: Network
metadata: {{name: {name}}}
spec: {{driver: {driver}, subnets: [{{cidr: 10.{number}.0.0/24, range: 10.{number}.0.0/25}}], options: {options}}}
---
kind: Sandbox
metadata: {{name: {name}}}
---
kind: Endpoint
metadata: {{name: {name}}}
spec: {{network: {name}, sandbox: {name}}}
---
"""


def lan(name: str, number: int = 1, driver: str = "vlan", options: str = "{}") -> str:
    """A network with a switch, and a sandbox of its name on it."""
    return _LAN.format(name=name, number=number, driver=driver, options=options)


def machines(options: str, *endpoints: str) -> str:
    """Network fast on nic0 in mode switchdev, with virtual functions that are left to virtual machines. Endpoints are
    ``name {OPTIONS}``."""
    text = (
        "kind: Network\nmetadata: {name: fast}\nspec:\n  driver: sriov\n"
        "  subnets: [{cidr: 10.1.0.0/24, range: 10.1.0.128/25}]\n"
        f"  options: {{pf: nic0, mode: hostdev, eswitch: switchdev, {options}}}\n---\n"
    )
    for endpoint in endpoints:
        name, _, own = endpoint.partition(" ")
        text += f"kind: Sandbox\nmetadata: {{name: {name}}}\n---\nkind: Endpoint\nmetadata: {{name: {name}}}\n"
        text += f"spec: {{network: fast, sandbox: {name}, options: {own or '{}'}}}\n---\n"
    return text


def representor(number: int) -> dict[str, Any]:
    """The interface that stands for a virtual function of nic0."""
    port = f"pf0vf{number}"
    return next(link for link in links() if link.get("phys_port_name") == port)


def machine(scene: Scene, name: str, number: int) -> None:
    """A virtual machine that has a virtual function, as a namespace ``vm-NAME``. netdevsim drops what is sent by a
    representor: what a NIC does with it is done by tc here (representors.rst: what the representor sends, the function
    receives, and the other way round)."""
    port, wire, vm = representor(number)["ifname"], f"wire{number}", f"vm-{name}"
    topology = scene.controller.validate([str(scene.folder)]).topology
    (view,) = [view for view in topology.network("fast").endpoints if view.name == name]
    run("ip", "netns", "add", vm)
    run("ip", "link", "add", wire, "up", "type", "veth", "peer", "name", "eth0", "address", view.mac, "netns", vm)
    run("ip", "-n", vm, "address", "add", str(view.addresses[0]), "dev", "eth0")
    run("ip", "-n", vm, "link", "set", "eth0", "up")
    for dev, hook, to, how in ((port, "egress", wire, "egress"), (wire, "ingress", port, "ingress")):
        run("tc", "qdisc", "replace", "dev", dev, "clsact")
        run("tc", "filter", "add", "dev", dev, hook, "matchall", "action", "mirred", how, "redirect", "dev", to)


on_netdevsim = pytest.mark.requires("netdevsim", "action:mirred", "filter:matchall", "ping")


@on_netdevsim
@pytest.mark.requires("bridge-vlan", "link:vlan")
@isolated
def test_representors_are_ports_of_a_vlan_and_virtual_machines_reach_who_is_there(tmp_path: Path) -> None:
    with simulated(), Scene(tmp_path) as scene:
        before = state()
        lans = lan("ten", options="{id: 10}") + lan("twenty", 2, options="{id: 20}")
        scene.apply(lans + machines("vfs: 3, switch: ten", "a", "b {trunk: [20]}"))
        for number in (0, 1):
            port = representor(number)
            assert (port["master"], port["mtu"], "UP" in port["flags"]) == ("br-vlan", 1500, True)
        assert "master" not in representor(2), "the third one is nobody's"
        for number, name in enumerate("ab"):
            machine(scene, name, number)
        c, b, d = (scene.address(name) for name in ("ten/ten", "fast/b", "twenty/twenty"))
        assert scene.reaches("vm-a", c)
        assert scene.reaches("vm-a", b)
        run("ip", "-n", "vm-a", "address", "add", "10.2.0.77/24", "dev", "eth0")
        assert not scene.reaches("vm-a", d), "VLAN 20 is another one"
        run("ip", "-n", "vm-b", "link", "add", "link", "eth0", "name", "eth0.20", "type", "vlan", "id", "20")
        run("ip", "-n", "vm-b", "address", "add", "10.2.0.78/24", "dev", "eth0.20")
        run("ip", "-n", "vm-b", "link", "set", "eth0.20", "up")
        assert scene.reaches("vm-b", d), "which b has by its trunk"
        scene.destroy()
        assert state()[1:] == [*before[1:], *(link for link in state() if link[0].startswith("wire"))]


@on_netdevsim
@isolated
def test_representors_are_kept_ports_of_a_bridge_and_given_back(tmp_path: Path) -> None:
    with simulated() as device, Scene(tmp_path) as scene:
        sysfs.set_vf_count(device, 2)
        eswitch.set_mode(device, "switchdev")
        was = representor(1)["ifname"]
        run("ip", "link", "set", was, "mtu", "1400", "up")
        before = state()
        front = lan("front", driver="bridge")
        scene.apply(front + machines("switch: front", "a {vf: 1}"))
        ours = representor(1)["ifname"]
        machine(scene, "a", 1)
        there = scene.address("front/front")
        assert scene.reaches("vm-a", there)
        assert scene.reaches("vm-a", "10.1.0.1"), "the bridge's own address, which is the gateway"
        run("ip", "link", "add", "br9", "type", "bridge")
        for words in ("nomaster", "down", "mtu 1300", "master br9", f"down name {was}"):
            run("ip", "link", "set", ours, *words.split())
            assert not scene.plan().empty, words
            scene.apply()
            assert scene.reaches("vm-a", there), words
        with Watched(tmp_path) as watch:
            run("ip", "link", "set", ours, "nomaster", "down")
            again = "cnm watch makes it a port again"
            watch.wait(lambda: (port := representor(1)).get("master") == "br-front" and "UP" in port["flags"], again)
        reach = Reach(scene.controller.validate([str(tmp_path)]).topology)
        ends = reach.endpoint("fast/a"), reach.endpoint("front/front")
        assert reach.ask(*ends, 4, service("icmp")).allowed, "as both are ports of one switch"
        scene.apply(front)
        assert representor(1)["ifname"] == was
        run("ip", "link", "set", was, "master", "br9")
        scene.write(front + machines("switch: front", "a {vf: 1}"))
        report = scene.controller.execute(scene.controller.plan([str(tmp_path)]))
        assert any(f"{was} is a port of br9 already" in str(error) for error in report.failed)
        run("ip", "link", "set", was, "nomaster")
        scene.destroy()
        for name in ("br9", "wire1"):
            run("ip", "link", "delete", name)
        assert state() == [("", "vm-a", before[0][2]), *before[1:]]


@on_netdevsim
@pytest.mark.requires("ovs", "ovs-datapath", "link:vlan")
@isolated
def test_representors_are_ports_of_open_vswitch(tmp_path: Path) -> None:
    switch.start()
    with simulated(), Scene(tmp_path) as scene:
        before = state()
        switched = lan("ten", driver="ovs", options="{vlan: 10, bridge: br0}")
        switched += lan("twenty", 2, driver="ovs", options="{vlan: 20, bridge: br0}")
        scene.apply(switched + machines("vfs: 2, switch: ten", "a {trunk: [20]}"))
        port = representor(0)
        assert (port["master"], port["mtu"], "UP" in port["flags"]) == ("ovs-system", 1500, True)
        machine(scene, "a", 0)
        there = scene.address("ten/ten")
        assert scene.reaches("vm-a", there)
        run("ip", "-n", "vm-a", "address", "add", "10.2.0.77/24", "dev", "eth0")
        assert not scene.reaches("vm-a", scene.address("twenty/twenty"))
        run("ip", "-n", "vm-a", "address", "delete", "10.2.0.77/24", "dev", "eth0")
        run("ip", "-n", "vm-a", "link", "add", "link", "eth0", "name", "eth0.20", "type", "vlan", "id", "20")
        run("ip", "-n", "vm-a", "address", "add", "10.2.0.78/24", "dev", "eth0.20")
        run("ip", "-n", "vm-a", "link", "set", "eth0.20", "up")
        assert scene.reaches("vm-a", scene.address("twenty/twenty")), "by its trunk"
        switch.vsctl("del-port", port["ifname"])
        run("ip", "link", "set", port["ifname"], "down")
        assert not scene.reaches("vm-a", there)
        scene.apply()
        assert scene.reaches("vm-a", there)
        scene.destroy()
        run("ip", "link", "delete", "wire0")
        run("ip", "netns", "delete", "vm-a")
        assert state() == before


@pytest.mark.requires("netdevsim")
@isolated
@pytest.mark.parametrize("made", [False, True])
def test_killed_between_any_two_steps_representors_come_back(made: bool, tmp_path: Path) -> None:
    """Such as the NIC had, and such as come with the number of virtual functions and the mode of the switch."""
    with simulated() as device:
        if made:
            sysfs.set_vf_count(device, 2)
            eswitch.set_mode(device, "switchdev")
            run("ip", "link", "set", representor(0)["ifname"], "mtu", "1400", "up")
        with Scene(tmp_path) as scene:
            front = lan("front", driver="bridge").partition("---")[0]  # no pair, whose addresses are drawn
            scene.write(f"{front}---\n" + machines("switch: front" if made else "vfs: 2, switch: front", "a"))
        survive_every_step(tmp_path, 17)


@pytest.mark.requires("netdevsim")
@isolated
def test_what_cannot_be_had_of_a_switch_is_refused(tmp_path: Path) -> None:
    front = lan("front", driver="bridge")
    policy = "kind: Policy\nmetadata: {name: p}\nspec: {selector: all(), ingress: [{action: allow}]}\n"
    with Scene(tmp_path) as scene:
        for text, why in (
            (front + machines("switch: front", "a") + policy, "cannot enforce policies"),
            (front + machines("switch: frnt", "a"), "no network 'frnt'"),
            (front + machines("switch: front, vlan: 5", "a"), "in mode switchdev no NIC takes vlan"),
            (front + machines("switch: front, maxRate: 5", "a"), "rates are for the representor"),
            (front + machines("switch: front", "a {trunk: [5]}"), "knows no VLANs"),
            (machines("vfs: 2", "a {trunk: [5]}"), "is on no switch"),
            (front + machines("switch: front", "a").replace("eswitch: switchdev, ", ""), "only while the NIC's switch"),
            (front + machines("switch: front", "a").replace("hostdev", "passthrough"), "a whole NIC has no representor"),
            (front + machines("switch: front", "a").replace("driver: sriov", "driver: sriov\n  mtu: 9000"), "MTU 9000"),
            (front + machines("switch: front", "a").replace(", range: 10.1.0.128/25", ""), "is the gateway on network front"),
            (front.replace("driver: bridge", "driver: ipvlan").replace("options: {}", "options: {parent: e0}")
             + machines("switch: front", "a"), "has no switch that could take"),
        ):  # fmt: skip
            scene.write(text)
            with pytest.raises(CnmError, match=why):
                scene.plan()


def survive_every_step(folder: Path, stride: int = 4, look: Callable[[], Any] = state) -> None:
    """Kill an apply, and a destroy, before every step that changes anything. A cnm that was just started brings back
    what was before, of the host and of what it remembers; or, where the commit had begun, it finishes. ``look`` says what
    has to be the same."""
    before = look()
    assert _child(lambda: _apply(folder)) == 0
    applied = look()
    for act, other, start, end in ((_destroy, _apply, applied, before), (_apply, _destroy, before, applied)):
        for tried, step in enumerate(range(1, 200, 1 if _EVERY else stride)):
            killed = _child(lambda act=act, step=step: _killed_at(step, act, folder))  # type: ignore[misc]
            assert killed in (0, -signal.SIGKILL)
            where = f"killed before step {step} of {act.__name__}"
            assert _child(_recover) == 0, where
            now = look()
            assert now in (start, end), f"{where} ({killed}): {[sorted({*now} ^ {*other}) for other in (start, end)]}"
            if not killed:
                assert now == end
                print(f"{act.__name__}: killed before {tried} of {step - 1} steps")
                assert step > 5
                break
            if now == end:
                assert _child(lambda other=other: other(folder)) == 0, where  # type: ignore[misc]
                again = look()
                assert again == start, f"{where}: {sorted({*again} ^ {*start})}"
    assert _child(lambda: _destroy(folder)) == 0
    assert look() == before


def drawn_anew() -> list[str]:
    """The state, but for the address that a driver draws for each virtual function when it is made."""
    return [re.sub(r'("interface": {"mac": ")[0-9a-f:]{17}', r"\1", str(entry)) for entry in state()]


def _recover() -> None:
    with NetworkController(node="here") as controller:
        recovery = controller.recover()
        assert recovery is None or recovery.rollback.complete, recovery


def _apply(folder: Path, step: Step = unhindered) -> None:
    with NetworkController(node="here", step=step) as controller, controller.changing():
        report = controller.execute(controller.plan([str(folder)]))
        assert report.ok, (report.failed, report.left)


def _destroy(_folder: Path, step: Step = unhindered) -> None:
    with NetworkController(node="here", step=step) as controller, controller.changing():
        report = controller.execute(controller.plan_destroy())
        assert report.ok, (report.failed, report.left)


def _child(body: Callable[[], None]) -> int:
    """Run in a fork; its exit status, or minus the signal that ended it."""
    pid = os.fork()
    if not pid:
        try:
            body()
        except BaseException as error:
            os.write(2, f"{type(error).__name__}: {error}\n".encode())
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _killed_at(step: int, act: Callable[[Path, Step], None], folder: Path) -> None:
    """Die before the ``step``-th thing that is done to this machine."""
    left = step

    def count(_sort: str, _what: str) -> None:
        nonlocal left
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)

    act(folder, count)


# -- a real NIC ----------------------------------------------------------------------------------------------

on_a_nic = pytest.mark.requires("sriov-nic", "ping")


@pytest.fixture
def nic(tmp_path: Path) -> Iterator[str]:
    """The NIC that has virtual functions; afterwards it has none, and nothing of ours is left."""
    found = next(
        link["ifname"]
        for link in links()
        if link.get("parentbus") == "pci" and sysfs.vf_limit(f"pci/{link['parentdev']}")
    )
    run("ip", "link", "set", found, "up")
    before = state()
    yield found
    _destroy(tmp_path)
    assert state() == before


@on_a_nic
def test_virtual_functions_reach_each_other_but_not_across_vlans(nic: str, tmp_path: Path) -> None:
    with Scene(tmp_path) as scene:
        shared = f"pf: {nic}, vfs: 5, trust: true, maxRate: 500"  # rates have to wait until the port has a link again
        scene.apply(
            network(f"{{{shared}, vlan: 100, vfRange: 0-2}}")
            + endpoints("fast", "a", "b")
            + network(f"{{{shared}, vlan: 200, vfRange: 3-4}}", "other", 2)
            + endpoints("other", "c")
        )
        assert _eventually(lambda: scene.reaches("a", scene.address("fast/b")))
        assert scene.reaches("a", scene.address("fast/b", 6))
        run("ip", "-n", "c", "address", "add", "10.1.0.77/24", "dev", "eth0")
        assert not scene.reaches("a", "10.1.0.77")
        (pf,) = [link for link in links() if link["ifname"] == nic]
        assert [vf["vlan_list"][0].get("vlan", 0) for vf in pf["vfinfo_list"]][:4] == [100, 100, 0, 200]
        run("ip", "netns", "delete", "b")  # by somebody else, with the interface in it
    with Scene(tmp_path) as scene:
        scene.apply()
        assert _eventually(lambda: scene.reaches("a", scene.address("fast/b")))


@on_a_nic
def test_no_two_networks_get_one_virtual_function(nic: str, tmp_path: Path) -> None:
    with Scene(tmp_path) as scene:
        scene.write(
            network(f"{{pf: {nic}, vfs: 3}}") + endpoints("fast", "a") + network(f"{{pf: {nic}, vfs: 3}}", "other", 2)
        )
        with pytest.raises(CnmError, match="give each its part"):
            scene.plan()
        scene.apply(network(f"{{pf: {nic}, vfs: 2}}") + endpoints("fast", "a", "b"))
        scene.write(network(f"{{pf: {nic}, vfs: 2}}") + endpoints("fast", "a", "b", "c"))
        with pytest.raises(CnmError, match="no virtual function"):
            scene.plan()
        scene.write(network(f"{{pf: {nic}, vfs: 4}}") + endpoints("fast", "a", "b"))
        report = scene.controller.execute(scene.controller.plan([str(tmp_path)]))
        assert any("in use" in str(error) for error in report.failed)
        assert len(links("-n", "a")) == 2, "what is in use stays where it is"


@on_a_nic
@pytest.mark.requires("command:modprobe")
def test_dpdk_mode_binds_and_gives_back(nic: str, tmp_path: Path) -> None:
    run("modprobe", "vfio-pci")
    with Scene(tmp_path) as scene:
        scene.apply(network(f"{{pf: {nic}, vfs: 2, mode: dpdk}}") + endpoints("fast", "a"))
        device = sysfs.vf_device(next(f"pci/{link['parentdev']}" for link in links() if link["ifname"] == nic), 0)
        assert sysfs.driver(device) == "vfio-pci"
        scene.apply(network(f"{{pf: {nic}, vfs: 2}}") + endpoints("fast", "a"))
        assert answers("ip", "-n", "a", "link", "show", "eth0")


@on_a_nic
def test_killed_between_any_two_steps_virtual_functions_are_made_and_unmade(nic: str, tmp_path: Path) -> None:
    with Scene(tmp_path) as scene:
        scene.write(network(f"{{pf: {nic}, vfs: 1, vlan: 100}}") + endpoints("fast", "a"))
    survive_every_step(tmp_path, look=drawn_anew)


@on_a_nic
@pytest.mark.requires("command:modprobe")
@pytest.mark.parametrize("mode", ["netdev", "dpdk"])
def test_killed_between_any_two_steps_a_virtual_function_comes_back(mode: str, nic: str, tmp_path: Path) -> None:
    """Two that the host had: one whose every switch stood otherwise (MAC address, VLAN, rate, spoof check, trust, and the MTU of
    its interface), and one as its driver made it, with an address that was drawn."""
    run("modprobe", "vfio-pci")
    with occupied(nic):
        wanted = "vlan: 100, vlanQos: 3, maxRate: 200, spoofCheck: true, trust: false"
        with Scene(tmp_path) as scene:
            options = f"{{pf: {nic}, mode: {mode}, {wanted}}}"
            plugged = (endpoints("fast", name, options=f"{{vf: {number}}}") for number, name in enumerate("ab"))
            scene.write(network(options) + "".join(plugged))
        survive_every_step(tmp_path)


@contextmanager
def occupied(nic: str) -> Iterator[None]:
    """The host has two virtual functions of its own; the first is set in every way that this NIC knows."""
    device = next(f"pci/{link['parentdev']}" for link in links() if link["ifname"] == nic)
    sysfs.set_vf_count(device, 2)
    try:
        assert _eventually(lambda: "LOWER_UP" in run("ip", "link", "show", nic))  # before that it takes no rates
        for words in ("mac 02:00:00:00:07:07", "vlan 7 qos 2", "max_tx_rate 50", "spoofchk off", "trust on"):
            run("ip", "link", "set", nic, "vf", "0", *words.split())
        vf = sysfs.vf_device(device, 0)
        bound = sysfs.driver(vf)
        sysfs.bind(vf, "")  # it takes its address when it begins
        sysfs.bind(vf, bound)
        (mine,) = [link for link in links() if link.get("parentdev") == vf.partition("/")[2]]
        assert mine["address"] == "02:00:00:00:07:07"
        run("ip", "link", "set", mine["ifname"], "mtu", "1400")
        yield
    finally:
        sysfs.set_vf_count(device, 0)


def _eventually(holds: Callable[[], bool], patience: float = 30.0) -> bool:
    """A NIC takes seconds to bring its link up."""
    deadline = time.monotonic() + patience
    while not (held := holds()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return held
