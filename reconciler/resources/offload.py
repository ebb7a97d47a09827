"""Offloads: what an interface leaves to its hardware to do."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from errno import EIO, ENODEV
from typing import TYPE_CHECKING, ClassVar

from reconciler.host import ethtool
from reconciler.resources.actuator import OpView, Outcome, Scope
from reconciler.resources.onlink import OnLink
from reconciler.resources.resource import Key, Observed

if TYPE_CHECKING:
    from reconciler.host.host import Host


def offload_key(netns: str, dev: str) -> Key:
    """The key of an interface's offloads."""
    return Key("offload", netns, dev)


class Offload(OnLink, frozen=True, kw_only=True):
    """``tx_checksum``: whether the checksum of what ``dev`` sends is left to whoever carries it on (``ethtool -K tx``). A
    veth's other end may be read by a program (AF_PACKET), which gets such packets without a checksum."""

    kind: ClassVar[str] = "offload"
    batch: ClassVar[str] = "offload"
    setting: ClassVar[bool] = True

    tx_checksum: bool | None = None

    def identity(self) -> Key:
        return offload_key(self.key.netns, self.dev)


class OffloadActuator:
    """Reads only the interfaces of which somebody wants something, or of which the inventory remembers it."""

    def read(self, host: Host, scope: Scope) -> Iterable[Observed]:
        for key in sorted(key for key in scope.settings if key.kind == "offload"):
            if key.netns not in host.open_namespaces() or key.name not in host.netns(key.netns).index:
                continue
            try:
                with host.netns(key.netns).entered():
                    value = ethtool.tx_checksum(key.name)
            except OSError:  # gone meanwhile, or an interface that has no such thing
                continue
            entry = host.inventory.settings.get(str(key))
            was = Offload(key=key, dev=key.name, tx_checksum=bool(entry["value"])) if entry is not None else None
            yield Observed(
                Offload(key=key, dev=key.name, tx_checksum=value), scope.owner if entry is not None else "", was
            )

    def apply(self, host: Host, ops: Sequence[OpView], owner: str) -> Iterable[Outcome]:
        entries = host.inventory.settings
        for op in ops:
            if op.action != "delete" and str(op.key) not in entries:
                stood = op.before.tx_checksum if isinstance(op.before, Offload) else True
                entries[str(op.key)] = {"value": stood}
        host.inventory.save()
        for op in ops:
            try:
                host.step("offload", str(op.key))
                self._bring(host, op)
            except KeyError:
                yield Outcome(op.id, ENODEV, f"the network namespace {op.key.netns} is not there")
            except OSError as error:
                yield Outcome(op.id, error.errno or EIO, f"{op.key.name}: {error.strerror or error}")
            else:
                if op.action == "delete":
                    entries.pop(str(op.key), None)
                yield Outcome(op.id)
        host.inventory.save()

    @staticmethod
    def _bring(host: Host, op: OpView) -> None:
        spec = op.after
        if op.action == "delete":
            if op.key.netns not in host.open_namespaces() or op.key.name not in host.netns(op.key.netns).index:
                return
            spec = op.after if isinstance(op.after, Offload) else op.before
        assert isinstance(spec, Offload)
        if spec.tx_checksum is not None:
            with host.netns(op.key.netns).entered():
                ethtool.set_tx_checksum(spec.dev, on=spec.tx_checksum)


KINDS = (Offload,)
ACTUATOR = OffloadActuator()
