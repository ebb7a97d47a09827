"""Open vSwitch: bridges, ports, mirrors, queues, controllers, as rows of its database (ovs-vswitchd.conf.db(5)).

A row of ours says so in its ``external_ids``: ``cnm-owner``. What ovs-vswitchd made of a row is a part of it: a port that
it could not attach has a ``fault``, whatever the database says it shall be. All changes of a plan go down in one
transaction; only what is made anew under its old name is removed in one before that, because ovs-vswitchd would see
no difference.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import ClassVar, Self

from msgspec.structs import replace

from reconciler.resources.link import Link, link_key
from reconciler.resources.ovsdbrow import Column, Form, Formed, Sort
from reconciler.resources.resource import Change, Claim, Entries, Impact, Key, Need, Part, Resource, Seen, satisfied

Pairs = tuple[tuple[str, str], ...]
"""A map, sorted by name."""

ABSENT = "Open vSwitch does not run: start ovsdb-server and ovs-vswitchd"
_EXTERNAL_IDS = Column("external_ids", Sort.ENTRIES)
# Kinds of interface that stand on one of the kernel's that somebody else makes: "" is "system" as well.
_ON_LINK = ("", "system", "afxdp", "afxdp-nonpmd")


def switch_key() -> Key:
    return Key("ovs-switch", "", "ovs-vswitchd")


def ovs_bridge_key(name: str) -> Key:
    return Key("ovs-bridge", "", name)


def ovs_port_key(name: str) -> Key:
    """A port's name is unique in its switch."""
    return Key("ovs-port", "", name)


def ovs_mirror_key(bridge: str, name: str) -> Key:
    return Key("ovs-mirror", "", f"{bridge}/{name}")


def ovs_qos_key(name: str) -> Key:
    """``name`` is ours to choose (``external_ids:cnm-name``): rows of this table have none."""
    return Key("ovs-qos", "", name)


def ovs_queue_key(name: str) -> Key:
    return Key("ovs-queue", "", name)


def ovs_controller_key(bridge: str, target: str) -> Key:
    return Key("ovs-controller", "", f"{bridge}/{target}")


def ovs_manager_key(target: str) -> Key:
    return Key("ovs-manager", "", target)


def ovs_setting_key(column: str, name: str) -> Key:
    """An entry of ``other_config`` or ``external_ids`` of the switch itself: ``ovs-setting/other_config/pmd-cpu-mask``."""
    return Key("ovs-setting", "", f"{column}/{name}")


def _made(seen: Seen, name: str) -> Iterable[Key]:
    """The host's interface of that name, where it is ovs-vswitchd's: a tap, or one of the kernel's datapath."""
    link = seen.get(link_key("", name))
    if isinstance(link, Link) and (link.type in ("tun", "openvswitch") or (link.device or "").startswith("ovs:")):
        yield link.key


class OvsSwitch(Resource, frozen=True, kw_only=True):
    """Open vSwitch itself: its database answers, and ovs-vswitchd runs. It is only built on."""

    kind: ClassVar[str] = "ovs-switch"
    batch: ClassVar[str] = "ovsdb"
    transaction: ClassVar[bool] = True

    def awaited(self) -> str:
        return ABSENT


class _Row(Resource, Formed, frozen=True, kw_only=True):
    """What all rows have in common."""

    batch: ClassVar[str] = "ovsdb"
    transaction: ClassVar[bool] = True
    marked: ClassVar[str] = "itself"

    def needs(self) -> Iterable[Need]:
        yield Need((switch_key(),), ABSENT)


class _OnBridge(_Row, frozen=True, kw_only=True):
    """A row that goes with its bridge."""

    bridge: str

    def needs(self) -> Iterable[Need]:
        yield Need((switch_key(),), ABSENT)
        yield Need((ovs_bridge_key(self.bridge),), f"there is no OVS bridge {self.bridge}")

    def hangs_on(self) -> Iterable[Key]:
        yield ovs_bridge_key(self.bridge)


