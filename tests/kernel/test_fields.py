"""Any change of any field is applied in place, applied by making things anew, or refused before anything is
touched. The fields are taken from the models themselves: one without a case here fails."""

from __future__ import annotations

import importlib
import json
import pkgutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from reconciler.drivers.registry import options
from reconciler.engine.controller import NetworkController
from reconciler.errors import CnmError
from reconciler.manifest.load import kinds
from reconciler.planner.plan import Plan
from tests.kernel import fields as package
from tests.kernel.fields.case import ANEW, EXCHANGE, IN_PLACE, NOTHING, PENDING, REFUSED, Case, Documents, base
from tests.kernel.private import isolated, run

pytestmark = pytest.mark.requires("netns", "nft", "link:bridge", "link:veth")


def _cases() -> dict[str, Case]:
    found: dict[str, Case] = {}
    for module in pkgutil.iter_modules(package.__path__):
        found |= getattr(importlib.import_module(f"{package.__name__}.{module.name}"), "CASES", {})
    return found


def _shared() -> dict[str, tuple[str, type[BaseModel], type[BaseModel]]]:
    """Driver to another one and the option classes that both inherit: their fields are walked once, there."""
    found: dict[str, tuple[str, type[BaseModel], type[BaseModel]]] = {}
    for module in pkgutil.iter_modules(package.__path__):
        found |= getattr(importlib.import_module(f"{package.__name__}.{module.name}"), "SHARED", {})
    return found


CASES = _cases()


def fields(model: type[BaseModel], path: str) -> Iterator[str]:
    """Every field that a user can write, as ``Kind.spec.list[].field``."""
    for name, field in model.model_fields.items():
        here = f"{path}.{field.alias or name}"
        inner = list(_models(field.annotation, False))
        if not (inner and name in ("metadata", "spec")):
            yield here
        for part, many in inner:
            yield from fields(part, here + ("[]" if many else ""))


def _models(annotation: Any, many: bool) -> Iterator[tuple[type[BaseModel], bool]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation, many
    for argument in get_args(annotation):
        yield from _models(argument, many or str(annotation).startswith("list["))


def test_every_field_has_a_case() -> None:
    written = {path for name, model in kinds().items() for path in fields(model, name)}
    for name, models in options().items():
        written |= {*fields(models.network, name), *fields(models.endpoint, f"{name}.endpoint")}
    for name, (other, network, endpoint) in _shared().items():
        assert issubclass(options()[name].network, network)
        assert issubclass(options()[other].network, network)
        same = {*fields(network, name), *fields(endpoint, f"{name}.endpoint")}
        assert {path.replace(name, other, 1) for path in same} <= set(CASES)
        written -= same
    assert written - set(CASES) == set(), "fields without a case"
    assert set(CASES) - written == set(), "cases of fields that do not exist"


def write(documents: Documents, folder: Path) -> list[str]:
    for name, document in documents.items():
        (folder / f"{name}.json").write_text(json.dumps(document))
    return [str(folder)]


def change(documents: Documents, case: Case, pid: int) -> None:
    here: Any = documents[case.document]
    *parents, last = case.path.split(".")
    for part in parents:
        here = here[int(part)] if part.isdigit() else here.setdefault(part, {})
    here[last] = json.loads(json.dumps(case.value).replace('"PID"', str(pid)))


def outcome_of(plan: Plan) -> str:
    if plan.conflicts:
        return REFUSED
    if plan.pending:
        return PENDING
    if plan.empty:
        return NOTHING
    actions = {str(op.action) for op in plan.ops() if not op.recreate}
    if any(op.recreate for op in plan.ops()):
        return ANEW
    made_before = {op.key.kind for op in plan.ops() if op.action == "delete"}
    if made_before or any(op.action == "create" and op.key.kind != "sysctl" for op in plan.ops()):
        return EXCHANGE if "link" not in made_before or "netns" in made_before else _links(plan)
    return IN_PLACE if actions <= {"update", "create"} else EXCHANGE


def _links(plan: Plan) -> str:
    """An interface that goes and one that comes: the same thing under another name."""
    made = {op.key for op in plan.ops() if op.action == "create"}
    gone = {op.key for op in plan.ops() if op.action == "delete"}
    return ANEW if made & gone else EXCHANGE


@pytest.mark.parametrize(
    "field", [pytest.param(name, marks=pytest.mark.requires(*case.requires)) for name, case in CASES.items()]
)
@isolated
def test_a_change_of_each_field(field: str, tmp_path: Path) -> None:
    case = CASES[field]
    documents = base()
    case.before(documents)
    if case.setup:
        run("sh", "-c", case.setup)
    sources = write(documents, tmp_path)
    with NetworkController(node="n1") as controller, _process_where_wanted(case) as pid:
        report = controller.execute(controller.plan(sources))
        assert report.ok, (report.failed, report.left, report.reason)
        before = _kernel() if case.outcome == REFUSED else ""
        change(documents, case, pid)
        write(documents, tmp_path)
        try:
            planned = controller.plan(sources)
        except CnmError:
            assert case.outcome == REFUSED
            assert _kernel() == before
            return
        assert outcome_of(planned.plan) == case.outcome, "\n".join(f"{op.id} {op.reason}" for op in planned.plan.ops())
        if case.outcome != REFUSED:
            report = controller.execute(planned)
            assert report.ok, (report.failed, report.left)
            assert controller.plan(sources).plan.empty
            assert controller.execute(controller.plan_destroy()).ok


@contextmanager
def _process_where_wanted(case: Case) -> Iterator[int]:
    """A process with a network namespace of its own, for the cases that speak of one; else 0."""
    if "PID" not in json.dumps(case.value):
        yield 0
        return
    with subprocess.Popen(["unshare", "-n", "sleep", "60"]) as sleeper:
        try:
            _wait_for_namespace(sleeper.pid)
            yield sleeper.pid
        finally:
            sleeper.kill()


def _kernel() -> str:
    return run("ip", "-d", "-o", "address") + run("ip", "-o", "-n", "a", "address") + run("nft", "list", "ruleset")


def _wait_for_namespace(pid: int) -> None:
    own = Path("/proc/self/ns/net").readlink()
    for _ in range(1000):
        if Path(f"/proc/{pid}/ns/net").readlink() != own:
            return
        time.sleep(0.005)
    raise AssertionError("the process did not get its namespace")
