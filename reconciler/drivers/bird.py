"""BIRD's configuration, as text (BIRD 2, https://bird.network.cz/?get_doc&v=20).

Everything from a manifest that is written into it passes :func:`string` or :func:`symbol`, or is a number or an address by
its type, so that nothing can become a statement of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from hashlib import sha256

from msgspec import Struct

from reconciler.netlink.mark import PROTOCOL
from reconciler.resources.bird import password_of
from reconciler.topology.view import Address, SpeakerView, Subnet

_SYMBOL = re.compile(r"[A-Za-z0-9_.:-]{1,250}\Z", re.ASCII)
_LONGEST = 60  # SYM_MAX_LEN is 64
_STRING = re.compile(r"[ !#-~]{1,250}\Z", re.ASCII)  # BIRD knows no way to write a quotation mark in a string
VERSIONS = (4, 6)


def string(value: object) -> str:
    """A string, quoted. Raises ValueError for what BIRD cannot have in one: quotation marks, line ends, other control
    characters, what is not ASCII, nothing at all."""
    text = str(value)
    if not _STRING.match(text):
        raise ValueError(f"{text!r} cannot be written into BIRD's configuration")
    return f'"{text}"'


def symbol(value: object) -> str:
    """A name, quoted; one that is too long is cut, with a hash of the whole. Raises ValueError for what is no name."""
    text = str(value)
    if not _SYMBOL.match(text):
        raise ValueError(f"{text!r} cannot be a name in BIRD's configuration")
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST - 9]}.{sha256(text.encode()).hexdigest()[:8]}"
    return f"'{text}'"


class Prefix(Struct, frozen=True):
    """Prefixes of ``least`` to ``most`` bits in a CIDR."""

    cidr: Subnet
    least: int
    most: int

    @property
    def text(self) -> str:
        bounds = (self.least, self.most)
        return str(self.cidr) if bounds == (self.cidr.prefixlen,) * 2 else f"{self.cidr}{{{bounds[0]},{bounds[1]}}}"


def exactly(cidr: Subnet) -> Prefix:
    return Prefix(cidr, cidr.prefixlen, cidr.prefixlen)


def within(cidr: Subnet) -> Prefix:
    """The CIDR and all that is inside it."""
    return Prefix(cidr, cidr.prefixlen, cidr.max_prefixlen)


def inside(cidr: Subnet) -> Prefix:
    """All that is inside it, without itself."""
    return Prefix(cidr, min(cidr.prefixlen + 1, cidr.max_prefixlen), cidr.max_prefixlen)


def one_of(prefixes: Iterable[Prefix], version: int) -> str:
    """``net ~ [ ... ]`` of those of a family; ``false`` where there are none: BIRD has no empty set of prefixes."""
    texts = sorted({prefix.text for prefix in prefixes if prefix.cidr.version == version})
    return f"net ~ [ {', '.join(texts)} ]" if texts else "false"


class Change(Struct, frozen=True):
    """What a route gets, where all of ``prefixes`` (None: any) and ``communities`` (none: any) hold. ``verdict``: accept,
    reject, or "" to go on."""

    verdict: str
    prefixes: tuple[Prefix, ...] | None = None
    communities: tuple[str, ...] = ()
    add: tuple[str, ...] = ()
    prepend: int = 0
    local_pref: int | None = None


class Watch(Struct, frozen=True):
    """BFD: milliseconds between packets, and how many that do not come end a session."""

    interval: int
    multiplier: int


class Session(Struct, frozen=True):
    """A session of this node. ``imports`` and ``exports`` are asked in order, after ``scope``: what may come in at all (None:
    anything), and ``everything``: whether what was learned goes out too. ``client``: the peer is one of a reflector's.
    ``multihop`` 0: the peer is on a link of the node's; None: BIRD's own choice (inside an AS: anywhere)."""

    name: str
    about: str
    local: Address
    peer: Address
    asn: int
    port: int
    imports: tuple[Change, ...] = ()
    exports: tuple[Change, ...] = ()
    scope: tuple[Prefix, ...] | None = None
    everything: bool = False
    client: bool = False
    next_hop: str = "auto"
    password_file: str | None = None
    ttl_security: bool = False
    multihop: int | None = None
    graceful_restart: int = 120
    bfd: Watch | None = None


class Speech(Struct, frozen=True):
    """All that a node says. ``whole``: routes of the node that are announced as they are, and nothing inside them;
    ``parts``: any other route of the node in one of these is announced too, ``hosts`` are those that there are now;
    ``originated``: prefixes without a route of the node's; ``marks``: communities for what is announced; ``tunnelled``:
    prefixes whose routes are not taken from BGP."""

    speaker: SpeakerView
    port: int
    hold_time: int
    graceful_restart: int
    whole: tuple[Subnet, ...]
    parts: tuple[Subnet, ...]
    hosts: tuple[Subnet, ...]
    originated: tuple[Subnet, ...]
    marks: tuple[Change, ...]
    tunnelled: tuple[Subnet, ...]
    sessions: tuple[Session, ...]


def render(owner: str, speech: Speech) -> str:
    """The whole file. In that which somebody else's BIRD includes, nothing is said about the kernel, and routes are kept in
    tables of our own: what is announced is written down, and what is learned is handed to the master tables."""
    shared = bool(speech.speaker.include_file)
    lines = [_head(owner, speech)]
    if not shared:
        lines += [
            f"router id {speech.speaker.router_id};",
            "log stderr { warning, error, fatal, bug, auth };",
            f"graceful restart wait {min(max(speech.graceful_restart, 10), 120)};",
            "protocol device {}",
            "protocol direct { ipv4; ipv6; }",
            *(["protocol bfd cnm_bfd {}"] if any(session.bfd for session in speech.sessions) else []),
        ]
    for version in VERSIONS:
        lines += _functions(speech, version, shared=shared)
        lines += _tables(speech, version) if shared else _kernel(speech, version)
    for session in speech.sessions:
        lines += _session(speech, session, shared=shared)
    return "\n".join([*lines, ""])


def _head(owner: str, speech: Speech) -> str:
    speaker = speech.speaker
    text = f"# cnm {owner}: written whole by cnm, which undoes changes"
    if speaker.include_file:
        text += f"; included by {string(speaker.bird_config)}, read by the BIRD at {string(speaker.bird_socket)}"
    return text


def _functions(speech: Speech, version: int, *, shared: bool) -> Iterable[str]:
    """What is the node's own, and what is said of it."""
    yield f"function cnm_own{version}() {{"
    if shared:
        yield f'  return proto = "cnm_announced{version}";'
    else:
        yield f"  if source = RTS_STATIC && {one_of(map(exactly, speech.originated), version)} then return true;"
        yield "  if ! defined(krt_source) then return false;"
        yield f"  if krt_source != {PROTOCOL} then return false;"
        yield f"  if {one_of(map(exactly, speech.whole), version)} then return true;"
        yield f"  if {one_of(map(inside, speech.whole), version)} then return false;"
        yield f"  return {one_of(map(within, speech.parts), version)};"
    yield "}"
    yield f"function cnm_mark{version}() {{"
    for mark in speech.marks:
        yield from _change(mark, version, speech.speaker.asn)
    yield "}"


