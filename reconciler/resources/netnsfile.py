"""Files that others read: what a sandbox's programs find at /etc/resolv.conf and /etc/hosts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from errno import EEXIST, EIO
from typing import TYPE_CHECKING, ClassVar

from reconciler.host import files
from reconciler.resources.actuator import OpView, Outcome, Scope
from reconciler.resources.resource import Key, Observed, Resource

if TYPE_CHECKING:
    from reconciler.host.host import Host

# ip-netns(8): these are what programs started by `ip netns exec NAME` (and cnm exec) see in the place of /etc/....
_PLACE = re.compile(r"[a-z0-9][-a-z0-9]{0,62}/(resolv\.conf|hosts)\Z")
_FOLDER = "/etc/netns"
_MARK = "# Made by cnm for owner {}: changes here are undone.\n"


def netns_file_key(sandbox: str, name: str) -> Key:
    """The key of a file of a named sandbox: resolv.conf or hosts."""
    return Key("netns-file", "", f"{sandbox}/{name}")


class NetnsFile(Resource, frozen=True, kw_only=True):
    """``content`` is all but the first line, which is the mark. Written in place: who has it open, or mounted over
    another file, sees the change."""

    kind: ClassVar[str] = "netns-file"
    batch: ClassVar[str] = "netns-file"
    marked: ClassVar[str] = "itself"

    content: str

    def identity(self) -> Key:
        if not _PLACE.match(self.key.name):
            raise ValueError(f"{self.key.name} is no file that cnm writes")
        return self.key


class NetnsFileActuator:
    """Reads and writes them. A file without our mark is somebody else's."""

    def read(self, host: Host, scope: Scope) -> Iterable[Observed]:
        for path in files.below(_FOLDER):
            place = path.removeprefix(f"{_FOLDER}/")
            if _PLACE.match(place):
                owner, content = _split(files.read_small(path))
                yield Observed(NetnsFile(key=netns_file_key(*place.split("/")), content=content), owner)

    def apply(self, host: Host, ops: Sequence[OpView], owner: str) -> Iterable[Outcome]:
        for op in ops:
            path = f"{_FOLDER}/{op.key.name}"
            try:
                host.step("file", path)
                whose = _split(files.read_small(path))[0]
                if op.action == "delete":
                    if whose == owner:
                        files.remove(path, _FOLDER)
                elif op.action == "create" and whose != owner and files.exists(path):
                    yield Outcome(op.id, EEXIST, f"there is a {path} already")
                    continue
                else:
                    assert isinstance(op.after, NetnsFile)
                    mark = "" if op.action == "release" else _MARK.format(owner)
                    files.write_in_place(path, mark + op.after.content)
            except OSError as error:
                yield Outcome(op.id, error.errno or EIO, f"{path}: {error.strerror or error}")
            else:
                yield Outcome(op.id)


def _split(text: str) -> tuple[str, str]:
    """(owner, content)."""
    first, _, rest = text.partition("\n")
    before, after = _MARK.rstrip("\n").split("{}")
    if first.startswith(before) and first.endswith(after):
        return first.removeprefix(before).removesuffix(after), rest
    return "", text


KINDS = (NetnsFile,)
ACTUATOR = NetnsFileActuator()
