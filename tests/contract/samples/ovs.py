from msgspec.structs import replace

from reconciler.resources.link import Link, Peer, link_key
from reconciler.resources.netns import Netns, netns_key
from reconciler.resources.ovs import (
    OvsBridge,
    OvsController,
    OvsInterface,
    OvsManager,
    OvsMirror,
    OvsPort,
    OvsQos,
    OvsQueue,
    OvsSetting,
    OvsSwitch,
    ovs_bridge_key,
    ovs_controller_key,
    ovs_manager_key,
    ovs_mirror_key,
    ovs_port_key,
    ovs_qos_key,
    ovs_queue_key,
    ovs_setting_key,
    switch_key,
)
from reconciler.resources.resource import Entries
from tests.contract.sample import Sample
from tests.kernel.switch import START

# With another bridge of that datapath, whose own interface (ovs-netdev) would else come and go with ours.
SETUP = f"{START}ovs-vsctl add-br other -- set bridge other datapath_type=netdev"
_BR = OvsBridge(
    key=ovs_bridge_key("sw0"),
    datapath_type="netdev",
    fail_mode="standalone",
    protocols=(),
    stp=False,
    rstp=False,
    mcast_snooping=False,
    other_config=(),
    fault="",
)
_NETNS = Netns(key=netns_key("web"), lo=True, sysctls=())
_NEAR = Link(
    key=link_key("", "ve0"), type="veth", up=True, mtu=1500, addr_gen="none", peer=Peer(netns="web", name="eth0")
)
_FAR = Link(key=link_key("web", "eth0"), type="veth", up=True, mtu=1500, addr_gen="none", maker=_NEAR.key)
_VETH = OvsInterface(name="ve0", type="", policing_rate=0, policing_burst=0, fault="")
_PORT = OvsPort(
    key=ovs_port_key("ve0"),
    bridge="sw0",
    tag=10,
    trunks=(),
    vlan_mode="access",
    protected=False,
    qos="",
    external_ids=Entries((("iface", "web/eth0"),)),
    interfaces=(_VETH,),
)
_INNER = OvsPort(
    key=ovs_port_key("in0"),
    bridge="sw0",
    tag=-1,
    interfaces=(OvsInterface(name="in0", type="internal", options=(), mtu=1500, ofport=0, mac="", fault=""),),
)
_VXLAN = OvsPort(
    key=ovs_port_key("vx0"),
    bridge="sw0",
    interfaces=(
        OvsInterface(name="vx0", type="vxlan", options=(("key", "100"), ("remote_ip", "192.0.2.2")), fault=""),
    ),
)
_QUEUE = OvsQueue(key=ovs_queue_key("slow"), other_config=(("max-rate", "1000000"),), dscp=-1)
_QOS = OvsQos(
    key=ovs_qos_key("limit"), type="linux-htb", queues=((0, "slow"),), other_config=(("max-rate", "1000000"),)
)
_TARGET = "tcp:127.0.0.1:6653"
_FOREIGN = "ovs-vsctl add-br sw0 -- set bridge sw0 datapath_type=netdev"
_OVS = ("ovs", "link:tap")

