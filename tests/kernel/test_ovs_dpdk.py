"""Driver ovs-dpdk: two programs with a stack of their own (dpdk-testpmd) exchange packets over vhost-user sockets."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from reconciler.engine.doctor import examine
from tests.kernel import switch
from tests.kernel.private import answers, isolated, run
from tests.kernel.scene import Scene
from tests.kernel.switch import vsctl
from tests.kernel.test_ovs import eventually, ops

pytestmark = pytest.mark.requires("netns", "nft", "ovs-dpdk", "link:veth", "link:tap", "ping", "root")

# No large pages, no device: one heap of its own. --legacy-mem must be there, or vhost-user finds no memory to share.
_EAL = "--no-huge --legacy-mem --no-pci --no-telemetry"
_ENGINE = (
    f'engine: {{extra: "{_EAL} -m 512 --file-prefix=switch", pmdMaxSleep: 500, perPortMemory: true, pmdCpuMask: "0x1"}}'
)


def manifests(options: str = "", rates: str = "") -> str:
    return f"""
kind: Network
metadata: {{name: fast}}
spec:
  driver: ovs-dpdk
  subnets: [{{cidr: 10.8.0.0/24}}]
  options: {{bridge: sw, vlan: 10, sockets: {{uid: 0, gid: 4, mode: "0750"}}, {_ENGINE}{options}}}
---
kind: Sandbox
metadata: {{name: a}}
---
kind: Sandbox
metadata: {{name: b}}
---
kind: Endpoint
metadata: {{name: a}}
spec: {{network: fast, sandbox: a{rates}}}
---
kind: Endpoint
metadata: {{name: b}}
spec: {{network: fast, sandbox: b, options: {{socket: other.sock}}}}
"""


@contextmanager
def program(sandbox: str, socket: str, address: str, mac: str) -> Iterator[None]:
    """A DPDK program in a sandbox: it serves the socket, and carries what it gets to a tap, where ping can be. It polls
    without rest, so it gets what no other test wants of the processors."""
    argv = ["nice", "-n19", "ip", "netns", "exec", sandbox, "dpdk-testpmd", *_EAL.split()]
    argv += ["-m", "256", f"--file-prefix={sandbox}", "--lcores", "(0-1)@(0-1)"]
    argv += ["--vdev", f"net_virtio_user0,path={socket},server=1,queue_size=256"]
    argv += ["--vdev", f"net_tap0,iface=tap0,mac={mac}", "--", "--forward-mode=io", "--auto-start", "--no-mlockall"]
    argv += ["--total-num-mbufs=2048"]
    log = Path(f"/run/{sandbox}.log")
    with log.open("w") as file:
        process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=file, stderr=file)
    try:
        eventually(lambda: process.poll() is not None or answers("ip", "-n", sandbox, "link", "show", "tap0"), 40)
        assert process.poll() is None, log.read_text()
        run("ip", "-n", sandbox, "address", "add", address, "dev", "tap0")
        run("ip", "-n", sandbox, "link", "set", "tap0", "up")
        yield
    finally:
        process.kill()
        process.wait()


def reaches(sandbox: str, address: str) -> bool:
    return answers("ip", "netns", "exec", sandbox, "ping", "-c1", "-W1", "-q", address)


@isolated
def test_two_programs_reach_each_other_and_a_restart_heals(tmp_path: Path) -> None:
    switch.start(dpdk=True)
    with Scene(tmp_path) as scene, ExitStack() as programs:
        scene.apply(manifests(rates=", rates: {receive: {rate: 400mbit}, send: {rate: 200mbit}}"))
        about = Path("/run/cnm-vhost/fast").stat()
        assert (about.st_uid, about.st_gid, oct(about.st_mode)[-3:]) == (0, 4, "750")
        rows = scene.controller.status([str(tmp_path)]).rows
        told = {row.name: row.facts for row in rows if row.kind == "Endpoint"}
        assert told["fast/b"]["socket"] == "/run/cnm-vhost/fast/other.sock"
        assert told["fast/b"]["socket owner"] == "0:4 0750"
        for name in ("a", "b"):
            facts = told[f"fast/{name}"]
            programs.enter_context(program(name, facts["socket"], facts["addresses"], facts["mac"]))
        far = scene.address("fast/b")
        eventually(lambda: reaches("a", far), 40)
        assert ops(scene) == []
        switch.kill("ovs-vswitchd")
        assert not reaches("a", far)
        switch.start_daemon(dpdk=True)
        scene.apply()
        eventually(lambda: reaches("a", far), 40)
        # Another VLAN for one of them, by hand: seen, and mended.
        port = vsctl("--bare", "--columns=name", "find", "port", "external_ids:cnm-endpoint=fast/b")
        vsctl("set", "port", port, "tag=77")
        assert not reaches("a", far)
        scene.apply()
        eventually(lambda: reaches("a", far), 40)
        programs.close()
        scene.destroy()
    assert not Path("/run/cnm-vhost/fast").exists()
    assert vsctl("list-br") == ""
    assert vsctl("get", "open_vswitch", ".", "other_config") == "{}"


@isolated
def test_ports_that_dpdk_drives_and_a_device_that_is_not_there(tmp_path: Path) -> None:
    """An interface of the host by AF_PACKET stands for a network card."""
    run("ip", "link", "add", "nic", "up", "type", "veth", "peer", "name", "far")
    run("ip", "link", "set", "far", "up")
    switch.start(dpdk=True)
    port = ', dpdkPorts: [{name: phy0, device: "net_af_packet0,iface=nic", queues: 1, descriptors: 512, trunks: [10]}]'
    with Scene(tmp_path) as scene:
        scene.apply(manifests(port))
        assert vsctl("get", "interface", "phy0", "status:driver_name") == "net_af_packet"
        scene.write(manifests(port.replace("net_af_packet0,iface=nic", "0000:ff:1f.7")))
        report = scene.controller.execute(scene.controller.plan([str(tmp_path)]))
        assert not report.ok
        assert "0000:ff:1f.7" in " ".join(map(str, report.failed))
        assert report.rollback is not None
        assert report.rollback.complete, report.rollback
        scene.apply(manifests())
        scene.destroy()


@isolated
def test_doctor_tells_what_dpdk_finds_here(tmp_path: Path) -> None:
    with Scene(tmp_path) as scene:
        found = {check.subject: check for check in examine(scene.controller)}
    pages = sum(int(path.read_text()) for path in Path("/sys/kernel/mm/hugepages").glob("*/nr_hugepages"))
    assert ("no hugepages" in found["DPDK"].finding) is (pages == 0)
    groups = list(Path("/sys/kernel/iommu_groups").glob("*"))
    assert ("no IOMMU" in found["DPDK"].finding) is not bool(groups)
    assert found["driver ovs-dpdk"].level == "error", "no switch runs here"
