"""What every document and every network, sandbox and endpoint has."""

from __future__ import annotations

from tests.kernel.fields.case import ANEW, EXCHANGE, IN_PLACE, NOTHING, PENDING, REFUSED, Case, Documents, spec


def _route(documents: Documents) -> None:
    documents["web"]["spec"]["routes"] = [{"to": "10.9.0.0/16", "via": "10.1.0.9", "metric": 5}]


def _copy(documents: Documents) -> None:
    operation = {"op": "copy", "from": "/metadata/name", "path": "/metadata/labels", "value": {}}
    documents["patch"]["spec"]["operations"] = [
        {"op": "add", "path": "/metadata/annotations", "value": {"a": "b"}},
        operation,
    ]
    operation.update({"from": "/metadata/annotations"})


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
    "Endpoint.spec.mac": spec("db", "mac", "02:00:00:00:00:77", EXCHANGE),
    "Endpoint.spec.mtu": spec("db", "mtu", 1300, IN_PLACE),
    "Endpoint.spec.aliases": spec("db", "aliases", ["database"], NOTHING),
    "Endpoint.spec.gatewayPriority": spec("other", "gatewayPriority", 9, IN_PLACE),
    "Endpoint.spec.routes": spec("web", "routes", [{"to": "10.9.0.0/16"}], EXCHANGE),
    "Endpoint.spec.routes[].to": spec("web", "routes.0.to", "10.8.0.0/16", EXCHANGE, before=_route),
    "Endpoint.spec.routes[].via": spec("web", "routes.0.via", "10.1.0.8", IN_PLACE, before=_route),
    "Endpoint.spec.routes[].metric": spec("web", "routes.0.metric", 6, EXCHANGE, before=_route),
    "Endpoint.spec.options": spec("db", "options", {"nonsense": 1}, REFUSED),
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
}