class OvsBridge(_Row, frozen=True, kw_only=True):
    """A bridge, with its own internal port of the same name. ``datapath_type``: system (the kernel's) | netdev (userspace).
    ``fail_mode``: standalone | secure (no controller: no flow but those that are put there). ``protocols``: OpenFlow
    versions, empty: all. ``fault``: why ovs-vswitchd has not made it; "" is what is wanted. ``existing`` True: made by
    somebody else, only built on."""

    kind: ClassVar[str] = "ovs-bridge"
    holds: ClassVar[tuple[str, ...]] = ("ovs-port",)
    flaps: ClassVar[frozenset[str]] = frozenset(("datapath_type", "fail_mode", "protocols", "stp", "rstp"))
    form: ClassVar[Form] = Form(
        "Bridge",
        {
            "datapath_type": Column("datapath_type"),
            "fail_mode": Column("fail_mode", Sort.OPTIONAL, "standalone"),
            "protocols": Column("protocols", Sort.SET),
            "stp": Column("stp_enable"),
            "rstp": Column("rstp_enable"),
            "mcast_snooping": Column("mcast_snooping_enable"),
            "other_config": Column("other_config", Sort.MAP),
            "external_ids": _EXTERNAL_IDS,
        },
        ("Open_vSwitch", "bridges"),
    )

    datapath_type: str | None = None
    fail_mode: str | None = None
    protocols: tuple[str, ...] | None = None
    stp: bool | None = None
    rstp: bool | None = None
    mcast_snooping: bool | None = None
    other_config: Pairs | None = None
    external_ids: Entries | None = None
    fault: str | None = None
    existing: bool | None = None

    def claims(self) -> Iterable[Claim]:
        yield Claim("ifname", "", self.key.name)

    def takes_along(self, seen: Seen) -> Iterable[Key]:
        """The interface of its own port as well."""
        yield from Resource.takes_along(self, seen)
        yield from _made(seen, self.key.name)

    def drops(self, new: Self, seen: Seen) -> Iterable[Key]:
        """Another datapath has no flow yet, and another fail mode flushes all of them (connmgr_set_fail_mode in
        ofproto/connmgr.c)."""
        changed = set(self.differs(new))
        if changed.intersection(("datapath_type", "fail_mode")):
            kinds = ("ovs-flow", "ovs-meter") if "datapath_type" in changed else ("ovs-flow",)
            yield from (each.key for each in seen.hanging_on(self.key) if each.key.kind in kinds)

    def awaited(self) -> str:
        return f"there is no OVS bridge {self.key.name}" if self.existing else ""

    def change_to(self, new: Self) -> Change:
        if new.fault == "" and self.fault:
            return Change(False, Impact.OUTAGE, self.fault)
        return Resource.change_to(self, new)

    def eviction(self, other: Key) -> str:
        return f"take that port out first: ovs-vsctl del-port {self.key.name} {other.name}"

    def restorable(self) -> Self | None:
        return replace(self, fault="" if self.fault is not None else None)


class OvsInterface(Part, Formed, frozen=True, kw_only=True):
    """An interface of a port. ``type``: "" (one of the host's), internal, patch, vxlan, geneve, gre, dpdk,
    dpdkvhostuserclient and others; ``options`` are that type's. ``mtu`` 0 and ``ofport`` 0: chosen by ovs-vswitchd;
    ``mac`` "": likewise. ``policing_rate`` in kbit/s and ``policing_burst`` in kbit hold back what comes in, on the
    kernel's datapath only; 0: no limit. ``fault``: see :class:`OvsBridge`."""

    form: ClassVar[Form] = Form(
        "Interface",
        {
            "name": Column("name"),
            "type": Column("type"),
            "options": Column("options", Sort.MAP),
            "other_config": Column("other_config", Sort.MAP),
            "mtu": Column("mtu_request", Sort.OPTIONAL, 0),
            "ofport": Column("ofport_request", Sort.OPTIONAL, 0),
            "mac": Column("mac", Sort.OPTIONAL, ""),
            "policing_rate": Column("ingress_policing_rate"),
            "policing_burst": Column("ingress_policing_burst"),
            "external_ids": _EXTERNAL_IDS,
        },
    )

    name: str
    type: str = ""
    options: Pairs | None = None
    other_config: Pairs | None = None
    mtu: int | None = None
    ofport: int | None = None
    mac: str | None = None
    policing_rate: int | None = None
    policing_burst: int | None = None
    external_ids: Entries | None = None
    fault: str | None = None

    def loud(self) -> OvsInterface:
        """Without what can change and no packet notices."""
        return replace(self, policing_rate=None, policing_burst=None, external_ids=None, other_config=None)

    @property
    def on_link(self) -> bool:
        """Whether it stands on an interface of the host that somebody else makes."""
        return self.type in _ON_LINK


