from msgspec.structs import replace

from reconciler.resources.link import BridgePort, Link, link_key
from reconciler.resources.sriov import Sriov, sriov_key
from reconciler.resources.vf import Vf, vf_key
from tests.contract.sample import Sample

# A simulated NIC; its interface becomes nic0. It outlives the namespace that it was made in (the kernel moves it to the
# first one), and process numbers repeat in process namespaces: so its number is a random one.
_SETUP = """
number=$(od -An -N3 -tu4 /dev/urandom | tr -d ' ')
echo "$number 1" > /sys/bus/netdevsim/new_device
ip link set "$(ip -d -o link | grep "parentdev netdevsim$number " | cut -d: -f2 | tr -d ' ')" name nic0
"""
_NIC = Sriov(key=sriov_key("nic0"), vfs=4, eswitch="legacy")
SAMPLE = Sample(
    spec=_NIC,
    variants=(replace(_NIC, vfs=2), replace(_NIC, eswitch="switchdev"), replace(_NIC, vfs=0)),
    setup=_SETUP,
    requires=("netdevsim",),
)
_VF = Vf(key=vf_key("nic0", 1), pf="nic0", index=1, mac="02:00:00:00:00:07", vlan=0, user="fast/a")
VF = Sample(
    base=(_NIC,),
    spec=_VF,
    variants=(
        replace(_VF, mac="02:00:00:00:00:08", vlan=100, qos=3, protocol="802.1ad"),
        replace(_VF, min_rate=10, max_rate=500),
        replace(_VF, spoof_check=True, trust=True, link_state="disable"),
        replace(_VF, user="fast/b"),
    ),
    setup=_SETUP,
    requires=("netdevsim",),
)
_PORT = Link(
    key=link_key("", "vr0"),
    up=True,
    mtu=1400,
    master="br0",
    addr_gen="none",
    port=BridgePort(isolated=True, hairpin=False),
    device="rep:nic0/1",
)
_BRIDGES = {"br0": "02:00:00:00:00:b0", "br1": "02:00:00:00:00:b1"}
REPRESENTOR = Sample(
    base=(
        replace(_NIC, eswitch="switchdev"),
        # With an address of their own: else a bridge has its ports', and none after its last port has gone.
        *(Link(key=link_key("", name), type="bridge", up=True, mac=mac) for name, mac in _BRIDGES.items()),
    ),
    spec=_PORT,
    variants=(
        replace(_PORT, up=False, mtu=1300),
        replace(_PORT, port=BridgePort(isolated=False, hairpin=True)),
        replace(_PORT, master="br1"),
        replace(_PORT, device="rep:nic0/2"),
    ),
    foreign="ip link add vr0 type bridge",
    setup=_SETUP,
    requires=("netdevsim",),
)
MORE = (VF, REPRESENTOR)
