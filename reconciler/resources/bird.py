"""BIRD's configuration: checked before it replaces the old one, loaded, and undone when it takes sessions down.

What a running BIRD says of its BGP sessions is read here as well.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from errno import EINVAL, EIO, ENOKEY, ETIMEDOUT
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from msgspec.structs import replace

from reconciler.host import bird
from reconciler.host.bgp import ESTABLISHED, Routes
from reconciler.host.bird import Bird
from reconciler.resources.actuator import OpView, Outcome, Scope
from reconciler.resources.file import mark_of
from reconciler.resources.resource import Key, Need, Observed, Resource

if TYPE_CHECKING:
    from reconciler.host.host import Host

OWN = "own"
_PASSWORD = re.compile(r'^(\s*password )"([^"\n]*)";$', re.MULTILINE)
_PROTOCOL = re.compile(r"^protocol bgp '([^'\n]+)' \{$", re.MULTILINE)
_PLACE = re.compile(r'[^\n]*; included by "([^"\n]*)", read by the BIRD at "([^"\n]*)"\n')  # drivers/bird.py
_EMPTY = "# Left empty by cnm, because the configuration of BIRD includes it.\n"
_GRACE = 15  # seconds after which BIRD undoes what nobody confirms, beyond the time that sessions have to return
_UNREADABLE = (
    "no usable password in {}: it needs mode 0600, root as owner, and 1 to 80 printable characters in its first line"
)


def bird_key(include_file: str = "") -> Key:
    """The configuration of our own BIRD, or of the file that somebody else's includes."""
    return Key("bird", "", include_file or OWN)


def password_key(file: str) -> Key:
    return Key("password", "", file)


def session_key(name: str) -> Key:
    return Key("bgp-session", "", name)


def password_of(file: str) -> str:
    """What stands in a configuration in the place of the password that is in a file."""
    return f"<password of {file}>"


class Password(Resource, frozen=True, kw_only=True):
    """A file with a password: never made by us, only built on."""

    kind: ClassVar[str] = "password"
    batch: ClassVar[str] = "bird"

    def awaited(self) -> str:
        return _UNREADABLE.format(self.key.name)


class BirdConfig(Resource, frozen=True, kw_only=True):
    """``content``, whose first line says whose it is, with ``password_of(FILE)`` where the password of a file belongs:
    ``passwords`` are these files. ``config_file`` and ``socket`` are those of a BIRD that others run and that includes our
    file; None for our own. ``return_within``: seconds that sessions have to come back, 0: nobody waits for them.
    ``loaded``: the running BIRD has its sessions, none of them disabled."""

    kind: ClassVar[str] = "bird"
    batch: ClassVar[str] = "bird"
    marked: ClassVar[str] = "inventory"

    content: str
    passwords: tuple[str, ...] = ()
    config_file: str | None = None
    socket: str | None = None
    return_within: int | None = None
    loaded: bool | None = None

    def needs(self) -> Iterable[Need]:
        for file in self.passwords:
            yield Need((password_key(file),), _UNREADABLE.format(file))

    def differs(self, new: Self) -> tuple[str, ...]:
        """How it is taken up is no part of what it is."""
        return tuple(name for name in Resource.differs(self, new) if name != "return_within")

    def restorable(self) -> Self | None:
        return replace(self, loaded=True)


class BgpSession(Resource, frozen=True, kw_only=True):
    """What BIRD says of a session: only ever seen. ``words`` is its reason for a state other than Established."""

    kind: ClassVar[str] = "bgp-session"
    batch: ClassVar[str] = "bird"

    state: str | None = None
    words: str | None = None
    learned: int | None = None
    exported: int | None = None

    def awaited(self) -> str:
        return f"BIRD has no session {self.key.name}"


