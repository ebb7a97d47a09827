"""A session with the APICs of a fabric: JSON over HTTPS (Cisco APIC REST API Configuration Guide, "Using the REST API").

Every answer is an object ``imdata`` with a list of objects, each ``{CLASS: {"attributes": {...}}}``; an error is an object
of class ``error`` with ``code`` and ``text``. A session is a token in the cookie APIC-cookie.
"""

from __future__ import annotations

import json
import os
import ssl
import stat
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol
from urllib.parse import quote

import urllib3
from urllib3.exceptions import ConnectTimeoutError, HTTPError, MaxRetryError, NewConnectionError
from urllib3.util import Retry, Timeout

from reconciler.errors import RemoteError
from reconciler.host.step import Step, unhindered
from reconciler.resources.managedobject import unusable

_LARGEST = 256 << 20
_NO_SESSION = (401, 403)  # 403 "Token was invalid": it timed out, or the APIC started anew
Objects = dict[str, tuple[str, Mapping[str, str]]]
"""By DN: class and attributes."""


class Login(Protocol):
    """How a fabric's controllers are reached."""

    @property
    def name(self) -> str: ...
    @property
    def apics(self) -> tuple[str, ...]: ...
    @property
    def user(self) -> str: ...
    @property
    def password_file(self) -> str: ...
    @property
    def ca_file(self) -> str | None: ...
    @property
    def timeout(self) -> int: ...


