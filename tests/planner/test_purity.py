"""Planner and drivers compute; they reach for nothing."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import reconciler

ROOT = Path(reconciler.__file__).parent
FILES = sorted(path for room in ("planner", "drivers", "features") for path in (ROOT / room).glob("*.py"))
FORBIDDEN = {"os", "socket", "subprocess", "pyroute2", "reconciler.host", "reconciler.engine", "reconciler.cli"}


def imports(tree: ast.AST) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_no_way_to_the_machine(path: Path) -> None:
    named = imports(ast.parse(path.read_text()))
    assert not {name for name in named for bad in FORBIDDEN if name == bad or name.startswith(f"{bad}.")}


def test_the_rule_sees_what_it_forbids() -> None:
    assert imports(ast.parse("def f():\n    import os.path\n    from reconciler import host")) == {
        "os.path",
        "reconciler",
        "reconciler.host",
    }
