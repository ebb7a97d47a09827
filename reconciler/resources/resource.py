"""The vocabulary of all resources: what a thing on a host is, pure and without any I/O.

A resource is the frozen specification of one thing that the kernel (or a daemon) holds. The same class
describes what is wanted and what was seen. A field left ``None`` is *not managed*: never compared, never
written. Field values are JSON-native and hashable (``str``, ``int``, ``bool``, tuples of them, nested
frozen parts), so that specs compare, hash and travel as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple, Protocol, Self

from msgspec import Struct
from msgspec.structs import replace

from reconciler.errors import Origin
from reconciler.sourced import Sourced

Data = dict[str, Any]
Shapes = Mapping[str, type]


class Key(NamedTuple):
    """The identity of a resource; prints as ``link/@web-1/eth0``, in the host's own namespace as ``link/br0``.

    A named tuple: keys are hashed and compared millions of times, and a tuple does
    both in C. ``netns`` is a sandbox's (``SandboxView.netns``), ``""`` the host's own namespace.
    """

    kind: str
    netns: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind}/@{self.netns}/{self.name}" if self.netns else f"{self.kind}/{self.name}"

    @property
    def sandbox(self) -> str:
        """The sandbox that it is about, "" for the host: a namespace itself is about the one that it is of."""
        return self.name if self.kind == "netns" else self.netns

    @classmethod
    @lru_cache(1 << 16)
    def parse(cls, text: str) -> Key:
        """The inverse of ``str()``. Raises ValueError on anything else."""
        kind, slash, rest = text.partition("/")
        netns = ""
        if rest.startswith("@"):
            netns, slash, rest = rest[1:].partition("/")
        if not (kind and slash and rest):
            raise ValueError(f"not a resource key: {text!r} (write kind/name or kind/@sandbox/name)")
        return cls(kind, netns, rest)


class Need(NamedTuple):
    """Something that must stand before this resource can: *any one* of ``keys`` does.

    ``pending`` is what to tell the user when none of them is wanted or seen (a parent that is missing):
    the resource, and all that hangs on it, then waits instead of failing. Empty: its absence is an error.
    """

    keys: tuple[Key, ...]
    pending: str = ""


class Claim(NamedTuple):
    """A thing of which there is one only: ``("ifname", "web-1", "eth0")``, ``("vxlan", "", "4096:4789")``."""

    space: str
    netns: str
    value: str


class Impact(StrEnum):
    """What a step costs the traffic that runs now."""

    NONE = "none"
    FLAP = "flap"
    OUTAGE = "outage"


class Change(NamedTuple):
    """How one spec becomes another: in place, or (``reason`` says why) by delete and create."""

    in_place: bool
    impact: Impact = Impact.NONE
    reason: str = ""


class Part(Struct, frozen=True, forbid_unknown_fields=True):
    """A part of a spec that has fields of its own."""


class Entries(Part, frozen=True):
    """Some entries of a map that others write to as well: only those named are managed. ``""``: that one is not there."""

    pairs: tuple[tuple[str, str], ...] = ()

    def within(self, seen: Entries) -> bool:
        """Whether ``seen`` has them all."""
        found = dict(seen.pairs)
        return all(found.get(name, "") == value for name, value in self.pairs)

    def of(self, seen: Entries) -> Entries:
        """``seen`` cut down to them."""
        found = dict(seen.pairs)
        return Entries(tuple((name, found.get(name, "")) for name, _value in self.pairs))

    def against(self, seen: Entries) -> Entries:
        """These and no others: what ``seen`` has beyond them is not to be there."""
        own = dict(self.pairs)
        return Entries((*self.pairs, *((name, "") for name, _value in seen.pairs if name not in own)))


class Seen(Protocol):
    """What was observed, as an index for cascade questions."""

    def get(self, key: Key) -> Resource | None:
        """The observed resource of this key."""

    def hanging_on(self, key: Key) -> Iterable[Resource]:
        """Observed resources whose ``hangs_on()`` names ``key``."""


class Resource(Sourced, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of all specs; see the module's text. Subclasses add fields, most of them ``| None = None``."""

    key: Key
    origin: Origin = Origin()

    kind: ClassVar[str] = ""
    batch: ClassVar[str] = ""  # ops of one batch name go down together, through one actuator
    transaction: ClassVar[bool] = False  # all ops of the batch in a plan are one atomic step
    lingers: ClassVar[bool] = False  # it does not go by itself with what it hangs on, but is of no use without
    setting: ClassVar[bool] = False  # a value on something that always stands (sysctl): set and put back, never made
    follows: ClassVar[tuple[str, ...]] = ()  # kinds that go first where they share this one's group()
    holds: ClassVar[tuple[str, ...]] = ()  # kinds that die with it: with somebody else's on it, it is not removed
    final: ClassVar[bool] = False  # its deletion cannot be undone: it is done last of all, when all else holds
    guard: ClassVar[bool] = False  # a filter: in force before what it guards comes, gone only after that
    marked: ClassVar[str] = ""  # how it is known as ours: "itself" | "link" | "inventory" | ""
    unadoptable: ClassVar[str] = ""  # why what is somebody else's is never taken over
    fixed: ClassVar[Mapping[str, str]] = {}  # field -> why it cannot change in place
    flaps: ClassVar[frozenset[str]] = frozenset()  # fields whose in-place change interrupts traffic briefly

    def identity(self) -> Key:
        """The key that the spec itself spells, where it repeats what is in ``key``: input whose two differ is refused."""
        return self.key

    def needs(self) -> Iterable[Need]:
        """What must stand before this can be created, and must not be deleted before it."""
        return ()

    def hangs_on(self) -> Iterable[Key]:
        """Keys with which the kernel silently drops this resource when *they* are deleted."""
        return ()

    def claims(self) -> Iterable[Claim]:
        """What this resource occupies as long as it stands: whatever takes over a claim comes after its release."""
        return ()

    def group(self) -> Key | None:
        """What this resource is about, to order it among others (see ``follows``): an address's link."""
        return None

    def awaited(self) -> str:
        """Not empty: cnm never makes, changes or removes this, it only builds on it; the text says what is
        missing when it is absent (then all that needs it is pending): ``no namespace at /run/netns/x``."""
        return ""

    def guarded(self) -> bool:
        """True for what lets traffic through and must not stand without its guards."""
        return False

    def made_by(self) -> Key | None:
        """The key whose creation also brings this one into being (a veth's other end), if any."""
        return None

    def takes_along(self, seen: Seen) -> Iterable[Key]:
        """Keys that the kernel drops together with this one when it is deleted (one step; not transitive)."""
        return (resource.key for resource in seen.hanging_on(self.key))

    def drops(self, new: Self, seen: Seen) -> Iterable[Key]:
        """Keys that the kernel drops when this one is changed in place to ``new`` (link down: its routes)."""
        return ()

    def eviction(self, other: Key) -> str:
        """How somebody else's thing that this one ``holds`` is moved out of the way, for people."""
        return f"move or remove {other} first"

    def as_set(self, was: Self) -> Self:
        """For a setting that is several values: those of them that we had set; ``was`` is what stood before us."""
        return self

    def restorable(self) -> Self | None:
        """This observed spec as something to make again when a run is undone, without what can only be observed.
        None for what comes and goes by itself, and for what cannot be made again from what is known of it."""
        return self

    def change_to(self, new: Self) -> Change:
        """How this observed spec becomes ``new``. Called only when they differ in a field that ``new`` manages."""
        changed = self.differs(new)
        for name in changed:
            if name in self.fixed:
                return Change(False, Impact.OUTAGE, f"{name}: {self.fixed[name]}")
        return Change(True, Impact.FLAP if self.flaps.intersection(changed) else Impact.NONE)

    @classmethod
    def shapes(cls, spec: Mapping[str, Any]) -> Shapes:
        """The classes of fields whose shape depends on others, for reading a spec from data."""
        return {}

    def differs(self, new: Self) -> tuple[str, ...]:
        """Names of the fields that ``new`` manages and that are otherwise here. Nested specs count as one field."""
        found = []
        for name in spec_fields(type(self)):
            wanted = getattr(new, name)
            if wanted is not None and (seen := getattr(self, name)) != wanted and not satisfied(seen, wanted):
                found.append(name)
        return tuple(found)

    def managed(self, new: Self) -> Self:
        """This observed spec cut down to the fields that ``new`` manages: what a plan shows as 'before'."""
        cut = {name: _cut(getattr(self, name), getattr(new, name)) for name in spec_fields(type(self))}
        return replace(self, **cut)

    def data(self) -> Data:
        """The managed fields as JSON-native data; key and origin left out."""
        return {name: _plain(value) for name in spec_fields(type(self)) if (value := getattr(self, name)) is not None}

    @classmethod
    def from_data(cls, data: Data) -> Data:
        """The fields that :meth:`data` gives, as the class has them: for kinds that show a field in another shape."""
        return data


