"""A plan read the other way round: what holds of each document, and what does not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from reconciler.drivers.registry import drivers
from reconciler.engine.result import Explanation, Planned, State, Status, StatusRow
from reconciler.errors import Origin, UsageError
from reconciler.host.bgp import ESTABLISHED, Routes
from reconciler.planner.plan import Action
from reconciler.planner.seen import SeenIndex
from reconciler.resources.bird import BgpSession
from reconciler.resources.link import link_key
from reconciler.resources.resource import Key
from reconciler.topology.view import EndpointView, NetworkView, SandboxView

NO_ROUTES: Mapping[Key, Routes | OSError] = {}
_WORST = (State.CONFLICT, State.PENDING, State.MISSING, State.DRIFTED, State.OK)


def describe(planned: Planned, owner: str, routes: Mapping[Key, Routes | OSError] = NO_ROUTES) -> Status:
    """One row per network, sandbox, endpoint and BGP session; what the plan would do about it is the reason. ``routes``
    of sessions, or why they are not known."""
    assert planned.validated is not None
    topology = planned.validated.topology
    findings = _findings(planned)
    rows: list[StatusRow] = []
    for network in topology.networks:
        if network.name in ("host", "none"):
            continue
        of_driver = getattr(drivers()[network.driver], "network_facts", None)
        facts = _network_facts(network) | (of_driver(network, topology.facts) if of_driver is not None else {})
        rows.append(_row("Network", network.name, network.origin, findings, facts))
        for endpoint in network.endpoints:
            name = f"{network.name}/{endpoint.name}"
            told = getattr(drivers()[network.driver], "facts", None)
            facts = _endpoint_facts(endpoint) | _device(planned, endpoint)
            facts |= told(network, endpoint) if told is not None else {}
            if endpoint.local:
                rows.append(_row("Endpoint", name, endpoint.origin, findings, facts))
            else:
                rows.append(StatusRow("Endpoint", name, State.REMOTE, (), facts, endpoint.origin))
    answering = {resource.key.netns for resource in planned.desired if resource.key.kind == "resolver"}
    for sandbox in topology.sandboxes:
        facts = _sandbox_facts(sandbox, resolver=sandbox.netns in answering)
        rows.append(_row("Sandbox", sandbox.name, sandbox.origin, findings, facts))
    rows += [_row(other.kind, other.name, other.origin, findings, {}) for other in topology.others]
    rows += _sessions(planned, routes)
    order = {"Network": 0, "Sandbox": 1, "Endpoint": 2}
    surplus = tuple(op.key for op in planned.plan.ops() if op.action is Action.DELETE and not op.origin.document)
    return Status(
        owner=owner,
        node=topology.node,
        rows=tuple(sorted(rows, key=lambda row: (order.get(row.kind, len(order)), row.kind, row.name))),
        surplus=surplus,
        warnings=planned.plan.warnings,
        partial=planned.observation.partial,
    )


def _sessions(planned: Planned, routes: Mapping[Key, Routes | OSError]) -> Iterable[StatusRow]:
    """What the router says of its BGP sessions, in its own words: one that is not up is waited for."""
    for key, seen in planned.observation.items.items():
        session = seen.resource
        if isinstance(session, BgpSession):
            up = session.state == ESTABLISHED
            facts = {"state": session.state or "", "learned": str(session.learned), "exported": str(session.exported)}
            reasons = [] if up else [f"BIRD says: {session.state} {session.words or ''}".strip()]
            told = routes.get(key)
            if isinstance(told, OSError):
                reasons.append(f"its routes are not known: {told.strerror or told}")
                told = None
            state = State.PENDING if reasons else State.OK
            yield StatusRow("Session", key.name, state, tuple(reasons), facts, Origin(), told)


def _findings(planned: Planned) -> dict[str, list[tuple[State, str]]]:
    """Document -> what does not hold."""
    plan = planned.plan
    begun = {r.origin.document for r in planned.desired if r.key in planned.observation.items and not r.setting}
    found: dict[str, list[tuple[State, str]]] = {}

    def add(document: str, state: State, reason: str) -> None:
        found.setdefault(document, []).append((state, reason))

    for problem in plan.conflicts:
        add(problem.origin.document, State.CONFLICT, problem.message)
    for pending in plan.pending:
        add(pending.origin.document, State.PENDING, f"waits: {pending.reason}")
    for op in plan.ops():
        if op.action is Action.CREATE:
            state = State.DRIFTED if op.recreate or op.origin.document in begun else State.MISSING
            add(
                op.origin.document,
                state,
                f"{op.key} is {'to be made anew' if op.recreate else 'missing'}" + _because(op.reason),
            )
        elif op.action is Action.UPDATE:
            add(op.origin.document, State.DRIFTED, f"{op.key} differs: {op.reason}")
        elif op.action is Action.ADOPT:
            add(op.origin.document, State.DRIFTED, f"{op.key} is not ours yet")
    return found


def _because(reason: str) -> str:
    return f" ({reason})" if reason and reason != "not there yet" else ""


def _row(
    kind: str, name: str, origin: Origin, findings: Mapping[str, list[tuple[State, str]]], facts: Mapping[str, str]
) -> StatusRow:
    found = findings.get(f"{kind}/{name}", [])
    states = {state for state, _reason in found}
    worst = next((state for state in _WORST if state in states), State.OK)
    return StatusRow(kind, name, worst, tuple(dict.fromkeys(reason for _state, reason in found)), facts, origin)


def _network_facts(network: NetworkView) -> dict[str, str]:
    facts = {"driver": network.driver, "subnets": ", ".join(str(subnet.cidr) for subnet in network.subnets)}
    facts["endpoints"] = str(len(network.local))
    if network.internal:
        facts["internal"] = "yes"
    return facts


def _endpoint_facts(endpoint: EndpointView) -> dict[str, str]:
    facts = {
        "sandbox": endpoint.sandbox.name,
        "interface": endpoint.interface,
        "addresses": ", ".join(str(address) for address in endpoint.addresses),
    }
    gateways = [str(hop) for hop in (endpoint.gateway4, endpoint.gateway6) if hop is not None]
    if gateways:
        facts["gateway"] = ", ".join(gateways)
    if not endpoint.local:
        facts["node"] = endpoint.sandbox.node
    return facts


def _device(planned: Planned, endpoint: EndpointView) -> dict[str, str]:
    """The character device of an interface that has one."""
    seen = planned.observation.items.get(link_key(endpoint.sandbox.netns, endpoint.interface))
    device = getattr(getattr(seen.resource, "info", None), "device", None) if seen is not None else None
    return {"device": device} if device else {}


def _sandbox_facts(sandbox: SandboxView, *, resolver: bool) -> dict[str, str]:
    """``names``: how its programs come to ask the resolver, where it has one."""
    facts = {"stack": f"{sandbox.stack} {sandbox.target}".strip()}
    if resolver and sandbox.made:
        facts["names"] = f"127.0.0.11, by /etc/netns/{sandbox.name}/resolv.conf"
    elif resolver:
        facts["names"] = "127.0.0.11 answers; whoever runs it writes that into its resolv.conf"
    return facts


def explanation(planned: Planned, key: Key) -> Explanation:
    """What asks for a key, what the host has, what it stands on and what stands on it. Raises UsageError for a
    key that neither the manifests nor the host know."""
    wanted = next((resource for resource in planned.desired if resource.key == key), None)
    seen = planned.observation.items.get(key)
    if wanted is None and seen is None:
        raise UsageError(f"neither the manifests nor this host know {key}; `cnm show` lists what is ours")
    state = State.OK
    op = next((op for op in planned.plan.ops() if op.key == key), None)
    pending = next((item for item in planned.plan.pending if item.key == key), None)
    if pending is not None:
        state = State.PENDING
    elif wanted is not None and seen is None:
        state = State.MISSING
    elif op is not None:
        state = State.DRIFTED
    elif wanted is not None and seen is not None and seen.owner != planned.plan.owner and not wanted.setting:
        state = State.OK if wanted.awaited() else State.CONFLICT
    subject = wanted if wanted is not None else seen.resource if seen is not None else None
    assert subject is not None
    index = SeenIndex(planned.observation.items)
    needed_by = {resource.key for resource in planned.desired for need in resource.needs() if key in need.keys}
    hanging = {resource.key for resource in index.hanging_on(key)}
    return Explanation(
        key=key,
        wanted=wanted,
        seen=seen.resource if seen is not None else None,
        owner=seen.owner if seen is not None else "",
        state=state,
        differs=seen.resource.differs(wanted) if seen is not None and wanted is not None else (),
        needs=tuple(dict.fromkeys(k for need in subject.needs() for k in need.keys)),
        dependents=tuple(sorted(needed_by | hanging)),
        origins=(wanted.origin,) if wanted is not None else (),
    )
