"""IPsec: which packets of a UDP port must be encrypted, and by which keys.

No spec holds a key. What is wanted names a file and an id in it; what is seen is compared with what that file says, and
where it is something else it is told of as a fingerprint. So plans, snapshots and journals have no secrets, and a
rollback takes the key from its file again.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping, Sequence
from errno import EEXIST, ENOENT, ENOKEY, EPROTONOSUPPORT, ESRCH
from hashlib import sha256
from typing import TYPE_CHECKING, ClassVar, Literal

from reconciler.netlink import xfrm as wire
from reconciler.resources.actuator import OpView, Outcome, Scope
from reconciler.resources.requests import Requests
from reconciler.resources.resource import Key, Need, Observed, Part, Resource

if TYPE_CHECKING:
    from reconciler.host.host import Host

ALGORITHM, ICV = "rfc4106(gcm(aes))", 128  # RFC 4106: AES-GCM with a 16-byte integrity check value
_KEY_BYTES = 32 + 4  # AES-256 and its salt
MASTER_BYTES = 32  # the least that a key in a file must have
_MARK = 0xC9 << 24  # the highest byte of our reqids; the next is the owner's, then the port
_PRIORITY = 0x00C90000  # and of our policies: rarely anybody's


def secret_key(file: str, key_id: str) -> Key:
    return Key("secret", "", f"{file}#{key_id}")


def state_key(dst: str, spi: int) -> Key:
    return Key("xfrm-state", "", f"{dst}/{spi:#010x}")


def policy_key(direction: str, src: str, dst: str, port: int) -> Key:
    """``src`` 0.0.0.0 or :: is everybody."""
    return Key("xfrm-policy", "", f"{direction}/{src}/{dst}/{port}")


def spi_of(src: str, dst: str, port: int, key_id: str) -> int:
    """The security parameter index by which both nodes know a key in one direction (RFC 4303, 2.1: above 255)."""
    number = int.from_bytes(sha256(f"{src} {dst} {port} {key_id}".encode()).digest()[:4], "big")
    return 256 + number % ((1 << 32) - 256)


def reqid_of(owner: str, port: int) -> int:
    """What ties policies to states, and marks both as an owner's."""
    return _MARK | sha256(owner.encode()).digest()[0] << 16 | port


def _priority(owner: str, action: str) -> int:
    """Protecting policies before the one that blocks everybody else. It is the mark of the latter."""
    return _PRIORITY | sha256(owner.encode()).digest()[0] << 1 | (action == "block")


def _unusable(file: str, key_id: str) -> str:
    return f"no usable key {key_id!r} in {file}: it needs mode 0600, root as owner, a line '{key_id} HEX' of 32 bytes or more"


class Secret(Resource, frozen=True, kw_only=True):
    """A key in a file: never made by us, only built on. It is there when the file is regular, only readable by its
    owner, who is root or us, and has a line with the id and at least 32 bytes in hexadecimal digits."""

    kind: ClassVar[str] = "secret"
    batch: ClassVar[str] = "xfrm"

    file: str
    id: str

    def identity(self) -> Key:
        return secret_key(self.file, self.id)

    def awaited(self) -> str:
        return _unusable(self.file, self.id)


class KeyRef(Part, frozen=True, kw_only=True):
    """A key by the file and the id that it has there; seen, and in none of the files that we know: by fingerprint."""

    file: str
    id: str

    @property
    def place(self) -> tuple[str, str]:
        return self.file or "any file", self.id


class XfrmState(Resource, frozen=True, kw_only=True):
    """An ESP security association from ``src`` to ``dst``. Its own key is derived from the file's for this direction
    of this pair of nodes, so no two associations share one."""

    kind: ClassVar[str] = "xfrm-state"
    batch: ClassVar[str] = "xfrm"
    marked: ClassVar[str] = "inventory"
    unadoptable: ClassVar[str] = "nobody can tell by which key it could be given back"
    fixed: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("src", "port", "secret", "algorithm"), "a security association keeps its ends and its key"
    )

    src: str
    dst: str
    spi: int
    port: int | None = None
    secret: KeyRef | None = None
    algorithm: str | None = None

    def identity(self) -> Key:
        return state_key(self.dst, self.spi)

    def needs(self) -> Iterable[Need]:
        if self.secret is not None:
            yield Need((secret_key(*self.secret.place),), _unusable(*self.secret.place))