_SPEC_FIELDS: dict[type, tuple[str, ...]] = {}


def spec_fields(cls: type[Struct]) -> tuple[str, ...]:
    """The names of the fields that make up a kind's spec, or a part of one, in declaration order."""
    names = _SPEC_FIELDS.get(cls)
    if names is None:
        names = _SPEC_FIELDS[cls] = tuple(name for name in cls.__struct_fields__ if name not in ("key", "origin"))
    return names


def satisfied(seen: Any, wanted: Any) -> bool:
    """True when ``seen`` already is what ``wanted`` manages. Nested specs are compared field by field, tuples of them
    item by item."""
    if wanted is None or seen == wanted:
        return True
    if isinstance(wanted, Entries):
        return isinstance(seen, Entries) and wanted.within(seen)
    if _are_specs(wanted) and _are_specs(seen):
        return len(seen) == len(wanted) and all(map(satisfied, seen, wanted))
    if seen is not None and type(seen) is type(wanted) and isinstance(wanted, Struct):
        return all(satisfied(getattr(seen, name), getattr(wanted, name)) for name in wanted.__struct_fields__)
    return False


def again(was: Any, seen: Any) -> Any:
    """``was`` (a spec, or a part of one) as what is wanted where ``seen`` stands, to have it as it was: maps that others
    write to as well without the entries that came since."""
    if isinstance(was, Entries) and isinstance(seen, Entries):
        return was.against(seen)
    if _are_specs(was) and _are_specs(seen) and len(was) == len(seen):
        return tuple(map(again, was, seen))
    if type(was) is type(seen) and isinstance(was, Struct):
        changed = {
            name: part
            for name in was.__struct_fields__
            if (part := again(old := getattr(was, name), getattr(seen, name))) is not old
        }
        return replace(was, **changed) if changed else was
    return was