class OvsPort(_OnBridge, frozen=True, kw_only=True):
    """A port of ``bridge`` with its ``interfaces``, sorted by name: one of its own name, or several that are bonded.
    ``tag`` -1: none. ``vlan_mode``: "" | access | trunk | native-tagged | native-untagged | dot1q-tunnel. ``bond_mode``:
    "" | active-backup | balance-slb | balance-tcp; ``lacp``: "" | off | passive | active; delays in ms. ``protected``:
    nothing passes between two such ports. ``qos``: the name of an :class:`OvsQos`, "" for none."""

    kind: ClassVar[str] = "ovs-port"
    lingers: ClassVar[bool] = True
    fixed: ClassVar[Mapping[str, str]] = {"bridge": "a port cannot move to another bridge"}
    flaps: ClassVar[frozenset[str]] = frozenset(("tag", "trunks", "vlan_mode", "bond_mode", "interfaces"))
    form: ClassVar[Form] = Form(
        "Port",
        {
            "tag": Column("tag", Sort.OPTIONAL, -1),
            "trunks": Column("trunks", Sort.SET),
            "vlan_mode": Column("vlan_mode", Sort.OPTIONAL, ""),
            "bond_mode": Column("bond_mode", Sort.OPTIONAL, ""),
            "lacp": Column("lacp", Sort.OPTIONAL, ""),
            "bond_updelay": Column("bond_updelay"),
            "bond_downdelay": Column("bond_downdelay"),
            "protected": Column("protected"),
            "qos": Column("qos", Sort.REFERENCE, table="QoS"),
            "other_config": Column("other_config", Sort.MAP),
            "external_ids": _EXTERNAL_IDS,
        },
        ("Bridge", "ports"),
        "bridge",
    )

    bridge: str
    tag: int | None = None
    trunks: tuple[int, ...] | None = None
    vlan_mode: str | None = None
    bond_mode: str | None = None
    lacp: str | None = None
    bond_updelay: int | None = None
    bond_downdelay: int | None = None
    protected: bool | None = None
    qos: str | None = None
    other_config: Pairs | None = None
    external_ids: Entries | None = None
    interfaces: tuple[OvsInterface, ...] | None = None

    def needs(self) -> Iterable[Need]:
        yield from _OnBridge.needs(self)
        for key in self._links():
            yield Need((key,), f"there is no interface {key.name}")
        if self.qos:
            yield Need((ovs_qos_key(self.qos),))

    def hangs_on(self) -> Iterable[Key]:
        """On interfaces of the host too: it stays without them, but dead, also when one of that name comes back."""
        yield from _OnBridge.hangs_on(self)
        yield from self._links()

    def _links(self) -> Iterable[Key]:
        return (link_key("", interface.name) for interface in self.interfaces or () if interface.on_link)

    def takes_along(self, seen: Seen) -> Iterable[Key]:
        """The interfaces that ovs-vswitchd makes for it."""
        yield from Resource.takes_along(self, seen)
        for interface in self.interfaces or ():
            if not interface.on_link:
                yield from _made(seen, interface.name)

    def claims(self) -> Iterable[Claim]:
        for interface in self.interfaces or ():
            yield Claim("ovs-interface", "", interface.name)

    def change_to(self, new: Self) -> Change:
        seen = {interface.name: interface for interface in self.interfaces or ()}
        for interface in new.interfaces or ():
            fault = seen[interface.name].fault if interface.name in seen else None
            if fault and interface.fault == "":
                return Change(False, Impact.OUTAGE, f"{interface.name}: {fault}")
        change = Resource.change_to(self, new)
        names = self.differs(new)
        if change.in_place and names == ("interfaces",) and not self._flapping(new):
            return Change(True)
        return change

    def _flapping(self, new: Self) -> bool:
        """Whether more than measures and labels of its interfaces differ."""
        if len(self.interfaces or ()) != len(new.interfaces or ()):
            return True
        pairs = zip(self.interfaces or (), new.interfaces or (), strict=True)
        return not all(satisfied(seen, wanted.loud()) for seen, wanted in pairs)

    def restorable(self) -> Self | None:
        """Without what can only be observed."""
        mended = tuple(
            replace(interface, fault="" if interface.fault is not None else None) for interface in self.interfaces or ()
        )
        return replace(self, interfaces=mended)


