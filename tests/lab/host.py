"""A private host: its namespaces, commands inside it, cables to others."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from reconciler.host import libc
from tests.lab.events import Recording
from tests.lab.fingerprint import Fingerprint, take

CLONE_FS = 0x200
ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = {
    **os.environ,
    "PATH": f"{os.environ.get('CNM_VENV') or ROOT / '.venv'}/bin:{os.environ.get('PATH', '/usr/bin:/bin')}:/usr/sbin:/sbin",
    "LC_ALL": "C.UTF-8",
}

# `cat` holds both namespaces as long as its standard input, a pipe from us, is open: until we end, however we do. Then
# whatever still runs in here (daemons) ends too. Tests make some thousand hosts: the shell does what it can by itself.
_HOLD = """
mount -t tmpfs -o mode=755 lab /run && mkdir -p /run/netns /run/.etc/upper /run/.etc/work /run/.var/upper /run/.var/work &&
mount -t overlay etc -o lowerdir=/etc,upperdir=/run/.etc/upper,workdir=/run/.etc/work /etc &&
mount -t overlay var -o lowerdir=/var/lib,upperdir=/run/.var/upper,workdir=/run/.var/work /var/lib &&
ip link set lo up && echo ready && cat
for one in /proc/[0-9]*; do
    [ "$one/ns/mnt" -ef /proc/self/ns/mnt ] && [ "${one#/proc/}" != $$ ] && kill -KILL "${one#/proc/}" 2>/dev/null
done
"""


class Failed(AssertionError):  # noqa: N818 - reads as what it says in a test's output
    """A command in a host ended with a status other than 0."""

    def __init__(self, done: subprocess.CompletedProcess[str]) -> None:
        self.done = done
        super().__init__(f"{' '.join(map(str, done.args))}: exit status {done.returncode}\n{done.stdout}{done.stderr}")


class Host:
    """One private host, from construction to :meth:`close`. ``lo`` is up; nothing else is there.

    Needs the right to make network namespaces: root, also one's own in ``unshare -Urnm``.
    Raises OSError when the namespaces cannot be made.
    """

    def __init__(self, name: str = "host") -> None:
        self.name = name
        self._holder = subprocess.Popen(
            ["unshare", "--net", "--mount", "--", "sh", "-c", _HOLD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd="/",
            env=ENVIRONMENT,
            start_new_session=True,  # who kills all of our process group shall not kill the one that cleans up
        )
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != "ready\n":
            words = self._holder.communicate()[1].strip()
            raise OSError(f"a private host cannot be made here: {words}")
        self.pid = self._holder.pid
        self.net = os.open(f"/proc/{self.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self.mnt = os.open(f"/proc/{self.pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)

    def close(self) -> None:
        """Give all of it back to the kernel. What still runs inside is ended."""
        if self._holder.returncode is None:
            os.close(self.net)
            os.close(self.mnt)
            self._holder.communicate()  # closes its standard input, and waits

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def argv(self, *command: str | Path, netns: str = "", cwd: Path | str | None = None) -> list[str]:
        """The command line, for use outside, that runs ``command`` in here: in namespace ``netns`` of /run/netns
        when one is named, in folder ``cwd`` (default: the current one)."""
        enter = ["nsenter", f"--net=/proc/{self.pid}/ns/net", f"--mount=/proc/{self.pid}/ns/mnt", "--"]
        enter += ["env", f"--chdir={cwd or Path.cwd()}"]
        if netns:
            enter += ["nsenter", f"--net=/run/netns/{netns}", "--"]
        return [*enter, *map(str, command)]

    def run(
        self,
        *command: str | Path,
        netns: str = "",
        check: bool = True,
        input: str = "",  # noqa: A002 - subprocess's own word for it
        env: Mapping[str, str] | None = None,
        cwd: Path | str | None = None,
        timeout: float = 60,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in here to its end. ``env`` is added to the environment; standard input is ``input``.

        Raises Failed when ``check`` and the exit status is not 0; subprocess.TimeoutExpired after ``timeout`` s.
        """
        done = subprocess.run(
            self.argv(*command, netns=netns, cwd=cwd),
            input=input,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
            env={**ENVIRONMENT, **(env or {})},
        )
        if check and done.returncode:
            raise Failed(done)
        return done

    def ip(self, line: str, *, netns: str = "") -> str:
        """``host.ip("link add br0 type bridge")``: run ip(8), return what it printed."""
        return self.run("ip", *line.split(), netns=netns).stdout

    def popen(self, *command: str | Path, netns: str = "") -> subprocess.Popen[str]:
        """Start a command in here; the caller ends it. Its output comes through pipes."""
        return subprocess.Popen(
            self.argv(*command, netns=netns),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=ENVIRONMENT,
        )

    @contextmanager
    def entered(self, *, netns: str = "") -> Iterator[None]:
        """The calling thread, and what it starts, is in here for the length of the block; it keeps its folder
        as long as it opens nothing below it by another mount. Other threads stay where they are."""
        libc.unshare(CLONE_FS)  # a thread that shares its root folder with others may not change its mounts
        folder = Path.cwd()
        home = [os.open(f"/proc/thread-self/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC) for kind in ("net", "mnt")]
        try:
            libc.setns(self.net)
            libc.setns(self.mnt, libc.CLONE_NEWNS)
            if netns:
                with Path("/run/netns", netns).open() as file:
                    libc.setns(file.fileno())
            os.chdir(folder)
            yield
        finally:
            libc.setns(home[1], libc.CLONE_NEWNS)
            libc.setns(home[0])
            os.chdir(folder)
            for fd in home:
                os.close(fd)

    def namespaces(self) -> list[str]:
        """The named network namespaces (/run/netns), sorted."""
        return sorted(path.name for path in Path(f"/proc/{self.pid}/root/run/netns").iterdir())

    def fingerprint(self) -> Fingerprint:
        """All that must be identical once everything is taken away again; see tests.lab.fingerprint."""
        with self.entered():
            return take(["", *self.namespaces()])

    @contextmanager
    def events(self) -> Iterator[Recording]:
        """Record what the kernel reports as changed, here and in each named namespace, during the block."""
        with Recording(
            {name: lambda *command, n=name: self.argv(*command, netns=n) for name in ["", *self.namespaces()]}
        ) as recording:
            yield recording


def wire(a: Host, b: Host, name_a: str = "eth0", name_b: str = "eth0", *, net: str = "") -> None:
    """Plug a cable (veth) between two hosts, both ends up. ``net`` like ``192.0.2.{}/24``: a gets .1, b .2."""
    a.run("ip", "link", "add", name_a, "type", "veth", "peer", "name", name_b, "netns", str(b.pid))
    for number, (host, name) in enumerate(((a, name_a), (b, name_b)), start=1):
        if net:
            nodad = ["nodad"] if ":" in net else []
            host.run("ip", "address", "add", net.format(number), "dev", name, *nodad)
        host.ip(f"link set {name} up")


def ping(host: Host, target: str, *, netns: str = "", tries: int = 3, size: int = 56) -> bool:
    """True when an ICMP echo comes back. ``size`` is the payload in bytes; larger than the MTU is refused, not
    cut into fragments."""
    for _ in range(tries):
        done = host.run("ping", "-n", "-c1", "-W1", "-s", str(size), "-M", "do", target, netns=netns, check=False)
        if done.returncode == 0:
            return True
    return False