def _kernel(speech: Speech, version: int) -> Iterable[str]:
    """Others' routes are for finding next hops only. What a tunnel leads to, the tunnel's own routes lead to."""
    away = one_of(map(within, speech.tunnelled), version)
    yield f"protocol kernel cnm_kernel{version} {{"
    yield "  learn;"
    yield "  scan time 10;"
    yield "  graceful restart;"
    yield "  merge paths on;"
    yield f"  ipv{version} {{ import all; export where source = RTS_BGP && ! ({away}); }};"
    yield "}"
    yield from _originated(speech.originated, version)


def _originated(prefixes: Sequence[Subnet], version: int) -> Iterable[str]:
    mine = sorted(cidr for cidr in prefixes if cidr.version == version)
    if mine:
        yield f"protocol static cnm_originated{version} {{"
        yield f"  ipv{version};"
        yield from (f"  route {cidr} unreachable;" for cidr in mine)
        yield "}"


def _tables(speech: Speech, version: int) -> Iterable[str]:
    """What is announced by a BIRD whose dealings with the kernel are not ours: prefixes in a table that no kernel sees."""
    prefixes = {*speech.whole, *speech.hosts, *speech.originated}
    yield f"ipv{version} table cnm{version};"
    yield f"protocol static cnm_announced{version} {{"
    yield f"  ipv{version} {{ table cnm{version}; }};"
    yield from (f"  route {cidr} unreachable;" for cidr in sorted(c for c in prefixes if c.version == version))
    yield "}"
    yield f"protocol pipe cnm_learned{version} {{"
    yield f"  table master{version};"
    yield f"  peer table cnm{version};"
    away = one_of(map(within, speech.tunnelled), version)
    yield f"  import where source = RTS_BGP && ! ({away});"
    yield "  export none;"
    yield "}"


