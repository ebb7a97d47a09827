"""Managed objects of a Cisco ACI fabric: what its APICs hold of tenants, application profiles and contracts.

Classes, containment and attributes are those of the Cisco APIC Management Information Model reference. The proof of
ownership is the attribute ``annotation``, which every configurable class has for orchestrators (APIC 3.2 and newer).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from errno import EBUSY, EEXIST, EIO, ENOENT
from typing import TYPE_CHECKING, Any, ClassVar, Self

from reconciler.errors import RemoteError
from reconciler.resources.actuator import OpView, Outcome, Scope
from reconciler.resources.resource import Data, Key, Need, Observed, Resource

if TYPE_CHECKING:
    from reconciler.host.apic import Apic, Login
    from reconciler.host.host import Host

# Class -> the attributes that we set, of which any other value is drift; what names an object is in its DN.
CLASSES: Mapping[str, tuple[str, ...]] = {
    "fvTenant": (),
    "fvCtx": ("pcEnfPref",),
    "fvBD": ("arpFlood", "unicastRoute", "unkMacUcastAct"),
    "fvSubnet": ("scope",),
    "fvRsCtx": ("tnFvCtxName",),
    "fvAp": (),
    "fvAEPg": ("pcEnfPref",),
    "fvRsBd": ("tnFvBDName",),
    "fvRsDomAtt": ("instrImedcy", "resImedcy"),
    "fvRsPathAtt": ("encap", "instrImedcy", "mode"),
    "fvRsProv": (),
    "fvRsCons": (),
    "fvRsIntraEpg": (),
    "vzBrCP": ("scope",),
    "vzSubj": ("revFltPorts",),
    "vzRsSubjFiltAtt": (),
    "vzFilter": (),
    "vzEntry": ("dFromPort", "dToPort", "etherT", "icmpv4T", "icmpv6T", "prot", "sFromPort", "sToPort", "stateful"),
}
# Relations to one: they stand as soon as their parent does, with nothing in them.
_TO_ONE: Mapping[str, str] = {"fvRsCtx": "tnFvCtxName", "fvRsBd": "tnFvBDName"}
# What others make and we only point at.
GIVEN = ("physDomP", "vmmDomP")
# APIC answers some ports and protocols by name (vzEntry's constants).
_PORTS = {
    "ftpData": "20",
    "ssh": "22",
    "smtp": "25",
    "dns": "53",
    "http": "80",
    "pop3": "110",
    "https": "443",
    "rtsp": "554",
}
_ORCHESTRATOR = "orchestrator:cnm."


def unusable(path: str) -> str:
    """What is said of a file in which no password is."""
    return f"no usable password in {path}: it needs mode 0600, root as owner, the password as its only line"


def annotation_of(owner: str) -> str:
    """The mark of an owner's objects."""
    return f"{_ORCHESTRATOR}{owner}"


def fabric_key(name: str) -> Key:
    return Key("fabric", "", name)


def object_key(fabric: str, dn: str) -> Key:
    """``mo/dc1/uni/tn-shop``."""
    return Key("mo", "", f"{fabric}/{dn}")


def parent_of(dn: str) -> str:
    """The DN of what contains an object; "" for the root's. Brackets in a DN hold DNs. Raises ValueError."""
    depth = 0
    for place in range(len(dn) - 1, -1, -1):
        depth += {"]": 1, "[": -1}.get(dn[place], 0)
        if depth < 0:
            break
        if dn[place] == "/" and not depth:
            return dn[:place]
    if depth:
        raise ValueError(f"{dn!r} is not a DN: its brackets do not match")
    return ""


class Fabric(Resource, frozen=True, kw_only=True):
    """The controllers of a fabric, built on and never made: how they are reached. The password is only in its file.
    ``here`` False: another node speaks to them."""

    kind: ClassVar[str] = "fabric"
    batch: ClassVar[str] = "fabric"

    apics: tuple[str, ...]
    user: str
    password_file: str
    ca_file: str | None = None
    timeout: int = 30
    here: bool = True

    @property
    def name(self) -> str:
        return self.key.name

    def awaited(self) -> str:
        return unusable(self.password_file)


