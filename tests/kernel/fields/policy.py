"""What policies, tiers, address sets and Kubernetes' documents have."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.kernel.fields.case import EXCHANGE, IN_PLACE, NOTHING, REFUSED, Case, Documents, document, spec

_KINDS = {"Tier": "tier", "Policy": "policy", "AddressSet": "offices", "Namespace": "ns", "NetworkPolicy": "np"}
_FOREIGN = ("Namespace", "NetworkPolicy")
_CARRIED = {
    "annotations": {"note": "one"},
    "creationTimestamp": "2026-01-01T00:00:00Z",
    "deletionGracePeriodSeconds": 5,
    "deletionTimestamp": "2026-01-01T00:00:00Z",
    "finalizers": ["kubernetes"],
    "generateName": "x-",
    "generation": 3,
    "managedFields": [],
    "ownerReferences": [],
    "resourceVersion": "77",
    "selfLink": "/x",
    "uid": "0-0",
}
_PEER = {
    "selector": ("role == 'web'", EXCHANGE),
    "notSelector": ("role == 'web'", EXCHANGE),
    "namespaces": ("has(team)", EXCHANGE),
    "networks": ("cnm/network == 'front'", EXCHANGE),
    "notNetworks": ("cnm/network == 'front'", EXCHANGE),
    "nodes": ("all()", IN_PLACE),
    "notNodes": ("all()", IN_PLACE),
    "nets": (["198.51.100.0/24"], EXCHANGE),
    "notNets": (["198.51.100.0/24"], EXCHANGE),
    "addressSets": (["offices"], EXCHANGE),
    "notAddressSets": (["offices"], EXCHANGE),
    "ports": ([443, "8000-8010"], IN_PLACE),
    "notPorts": ([443], IN_PLACE),
}


def add(documents: Documents) -> None:
    """Policies for the documents that all cases share."""
    documents["b"]["spec"] |= {"namespace": "shop", "ports": [{"name": "http", "port": 80}]}
    documents["db"]["metadata"]["labels"] = {"role": "db"}
    documents |= {
        "tier": document("Tier", "security", order=10),
        "policy": document(
            "Policy",
            "guests",
            tier="security",
            selector="role == 'db'",
            ingress=[{"action": "allow", "protocol": "tcp"}],
        ),
        "offices": document("AddressSet", "offices", nets=["192.0.2.0/24"]),
        "ns": {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": {"team": "sales"}}},
        "np": _network_policy(),
    }


def _network_policy() -> dict[str, Any]:
    """About sandbox b, which is in namespace shop."""
    one = [{"key": "role", "operator": "In", "values": ["b"]}]
    peers = [
        {"podSelector": {"matchExpressions": one}, "namespaceSelector": {"matchExpressions": one}},
        {"ipBlock": {"cidr": "10.8.0.0/16", "except": ["10.8.1.0/24"]}},
    ]
    ports = [{"port": 80}, {"port": "http"}]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "b", "namespace": "shop"},
        "spec": {
            "podSelector": {"matchExpressions": [{"key": "role", "operator": "NotIn", "values": ["nothing"]}]},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": peers, "ports": ports}],
            "egress": [{"to": peers, "ports": ports}],
        },
    }


def _egress(documents: Documents) -> None:
    documents["policy"]["spec"]["egress"] = [{"action": "allow", "protocol": "tcp"}]


def _team(documents: Documents) -> None:
    documents["policy"]["spec"]["namespaces"] = "has(team)"


def _icmp(documents: Documents) -> None:
    rule = {"action": "allow", "protocol": "icmp", "icmp": {"type": 8}, "notIcmp": {"type": 3}}
    for direction in ("ingress", "egress"):
        documents["policy"]["spec"][direction] = [dict(rule)]


def _rules(direction: str, before: Any) -> dict[str, Case]:
    here = f"Policy.spec.{direction}[]"
    at = f"{direction}.0"
    cases = {
        f"{here}.action": spec("policy", f"{at}.action", "deny", IN_PLACE, before=before),
        f"{here}.ipVersion": spec("policy", f"{at}.ipVersion", 4, IN_PLACE, before=before),
        f"{here}.protocol": spec("policy", f"{at}.protocol", "udp", IN_PLACE, before=before),
        f"{here}.notProtocol": spec("policy", f"{at}.notProtocol", 47, IN_PLACE, before=before),
        f"{here}.icmp": spec("policy", f"{at}.icmp", {"type": 0}, IN_PLACE, before=_icmp),
        f"{here}.icmp.type": spec("policy", f"{at}.icmp.type", 0, IN_PLACE, before=_icmp),
        f"{here}.icmp.code": spec("policy", f"{at}.icmp.code", 0, IN_PLACE, before=_icmp),
        f"{here}.notIcmp": spec("policy", f"{at}.notIcmp", {"type": 11}, IN_PLACE, before=_icmp),
        f"{here}.notIcmp.type": spec("policy", f"{at}.notIcmp.type", 11, IN_PLACE, before=_icmp),
        f"{here}.notIcmp.code": spec("policy", f"{at}.notIcmp.code", 1, IN_PLACE, before=_icmp),
        f"{here}.source": spec("policy", f"{at}.source", {"nets": ["198.51.100.0/24"]}, EXCHANGE, before=before),
        f"{here}.destination": spec("policy", f"{at}.destination", {"ports": [9]}, IN_PLACE, before=before),
    }
    for side in ("source", "destination"):
        for name, (value, outcome) in _PEER.items():
            path = f"{here}.{side}.{name}"
            cases[path] = spec("policy", f"{at}.{side}.{name}", value, outcome, before=before)
    return cases


def _kubernetes(direction: str, word: str) -> dict[str, Case]:
    here = f"NetworkPolicy.spec.{direction}[]"
    at = f"{direction}.0"
    web = {"matchLabels": {"role": "web"}}
    block = {"cidr": "198.51.100.0/24", "except": ["198.51.100.0/30"]}
    one = {"key": "role", "operator": "In", "values": ["a"]}

    def case(path: str, value: Any, outcome: str = EXCHANGE) -> Case:
        return spec("np", f"{at}.{path}", value, outcome)

    cases = {
        f"{here}.{word}": case(word, [{"podSelector": web}]),
        f"{here}.ports": case("ports", [{"port": 81}], IN_PLACE),
        f"{here}.ports[].protocol": case("ports.0.protocol", "UDP", IN_PLACE),
        f"{here}.ports[].port": case("ports.0.port", 82, IN_PLACE),
        f"{here}.ports[].endPort": case("ports.0.endPort", 90, IN_PLACE),
        f"{here}.{word}[].ipBlock": case(f"{word}.1.ipBlock", block),
        f"{here}.{word}[].ipBlock.cidr": case(f"{word}.1.ipBlock.cidr", "10.8.0.0/15"),
        f"{here}.{word}[].ipBlock.except": case(f"{word}.1.ipBlock.except", ["10.8.3.0/24"]),
    }
    for selector in ("podSelector", "namespaceSelector"):
        path = f"{here}.{word}[].{selector}"
        cases[path] = case(f"{word}.0.{selector}", web)
        cases[f"{path}.matchLabels"] = case(f"{word}.0.{selector}.matchLabels", {"role": "web"})
        cases[f"{path}.matchExpressions"] = case(f"{word}.0.{selector}.matchExpressions", [one])
        cases[f"{path}.matchExpressions[].key"] = case(f"{word}.0.{selector}.matchExpressions.0.key", "kind")
        cases[f"{path}.matchExpressions[].operator"] = case(f"{word}.0.{selector}.matchExpressions.0.operator", "NotIn")
        cases[f"{path}.matchExpressions[].values"] = case(f"{word}.0.{selector}.matchExpressions.0.values", ["z"])
    return cases


def _common() -> dict[str, Case]:
    cases = {}
    for kind, key in _KINDS.items():
        cases[f"{kind}.apiVersion"] = Case(REFUSED, key, "apiVersion", "cnm/v0")
        cases[f"{kind}.kind"] = Case(REFUSED, key, "kind", "Nothing")
        cases[f"{kind}.metadata.labels"] = Case(NOTHING, key, "metadata.labels", {"tier": "one"})
        if kind not in _FOREIGN:
            cases[f"{kind}.metadata.annotations"] = Case(NOTHING, key, "metadata.annotations", {"note": "one"})
            continue
        for name, value in _CARRIED.items():
            cases[f"{kind}.metadata.{name}"] = Case(NOTHING, key, f"metadata.{name}", value)
        cases[f"{kind}.status"] = Case(NOTHING, key, "status", {"phase": "Active"})
    cases["Tier.metadata.name"] = Case(REFUSED, "tier", "metadata.name", "renamed")  # a policy is in it
    cases["Policy.metadata.name"] = Case(EXCHANGE, "policy", "metadata.name", "renamed")
    cases["AddressSet.metadata.name"] = Case(NOTHING, "offices", "metadata.name", "renamed")
    cases["Namespace.metadata.name"] = Case(EXCHANGE, "ns", "metadata.name", "renamed", before=_team)
    cases["Namespace.metadata.namespace"] = Case(NOTHING, "ns", "metadata.namespace", "renamed")
    cases["Namespace.metadata.labels"] = Case(EXCHANGE, "ns", "metadata.labels", {}, before=_team)
    cases["Namespace.spec"] = Case(NOTHING, "ns", "spec", {"finalizers": ["kubernetes"]})
    cases["NetworkPolicy.metadata.name"] = Case(EXCHANGE, "np", "metadata.name", "renamed")
    cases["NetworkPolicy.metadata.namespace"] = Case(EXCHANGE, "np", "metadata.namespace", "default")
    return cases


def _in_use(documents: Documents) -> None:
    documents["policy"]["spec"]["ingress"] = [{"action": "allow", "source": {"addressSets": ["offices"]}}]


_CASES: dict[str, Case] = {
    **_common(),
    "Tier.spec.order": spec("tier", "order", 2_000_000, EXCHANGE),
    "Tier.spec.defaultAction": spec("tier", "defaultAction", "pass", IN_PLACE),
    "AddressSet.spec.nets": spec("offices", "nets", ["192.0.2.0/24", "192.0.3.0/24"], EXCHANGE, before=_in_use),
    "Policy.spec.tier": spec("policy", "tier", "default", EXCHANGE),
    "Policy.spec.order": spec("policy", "order", 7, NOTHING),
    "Policy.spec.selector": spec("policy", "selector", "role == 'cache'", EXCHANGE),
    "Policy.spec.namespaces": spec("policy", "namespaces", "!has(team)", EXCHANGE),
    "Policy.spec.types": spec("policy", "types", ["ingress", "egress"], EXCHANGE),
    "Policy.spec.ingress": spec("policy", "ingress", [{"action": "deny"}], IN_PLACE),
    "Policy.spec.egress": spec("policy", "egress", [{"action": "deny"}], EXCHANGE),
    "Policy.spec.staged": spec("policy", "staged", True, IN_PLACE),
    "Policy.spec.doNotTrack": spec("policy", "doNotTrack", True, EXCHANGE),
    "Policy.spec.preDnat": spec("policy", "preDnat", True, EXCHANGE),
    **_rules("ingress", lambda documents: None),
    **_rules("egress", _egress),
    "NetworkPolicy.spec.podSelector": spec("np", "podSelector", {}, NOTHING),
    "NetworkPolicy.spec.podSelector.matchLabels": spec("np", "podSelector.matchLabels", {"role": "x"}, EXCHANGE),
    "NetworkPolicy.spec.podSelector.matchExpressions": spec(
        "np", "podSelector.matchExpressions", [{"key": "x", "operator": "Exists"}], EXCHANGE
    ),
    "NetworkPolicy.spec.podSelector.matchExpressions[].key": spec(
        "np", "podSelector.matchExpressions.0.key", "kind", NOTHING
    ),
    "NetworkPolicy.spec.podSelector.matchExpressions[].operator": spec(
        "np", "podSelector.matchExpressions.0.operator", "In", EXCHANGE
    ),
    "NetworkPolicy.spec.podSelector.matchExpressions[].values": spec(
        "np", "podSelector.matchExpressions.0.values", ["z"], NOTHING
    ),
    "NetworkPolicy.spec.policyTypes": spec("np", "policyTypes", ["Ingress"], EXCHANGE),
    "NetworkPolicy.spec.ingress": spec("np", "ingress", [], IN_PLACE),
    "NetworkPolicy.spec.egress": spec("np", "egress", [], IN_PLACE),
    **_kubernetes("ingress", "from"),
    **_kubernetes("egress", "to"),
    "Node.spec.failsafePorts": spec(
        "node", "failsafePorts", ["2222/tcp"], IN_PLACE, before=lambda documents: _host(documents)
    ),
    "Network.spec.policyDefault": spec("front", "policyDefault", "deny", EXCHANGE),
    "Sandbox.spec.namespace": spec("b", "namespace", "default", EXCHANGE),
    "Sandbox.spec.ports": spec("b", "ports", [{"name": "http", "port": 81}], EXCHANGE),
    "Sandbox.spec.ports[].name": spec("b", "ports.0.name", "https", EXCHANGE),
    "Sandbox.spec.ports[].port": spec("b", "ports.0.port", 81, EXCHANGE),
    "Sandbox.spec.ports[].protocol": spec("b", "ports.0.protocol", "udp", EXCHANGE),
    "Endpoint.spec.guard": spec("db", "guard", False, EXCHANGE),
    "Endpoint.spec.etherTypes": spec("db", "etherTypes", [35020], EXCHANGE),
}


def _host(documents: Documents) -> None:
    documents["h"] = {
        "apiVersion": "cnm/v1alpha1",
        "kind": "Sandbox",
        "metadata": {"name": "h", "labels": {"role": "db"}},
        "spec": {"stack": "host"},
    }


def _over(case: Case) -> Case:
    """The case on documents that have policies."""

    def before(documents: Documents) -> None:
        add(documents)
        case.before(documents)

    return replace(case, before=before)


CASES = {name: _over(case) for name, case in _CASES.items()}