def _session(speech: Speech, session: Session, *, shared: bool) -> Iterable[str]:
    version = session.peer.version
    speaker = speech.speaker
    inside_as = session.asn == speaker.asn
    yield f"protocol bgp {symbol(session.name)} {{"
    yield f"  description {string(session.about)};"
    yield f"  local {session.local} port {speech.port} as {speaker.asn};"
    yield f"  neighbor {session.peer} port {session.port} as {session.asn};"
    if not shared:
        yield "  strict bind yes;"
    yield "  connect delay time 1;"
    yield "  connect retry time 10;"
    yield "  error wait time 2, 30;"
    yield f"  hold time {speech.hold_time};"
    if session.graceful_restart:
        yield "  graceful restart yes;"
        yield f"  graceful restart time {session.graceful_restart};"
    else:
        yield "  graceful restart aware;"
    if session.multihop is not None:
        yield f"  multihop {session.multihop};" if session.multihop else "  direct;"
    if session.bfd is not None:
        yield f"  bfd {{ interval {session.bfd.interval} ms; multiplier {session.bfd.multiplier}; }};"
    if session.ttl_security:
        yield "  ttl security yes;"
    if session.password_file is not None:
        yield f"  password {string(password_of(session.password_file))};"
    if session.client and inside_as:
        yield "  rr client;"
        yield f"  rr cluster id {speaker.cluster_id};"
    yield f"  ipv{version} {{"
    if shared:
        yield f"    table cnm{version};"
        yield f"    igp table master{version};"
    if session.next_hop != "auto":
        yield f"    next hop {session.next_hop};"
    yield "    import filter {"
    if session.scope is not None:
        yield f"      if ! ({one_of(session.scope, version)}) then reject;"
    for change in session.imports:
        yield from _change(change, version, speaker.asn, "      ")
    yield "      accept;"
    yield "    };"
    yield "    export filter {"
    more = " && source != RTS_BGP" if session.everything else ""
    yield f"      if ! cnm_own{version}(){more} then reject;"
    yield f"      cnm_mark{version}();"
    for change in session.exports:
        yield from _change(change, version, speaker.asn, "      ")
    yield "      accept;"
    yield "    };"
    yield "  };"
    yield "}"


def _change(change: Change, version: int, asn: int, indent: str = "  ") -> Iterable[str]:
    conditions = []
    if change.prefixes is not None:
        conditions.append(one_of(change.prefixes, version))
    if change.communities:
        conditions.append("(" + " || ".join(_carries(text) for text in change.communities) + ")")
    yield f"{indent}if {' && '.join(conditions) or 'true'} then {{"
    for text in change.add:
        kind, value = _community(text)
        yield f"{indent}  {kind}.add({value});"
    for _ in range(change.prepend):
        yield f"{indent}  bgp_path.prepend({asn});"
    if change.local_pref is not None:
        yield f"{indent}  bgp_local_pref = {change.local_pref};"
    if change.verdict:
        yield f"{indent}  {change.verdict};"
    yield f"{indent}}}"


def _carries(text: str) -> str:
    kind, value = _community(text)
    return f"{value} ~ {kind}"


def _community(text: str) -> tuple[str, str]:
    """(attribute, value) of ``64512:100`` or ``64512:1:100``."""
    parts = [str(int(part)) for part in text.split(":")]
    return ("bgp_community" if len(parts) == 2 else "bgp_large_community"), f"({','.join(parts)})"
