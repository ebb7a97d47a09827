from msgspec.structs import replace

from reconciler.resources.xfrm import (
    ALGORITHM,
    ICV,
    KeyRef,
    Secret,
    XfrmPolicy,
    XfrmState,
    policy_key,
    secret_key,
    spi_of,
    state_key,
)
from tests.contract.sample import Sample

_HERE, _THERE, _PORT = "192.0.2.1", "192.0.2.2", 14789
_FILE = "/run/cnm-test.keys"  # in the test's own /run
_WRITE = f"umask 077; for id in one two; do printf '%s %064d\\n' $id 1; done > {_FILE}"


def _secret(key_id: str) -> Secret:
    return Secret(key=secret_key(_FILE, key_id), file=_FILE, id=key_id)


def _state(src: str, dst: str, key_id: str) -> XfrmState:
    spi = spi_of(src, dst, _PORT, key_id)
    return XfrmState(
        key=state_key(dst, spi),
        src=src,
        dst=dst,
        spi=spi,
        port=_PORT,
        secret=KeyRef(file=_FILE, id=key_id),
        algorithm=f"{ALGORITHM} {ICV}",
    )


def _policy(direction: str, src: str, dst: str, action: str, spi: int = 0) -> XfrmPolicy:
    key = policy_key(direction, src, dst, _PORT)
    return XfrmPolicy(key=key, direction=direction, src=src, dst=dst, port=_PORT, action=action, spi=spi)  # type: ignore[arg-type]  # two words each


SAMPLE = Sample(spec=_secret("one"), given=_WRITE)
_OUT, _NEXT = _state(_HERE, _THERE, "one"), _state(_HERE, _THERE, "two")
_STATE = Sample(
    base=(_secret("one"),),
    spec=_OUT,
    setup=_WRITE,
    foreign=f"ip xfrm state add src {_HERE} dst {_THERE} proto esp spi {_OUT.spi:#x} reqid 7 mode transport "
    f"aead '{ALGORITHM}' 0x{'00' * 36} 128",
    requires=("esp",),
)
_PROTECT = _policy("out", _HERE, _THERE, "esp", _OUT.spi)
_OUTWARD = Sample(
    base=(_secret("one"), _secret("two"), _OUT, _NEXT),
    spec=_PROTECT,
    variants=(replace(_PROTECT, spi=_NEXT.spi), replace(_PROTECT, action="block", spi=0)),
    setup=_WRITE,
    requires=("esp",),
)
_BLOCK = Sample(
    spec=_policy("in", "::", "2001:db8::1", "block"),
    variants=(_policy("in", "::", "2001:db8::1", "esp"),),
    foreign=f"ip xfrm policy add src ::/0 dst 2001:db8::1/128 proto udp dport {_PORT} dir in action block priority 5",
    requires=("esp",),
)
MORE = (_STATE, _OUTWARD, _BLOCK)