class ManagedObject(Resource, frozen=True, kw_only=True):
    """One object of class ``cls``. ``attributes`` are those of :data:`CLASSES`, sorted. ``existing`` True: others made it,
    we only point at it."""

    kind: ClassVar[str] = "mo"
    batch: ClassVar[str] = "fabric"
    transaction: ClassVar[bool] = True  # one POST, which APIC takes whole or not at all
    marked: ClassVar[str] = "itself"
    holds: ClassVar[tuple[str, ...]] = ("mo",)
    fixed: ClassVar[Mapping[str, str]] = {"cls": "an object keeps its class"}

    cls: str
    attributes: tuple[tuple[str, str], ...] | None = None
    existing: bool = False

    @property
    def fabric(self) -> str:
        return self.key.name.partition("/")[0]

    @property
    def dn(self) -> str:
        return self.key.name.partition("/")[2]

    def needs(self) -> Iterable[Need]:
        if self.existing:
            return
        yield Need((fabric_key(self.fabric),), f"nothing is known of fabric {self.fabric}")
        parent = parent_of(self.dn)
        if parent.count("/"):
            yield Need((object_key(self.fabric, parent),))
        for target in self._targets():
            yield Need((object_key(self.fabric, target),))

    def _targets(self) -> Iterable[str]:
        """What a relation points at by its DN, in brackets, where that is not a port."""
        if self.cls == "fvRsDomAtt":
            yield self.dn.partition("/rsdomAtt-[")[2].removesuffix("]")

    def hangs_on(self) -> Iterable[Key]:
        parent = parent_of(self.dn)
        return (object_key(self.fabric, parent),) if parent.count("/") else ()

    def awaited(self) -> str:
        return (
            f"fabric {self.fabric} has no {self.dn} ({self.cls}): its administrators make it" if self.existing else ""
        )

    def data(self) -> Data:
        found: Data = {"cls": self.cls}
        if self.attributes is not None:
            found["attributes"] = dict(self.attributes)
        return found | ({"existing": True} if self.existing else {})

    @classmethod
    def from_data(cls, data: Data) -> Data:
        attributes = data.get("attributes")
        return data | {"attributes": sorted(attributes.items())} if isinstance(attributes, dict) else data

    def restorable(self) -> Self | None:
        return self


class ManagedObjectActuator:
    """Reads the tenants that somebody wants and all that carries our mark; writes what changes in one POST a fabric."""

    def read(self, host: Host, scope: Scope) -> Iterable[Observed]:
        """An APIC that does not answer, or not as one, is a RemoteError. Without a password nothing is asked."""
        fabrics = {spec.name: spec for spec in scope.wanted.values() if isinstance(spec, Fabric)}
        wanted = [spec for spec in scope.wanted.values() if isinstance(spec, ManagedObject)]
        waiting = {name for name, spec in fabrics.items() if spec.here and not host.has_password(spec.password_file)}
        for spec in _remembered(host, fabrics):
            fabrics[spec.name] = spec
        for name in sorted(fabrics):
            fabric = fabrics[name]
            if name in waiting:
                continue
            yield Observed(fabric)
            if fabric.here:
                mine = [spec for spec in wanted if spec.fabric == name]
                yield from _look(host.apic(fabric), name, mine, scope.owner)

    def apply(self, host: Host, ops: Sequence[OpView], owner: str) -> Iterable[Outcome]:
        by_fabric: dict[str, list[OpView]] = {}
        for op in ops:
            by_fabric.setdefault(op.key.name.partition("/")[0], []).append(op)
        for name, some in sorted(by_fabric.items()):
            words, errno = "", EIO
            apic = host.known_apic(name)
            if apic is None:
                words, errno = f"nothing is known of fabric {name}", ENOENT
            else:
                try:
                    _remember(host, apic.login)
                    words, errno = _write(apic, name, some, owner)
                except RemoteError as error:
                    words = str(error)
            yield from (Outcome(op.id, errno, words) if words else Outcome(op.id) for op in some)


def _remember(host: Host, login: Login) -> None:
    """How a fabric is reached in which we are about to make things: it must be found when nobody asks any more. Raises
    OSError."""
    if isinstance(login, Fabric):
        host.inventory.remotes[login.name] = login.data()
        host.inventory.save()


def _remembered(host: Host, wanted: Mapping[str, Fabric]) -> Iterable[Fabric]:
    """Fabrics in which we made things and of which no manifest speaks any more: what is there is to go. One that goes by
    another name now is the one that is wanted."""
    known = {url for spec in wanted.values() for url in spec.apics}
    for name, about in sorted(host.inventory.remotes.items()):
        if name not in wanted and not known.intersection(about["apics"]):
            yield Fabric(
                key=fabric_key(name),
                apics=tuple(about["apics"]),
                user=about["user"],
                password_file=about["password_file"],
                ca_file=about.get("ca_file"),
                timeout=about["timeout"],
            )


def _look(apic: Apic, fabric: str, wanted: Sequence[ManagedObject], owner: str) -> Iterable[Observed]:
    """What is in the tenants that are wanted, ours or not; what is ours elsewhere; and what is only pointed at."""
    seen = apic.marked(annotation_of(owner), tuple(CLASSES))
    whole = {dn for dn, (cls, _attributes) in seen.items() if cls == "fvTenant"}
    whole |= {_tenant(spec.dn) for spec in wanted if spec.cls == "fvTenant" or not spec.existing}
    for tenant in sorted(whole - {""}):
        seen |= apic.below(tenant, tuple(CLASSES))
    for spec in wanted:
        if spec.existing and spec.dn not in seen:
            seen |= apic.below(spec.dn, (spec.cls,), itself=True)
    for dn, (cls, attributes) in sorted(seen.items()):
        mark = attributes.get("annotation", "")
        whose = mark.removeprefix(_ORCHESTRATOR) if mark.startswith(_ORCHESTRATOR) else ""
        if not whose and cls in _TO_ONE and not attributes.get(_TO_ONE[cls]):
            continue
        yield Observed(_spec(fabric, dn, cls, attributes), whose)


