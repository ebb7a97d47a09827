"""What reads the rows of Open vSwitch's database and changes them: all of a plan in one transaction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from errno import EEXIST, EIO, ENODEV, ENOENT, ETIMEDOUT
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from reconciler.host.ovsdb import DATABASE, RowData, a_map, a_set, atoms, pairs, same
from reconciler.resources.actuator import OpView, Outcome, Scope
from reconciler.resources.ovs import (
    KINDS,
    ROWS,
    OvsBridge,
    OvsController,
    OvsInterface,
    OvsManager,
    OvsMirror,
    OvsPort,
    OvsSetting,
    OvsSwitch,
    ovs_bridge_key,
    ovs_controller_key,
    ovs_manager_key,
    ovs_mirror_key,
    ovs_port_key,
    ovs_setting_key,
    switch_key,
)
from reconciler.resources.ovsdbrow import IFINDEX, MARKS, NAME, OWNER, Form, Formed, entries
from reconciler.resources.resource import Key, Observed, Resource, satisfied

if TYPE_CHECKING:
    from reconciler.host.host import Host

_PATIENCE = 30.0  # seconds that ovs-vswitchd may take to bring a transaction into being
_WAS = "cnm-was:"  # + COLUMN/NAME, in the switch's external_ids: what stood before us; a leading "=" where anything did
_OWNS = "cnm-set:"  # + COLUMN/NAME: the owner
_SEEN_ONLY = ("ofport", "error")  # of interfaces: what ovs-vswitchd says
_CACHED = frozenset(("tag", "trunks", "vlan_mode", "protected", "qos"))
"""Of what flows in the userspace datapath's cache depend: packets would take the old way for up to 10 s."""


class OvsActuator:
    """Rows of the one Open vSwitch of a host; its socket is in ``$OVS_RUNDIR``, by default /run/openvswitch."""

    def read(self, host: Host, scope: Scope) -> Iterable[Observed]:
        """Raises ObservationError when the server cannot be asked by us, and somebody wants something of it."""
        asked = any(key.kind.startswith("ovs-") for key in scope.wanted)
        if not host.ovsdb.present(asked=asked):
            return
        picture = Picture(host)
        yield from picture.rows.values()
        yield from picture.settings(scope)
        if host.ovsdb.switching():
            yield Observed(OvsSwitch(key=switch_key()))

    def apply(self, host: Host, ops: Sequence[OpView], owner: str) -> Iterable[Outcome]:
        try:
            return list(_Batch(host, owner).carry_out(ops).values())
        except OSError as error:
            words = f"{host.ovsdb.path}: {error.strerror or error}"
            gone = isinstance(error, (FileNotFoundError, ConnectionRefusedError))
            return [
                Outcome(op.id) if gone and op.action == "delete" else Outcome(op.id, error.errno or EIO, words)
                for op in ops
            ]