def _are_specs(value: Any) -> bool:
    return isinstance(value, tuple) and bool(value) and isinstance(value[0], Struct)


def _cut(seen: Any, wanted: Any) -> Any:
    if wanted is None or seen is None:
        return None
    if isinstance(wanted, Entries) and isinstance(seen, Entries):
        return wanted.of(seen)
    if _are_specs(wanted) and _are_specs(seen) and len(seen) == len(wanted):
        return tuple(map(_cut, seen, wanted))
    if type(seen) is type(wanted) and isinstance(wanted, Struct):
        cut = {name: _cut(getattr(seen, name), getattr(wanted, name)) for name in wanted.__struct_fields__}
        return replace(wanted, **cut)
    return seen


_ATOMS = frozenset((str, int, bool))


def _plain(value: Any) -> Any:
    if type(value) in _ATOMS:
        return value
    if isinstance(value, tuple):
        return [item if type(item) in _ATOMS else _plain(item) for item in value]
    if isinstance(value, Struct):
        return {name: _plain(item) for name in value.__struct_fields__ if (item := getattr(value, name)) is not None}
    return value


class Observed(NamedTuple):
    """A resource as the host holds it.

    ``owner`` is the owner that its mark (or our inventory) names; ``""`` means nobody's mark: foreign.
    ``was`` is only set for settings: what stood before we changed it, from the inventory.
    """

    resource: Resource
    owner: str = ""
    was: Resource | None = None