class XfrmPolicy(Resource, frozen=True, kw_only=True):
    """What holds of packets from ``src`` to ``dst`` at a UDP port. ``action``: ``esp`` (only encrypted: by the state
    ``spi``, where that is set), or ``block``. In force before what it guards."""

    kind: ClassVar[str] = "xfrm-policy"
    batch: ClassVar[str] = "xfrm"
    marked: ClassVar[str] = "inventory"
    unadoptable: ClassVar[str] = "what else it asks of packets could not be given back"
    guard: ClassVar[bool] = True

    direction: Literal["in", "out"]
    src: str
    dst: str
    port: int
    action: Literal["esp", "block", "allow"] | None = None
    spi: int | None = None

    def identity(self) -> Key:
        return policy_key(self.direction, self.src, self.dst, self.port)

    def needs(self) -> Iterable[Need]:
        if self.spi:
            yield Need((state_key(self.dst, self.spi),), "there is no security association for it")


class XfrmActuator:
    """Reads and writes states and policies of the host's own namespace."""

    def read(self, host: Host, scope: Scope) -> Iterable[Observed]:
        """Opening the socket can load a kernel module, so it is only done where something is wanted or was made."""
        wanted = {key: spec for key, spec in scope.wanted.items() if key.kind in _KINDS}
        made = any(text.startswith(("xfrm-state/", "xfrm-policy/")) for text in host.inventory.made)
        if not (wanted or made or host.has_xfrm()):
            return
        secrets = {spec.key: spec for spec in wanted.values() if isinstance(spec, Secret)}
        named = [
            spec.secret for spec in wanted.values() if isinstance(spec, XfrmState)
        ]  # a rollback asks for them alone
        named += [
            KeyRef(**entry) for entry in host.inventory.secrets.values()
        ]  # of those that nobody asks for any more
        for ref in named:
            if ref is not None and ref.file:
                key = secret_key(*ref.place)
                secrets.setdefault(key, Secret(key=key, file=ref.file, id=ref.id))
        for secret in secrets.values():
            if host.secrets.get(secret.file, secret.id) is not None:
                yield Observed(secret)
        try:
            socket = host.root.xfrm
        except OSError:
            return  # no XFRM in this kernel: nothing is there, and making it will say so
        files = sorted({secret.file for secret in secrets.values()})
        for raw in socket.dump(wire.XFRM_MSG_GETSA, wire.dump_states(), wire.decode_state):
            yield _seen_state(host, raw, wanted.get(state_key(raw.dst, raw.spi)), files, scope.owner)
        for policy in socket.dump(wire.XFRM_MSG_GETPOLICY, wire.dump_policies(), wire.decode_policy):
            seen = _seen_policy(policy, scope.owner)
            if seen is not None:
                yield seen

    def apply(self, host: Host, ops: Sequence[OpView], owner: str) -> Iterable[Outcome]:
        """New states first, then what leads packets to them, then what is not needed any more."""
        outcomes = {op.id: Outcome(op.id) for op in ops}
        requests = Requests(host, xfrm=True)
        try:
            host.root.xfrm  # noqa: B018 - opened here, so that its absence is told in words
        except OSError:
            gone = Outcome("", EPROTONOSUPPORT, "this kernel has no IPsec (XFRM)")
            return [Outcome(op.id) if op.action == "delete" else gone._replace(id=op.id) for op in ops]
        for op in ops:  # what is to be undone one day, when nobody asks for it any more, needs its key again
            if op.action != "delete" and isinstance(op.after, XfrmState) and op.after.secret is not None:
                host.inventory.secrets[str(op.key)] = {"file": op.after.secret.file, "id": op.after.secret.id}
        host.inventory.save()
        for op in sorted(ops, key=_rank):
            spec = op.before if op.action == "delete" else op.after
            if isinstance(spec, XfrmState):
                refusal = _state(host, requests, op, spec, owner)
                if refusal is not None:
                    outcomes[op.id] = refusal
            elif isinstance(spec, XfrmPolicy):
                _policy(requests, op, spec, owner)
        for op_id, (errno, text) in requests.send().items():
            outcomes[op_id] = Outcome(op_id, errno, text)
        return outcomes.values()


def _rank(op: OpView) -> int:
    gone, state = op.action == "delete", op.key.kind == "xfrm-state"
    anew = gone and state and isinstance(op.after, XfrmState)
    return -1 if anew else (3 if state else 2) if gone else (0 if state else 1)