class OvsMirror(_OnBridge, frozen=True, kw_only=True):
    """Copies of what passes. ``select_all``, or what comes in by ports ``from_ports``, goes out by ``to_ports``; of these
    VLANs ``vlans`` only. They go to port ``output_port``, or out on VLAN ``output_vlan`` (-1: none). ``snaplen`` cuts
    them, 0: not."""

    kind: ClassVar[str] = "ovs-mirror"
    fixed: ClassVar[Mapping[str, str]] = {"bridge": "a mirror cannot move to another bridge"}
    form: ClassVar[Form] = Form(
        "Mirror",
        {
            "name": Column("name"),
            "select_all": Column("select_all"),
            "from_ports": Column("select_src_port", Sort.REFERENCES, table="Port"),
            "to_ports": Column("select_dst_port", Sort.REFERENCES, table="Port"),
            "vlans": Column("select_vlan", Sort.SET),
            "output_port": Column("output_port", Sort.REFERENCE, table="Port"),
            "output_vlan": Column("output_vlan", Sort.OPTIONAL, -1),
            "snaplen": Column("snaplen", Sort.OPTIONAL, 0),
            "external_ids": _EXTERNAL_IDS,
        },
        ("Bridge", "mirrors"),
        "bridge",
    )

    bridge: str
    name: str
    select_all: bool | None = None
    from_ports: tuple[str, ...] | None = None
    to_ports: tuple[str, ...] | None = None
    vlans: tuple[int, ...] | None = None
    output_port: str | None = None
    output_vlan: int | None = None
    snaplen: int | None = None
    external_ids: Entries | None = None

    def identity(self) -> Key:
        return ovs_mirror_key(self.bridge, self.name)

    def needs(self) -> Iterable[Need]:
        yield from _OnBridge.needs(self)
        for name in sorted({*(self.from_ports or ()), *(self.to_ports or ()), self.output_port or ""} - {""}):
            if name != self.bridge:
                yield Need((ovs_port_key(name),))


class OvsQos(_Row, frozen=True, kw_only=True):
    """Queueing of what leaves a port, on the kernel's datapath. ``type``: linux-htb, linux-hfsc, egress-policer and others.
    ``queues``: (number, name of an :class:`OvsQueue`)."""

    kind: ClassVar[str] = "ovs-qos"
    form: ClassVar[Form] = Form(
        "QoS",
        {
            "type": Column("type"),
            "queues": Column("queues", Sort.NUMBERED, table="Queue"),
            "other_config": Column("other_config", Sort.MAP),
            "external_ids": _EXTERNAL_IDS,
        },
    )

    type: str
    queues: tuple[tuple[int, str], ...] | None = None
    other_config: Pairs | None = None
    external_ids: Entries | None = None

    def needs(self) -> Iterable[Need]:
        yield from _Row.needs(self)
        for _number, name in self.queues or ():
            yield Need((ovs_queue_key(name),))