SAMPLE = Sample(
    spec=_BR,
    variants=(
        replace(_BR, fail_mode="secure", protocols=("OpenFlow13", "OpenFlow14"), stp=True),
        replace(_BR, rstp=True, mcast_snooping=True, other_config=(("mac-table-size", "4096"),)),
        replace(_BR, external_ids=Entries((("site", "one"), ("other", "")))),
    ),
    foreign=_FOREIGN,
    beside=(_INNER,),
    cascade=(_BR.key,),
    setup=SETUP,
    requires=_OVS,
)
_BASE = (_NETNS, _NEAR, _FAR, _BR)
MORE = (
    Sample(
        base=_BASE,
        spec=_PORT,
        variants=(
            replace(_PORT, tag=20, trunks=(20, 30), vlan_mode="native-tagged"),
            replace(_PORT, tag=-1, vlan_mode="", protected=True, external_ids=Entries((("iface", ""),))),
            replace(_PORT, interfaces=(replace(_VETH, policing_rate=1000, policing_burst=100),)),
        ),
        foreign=f"{_FOREIGN}; ip link add ve0 type veth peer name o; ovs-vsctl add-port sw0 ve0",
        cascade=(_BR.key,),
        setup=SETUP,
        requires=_OVS,
    ),
    Sample(
        base=(_BR,),
        spec=_INNER,
        variants=(
            replace(_INNER, interfaces=(replace(_INNER.interfaces[0], mtu=1400, ofport=77),)),
            replace(_INNER, interfaces=(replace(_INNER.interfaces[0], mac="02:00:00:00:00:05"),)),
        ),
        setup=SETUP,
        requires=_OVS,
    ),
    Sample(
        base=(_BR,),
        spec=_VXLAN,
        variants=(
            replace(_VXLAN, interfaces=(replace(_VXLAN.interfaces[0], options=(("remote_ip", "192.0.2.3"),)),)),
            replace(
                _VXLAN,
                bond_mode="active-backup",
                lacp="off",
                bond_updelay=100,
                bond_downdelay=200,
                other_config=(("bond-rebalance-interval", "0"),),
                interfaces=(
                    OvsInterface(name="vx0", type="vxlan", options=(("remote_ip", "192.0.2.2"),), fault=""),
                    OvsInterface(name="vx1", type="geneve", options=(("remote_ip", "192.0.2.3"),), fault=""),
                ),
            ),
        ),
        setup=SETUP,
        requires=_OVS,
    ),
    Sample(
        base=(_BR, _INNER, _VXLAN),
        spec=OvsMirror(
            key=ovs_mirror_key("sw0", "tap"),
            bridge="sw0",
            name="tap",
            select_all=True,
            from_ports=(),
            to_ports=(),
            vlans=(),
            output_port="in0",
            output_vlan=-1,
            snaplen=0,
        ),
        variants=(
            OvsMirror(
                key=ovs_mirror_key("sw0", "tap"),
                bridge="sw0",
                name="tap",
                select_all=False,
                from_ports=("vx0",),
                to_ports=("vx0",),
                vlans=(5, 6),
                output_port="",
                output_vlan=9,
                snaplen=128,
            ),
        ),
        foreign=f"{_FOREIGN} -- --id=@m create mirror name=tap select_all=true output_vlan=7 -- set bridge sw0 mirrors=@m",
        cascade=(_BR.key,),
        setup=SETUP,
        requires=_OVS,
    ),
    Sample(spec=_QUEUE, variants=(replace(_QUEUE, dscp=46, other_config=()),), setup=SETUP, requires=_OVS),
    Sample(
        base=(_QUEUE,),
        spec=_QOS,
        variants=(replace(_QOS, type="linux-hfsc", queues=(), other_config=()),),
        setup=SETUP,
        requires=_OVS,
    ),
    Sample(
        base=(_BR,),
        spec=OvsController(key=ovs_controller_key("sw0", _TARGET), bridge="sw0", target=_TARGET, connection_mode=""),
        variants=(
            OvsController(
                key=ovs_controller_key("sw0", _TARGET),
                bridge="sw0",
                target=_TARGET,
                connection_mode="out-of-band",
                inactivity_probe=9000,
                max_backoff=2000,
            ),
        ),
        foreign=f"{_FOREIGN} -- set-controller sw0 {_TARGET}",
        cascade=(_BR.key,),
        setup=SETUP,
        requires=_OVS,
    ),
    Sample(
        spec=OvsManager(key=ovs_manager_key("ptcp:6640:127.0.0.1"), target="ptcp:6640:127.0.0.1", inactivity_probe=-1),
        variants=(
            OvsManager(
                key=ovs_manager_key("ptcp:6640:127.0.0.1"),
                target="ptcp:6640:127.0.0.1",
                inactivity_probe=9000,
                max_backoff=2000,
                connection_mode="out-of-band",
            ),
        ),
        foreign="ovs-vsctl set-manager ptcp:6640:127.0.0.1",
        setup=SETUP,
        requires=_OVS,
    ),
    Sample(
        spec=OvsSetting(key=ovs_setting_key("other_config", "max-idle"), value="5000"),
        variants=(OvsSetting(key=ovs_setting_key("other_config", "max-idle"), value="6000"),),
        setup=SETUP,
        requires=_OVS,
    ),
    Sample(spec=OvsSwitch(key=switch_key()), given=START, requires=_OVS),
)
