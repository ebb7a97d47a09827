from msgspec.structs import replace

from reconciler.resources.ovs_meter import OvsMeter, ovs_meter_key
from tests.contract.sample import Sample
from tests.contract.samples.ovs import _BR, _OVS, SETUP

_METER = OvsMeter(key=ovs_meter_key("sw0", 7), rate=10000, burst=1000)
SAMPLE = Sample(
    base=(_BR,),
    spec=_METER,
    variants=(replace(_METER, rate=20000, burst=4000),),
    foreign="ovs-vsctl add-br sw0 -- set bridge sw0 datapath_type=netdev;"
    " ovs-ofctl -O OpenFlow13 add-meter sw0 meter=7,kbps,burst,band=type=drop,rate=1,burst_size=1",
    cascade=(_BR.key,),
    setup=SETUP,
    requires=_OVS,
)