def _tenant(dn: str) -> str:
    """``uni/tn-shop`` of anything in it."""
    parts = dn.split("/")
    return "/".join(parts[:2]) if len(parts) > 1 and parts[1].startswith("tn-") else ""


def _spec(fabric: str, dn: str, cls: str, attributes: Mapping[str, str]) -> ManagedObject:
    names = CLASSES.get(cls, ())
    return ManagedObject(
        key=object_key(fabric, dn),
        cls=cls,
        attributes=tuple((name, _number(cls, name, attributes.get(name, ""))) for name in names),
    )


def _number(cls: str, name: str, value: str) -> str:
    return _PORTS.get(value, value) if cls == "vzEntry" and name.endswith("Port") else value


def _write(apic: Apic, fabric: str, ops: Sequence[OpView], owner: str) -> tuple[str, int]:
    """("" or why nothing was done, errno). Looks first: what somebody made there meanwhile is not taken for ours, and
    what others put into ours does not go with it."""
    mark = annotation_of(owner)
    there: dict[str, tuple[str, Mapping[str, str]]] = {}
    for tenant in sorted({_tenant(_about(op).dn) for op in ops} - {""}):
        there |= apic.below(tenant, tuple(CLASSES))
    tree = Tree()
    for op in ops:
        spec = _about(op)
        standing = there.get(spec.dn)
        ours = standing is not None and standing[1].get("annotation") == mark
        if op.action == "delete":
            if standing is None:
                continue
            if not (ours or op.unmarked):
                return f"{spec.dn} does not carry our mark any more", EBUSY
            strangers = [dn for dn in apic.configured(spec.dn, mark) if dn != spec.dn]
            if strangers:
                return f"{strangers[0]} in {spec.dn} is not ours, and would go along", EBUSY
            tree.add(spec, {"status": "deleted"})
            continue
        implicit = standing is not None and standing[0] in _TO_ONE and not standing[1].get(_TO_ONE[standing[0]])
        if op.action == "create" and standing is not None and not (ours or implicit):
            return f"{spec.dn} stands there already, and is not ours", EEXIST
        status = "created" if standing is None and spec.cls not in _TO_ONE else "created,modified"
        whose = "" if op.unmarked or op.action == "release" else mark
        tree.add(spec, {**dict(spec.attributes or ()), "annotation": whose, "status": status})
    if tree.empty:
        return "", 0
    words = apic.post(tree.body())
    return words, EIO


def _about(op: OpView) -> ManagedObject:
    spec = op.before if op.action == "delete" else op.after
    assert isinstance(spec, ManagedObject)
    return spec


class Tree:
    """What one POST changes, as APIC takes it: nested by containment below ``uni``; an object that is only on the way
    has no attributes but its DN, and must stand."""

    def __init__(self) -> None:
        self._nodes: dict[str, tuple[str, dict[str, str]]] = {}

    @property
    def empty(self) -> bool:
        return not self._nodes

    def add(self, spec: ManagedObject, attributes: dict[str, str]) -> None:
        self._nodes[spec.dn] = (spec.cls, {"dn": spec.dn, **attributes})

    def body(self) -> dict[str, Any]:
        root: list[dict[str, Any]] = []
        bodies: dict[str, dict[str, Any]] = {}
        for dn in sorted(self._with_parents(), key=lambda dn: (dn.count("/"), dn)):
            cls, attributes = self._nodes.get(dn) or (_class_of(dn), {"dn": dn, "status": "modified"})
            bodies[dn] = {"attributes": attributes, "children": []}
            parent = bodies.get(parent_of(dn))
            (parent["children"] if parent is not None else root).append({cls: bodies[dn]})
        return {"polUni": {"attributes": {"dn": "uni"}, "children": root}}

    def _with_parents(self) -> set[str]:
        found: set[str] = set()
        for dn in self._nodes:
            while dn.count("/") and dn not in found:
                found.add(dn)
                dn = parent_of(dn)
        return found


# How the last part of a DN begins (relative names of the Management Information Model).
_PREFIXES = {
    "tn": "fvTenant",
    "BD": "fvBD",
    "ap": "fvAp",
    "epg": "fvAEPg",
    "flt": "vzFilter",
    "brc": "vzBrCP",
    "subj": "vzSubj",
}


def _class_of(dn: str) -> str:
    """The class of something that contains others."""
    return _PREFIXES[dn[len(parent_of(dn)) + 1 :].partition("-")[0]]


KINDS = (ManagedObject, Fabric)
ACTUATOR = ManagedObjectActuator()
