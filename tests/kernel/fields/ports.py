"""Published ports, on endpoint web of network front."""

from __future__ import annotations

from tests.kernel.fields.case import EXCHANGE, Case, Documents, spec


def _published(documents: Documents) -> None:
    documents["web"]["spec"]["publish"] = [{"port": 80, "hostPort": 8080, "protocol": "tcp", "hostAddresses": []}]


CASES: dict[str, Case] = {
    "Endpoint.spec.publish": spec("web", "publish", [{"port": 80}], EXCHANGE),
    "Endpoint.spec.publish[].port": spec("web", "publish.0.port", 81, EXCHANGE, before=_published),
    "Endpoint.spec.publish[].hostPort": spec("web", "publish.0.hostPort", 8081, EXCHANGE, before=_published),
    "Endpoint.spec.publish[].protocol": spec("web", "publish.0.protocol", "udp", EXCHANGE, before=_published),
    "Endpoint.spec.publish[].hostAddresses": spec(
        "web", "publish.0.hostAddresses", ["127.0.0.1"], EXCHANGE, before=_published
    ),
    "bridge.hostAddresses": Case(
        EXCHANGE, "front", "spec.options.hostAddresses", {"ipv4": "127.0.0.1"}, before=_published
    ),
    "bridge.hostAddresses.ipv4": Case(
        EXCHANGE, "front", "spec.options.hostAddresses", {"ipv4": "127.0.0.2"}, before=_published
    ),
    "bridge.hostAddresses.ipv6": Case(
        EXCHANGE, "front", "spec.options.hostAddresses", {"ipv6": "::1"}, before=_published
    ),
}