class Picture:
    """The database as it is now, as resources. Raises ObservationError."""

    def __init__(self, host: Host) -> None:
        self._host = host
        tables: dict[str, list[str]] = {row.form.table: row.form.names() for row in ROWS}
        tables["Bridge"] += ["name", "ports", "mirrors", "controller", "datapath_id"]
        tables["Port"] += ["name", "interfaces"]
        tables["Interface"] = [*OvsInterface.form.names(), *_SEEN_ONLY]
        tables[DATABASE] = ["_uuid", "external_ids", "other_config", "next_cfg"]
        self._tables = host.ovsdb.select(tables)
        self.switch = self._tables[DATABASE][0]
        self.uuids: dict[Key, str] = {}
        self.interfaces: dict[str, RowData] = {_uuid(row): row for row in self._tables["Interface"]}
        self.parts: dict[Key, dict[str, str]] = {}  # port or bridge -> its interfaces' names and UUIDs
        self._names: dict[tuple[str, str], str] = {}
        for table in ("Bridge", "Port"):
            self._names.update({(table, _uuid(row)): row["name"] for row in self._tables[table]})
        for table in ("QoS", "Queue"):
            self._names.update({(table, _uuid(row)): _ids(row).get(NAME, "") for row in self._tables[table]})
        self.rows: dict[Key, Observed] = {}
        self._read()

    def _named(self, table: str, uuid: str) -> str:
        return self._names.get((table, uuid), "")

    def _read(self) -> None:
        ports = {_uuid(row): row for row in self._tables["Port"]}
        mirrors = {_uuid(row): row for row in self._tables["Mirror"]}
        controllers = {_uuid(row): row for row in self._tables["Controller"]}
        for row in self._tables["Bridge"]:
            name, own = row["name"], ""
            for uuid in atoms(row["ports"]):
                if ports[uuid]["name"] == name:
                    own = uuid
                else:
                    self._port(name, uuid, ports[uuid])
            self._bridge(row, ports.get(own))
            for uuid in atoms(row["mirrors"]):
                key = ovs_mirror_key(name, mirrors[uuid]["name"])
                self._put(key, uuid, OvsMirror, mirrors[uuid], bridge=name)
            for uuid in atoms(row["controller"]):
                key = ovs_controller_key(name, controllers[uuid]["target"])
                self._put(key, uuid, OvsController, controllers[uuid], bridge=name)
        for kind in ROWS:
            if kind.form.table in ("QoS", "Queue"):
                for row in self._tables[kind.form.table]:
                    own = self._named(kind.form.table, _uuid(row))
                    if own:
                        self._put(Key(kind.kind, "", own), _uuid(row), kind, row)
        for row in self._tables["Manager"]:
            self._put(ovs_manager_key(row["target"]), _uuid(row), OvsManager, row)

    def _put(self, key: Key, uuid: str, kind: type[Any], row: RowData, **more: Any) -> None:
        self.uuids[key] = uuid
        spec: Resource = kind(key=key, **kind.form.decode(row, self._named), **more)
        self.rows[key] = Observed(spec, _ids(row).get(OWNER, ""))

    def _bridge(self, row: RowData, own: RowData | None) -> None:
        key = ovs_bridge_key(row["name"])
        local = [self.interfaces[uuid] for uuid in atoms(own["interfaces"])] if own is not None else []
        self.parts[key] = {interface["name"]: _uuid(interface) for interface in local}
        words = next((text for interface in local if (text := next(iter(atoms(interface["error"])), ""))), "")
        if not words and not atoms(row["datapath_id"]):
            words = "ovs-vswitchd has not made it; its log says why"
        self._put(key, _uuid(row), OvsBridge, row, fault=words)
        seen = self.rows[key]
        spec = seen.resource
        if isinstance(spec, OvsBridge) and not spec.datapath_type:
            self.rows[key] = seen._replace(resource=replace(spec, datapath_type="system"))

    def _port(self, bridge: str, uuid: str, row: RowData) -> None:
        key = ovs_port_key(row["name"])
        mine = [self.interfaces[each] for each in atoms(row["interfaces"])]
        self.parts[key] = {interface["name"]: _uuid(interface) for interface in mine}
        ours = bool(_ids(row).get(OWNER))
        interfaces = tuple(
            sorted((self._interface(interface, ours=ours) for interface in mine), key=lambda spec: spec.name)
        )
        self._put(key, uuid, OvsPort, row, bridge=bridge, interfaces=interfaces)

    def numbers(self, key: Key) -> Iterable[tuple[str, int]]:
        """The OpenFlow numbers of a port's interfaces, by name."""
        for name, uuid in self.parts.get(key, {}).items():
            number = next(iter(atoms(self.interfaces[uuid]["ofport"])), -1)
            if number > 0:
                yield name, number

    def _interface(self, row: RowData, *, ours: bool) -> OvsInterface:
        spec = OvsInterface(**OvsInterface.form.decode(row, self._named))
        return replace(spec, fault=self._fault(spec, row) if ours else "")

    def _fault(self, spec: OvsInterface, row: RowData) -> str:
        """Why no packet passes, whatever the row says it shall be."""
        error = str(next(iter(atoms(row["error"])), ""))
        if error:
            return error
        if spec.on_link:
            number = self._host.root.index.get(spec.name)
            if number is None:
                return f"there is no interface {spec.name}"
            if str(number) != _ids(row).get(IFINDEX, str(number)):
                return f"it is attached to an interface {spec.name} that is gone; another one has its name now"
        if next(iter(atoms(row["ofport"])), -1) == -1:
            return "ovs-vswitchd has not attached it"
        return ""

    def faults(self) -> dict[str, str]:
        """Why no packet passes our interfaces, by name, as the database says now; "" where it does."""
        columns = ("name", "type", "external_ids", *_SEEN_ONLY)
        found = {}
        for row in self._host.ovsdb.select({"Interface": columns})["Interface"]:
            if _ids(row).get(OWNER):
                found[row["name"]] = self._fault(OvsInterface(name=row["name"], type=row["type"]), row)
        return found

    def settings(self, scope: Scope) -> Iterable[Observed]:
        """Those that somebody wants, and those that we set."""
        ids = _ids(self.switch)
        set_by = {name.removeprefix(_OWNS): owner for name, owner in ids.items() if name.startswith(_OWNS)}
        names = {key.name for key in scope.settings if key.kind == OvsSetting.kind}
        names |= {name for name, owner in set_by.items() if owner == scope.owner}
        for name in sorted(names):
            column, _, entry = name.partition("/")
            key = ovs_setting_key(column, entry)
            value = pairs(self.switch[column]).get(entry, "")
            owner = set_by.get(name, "")
            stood = ids.get(f"{_WAS}{name}", "").removeprefix("=")
            was = OvsSetting(key=key, value=stood) if owner else None
            yield Observed(OvsSetting(key=key, value=str(value)), owner, was)


