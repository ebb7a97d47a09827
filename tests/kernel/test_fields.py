"""Any change of any field is applied in place, applied by making things anew, or refused before anything is
touched. The fields are taken from the models themselves: one without a case here fails."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from reconciler.drivers.registry import options
from reconciler.engine.controller import NetworkController
from reconciler.errors import CnmError
from reconciler.manifest.load import kinds
from reconciler.planner.plan import Plan
from tests.kernel.private import isolated, run

pytestmark = pytest.mark.requires("netns", "nft", "link:bridge", "link:veth")

IN_PLACE, ANEW, EXCHANGE, REFUSED, NOTHING, PENDING = "in place", "anew", "exchange", "refused", "nothing", "pending"
Documents = dict[str, dict[str, Any]]


def _document(kind: str, name: str, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "cnm/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def base() -> Documents:
    subnets = [{"cidr": "10.1.0.0/24"}, {"cidr": "fd01::/64"}]
    return {
        "node": _document("Node", "n1"),
        "front": _document("Network", "front", driver="bridge", subnets=subnets),
        "back": _document("Network", "back", subnets=[{"cidr": "10.2.0.0/24"}]),
        "bare": _document("Network", "bare", internal=True),
        "a": _document("Sandbox", "a"),
        "b": _document("Sandbox", "b"),
        "c": _document("Sandbox", "c"),
        "web": _document("Endpoint", "web", network="front", sandbox="a"),
        "other": _document("Endpoint", "other", network="back", sandbox="a"),
        "db": _document("Endpoint", "db", network="back", sandbox="b"),
        "patch": {
            "apiVersion": "cnm/v1alpha1",
            "kind": "Patch",
            "metadata": {"name": "p"},
            "spec": {
                "target": {"kind": "Network", "name": "back"},
                "operations": [{"op": "add", "path": "/spec/mtu", "value": 1400}],
            },
        },
    }


@dataclass(frozen=True)
class Case:
    """``where`` is document and path; ``value`` what is written there. ``setup`` are shell commands before."""

    outcome: str
    document: str
    path: str
    value: Any
    before: Callable[[Documents], None] = lambda documents: None
    setup: str = ""


def spec(document: str, name: str, value: Any, outcome: str, **more: Any) -> Case:
    return Case(outcome, document, f"spec.{name}", value, **more)


def option(name: str, value: Any, outcome: str, **more: Any) -> Case:
    return Case(outcome, "back", f"spec.options.{name}", value, **more)


def _internal(documents: Documents) -> None:
    documents["back"]["spec"]["internal"] = True


def _route(documents: Documents) -> None:
    documents["web"]["spec"]["routes"] = [{"to": "10.9.0.0/16", "via": "10.1.0.9", "metric": 5}]


def _copy(documents: Documents) -> None:
    operation = {"op": "copy", "from": "/metadata/name", "path": "/metadata/labels", "value": {}}
    documents["patch"]["spec"]["operations"] = [
        {"op": "add", "path": "/metadata/annotations", "value": {"a": "b"}},
        operation,
    ]
    operation.update({"from": "/metadata/annotations"})


def _stp(documents: Documents) -> None:
    documents["back"]["spec"]["options"] = {"stp": True}


_METADATA = {
    "name": ("renamed", EXCHANGE),
    "labels": ({"tier": "one"}, NOTHING),
    "annotations": ({"note": "one"}, NOTHING),
}
_BY_KIND = {"Node": "node", "Network": "bare", "Sandbox": "c", "Endpoint": "db", "Patch": "patch"}


def _common() -> dict[str, Case]:
    cases = {}
    for kind, document in _BY_KIND.items():
        cases[f"{kind}.apiVersion"] = Case(REFUSED, document, "apiVersion", "cnm/v0")
        cases[f"{kind}.kind"] = Case(REFUSED, document, "kind", "Nothing")
        for name, (value, outcome) in _METADATA.items():
            changed = {"Patch": NOTHING, "Node": REFUSED}.get(kind, outcome) if name == "name" else outcome
            cases[f"{kind}.metadata.{name}"] = Case(changed, document, f"metadata.{name}", value)
    return cases


FOREIGN = "ip netns add foreign"
CASES: dict[str, Case] = _common() | {
    "Node.spec.addresses": spec("node", "addresses", ["192.0.2.1"], NOTHING),
    "Network.spec.driver": spec("bare", "driver", "host", REFUSED),
    "Network.spec.subnets": spec("bare", "subnets", [{"cidr": "10.3.0.0/24"}], EXCHANGE),
    "Network.spec.subnets[].cidr": spec("back", "subnets.0.cidr", "10.4.0.0/24", EXCHANGE),
    "Network.spec.subnets[].range": spec("back", "subnets.0.range", "10.2.0.128/25", EXCHANGE),
    "Network.spec.subnets[].gateway": spec("back", "subnets.0.gateway", "10.2.0.254", EXCHANGE),
    "Network.spec.subnets[].auxiliary": spec("back", "subnets.0.auxiliary", {"printer": "10.2.0.9"}, NOTHING),
    "Network.spec.internal": spec("back", "internal", True, EXCHANGE),
    "Network.spec.mtu": spec("front", "mtu", 1400, IN_PLACE),
    "Network.spec.allowFrom": spec("back", "allowFrom", ["front"], IN_PLACE),
    "Network.spec.options": spec("back", "options", {"hairpin": True}, IN_PLACE),
    "Sandbox.spec.stack": spec("c", "stack", "none", NOTHING),
    "Sandbox.spec.stack.path": spec("c", "stack", {"path": "/run/netns/foreign"}, EXCHANGE, setup=FOREIGN),
    "Sandbox.spec.stack.pid": spec("c", "stack", {"pid": "PID"}, EXCHANGE),
    "Sandbox.spec.stack.docker": spec("c", "stack", {"docker": "absent"}, PENDING),
    "Sandbox.spec.stack.container": spec("c", "stack", {"container": "b"}, EXCHANGE),
    "Sandbox.spec.node": spec("c", "node", "n2", REFUSED),
    "Sandbox.spec.sysctls": spec("c", "sysctls", {"net.ipv4.ip_unprivileged_port_start": 0}, IN_PLACE),
    "Endpoint.spec.network": spec("db", "network", "front", EXCHANGE),
    "Endpoint.spec.sandbox": spec("db", "sandbox", "c", ANEW),
    "Endpoint.spec.interface": spec("db", "interface", "lan0", ANEW),
    "Endpoint.spec.addresses": spec("db", "addresses", ["10.2.0.77"], EXCHANGE),
    "Endpoint.spec.linkLocal": spec("web", "linkLocal", ["fe80::77"], EXCHANGE),
    "Endpoint.spec.mac": spec("db", "mac", "02:00:00:00:00:77", IN_PLACE),
    "Endpoint.spec.mtu": spec("db", "mtu", 1300, IN_PLACE),
    "Endpoint.spec.aliases": spec("db", "aliases", ["database"], NOTHING),
    "Endpoint.spec.gatewayPriority": spec("other", "gatewayPriority", 9, IN_PLACE),
    "Endpoint.spec.routes": spec("web", "routes", [{"to": "10.9.0.0/16"}], EXCHANGE),
    "Endpoint.spec.routes[].to": spec("web", "routes.0.to", "10.8.0.0/16", EXCHANGE, before=_route),
    "Endpoint.spec.routes[].via": spec("web", "routes.0.via", "10.1.0.8", IN_PLACE, before=_route),
    "Endpoint.spec.routes[].metric": spec("web", "routes.0.metric", 6, EXCHANGE, before=_route),
    "Endpoint.spec.sysctls": spec("db", "sysctls", {"net.ipv4.conf.IFNAME.proxy_arp": 1}, IN_PLACE),
    "Patch.spec.target": spec("patch", "target", {"kind": "Network", "name": "front"}, IN_PLACE),
    "Patch.spec.target.kind": spec("patch", "target.kind", "Sandbox", REFUSED),
    "Patch.spec.target.name": spec("patch", "target.name", "front", IN_PLACE),
    "Patch.spec.target.network": spec(
        "patch", "target", {"kind": "Endpoint", "name": "db", "network": "back"}, IN_PLACE
    ),
    "Patch.spec.nodes": spec("patch", "nodes", ["elsewhere"], IN_PLACE),
    "Patch.spec.environments": spec("patch", "environments", ["production"], IN_PLACE),
    "Patch.spec.operations": spec("patch", "operations", [{"op": "add", "path": "/spec/mtu", "value": 1350}], IN_PLACE),
    "Patch.spec.operations[].op": spec("patch", "operations.0.op", "remove", REFUSED),
    "Patch.spec.operations[].path": spec("patch", "operations.0.path", "/spec/nonsense", REFUSED),
    "Patch.spec.operations[].from": spec("patch", "operations.1.from", "/metadata/nothing", REFUSED, before=_copy),
    "Patch.spec.operations[].value": spec("patch", "operations.0.value", 1450, IN_PLACE),
    "bridge.bridge": option("bridge", "br-other", EXCHANGE),
    "bridge.existing": Case(
        EXCHANGE,
        "back",
        "spec.options",
        {"existing": True, "bridge": "br-old"},
        setup="ip link add br-old up type bridge",
    ),
    "bridge.masquerade": option("masquerade", False, EXCHANGE),
    "bridge.snat": option("snat", {"ipv4": "10.2.0.1"}, EXCHANGE),
    "bridge.snat.ipv4": option("snat", {"ipv4": "10.2.0.1"}, EXCHANGE),
    "bridge.snat.ipv6": Case(EXCHANGE, "front", "spec.options.snat", {"ipv6": "fd01::1"}),
    "bridge.gatewayMode": option("gatewayMode", {"ipv4": "routed"}, EXCHANGE),
    "bridge.gatewayMode.ipv4": option("gatewayMode", {"ipv4": "isolated"}, EXCHANGE, before=_internal),
    "bridge.gatewayMode.ipv6": option("gatewayMode", {"ipv6": "nat-unprotected"}, IN_PLACE),
    "bridge.interContainer": option("interContainer", False, IN_PLACE),
    "bridge.trustedInterfaces": option("trustedInterfaces", ["eth9"], IN_PLACE),
    "bridge.hairpin": option("hairpin", True, IN_PLACE),
    "bridge.mac": option("mac", "02:00:00:00:00:78", IN_PLACE),
    "bridge.stp": option("stp", True, IN_PLACE),
    "bridge.priority": option("priority", 4096, IN_PLACE),
    "bridge.forwardDelay": option("forwardDelay", 4, IN_PLACE, before=_stp),
    "bridge.helloTime": option("helloTime", 1, IN_PLACE, before=_stp),
    "bridge.maxAge": option("maxAge", 10, IN_PLACE, before=_stp),
    "bridge.ageingTime": option("ageingTime", 60, IN_PLACE),
    "bridge.groupFwdMask": option("groupFwdMask", 8, IN_PLACE),
    "bridge.multicastSnooping": option("multicastSnooping", False, IN_PLACE),
    "bridge.multicastQuerier": option("multicastQuerier", True, IN_PLACE),
    "bridge.txQueueLength": option("txQueueLength", 500, IN_PLACE),
}


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
    written |= {path for name, model in options().items() for path in fields(model, name)}
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


@pytest.mark.parametrize("field", CASES)
@isolated
def test_a_change_of_each_field(field: str, tmp_path: Path) -> None:
    case = CASES[field]
    documents = base()
    case.before(documents)
    if case.setup:
        run("sh", "-c", case.setup)
    sources = write(documents, tmp_path)
    with NetworkController(node="n1") as controller:
        assert controller.execute(controller.plan(sources)).ok
        before = _kernel()
        sleeper = subprocess.Popen(["unshare", "-n", "sleep", "60"])
        _wait_for_namespace(sleeper.pid)
        change(documents, case, sleeper.pid)
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
        sleeper.kill()


def _kernel() -> str:
    return run("ip", "-d", "-o", "address") + run("ip", "-o", "-n", "a", "address") + run("nft", "list", "ruleset")


def _wait_for_namespace(pid: int) -> None:
    own = Path("/proc/self/ns/net").readlink()
    for _ in range(1000):
        if Path(f"/proc/{pid}/ns/net").readlink() != own:
            return
        subprocess.run(["sleep", "0.005"], check=True)
    raise AssertionError("the process did not get its namespace")
