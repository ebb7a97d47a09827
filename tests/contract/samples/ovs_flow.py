from msgspec.structs import replace

from reconciler.resources.ovs_flow import OvsFlow, flow_key
from tests.contract.sample import Sample
from tests.contract.samples.ovs import _BR, _FOREIGN, _INNER, _OVS, SETUP

_FLOW = OvsFlow(key=flow_key("sw0", 10, 100, "ip,in_port=in0,nw_src=10.0.0.0/24"), actions="output:LOCAL", label=7)
SAMPLE = Sample(
    base=(_BR, _INNER),
    spec=replace(_FLOW, actions="LOCAL"),
    variants=(
        replace(_FLOW, actions="resubmit(,20)", label=8),
        replace(_FLOW, actions="ct(commit,zone=5),output:in0"),
        replace(_FLOW, actions="drop"),
    ),
    foreign=f"{_FOREIGN} -- add-port sw0 in0 -- set interface in0 type=internal;"
    " ovs-ofctl add-flow sw0 table=10,priority=100,ip,in_port=in0,nw_src=10.0.0.0/24,actions=LOCAL",
    cascade=(_BR.key,),
    setup=SETUP,
    requires=_OVS,
)
# Forms in which ovs-ofctl prints what is used here: each comes back as it was written.
MORE = tuple(
    Sample(
        base=(_BR, _INNER),
        spec=OvsFlow(key=flow_key("sw0", table, priority, match), actions=actions),
        setup=SETUP,
        requires=_OVS,
    )
    for table, priority, match, actions in (
        (0, 0, "", "NORMAL"),
        (0, 32768, "arp,in_port=in0,arp_spa=10.0.0.1", "drop"),
        (
            5,
            1,
            "ct_state=+trk+est,udp6,metadata=0x5/0xff,ipv6_src=fd00::/64,tp_src=0x1f40/0xfff8",
            "set_field:0x7->metadata,set_field:46->ip_dscp,push_vlan:0x8100,set_field:4106->vlan_vid,output:in0",
        ),
    )
)