class BirdActuator:
    """Reads and writes configurations, and reads sessions."""

    def read(self, host: Host, scope: Scope) -> Iterable[Observed]:
        for key, resource in scope.wanted.items():
            if isinstance(resource, Password) and host.secrets.password(key.name) is not None:
                yield Observed(resource)
        names = {text.removeprefix("bird/") for text in host.inventory.made if text.startswith("bird/")}
        names |= {key.name for key in scope.wanted if key.kind == "bird"} | {OWN}
        for name in sorted(names):
            wanted = scope.wanted.get(Key("bird", "", name))
            yield from self._read(host, scope, name, wanted if isinstance(wanted, BirdConfig) else None)

    @staticmethod
    def _read(host: Host, scope: Scope, name: str, wanted: BirdConfig | None) -> Iterable[Observed]:
        text = host.config.read(str(_path(host, name)))
        if text is None or (name != OWN and _is_empty(text)):
            return
        content, files = _without_secrets(host, text, wanted)
        place = _PLACE.match(text)
        socket = wanted.socket if wanted is not None else place[2] if place is not None else None
        daemon = _daemon(host, socket)
        loaded = name == OWN  # a BIRD of ours that does not run will read it when it is started
        try:
            sessions = daemon.sessions()
            declared = _PROTOCOL.findall(content)
            loaded = sessions.keys() >= set(declared) and all(sessions[n].state != "down" for n in declared)
            for session in sessions.values():
                if session.name in declared:
                    yield Observed(
                        BgpSession(
                            key=session_key(session.name),
                            state=session.state,
                            words=session.words,
                            learned=session.imported,
                            exported=session.exported,
                        )
                    )
        except OSError:
            pass
        spec = BirdConfig(
            key=Key("bird", "", name),
            content=content,
            passwords=files,
            config_file=wanted.config_file if wanted is not None else place[1] if place is not None else None,
            socket=socket,
            return_within=wanted.return_within if wanted is not None else None,
            loaded=loaded,
        )
        first = text.partition("\n")[0][1:]
        yield Observed(spec, scope.owner if first.startswith(mark_of(scope.owner)) else "")

    def apply(self, host: Host, ops: Sequence[OpView], owner: str) -> Iterable[Outcome]:
        for op in ops:
            try:
                host.step("file", str(op.key))
                if op.action == "delete":
                    assert isinstance(op.before, BirdConfig)
                    words = _remove(host, op.before)
                else:
                    assert isinstance(op.after, BirdConfig)
                    words = _replace(host, op.after)
            except _NoSecretError as error:
                yield Outcome(op.id, ENOKEY, str(error))
            except TimeoutError as error:
                yield Outcome(op.id, ETIMEDOUT, str(error))
            except OSError as error:
                yield Outcome(op.id, error.errno or EIO, f"{op.key.name}: {error.strerror or error}")
            else:
                yield Outcome(op.id, EINVAL, words) if words else Outcome(op.id)


def session_routes(host: Host, config: BirdConfig, most: int) -> Iterator[tuple[Key, Routes]]:
    """What came and went by the sessions of a configuration that is in force; ``most`` of each. By one that is not up
    nothing goes, but what came may stay (RFC 4724). Raises OSError when BIRD does not say."""
    daemon = _daemon(host, config.socket)
    sessions = daemon.sessions()
    for name in filter(sessions.__contains__, _PROTOCOL.findall(config.content)):
        learned, more_learned = daemon.routes(name, "protocol", most)
        up = sessions[name].state == ESTABLISHED
        exported, more_exported = daemon.routes(name, "export", most) if up else ([], False)
        yield session_key(name), Routes(tuple(learned), tuple(exported), more_learned, more_exported)


class _NoSecretError(Exception):
    """A password cannot be read."""


def _path(host: Host, name: str) -> Path:
    return host.runtime / "bird" / "bird.conf" if name == OWN else Path(name)


def _daemon(host: Host, socket: str | None) -> Bird:
    return Bird(socket or str(_path(host, OWN).with_name("bird.ctl")))


def _is_empty(text: str) -> bool:
    return all(not line.strip() for line in text.splitlines()) or text == _EMPTY


def _with_secrets(host: Host, spec: BirdConfig) -> str:
    text = spec.content
    for file in spec.passwords:
        secret = host.secrets.password(file)
        if secret is None:
            raise _NoSecretError(_UNREADABLE.format(file))
        text = text.replace(f'"{password_of(file)}"', f'"{secret}"')
    return text


