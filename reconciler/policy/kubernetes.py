"""Kubernetes' NetworkPolicy in the words of our own policies.

A peer list is an 'or', as are ports: each pair becomes one rule that allows; the tier's end denies the rest. That is
what the Kubernetes reference says: isolated where a policy selects it, and then the union of what they all allow.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from reconciler.manifest.document import Document, Path
from reconciler.manifest.kinds.networkpolicy import (
    LabelSelector,
    NetworkPolicy,
    NetworkPolicyPeer,
    NetworkPolicyPort,
)
from reconciler.policy.selector import Selector
from reconciler.policy.view import (
    EGRESS,
    INGRESS,
    PROTOCOLS,
    Choice,
    Nets,
    PeerView,
    PolicyView,
    PortMatch,
    RuleView,
)
from reconciler.topology.view import Address

ORDER = 1000  # in tier default, as Calico has it


def translate(document: Document, model: NetworkPolicy, host: frozenset[Address]) -> PolicyView:
    """The policy that means the same. ``host`` are the addresses of the node itself: what it sends to its pods, and
    they to it, is always allowed."""
    spec = model.spec
    namespace = model.metadata.namespace
    types = [word.lower() for word in spec.policy_types] if spec.policy_types is not None else [INGRESS]
    if spec.policy_types is None and spec.egress:
        types.append(EGRESS)
    rules: dict[str, tuple[RuleView, ...]] = {}
    if INGRESS in types:
        rules[INGRESS] = tuple(
            rule
            for number, one in enumerate(spec.ingress)
            for rule in _rules(document, ("spec", INGRESS, number), INGRESS, one.from_, one.ports, namespace)
        )
    if EGRESS in types:
        rules[EGRESS] = tuple(
            rule
            for number, one in enumerate(spec.egress)
            for rule in _rules(document, ("spec", EGRESS, number), EGRESS, one.to, one.ports, namespace)
        )
    node = PeerView(nodes=host)
    if INGRESS in rules:
        rules[INGRESS] += (RuleView(action="allow", origin=document.origin, source=node),)
    if EGRESS in rules:
        rules[EGRESS] += (RuleView(action="allow", origin=document.origin, destination=node),)
    name = f"{namespace}/{model.metadata.name}"
    return PolicyView(
        name=name,
        kind="NetworkPolicy",
        tier="default",
        order=(0, ORDER, f"~{name}"),  # after policies of ours with the same order
        about=Choice(selector_of(spec.pod_selector), within=namespace),
        rules=rules,
        staged=False,
        origin=document.origin,
    )


def _rules(
    document: Document,
    at: Path,
    direction: str,
    peers: Sequence[NetworkPolicyPeer],
    ports: Sequence[NetworkPolicyPort],
    namespace: str,
) -> Iterable[RuleView]:
    word = "from" if direction == INGRESS else "to"
    sides = [(_peer(peer, namespace), (*at, word, number)) for number, peer in enumerate(peers)] or [(PeerView(), at)]
    for side, place in sides:
        for protocol, port in _ports(ports):
            served = PeerView(
                who=side.who if direction == EGRESS else None,
                nets=side.nets if direction == EGRESS else None,
                not_nets=side.not_nets if direction == EGRESS else (),
                ports=(port,) if port is not None else None,
            )
            yield RuleView(
                action="allow",
                origin=document.at(*place),
                protocol=protocol,
                source=side if direction == INGRESS else PeerView(),
                destination=served,
            )


def _ports(ports: Sequence[NetworkPolicyPort]) -> Iterable[tuple[int | None, PortMatch | None]]:
    if not ports:
        yield None, None
    for port in ports:
        protocol = PROTOCOLS[port.protocol.lower()]
        if port.port is None:
            yield protocol, None
        elif isinstance(port.port, str):
            yield protocol, PortMatch(name=port.port)
        else:
            yield protocol, PortMatch(port.port, port.end_port or port.port)


def _peer(peer: NetworkPolicyPeer, namespace: str) -> PeerView:
    if peer.ip_block is not None:
        block = peer.ip_block
        holes = (Nets("", tuple(block.except_)),) if block.except_ else ()
        return PeerView(nets=(Nets("", (block.cidr,)),), not_nets=holes)
    pods = selector_of(peer.pod_selector) if peer.pod_selector is not None else None
    if peer.namespace_selector is None:
        return PeerView(who=Choice(pods, within=namespace))
    return PeerView(who=Choice(pods, selector_of(peer.namespace_selector)))


def selector_of(selector: LabelSelector) -> Selector:
    """A LabelSelector as ours. Kubernetes' NotIn holds for an absent label, as our ``not in`` does."""
    equal = tuple(sorted(selector.match_labels.items()))
    further = tuple((r.key, r.operator, frozenset(r.values)) for r in selector.match_expressions)
    texts = [f'{key} == "{value}"' for key, value in equal]
    for key, operator, values in further:
        shown = "{" + ", ".join(f'"{value}"' for value in sorted(values)) + "}"
        texts.append(
            {
                "In": f"{key} in {shown}",
                "NotIn": f"{key} not in {shown}",
                "Exists": f"has({key})",
                "DoesNotExist": f"!has({key})",
            }[operator]
        )
    if not texts:
        return Selector("all()", lambda labels: True)
    return Selector(
        texts[0] if len(texts) == 1 else f"({' && '.join(texts)})",
        lambda labels: (
            all(labels.get(key) == value for key, value in equal)
            and all(_holds(labels.get(key), operator, values) for key, operator, values in further)
        ),
    )


def _holds(value: str | None, operator: str, values: frozenset[str]) -> bool:
    match operator:
        case "In":
            return value is not None and value in values
        case "NotIn":
            return value is None or value not in values
        case "Exists":
            return value is not None
        case _:
            return value is None
