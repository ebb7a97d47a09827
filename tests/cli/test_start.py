"""What `cnm` loads before it does anything: no more than it needs, so that help and completion come at once."""

from __future__ import annotations

import array
import fcntl
import re
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from reconciler.drivers.registry import drivers

# What takes long to import and what only verbs need that plan or apply. Each with all that is below it.
HEAVY = frozenset(
    (
        *("pydantic", "pydantic_core", "ruamel", "_ruamel_yaml", "rich", "jsonpatch", "pyroute2", "watchfiles"),
        *("reconciler.manifest", "reconciler.topology", "reconciler.drivers", "reconciler.resources"),
        *(
            "reconciler.planner",
            "reconciler.engine",
            "reconciler.host",
            "reconciler.netlink",
            "reconciler.review.terminal",
        ),
        *("asyncio", "http", "email", "ssl", "urllib.request", "xml", "sqlite3", "concurrent", "multiprocessing"),
        *("json", "secrets", "tempfile", "importlib.metadata"),
    )
)

LOADED = "import sys; from reconciler.cli.main import main\ntry: main()\nexcept SystemExit: print(*sys.modules, file=sys.stderr)"


@pytest.mark.parametrize(
    "arguments",
    [
        ["version"],
        ["--version"],
        ["--help"],
        ["-h"],
        ["plan", "--help"],
        ["no-such-verb"],
        ["plan", "--no-such-option"],
    ],
    ids=" ".join,
)
def test_nothing_heavy_is_imported(arguments: list[str]) -> None:
    done = subprocess.run([sys.executable, "-c", LOADED, *arguments], capture_output=True, text=True, check=True)
    modules = done.stderr.splitlines()[-1].split()
    assert "reconciler.cli.main" in modules
    found = {module for module in modules if any(f"{module}.".startswith(f"{heavy}.") for heavy in HEAVY)}
    assert not found


@pytest.mark.parametrize("verb", ["validate", "plan"])
def test_no_http_where_nothing_is_asked_of_a_daemon(verb: str, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("apiVersion: cnm/v1alpha1\nkind: Sandbox\nmetadata: {name: a}\n")
    done = subprocess.run(
        [sys.executable, "-c", LOADED, verb, str(tmp_path)], capture_output=True, text=True, check=True
    )
    modules = done.stderr.splitlines()[-1].split()
    assert "reconciler.engine.controller" in modules
    assert not {"http", "ssl", "jsonpatch", "pyroute2", "watchfiles", "asyncio"}.intersection(modules)


def test_no_driver_where_no_network_has_it(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        "apiVersion: cnm/v1alpha1\nkind: Network\nmetadata: {name: a}\nspec: {subnets: [{cidr: 10.1.0.0/24}]}\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", LOADED, "validate", str(tmp_path)], capture_output=True, text=True, check=True
    )
    modules = done.stderr.splitlines()[-1].split()
    loaded = {name for name in drivers() if f"reconciler.drivers.{name.replace('-', '')}" in modules}
    assert "bridge" in loaded
    assert not loaded & {"calico", "macvlan", "overlay", "ovs", "ovs-dpdk", "romana", "sriov", "vlan"}


def test_only_the_verb_that_runs_is_built() -> None:
    code = (
        "from reconciler.cli.main import app; import typer; g = typer.main.get_command(app); "
        "g.get_command(None, 'plan'); print(*g.commands._built)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["plan"]


def test_help_names_every_verb_once() -> None:
    command = [sys.executable, "-m", "reconciler.cli.main"]
    text = subprocess.run([*command, "--help"], capture_output=True, text=True, check=True).stdout
    for verb in ("plan", "apply", "destroy", "status", "exec", "validate", "doctor", "version"):
        assert len(re.findall(rf"^  {verb} +[A-Z]", text, re.MULTILINE)) == 1
    alone = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (alone.returncode, alone.stdout) == (1, "")
    assert text.partition("\n")[2] == alone.stderr.partition("\n")[2]


def test_an_interruption_is_told() -> None:
    command = [sys.executable, "-m", "reconciler.cli.main", "validate", "-"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdin is not None
        running.stdin.write(b"# to be continued\n")
        running.stdin.flush()
        unread, deadline = array.array("i", [1]), time.monotonic() + 30
        while unread[0] and time.monotonic() < deadline:  # then it waits for more
            time.sleep(0.01)
            fcntl.ioctl(running.stdin, termios.FIONREAD, unread)
        running.send_signal(signal.SIGINT)
        assert running.communicate() == (None, b"interrupted\n")
    assert running.returncode == 130