def _without_secrets(host: Host, text: str, wanted: BirdConfig | None) -> tuple[str, tuple[str, ...]]:
    """The content with files in the place of passwords, and the files. A password that is in none of the files which are
    wanted is known by a fingerprint, the n-th one of the files of the n-th one first."""
    asked = [match[2] for match in _PASSWORD.finditer(wanted.content)] if wanted is not None else []
    secrets = {file: host.secrets.password(file) for file in (wanted.passwords if wanted is not None else ())}
    files = {password_of(file): file for file in secrets}
    used: list[str] = []
    number = -1

    def instead(match: re.Match[str]) -> str:
        nonlocal number
        number += 1
        likely = [files[asked[number]]] if number < len(asked) and asked[number] in files else []
        for file in (*likely, *secrets):
            if secrets[file] == match[2]:
                used.append(file)
                return f'{match[1]}"{password_of(file)}";'
        return f'{match[1]}"<another password, {host.secrets.fingerprint(match[2].encode())}>";'

    content = _PASSWORD.sub(instead, text)
    return content, tuple(sorted(set(used)))


def _replace(host: Host, spec: BirdConfig) -> str:
    """ "" or what BIRD says; then file and daemon are as they were."""
    text = _with_secrets(host, spec)
    if spec.key.name == OWN:
        folder = bird.folder(host.runtime)
        draft = folder / "bird.conf.draft"
        host.config.write(str(draft), text, mode=0o600)
        try:
            words = bird.check(str(draft), draft=True)
            daemon = Bird(str(folder / "bird.ctl"))
            if not words and daemon.answers():
                words = _load(daemon, str(draft), spec)
            if not words:
                draft.replace(folder / "bird.conf")
        finally:
            draft.unlink(missing_ok=True)
        return words
    assert spec.config_file is not None
    assert spec.socket is not None
    before = host.config.read(spec.key.name)
    host.config.write(spec.key.name, text, mode=0o600)
    words = "unknown"
    try:
        words = bird.check(spec.config_file) or _load(Bird(spec.socket), None, spec)
    finally:
        if words:
            host.config.write(spec.key.name, before if before is not None else _EMPTY, mode=0o600)
    return words


def _load(daemon: Bird, path: str | None, spec: BirdConfig) -> str:
    """Have it take up a configuration. Should we end in the middle, BIRD goes back to the old one by itself. Raises
    TimeoutError when a session does not return, and the old configuration is in force again."""
    patience = spec.return_within or 0
    up = {name for name, session in daemon.sessions().items() if session.state == ESTABLISHED}
    words = daemon.configure(path, patience + _GRACE)
    if words:
        return words
    deadline = time.monotonic() + patience
    while patience:
        sessions = daemon.sessions()
        lost = sorted(n for n in up if n in sessions and sessions[n].state != ESTABLISHED)
        if not lost:
            break
        if time.monotonic() > deadline:
            daemon.undo()
            said = "; ".join(f"{name}: {sessions[name].state} {sessions[name].words}".strip() for name in lost)
            raise TimeoutError(f"undone, because sessions that were up were not up again within {patience} s: {said}")
        time.sleep(0.05)
    words = daemon.confirm()
    if not words:
        declared = set(_PROTOCOL.findall(spec.content))
        daemon.enable(sorted(declared - daemon.names()))
    return words


def _remove(host: Host, spec: BirdConfig) -> str:
    """Absent is success. A BIRD of others goes on without what was ours."""
    path = _path(host, spec.key.name)
    if spec.key.name == OWN:
        for name in ("bird.conf", "bird.ctl", "bird.conf.draft"):
            path.with_name(name).unlink(missing_ok=True)
        with suppress(OSError):
            path.parent.rmdir()
            host.runtime.rmdir()
        return ""
    if host.config.read(str(path)) is None:
        return ""
    host.config.write(str(path), _EMPTY, mode=0o600)
    if spec.socket is not None and Bird(spec.socket).answers():
        daemon = Bird(spec.socket)
        return daemon.configure(None, _GRACE) or daemon.confirm()
    return ""


KINDS: tuple[type[Resource], ...] = (BirdConfig, Password, BgpSession)
ACTUATOR = BirdActuator()
