from reconciler.resources.sysctl import Sysctl, sysctl_key
from tests.contract.sample import Sample

_KEY = sysctl_key("", "net/ipv4/ip_forward")
SAMPLE = Sample(spec=Sysctl(key=_KEY, value="1"), variants=(Sysctl(key=_KEY, value="0"),))
MORE = (Sample(spec=Sysctl(key=sysctl_key("", "net/ipv6/conf/all/forwarding"), value="1")),)
