from reconciler.resources.conntrack import Conntrack, conntrack_key
from tests.contract.sample import Sample

SAMPLE = Sample(spec=Conntrack(key=conntrack_key("udp", 53, 53, "10.1.0.2", 5353)))
MORE = (Sample(spec=Conntrack(key=conntrack_key("tcp", 5000, 5009, "fd01::2", 5000, "2001:db8::1"))),)