class _Batch:
    """One batch: what goes, what is changed and what is made, as operations of a transaction."""

    def __init__(self, host: Host, owner: str) -> None:
        self._host = host
        self._owner = owner
        self._outcomes: dict[str, Outcome] = {}
        self._numbers: dict[str, int] = {}  # OpenFlow numbers that interfaces which are made anew had: flows know them
        self._picture = Picture(host)
        self._begin()

    def _begin(self) -> None:
        self._operations: list[dict[str, Any]] = []
        self._new: dict[Key, str] = {}  # what this transaction makes, and how it is called in it
        self._children: dict[tuple[str, str, str], list[Any]] = {}  # (table, row, column) -> what joins it
        self._orphans: dict[tuple[str, str, str], list[str]] = {}  # and what leaves it
        self._settle = False
        self._purge = False

    def carry_out(self, ops: Sequence[OpView]) -> dict[str, Outcome]:
        """One outcome an op. Raises OSError when the database cannot be asked."""
        self._outcomes = {op.id: Outcome(op.id) for op in ops}
        settings = [op for op in ops if isinstance(op.after or op.before, OvsSetting)]
        rows = [op for op in ops if not isinstance(op.after or op.before, OvsSetting)]
        makes = [op for op in rows if op.action == "create" and not self._foreign(op)]
        deletes = {op.key: op for op in rows if op.action == "delete"}
        anew = [op for op in makes if self._stands_otherwise(op, deletes)]
        if anew:  # ovs-vswitchd compares by name: in one transaction it would see nothing happen
            numbers = {name: number for op in anew for name, number in self._picture.numbers(op.key)}
            for op in anew:
                self._remove(op.key)
            words = self._commit()
            if words:
                return {op.id: Outcome(op.id, EIO, words) for op in ops}
            self._picture = Picture(self._host)
            self._numbers = numbers
        self._begin()
        again = {op.key for op in anew}
        for op in deletes.values():
            if op.key not in again:
                self._remove(op.key)
        makes = [op for op in makes if op.key not in self._picture.uuids]
        self._new = {op.key: f"row{number}" for number, op in enumerate(makes)}
        for op in makes:
            self._try(op, self._make)
        for op in rows:
            if op.action in ("update", "adopt", "release"):
                self._try(op, self._change)
        for op in settings:
            self._set(op)
        words = self._commit()
        if words:
            return {
                op.id: self._outcomes[op.id] if self._outcomes[op.id].errno else Outcome(op.id, EIO, words)
                for op in ops
            }
        self._look_again(ops)
        return self._outcomes

    def _try(self, op: OpView, step: Any) -> None:
        try:
            step(op)
        except LookupError as error:
            self._outcomes[op.id] = Outcome(op.id, ENOENT, str(error.args[0]))

    def _foreign(self, op: OpView) -> bool:
        seen = self._picture.rows.get(op.key)
        if seen is None or seen.owner == self._owner or (op.unmarked and not seen.owner):
            return False
        self._outcomes[op.id] = Outcome(op.id, EEXIST, f"{op.key} is there already, and not ours")
        return True

    def _stands_otherwise(self, op: OpView, deletes: Mapping[Key, OpView]) -> bool:
        seen = self._picture.rows.get(op.key)
        if seen is None or op.after is None:
            return False
        return op.key in deletes or bool(seen.resource.differs(op.after))

    # -- what becomes of rows ------------------------------------------------------------------------------

    def _remove(self, key: Key) -> None:
        seen = self._picture.rows.get(key)
        uuid = self._picture.uuids.get(key)
        if seen is None or uuid is None or seen.owner not in ("", self._owner):
            return
        spec = seen.resource
        assert isinstance(spec, Formed)
        self._settle = True
        if isinstance(spec, OvsPort) and spec.qos:  # or that could not be deleted in the same transaction
            row = {"qos": a_set(())}
            self._operations.append({"op": "update", "table": spec.form.table, "where": same(uuid), "row": row})
        place = self._parent(spec)
        if place is None:
            self._operations.append({"op": "delete", "table": spec.form.table, "where": same(uuid)})
        else:
            self._orphans.setdefault(place, []).append(uuid)

    def _make(self, op: OpView) -> None:
        spec = op.after
        assert isinstance(spec, Formed)
        assert isinstance(spec, Resource)
        self._settle = True
        place = self._parent(spec)
        form, label = spec.form, self._new[op.key]
        row = form.encode(spec, form.managed(spec), self._refer)
        marks = {} if op.unmarked else {OWNER: self._owner}
        if form.table in ("QoS", "Queue"):
            marks[NAME] = op.key.name
        row["external_ids"] = _labels(spec, marks)
        if isinstance(spec, OvsPort):
            row["name"] = op.key.name
            row["interfaces"] = a_set(self._interface(each, label) for each in spec.interfaces or ())
        elif isinstance(spec, OvsBridge):
            row["name"] = op.key.name
            row["ports"] = self._own_port(op.key.name, label, marks)
        self._operations.append({"op": "insert", "table": form.table, "uuid-name": label, "row": row})
        if place is not None:
            self._children.setdefault(place, []).append(["named-uuid", label])

    def _own_port(self, name: str, label: str, marks: Mapping[str, str]) -> list[Any]:
        """A bridge has an internal port of its own name."""
        inner = {"name": name, "type": "internal"}
        self._operations.append(
            {
                "op": "insert",
                "table": "Interface",
                "uuid-name": f"{label}i",
                "row": inner | {"external_ids": a_map(marks.items())},
            }
        )
        port = {"name": name, "interfaces": ["named-uuid", f"{label}i"], "external_ids": a_map(marks.items())}
        self._operations.append({"op": "insert", "table": "Port", "uuid-name": f"{label}p", "row": port})
        return ["named-uuid", f"{label}p"]

    def _interface(self, spec: OvsInterface, label: str) -> list[Any]:
        form = spec.form
        row = form.encode(spec, form.managed(spec), self._refer)
        if spec.ofport is None and spec.name in self._numbers:
            row["ofport_request"] = self._numbers[spec.name]
        marks = {OWNER: self._owner}
        if spec.on_link:
            number = self._host.root.index.get(spec.name)
            if number is None:
                raise LookupError(f"there is no interface {spec.name}")
            marks[IFINDEX] = str(number)
        row["external_ids"] = _labels(spec, marks)
        name = f"{label}i{len(self._operations)}"
        self._operations.append({"op": "insert", "table": form.table, "uuid-name": name, "row": row})
        return ["named-uuid", name]

    def _change(self, op: OpView) -> None:
        spec = op.after
        assert isinstance(spec, Formed)
        assert isinstance(spec, Resource)
        seen, uuid = self._picture.rows.get(op.key), self._picture.uuids.get(op.key)
        if seen is None or uuid is None:
            raise LookupError(f"{op.key} is not there any more")
        if seen.owner not in ("", self._owner):
            raise LookupError(f"{op.key} is not ours")
        self._settle = True
        names = seen.resource.differs(spec)
        row = spec.form.encode(spec, names, self._refer)
        if isinstance(spec, OvsPort) and "interfaces" in names:
            row["interfaces"] = self._exchange(op.key, spec.interfaces or (), seen.resource)
        if row:
            self._operations.append({"op": "update", "table": spec.form.table, "where": same(uuid), "row": row})
        wanted = _wanted_entries(spec)
        if op.action == "adopt":
            wanted[OWNER] = self._owner
        elif op.action == "release":
            wanted[OWNER] = ""
        self._mutate(spec.form, uuid, wanted)
        self._purge = self._purge or bool(_CACHED.intersection(names))

    def _exchange(self, key: Key, wanted: Sequence[OvsInterface], seen: Resource) -> list[Any]:
        """The interfaces of a port that stays."""
        assert isinstance(seen, OvsPort)
        there = {spec.name: spec for spec in seen.interfaces or ()}
        uuids = self._picture.parts[key]
        found = []
        for spec in wanted:
            if spec.name not in there:
                found.append(self._interface(spec, f"part{len(self._operations)}"))
                continue
            names = [
                name
                for name in spec.form.managed(spec)
                if not satisfied(getattr(there[spec.name], name), getattr(spec, name))
            ]
            row = spec.form.encode(spec, names, self._refer)
            uuid = uuids[spec.name]
            if row:
                self._operations.append({"op": "update", "table": spec.form.table, "where": same(uuid), "row": row})
            self._mutate(spec.form, uuid, _wanted_entries(spec))
            found.append(["uuid", uuid])
        return a_set(found)

    def _mutate(self, form: Form, uuid: str, wanted: Mapping[str, str]) -> None:
        mutations = list(entries("external_ids", wanted))
        if mutations:
            self._operations.append({"op": "mutate", "table": form.table, "where": same(uuid), "mutations": mutations})

    def _set(self, op: OpView) -> None:
        """A setting, with what stood before beside it; a deletion puts that back."""
        column, _, entry = op.key.name.partition("/")
        ids, name = _ids(self._picture.switch), op.key.name
        self._settle = True
        if op.action == "delete":
            value = ids.get(f"{_WAS}{name}", "").removeprefix("=")
            notes = {f"{_WAS}{name}": "", f"{_OWNS}{name}": ""}
        else:
            assert isinstance(op.after, OvsSetting)
            value = op.after.value
            stood = pairs(self._picture.switch[column]).get(entry, "")
            notes = {f"{_OWNS}{name}": self._owner}
            if f"{_OWNS}{name}" not in ids and stood:
                notes[f"{_WAS}{name}"] = f"={stood}"
        mutations = [*entries(column, {entry: value}), *entries("external_ids", notes)]
        self._operations.append({"op": "mutate", "table": DATABASE, "where": [], "mutations": mutations})

    # -- references ----------------------------------------------------------------------------------------

    def _refer(self, table: str, name: str) -> list[Any]:
        key = Key(_KIND_OF[table], "", name)
        if key in self._new:
            return ["named-uuid", self._new[key]]
        if key in self._picture.uuids:
            return ["uuid", self._picture.uuids[key]]
        raise LookupError(f"there is no {key}")

    def _parent(self, spec: Formed) -> tuple[str, str, str] | None:
        """(table, row, column) where a row is referred to; a row that this transaction makes is called by its label."""
        form = spec.form
        if form.parent is None:
            return None
        table, column = form.parent
        if not form.parent_field:
            return table, _uuid(self._picture.switch), column
        return table, str(self._refer(table, getattr(spec, form.parent_field))[1]), column

    def _joins(self) -> None:
        """A row's children join and leave it in one operation; those of a row that is made are in what makes it."""
        labels = set(self._new.values())
        for (table, row, column), items in self._orphans.items():
            mutation = [column, "delete", a_set(["uuid", uuid] for uuid in items)]
            self._operations.append({"op": "mutate", "table": table, "where": same(row), "mutations": [mutation]})
        for (table, row, column), children in self._children.items():
            if row in labels:
                made = next(each for each in self._operations if each.get("uuid-name") == row)
                there = made["row"].get(column)
                made["row"][column] = a_set([*children, *([there] if there is not None else [])])
            else:
                mutation = [column, "insert", a_set(children)]
                self._operations.append({"op": "mutate", "table": table, "where": same(row), "mutations": [mutation]})

    # -- the transaction -----------------------------------------------------------------------------------

    def _commit(self) -> str:
        """ "" or what was refused."""
        self._joins()
        if not self._operations:
            return ""
        running = self._host.ovsdb.switching()
        step = {"op": "mutate", "table": DATABASE, "where": [], "mutations": [["next_cfg", "+=", 1]]}
        number = {"op": "select", "table": DATABASE, "where": [], "columns": ["next_cfg"]}
        results, refused = self._host.ovsdb.transact([*self._operations, step, number])
        if refused is not None:
            return str(refused)
        if self._settle and running:
            wanted = int(results[len(self._operations) + 1]["rows"][0]["next_cfg"])
            if not self._host.ovsdb.settled(wanted, _PATIENCE):
                raise OSError(ETIMEDOUT, f"ovs-vswitchd has not carried it out within {_PATIENCE:.0f} s")
            if self._purge:
                with suppress(OSError):
                    self._host.ovsdb.command("revalidator/purge")
        return ""

    def _look_again(self, ops: Sequence[OpView]) -> None:
        """What ovs-vswitchd could not do has failed, although the database has it."""
        made = [op for op in ops if op.action != "delete" and isinstance(op.after, (OvsBridge, OvsPort))]
        if not made:
            return
        faults = self._picture.faults()
        for op in made:
            wanted = op.after
            names: list[str] = []
            if isinstance(wanted, OvsPort):
                names = [spec.name for spec in wanted.interfaces or () if spec.fault == ""]
            elif isinstance(wanted, OvsBridge) and wanted.fault == "":
                names = [op.key.name]
            words = "; ".join(f"{name}: {faults[name]}" for name in names if faults.get(name))
            if words and not self._outcomes[op.id].errno:
                self._outcomes[op.id] = Outcome(op.id, ENODEV, words)


_KIND_OF = {kind.form.table: kind.kind for kind in ROWS}


def _labels(spec: Any, marks: Mapping[str, str]) -> list[Any]:
    """external_ids of a row that is made."""
    return a_map(({name: text for name, text in _wanted_entries(spec).items() if text} | dict(marks)).items())


def _wanted_entries(spec: Any) -> dict[str, str]:
    wanted = spec.external_ids
    return {name: text for name, text in wanted.pairs if name not in MARKS} if wanted is not None else {}


def _uuid(row: Mapping[str, Any]) -> str:
    return str(row["_uuid"][1])


def _ids(row: Mapping[str, Any]) -> dict[str, str]:
    return pairs(row["external_ids"])


ACTUATOR = OvsActuator()
__all__ = ["ACTUATOR", "KINDS", "OvsActuator", "Picture"]
