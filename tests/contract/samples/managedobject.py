import sys

from msgspec.structs import replace

from reconciler.resources.managedobject import Fabric, ManagedObject, fabric_key, object_key
from tests.contract.sample import Sample

# A stand-in for an APIC, in the test's own namespaces; it ends with them.
_FOLDER, _PORT = "/run/apic", 8443
_SERVE = (
    f"{sys.executable} -m tests.lab.apic {_FOLDER} --port {_PORT} --domain servers >/dev/null 2>&1 & "
    f"while [ ! -e {_FOLDER}/port ]; do sleep 0.02; done"
)
_FABRIC = Fabric(
    key=fabric_key("dc1"),
    apics=(f"https://127.0.0.1:{_PORT}",),
    user="cnm",
    password_file=f"{_FOLDER}/password",
    ca_file=f"{_FOLDER}/ca.pem",
)
_TENANT = ManagedObject(key=object_key("dc1", "uni/tn-shop"), cls="fvTenant", attributes=())
_VRF = ManagedObject(
    key=object_key("dc1", "uni/tn-shop/ctx-shop"), cls="fvCtx", attributes=(("pcEnfPref", "enforced"),)
)
_BY_HAND = (
    "from tests.lab.apic import by_hand; "
    f"by_hand('{_FOLDER}', {_PORT}, {{'fvTenant': {{'attributes': {{'name': 'shop'}}}}}})"
)
SAMPLE = Sample(
    base=(_FABRIC, _TENANT),
    spec=_VRF,
    variants=(replace(_VRF, attributes=(("pcEnfPref", "unenforced"),)),),
    cascade=(_TENANT.key,),
    setup=_SERVE,
    requires=("command:openssl",),
)
_TOP = Sample(
    base=(_FABRIC,),
    spec=_TENANT,
    foreign=f'{sys.executable} -c "{_BY_HAND}"',
    setup=_SERVE,
    requires=("command:openssl",),
)
_GIVEN = Sample(spec=_FABRIC, given=_SERVE, requires=("command:openssl",))
MORE = (_TOP, _GIVEN)