class OvsQueue(_Row, frozen=True, kw_only=True):
    """A queue of a :class:`OvsQos`. Rates of ``other_config`` in bit/s. ``dscp`` -1: packets keep theirs."""

    kind: ClassVar[str] = "ovs-queue"
    form: ClassVar[Form] = Form(
        "Queue",
        {
            "dscp": Column("dscp", Sort.OPTIONAL, -1),
            "other_config": Column("other_config", Sort.MAP),
            "external_ids": _EXTERNAL_IDS,
        },
    )

    dscp: int | None = None
    other_config: Pairs | None = None
    external_ids: Entries | None = None


class OvsController(_OnBridge, frozen=True, kw_only=True):
    """An OpenFlow controller of a bridge. ``connection_mode``: "" | in-band | out-of-band. Times in ms, -1: as
    ovs-vswitchd has them."""

    kind: ClassVar[str] = "ovs-controller"
    fixed: ClassVar[Mapping[str, str]] = {"bridge": "a controller is a bridge's"}
    form: ClassVar[Form] = Form(
        "Controller",
        {
            "target": Column("target"),
            "connection_mode": Column("connection_mode", Sort.OPTIONAL, ""),
            "inactivity_probe": Column("inactivity_probe", Sort.OPTIONAL, -1),
            "max_backoff": Column("max_backoff", Sort.OPTIONAL, -1),
            "external_ids": _EXTERNAL_IDS,
        },
        ("Bridge", "controller"),
        "bridge",
    )

    bridge: str
    target: str
    connection_mode: str | None = None
    inactivity_probe: int | None = None
    max_backoff: int | None = None
    external_ids: Entries | None = None

    def identity(self) -> Key:
        return ovs_controller_key(self.bridge, self.target)

    def claims(self) -> Iterable[Claim]:
        """When the last one goes, ovs-vswitchd flushes all flows: what a bridge without controllers has comes after."""
        yield Claim("ovs-default-flow", "", self.bridge)


class OvsManager(_Row, frozen=True, kw_only=True):
    """Who may manage the database from elsewhere. Times in ms, -1: as ovsdb-server has them."""

    kind: ClassVar[str] = "ovs-manager"
    form: ClassVar[Form] = Form(
        "Manager",
        {
            "target": Column("target"),
            "connection_mode": Column("connection_mode", Sort.OPTIONAL, ""),
            "inactivity_probe": Column("inactivity_probe", Sort.OPTIONAL, -1),
            "max_backoff": Column("max_backoff", Sort.OPTIONAL, -1),
            "external_ids": _EXTERNAL_IDS,
        },
        ("Open_vSwitch", "manager_options"),
    )

    target: str
    connection_mode: str | None = None
    inactivity_probe: int | None = None
    max_backoff: int | None = None
    external_ids: Entries | None = None

    def identity(self) -> Key:
        return ovs_manager_key(self.target)


class OvsSetting(Resource, frozen=True, kw_only=True):
    """An entry of a map of the switch itself. "": it is not there. What stood before is kept beside it, in the database."""

    kind: ClassVar[str] = "ovs-setting"
    batch: ClassVar[str] = "ovsdb"
    transaction: ClassVar[bool] = True
    setting: ClassVar[bool] = True

    value: str

    def needs(self) -> Iterable[Need]:
        yield Need((switch_key(),), ABSENT)


ROWS: tuple[type[_Row], ...] = (
    OvsBridge,
    OvsPort,
    OvsMirror,
    OvsQos,
    OvsQueue,
    OvsController,
    OvsManager,
)
_SEEN = {"Bridge": ("ports", "mirrors", "controller", "datapath_id"), "Port": ("interfaces",)}
MONITORED: Mapping[str, tuple[str, ...]] = {
    **{row.form.table: (*row.form.names()[1:], *_SEEN.get(row.form.table, ())) for row in ROWS},
    "Interface": (*OvsInterface.form.names()[1:], "ofport", "error"),
    "Open_vSwitch": ("bridges", "other_config", "manager_options", "external_ids"),
}
"""Tables and columns whose change can make a plan differ; counters are not among them. (The first name is _uuid.)"""
KINDS = (OvsSwitch, *ROWS, OvsSetting)
