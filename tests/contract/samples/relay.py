from msgspec.structs import replace

from reconciler.errors import Origin
from reconciler.resources.attended import ATTENDANT, attendant_process
from reconciler.resources.relay import Relay, relay_key
from tests.contract.sample import Sample

_BASE = (attendant_process(Origin()),)
_TCP = Relay(
    key=relay_key("tcp", 8080, 8080),
    protocol="tcp",
    first=8080,
    last=8080,
    bind=("0.0.0.0", "::"),
    serve=("::1",),
    to="10.1.0.2",
    to_port=80,
)
SAMPLE = Sample(
    base=_BASE,
    spec=_TCP,
    variants=(
        replace(_TCP, to="fd01::2", to_port=8080),
        replace(_TCP, serve=("::",)),
        replace(_TCP, bind=("127.0.0.1", "::1")),
    ),
    cascade=(ATTENDANT,),
)
MORE = (
    Sample(
        base=_BASE,
        spec=replace(_TCP, key=relay_key("udp", 5000, 5009), protocol="udp", first=5000, last=5009, to_port=1),
    ),
)