class Apic:
    """One session, opened when it is needed and again when it ended. The first of the controllers that takes a
    connection is spoken to."""

    def __init__(self, login: Login, step: Step = unhindered) -> None:
        self.login = login
        self._step = step
        self._pool: urllib3.PoolManager | None = None
        self._token = ""
        self._url = ""

    def close(self) -> None:
        """End the session: APICs allow a user only so many at once."""
        if self._token:
            with suppress(RemoteError):
                body = {"aaaUser": {"attributes": {"name": self.login.user}}}
                self._exchange(self._url, "POST", "/api/aaaLogout.json", body)
        if self._pool is not None:
            self._pool.clear()
            self._pool = None
        self._token = ""

    # -- questions -----------------------------------------------------------------------------------------

    def below(self, dn: str, classes: Sequence[str], *, itself: bool = False) -> Objects:
        """The objects of these classes at and below a DN (``itself``: only at it). Raises RemoteError."""
        target = "self" if itself else f"subtree&target-subtree-class={','.join(classes)}"
        return self._objects(f"/api/mo/{quote(dn, safe='/[]:')}.json?query-target={target}")

    def marked(self, annotation: str, classes: Sequence[str]) -> Objects:
        """The objects of these classes that carry an annotation, wherever they are."""
        tests = ",".join(f'eq({cls}.annotation,"{annotation}")' for cls in classes)
        names = ",".join(classes)
        query = (
            f"query-target=subtree&target-subtree-class={names}&query-target-filter={quote(f'or({tests})', safe='(),')}"
        )
        return self._objects(f"/api/mo/uni.json?{query}")

    def configured(self, dn: str, annotation: str) -> tuple[str, ...]:
        """The DNs of all that somebody configured at or below a DN and that lacks an annotation. What APIC makes by
        itself has no user (``uid`` 0)."""
        found = self._objects(f"/api/mo/{quote(dn, safe='/[]:')}.json?query-target=subtree", config_only=False)
        return tuple(
            sorted(
                dn
                for dn, (_cls, attributes) in found.items()
                if attributes.get("annotation", annotation) != annotation
                and attributes.get("uid", "0") not in ("", "0")
            )
        )

    def _objects(self, path: str, *, config_only: bool = True) -> Objects:
        answer = self._ask("GET", path + ("&rsp-prop-include=config-only" if config_only else ""))
        found: Objects = {}
        for item in answer:
            for cls, body in item.items():
                attributes = body.get("attributes") if isinstance(body, dict) else None
                if not isinstance(attributes, dict) or not isinstance(attributes.get("dn"), str):
                    raise self._strange(f"an object of class {cls} without a dn")
                found[attributes["dn"]] = (cls, {name: str(value) for name, value in attributes.items()})
        return found

    # -- changes -------------------------------------------------------------------------------------------

    def post(self, body: Mapping[str, Any]) -> str:
        """Change the tree below ``uni``: all of it or nothing. "", or why APIC refused it. Raises RemoteError when
        nobody can tell what became of it."""
        self._step("apic", f"change fabric {self.login.name}")
        try:
            self._ask("POST", "/api/mo/uni.json", body)
        except _RefusedError as refused:
            return str(refused)
        return ""

    # -- the wire ------------------------------------------------------------------------------------------

    def _ask(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
        fresh = not self._token
        if fresh:
            self._log_in()
        try:
            return self._exchange(self._url, method, path, body)
        except _RefusedError as refused:
            if fresh or refused.status not in _NO_SESSION:
                raise
        self._log_in()
        return self._exchange(self._url, method, path, body)

    def _log_in(self) -> None:
        self._token = ""
        password = read_password(self.login.password_file)
        body = {"aaaUser": {"attributes": {"name": self.login.user, "pwd": password}}}
        silent: list[str] = []
        for url in self.login.apics:
            try:
                answer = self._exchange(url, "POST", "/api/aaaLogin.json", body)
            except _UnreachableError as error:
                silent.append(str(error))
                continue
            except _RefusedError as refused:
                raise RemoteError(
                    f"{refused}; the user is {self.login.user}, the password {self.login.password_file}'s"
                ) from None
            try:
                self._token = str(answer[0]["aaaLogin"]["attributes"]["token"])
            except (IndexError, KeyError, TypeError):
                raise self._strange("no token at login") from None
            self._url = url
            return
        raise RemoteError("; ".join(silent))

    def _exchange(self, url: str, method: str, path: str, body: Mapping[str, Any] | None) -> list[dict[str, Any]]:
        """One request to one controller, never tried again: nobody can tell what became of the first."""
        headers = {"Content-Type": "application/json"}
        if self._token:
            headers["Cookie"] = f"APIC-cookie={self._token}"
        try:
            answer = self._connections().request(
                method,
                url + path,
                body=json.dumps(body) if body is not None else None,
                headers=headers,
                redirect=False,
                retries=Retry(total=False, redirect=False),
                preload_content=False,
            )
            try:
                raw = answer.read(_LARGEST + 1)
            finally:
                answer.drain_conn() if answer.length_remaining in (0, None) else answer.close()
                answer.release_conn()
        except (HTTPError, OSError) as error:
            raise self._unreachable(url, method, error) from None
        if len(raw) > _LARGEST:
            raise self._strange("an answer without an end")
        return self._understood(url, answer.status, raw)

    def _understood(self, url: str, status: int, raw: bytes) -> list[dict[str, Any]]:
        try:
            found = json.loads(raw)["imdata"]
        except (ValueError, KeyError, TypeError, RecursionError):
            found = None
        if status != 200:
            raise _RefusedError(f"APIC {url} answers {status}: {_words(found, raw)}", status)
        if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
            raise self._strange("no imdata")
        if any("error" in item for item in found):
            raise _RefusedError(f"APIC {url}: {_words(found, raw)}", status)
        return found

    def _unreachable(self, url: str, method: str, error: Exception) -> RemoteError:
        cause: BaseException = error
        if isinstance(cause, MaxRetryError) and cause.reason is not None:
            cause = cause.reason
        never_sent = isinstance(cause, (NewConnectionError, ConnectTimeoutError)) or "CERTIFICATE_VERIFY" in str(cause)
        below = cause.__cause__ if isinstance(cause, NewConnectionError) else cause
        if isinstance(below, (TimeoutError, urllib3.exceptions.TimeoutError)):
            words = f"no answer within {self.login.timeout} s"
        else:
            words = str(getattr(below, "strerror", None) or below) or type(cause).__name__
        if method == "POST" and self._token and not never_sent:
            words += "; whether it did what it was asked to, the next look will tell"
        return _UnreachableError(f"APIC {url} is not reached: {words}")

    def _strange(self, what: str) -> RemoteError:
        return RemoteError(f"fabric {self.login.name}: that is no APIC's answer: {what}")

    def _connections(self) -> urllib3.PoolManager:
        if self._pool is None:
            try:
                context = ssl.create_default_context(cafile=self.login.ca_file)
            except (OSError, ssl.SSLError) as error:
                words = error.strerror or str(error)
                raise RemoteError(f"fabric {self.login.name}: caFile {self.login.ca_file}: {words}") from None
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            timeout = Timeout(connect=self.login.timeout, read=self.login.timeout)
            self._pool = urllib3.PoolManager(ssl_context=context, timeout=timeout, retries=False)
        return self._pool


class _RefusedError(RemoteError):
    """An APIC answered that it will not."""

    def __init__(self, text: str, status: int) -> None:
        self.status = status
        super().__init__(text)


class _UnreachableError(RemoteError):
    """No whole answer came."""


def _words(found: Any, raw: bytes) -> str:
    """What an error answer says."""
    try:
        about = next(item["error"]["attributes"] for item in found if "error" in item)
        return f"{about['text']} (code {about['code']})"
    except (TypeError, KeyError, StopIteration):
        return raw[:200].decode("utf-8", "replace").strip() or "nothing"


def read_password(path: str) -> str:
    """The only line of a file that only its owner, root or us, can read. Raises RemoteError that says what it must be
    like; the password is in no message."""
    wanted = unusable(path)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        raise RemoteError(f"{wanted} ({error.strerror})") from None
    with os.fdopen(fd, "rb") as file:
        about = os.fstat(fd)
        if not stat.S_ISREG(about.st_mode) or about.st_mode & 0o077 or about.st_uid not in (0, os.geteuid()):
            raise RemoteError(wanted)
        lines = file.read(4096).decode("utf-8", "replace").splitlines()
    if len(lines) != 1 or not lines[0]:
        raise RemoteError(wanted)
    return lines[0]