def _state(host: Host, requests: Requests, op: OpView, spec: XfrmState, owner: str) -> Outcome | None:
    if op.action == "delete":
        requests.add("", op.id, wire.delete_state(spec.dst, spec.spi), forgive=(ESRCH, ENOENT))
        return None
    master = host.secrets.get(spec.secret.file, spec.secret.id) if spec.secret is not None else None
    if master is None or spec.port is None:
        where = (
            f"{spec.secret.file} has no usable key {spec.secret.id!r} any more" if spec.secret else "no key is named"
        )
        return Outcome(op.id, ENOKEY, where)
    key = derive(master, spec.src, spec.dst, spec.port)
    request = wire.new_state(spec.src, spec.dst, spec.spi, reqid_of(owner, spec.port), ALGORITHM, ICV, key)
    requests.add("", op.id, request, forgive=(EEXIST,))
    return None


def _policy(requests: Requests, op: OpView, spec: XfrmPolicy, owner: str) -> None:
    direction = wire.DIRECTIONS[spec.direction]
    if op.action == "delete":
        requests.add("", op.id, wire.delete_policy(direction, spec.src, spec.dst, spec.port), forgive=(ENOENT,))
        return
    action = wire.BLOCK if spec.action == "block" else wire.ALLOW
    priority = _priority(owner, spec.action or "")
    reqid = reqid_of(owner, spec.port)
    requests.add(
        "",
        op.id,
        wire.set_policy(direction, spec.src, spec.dst, spec.port, priority, reqid, spec.spi or 0, action),
    )


def derive(master: bytes, src: str, dst: str, port: int) -> bytes:
    """The key of one direction between two nodes (RFC 5869: HKDF with SHA-256)."""
    pseudo = hmac.digest(b"cnm esp", master, "sha256")
    context = f"{src} {dst} {port}".encode()
    block, found = b"", b""
    for counter in (1, 2):
        block = hmac.digest(pseudo, block + context + bytes([counter]), "sha256")
        found += block
    return found[:_KEY_BYTES]


def _seen_state(host: Host, raw: wire.RawState, wanted: Resource | None, files: Sequence[str], owner: str) -> Observed:
    port = raw.reqid & 0xFFFF
    ours = raw.reqid == reqid_of(owner, port)
    secret = None
    if ours:
        secret = KeyRef(file="", id=f"fingerprint:{host.secrets.fingerprint(raw.key)}")
        named = wanted.secret if isinstance(wanted, XfrmState) else None
        tried = [(named.file, named.id)] if named is not None else []
        tried += [(file, key_id) for file in files for key_id in host.secrets.ids(file)]
        for file, key_id in tried:
            master = host.secrets.get(file, key_id)
            same = master is not None and hmac.compare_digest(derive(master, raw.src, raw.dst, port), raw.key)
            if same and raw.spi == spi_of(raw.src, raw.dst, port, key_id):
                secret = KeyRef(file=file, id=key_id)
                break
    spec = XfrmState(
        key=state_key(raw.dst, raw.spi),
        src=raw.src,
        dst=raw.dst,
        spi=raw.spi,
        port=port if ours else None,
        secret=secret,
        algorithm=f"{raw.algorithm} {raw.icv}",
    )
    return Observed(spec, owner if ours else "")


def _seen_policy(raw: wire.RawPolicy, owner: str) -> Observed | None:
    if raw.direction not in wire.DIRECTIONS.values():
        return None
    direction: Literal["in", "out"] = "in" if raw.direction == wire.DIRECTIONS["in"] else "out"
    action: Literal["esp", "block", "allow"] = (
        "block" if raw.action == wire.BLOCK else "esp" if raw.templates == 1 else "allow"
    )
    ours = raw.priority == _priority(owner, action)
    if action == "esp":
        ours = ours and raw.reqid == reqid_of(owner, raw.port)
    spec = XfrmPolicy(
        key=policy_key(direction, raw.src, raw.dst, raw.port),
        direction=direction,
        src=raw.src,
        dst=raw.dst,
        port=raw.port,
        action=action,
        spi=raw.spi,
    )
    return Observed(spec, owner if ours else "")


_KINDS = frozenset(("secret", "xfrm-state", "xfrm-policy"))
KINDS = (Secret, XfrmState, XfrmPolicy)
ACTUATOR = XfrmActuator()
