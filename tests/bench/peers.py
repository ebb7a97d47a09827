"""The peers: what others use for the same job, called as they are meant to be called."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from time import perf_counter

from tests.bench.floor import GROUP
from tests.bench.scene import PREFIX, Scene, ip_batch

CNI = Path("/usr/lib/cni")
SLOW = 100  # who needs seconds for this many endpoints is measured up to here


def play_ip(scene: Scene) -> dict[str, float]:
    """ip -batch, one for the host and one for each namespace (a batch cannot change its namespace)."""
    seconds: dict[str, float] = {}
    clock = perf_counter()
    lines: list[str] = []
    for bridge in scene.bridges:
        lines += [f"link add {bridge.name} type bridge", f"address add {bridge.gateway}/{PREFIX} dev {bridge.name}"]
        lines.append(f"link set {bridge.name} up")
    for endpoint in scene.endpoints:
        lines.append(f"link add {endpoint.host} type veth peer name eth0 netns {endpoint.netns}")
        lines.append(f"link set {endpoint.host} master {scene.bridges[endpoint.bridge].name} up")
    ip_batch("\n".join(lines))
    for endpoint in scene.endpoints:
        inside = ["link set eth0 up", f"address add {endpoint.address}/{PREFIX} dev eth0"]
        ip_batch("\n".join([*inside, f"route add default via {endpoint.gateway}"]), netns=endpoint.netns)
    seconds["write"] = perf_counter() - clock
    scene.works()
    seconds |= _read(scene)
    clock = perf_counter()
    names = [bridge.name for bridge in scene.bridges] + [endpoint.host for endpoint in scene.endpoints]
    ip_batch("\n".join([*(f"link set {name} group {GROUP}" for name in names), f"link delete group {GROUP}"]))
    seconds["delete"] = perf_counter() - clock
    return seconds


READS = (("-j", "-d", "link"), ("-j", "address"), ("-j", "route"))


def _read(scene: Scene) -> dict[str, float]:
    clock = perf_counter()
    for arguments in READS:
        subprocess.run(["ip", *arguments], stdout=subprocess.DEVNULL, check=True)
        if arguments == READS[0]:
            links = perf_counter() - clock
    seconds = {"read, links of the host": links, "read, host only": perf_counter() - clock}
    return seconds | {"read": read_by_ip(scene)}


def read_by_ip(scene: Scene) -> float:
    """Seconds for the host and each namespace: three processes for each, so of many namespaces a hundred are read, and
    all are taken to be like these."""
    took = []
    some = scene.endpoints[:SLOW]
    for places in ([""], [endpoint.netns for endpoint in some]):
        clock = perf_counter()
        for netns in places:
            for arguments in READS:
                where = ["-n", netns] if netns else []
                subprocess.run(["ip", *where, *arguments], stdout=subprocess.DEVNULL, check=True)
        took.append(perf_counter() - clock)
    return took[0] + took[1] * scene.size / len(some)


def play_pyroute2(scene: Scene) -> dict[str, float]:
    """pyroute2, one call after the other, one NetNS object for each namespace."""
    from pyroute2 import IPRoute, NetNS

    seconds: dict[str, float] = {}
    clock = perf_counter()
    with IPRoute() as host:
        bridges = []
        for bridge in scene.bridges:
            host.link("add", ifname=bridge.name, kind="bridge", state="up")
            bridges.append(host.link_lookup(ifname=bridge.name)[0])
            host.addr("add", index=bridges[-1], address=bridge.gateway, prefixlen=PREFIX)
        for endpoint in scene.endpoints:
            peer = {"ifname": "eth0", "net_ns_fd": endpoint.netns}
            host.link("add", ifname=endpoint.host, kind="veth", peer=peer, master=bridges[endpoint.bridge], state="up")
            with NetNS(endpoint.netns) as inside:
                index = inside.link_lookup(ifname="eth0")[0]
                inside.link("set", index=index, state="up")
                inside.addr("add", index=index, address=endpoint.address, prefixlen=PREFIX)
                inside.route("add", dst="default", gateway=endpoint.gateway)
        seconds["write"] = perf_counter() - clock
        scene.works()
        clock = perf_counter()
        for read in (host.get_links, host.get_addr, host.get_routes):
            list(read())
        seconds["read, host only"] = perf_counter() - clock
        clock = perf_counter()
        for name in [*(endpoint.host for endpoint in scene.endpoints), *(bridge.name for bridge in scene.bridges)]:
            host.link("del", ifname=name)
        seconds["delete"] = perf_counter() - clock
    return seconds


def play_cni(scene: Scene) -> dict[str, float]:
    """The bridge and host-local plugins, a process for each call, as a container runtime does it."""
    seconds: dict[str, float] = {}
    clock = perf_counter()
    _cni("ADD", scene)
    seconds["write"] = perf_counter() - clock
    scene.works()
    clock = perf_counter()
    _cni("DEL", scene)
    seconds["delete"] = perf_counter() - clock
    ip_batch("\n".join(f"link delete {bridge.name}" for bridge in scene.bridges))
    return seconds


def _cni(command: str, scene: Scene) -> None:
    configurations = [
        json.dumps(
            {
                "cniVersion": "0.4.0",
                "name": bridge.name,
                "type": "bridge",
                "bridge": bridge.name,
                "isGateway": True,
                "ipam": {
                    "type": "host-local",
                    "dataDir": "/run/cni-bench",
                    "ranges": [[{"subnet": bridge.subnet, "gateway": bridge.gateway}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            }
        )
        for bridge in scene.bridges
    ]
    for endpoint in scene.endpoints:
        environment = {
            **os.environ,
            "CNI_COMMAND": command,
            "CNI_CONTAINERID": endpoint.netns,
            "CNI_NETNS": f"/run/netns/{endpoint.netns}",
            "CNI_IFNAME": "eth0",
            "CNI_PATH": str(CNI),
        }
        subprocess.run(
            [CNI / "bridge"],
            input=configurations[endpoint.bridge],
            text=True,
            env=environment,
            check=True,
            capture_output=True,
        )


def cni_absent() -> str:
    """Why the plugins cannot be measured; "" when they can."""
    if all((CNI / plugin).exists() for plugin in ("bridge", "host-local")):
        return ""
    return f"not installed in {CNI} (Debian: apt-get install containernetworking-plugins)"
