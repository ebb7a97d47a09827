"""Files of daemons on disk, and FRR's own tools to check and to load them (vtysh, frr-reload.py)."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

_RELOAD = "/usr/lib/frr/frr-reload.py"
_LARGEST = 1 << 20
_SECONDS = 60


def frr_missing() -> str:
    """ "" when FRR's tools are there, else what is missing."""
    if shutil.which("vtysh") is None:
        return "vtysh is not installed"
    return "" if Path(_RELOAD).exists() else f"there is no {_RELOAD}"


class Config:
    """Reads and replaces files whole. A draft beside the file takes its place in one step."""

    @staticmethod
    def read(path: str) -> str | None:
        """The text of a regular file; None when there is none."""
        try:
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            return None
        with os.fdopen(fd, "rb") as file:
            return file.read(_LARGEST).decode("utf-8", "replace")

    @staticmethod
    def write(path: str, content: str, mode: int = 0o640) -> None:
        """Replace the file; its owner is that of its folder, as daemons that drop their rights need it. Raises OSError."""
        place = Path(path)
        about = place.parent.stat()
        fd, draft = tempfile.mkstemp(dir=place.parent, prefix=f".{place.name}.")
        try:
            with os.fdopen(fd, "w") as file:
                file.write(content)
                file.flush()
                os.fchmod(fd, mode)
                os.fchown(fd, about.st_uid, about.st_gid)
                os.fsync(fd)
            Path(draft).replace(place)
        except OSError:
            Path(draft).unlink(missing_ok=True)
            raise

    @staticmethod
    def remove(path: str) -> None:
        Path(path).unlink(missing_ok=True)

    def check(self, content: str, sockets: str) -> str:
        """ "" when FRR can read this, else its words."""
        with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
            file.write(content)
            file.flush()
            return self._run("vtysh", "--vty_socket", sockets, "-C", "-f", file.name)

    def load(self, path: str, sockets: str) -> str:
        """Bring the running daemons in line with the file, by difference; "" or their words. What they have besides
        routers (forwarding, logging, what was said on their command line) stays as it is. The draft has the name that
        frr-reload.py expects, or it would write the daemons' own wording over the file."""
        text = self.read(path) or ""
        with tempfile.TemporaryDirectory() as scratch:
            target = Path(scratch, "frr.conf")
            target.write_text("\n".join([text, *_others(self._running(sockets)), ""]))
            return self._run(
                "python3", _RELOAD, "--reload", "--stdout", "--bindir", str(Path(shutil.which("vtysh") or "vtysh").parent),
                "--confdir", scratch, "--rundir", scratch, "--vty_socket", sockets, str(target),
            )  # fmt: skip

    def works_by(self, content: str, sockets: str) -> bool:
        """Whether the daemons have just these routers, line by line."""
        return _routers(self._running(sockets)) == _routers(content)

    @staticmethod
    def _running(sockets: str) -> str:
        """What the daemons are configured to do; "" when they do not answer."""
        try:
            done = subprocess.run(  # noqa: S603 - a fixed program
                ["vtysh", "--vty_socket", sockets, "-c", "show running-config"],  # noqa: S607 - as the shell finds it
                capture_output=True,
                text=True,
                check=False,
                timeout=_SECONDS,
            )
        except (OSError, subprocess.TimeoutExpired):
            return ""
        return "" if done.returncode else done.stdout

    @staticmethod
    def _run(*command: str) -> str:
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_SECONDS)  # noqa: S603 - fixed programs
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"{command[0]}: {error}"
        if not done.returncode:
            return ""
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        return f"{Path(command[0]).name}: " + ("; ".join(lines[-5:])[:1000] or f"exit status {done.returncode}")


def _routers(text: str) -> list[str]:
    """The sections of routers, in which comments say nothing."""
    found: list[str] = []
    inside = False
    for line in text.splitlines():
        inside = line.startswith("router ") or (inside and line.startswith(" "))
        if inside and line.strip() != "!":
            found.append(line)
    return found


_PREAMBLE = ("Building configuration", "Current configuration", "frr version", "frr defaults", "end", "!")


def _others(text: str) -> list[str]:
    """What is no router, as it stands."""
    found: list[str] = []
    inside = False
    for line in text.splitlines():
        if line.startswith("router "):
            inside = True
        elif inside and line == "exit":
            inside = False
        elif not inside and line.strip() and not line.startswith(_PREAMBLE):
            found.append(line)
    return found
