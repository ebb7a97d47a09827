"""Rates, on endpoint web of network front."""

from __future__ import annotations

from tests.kernel.fields.case import EXCHANGE, IN_PLACE, Case, Documents, spec


def _limited(documents: Documents) -> None:
    rate = {"rate": "100mbit", "burst": 128}
    documents["web"]["spec"]["rates"] = {"receive": dict(rate), "send": dict(rate)}


CASES: dict[str, Case] = {
    "Endpoint.spec.rates": spec("web", "rates", {"send": {"rate": "1gbit"}}, EXCHANGE),
    "Endpoint.spec.rates.receive": spec("web", "rates.receive", {"rate": "10mbit"}, IN_PLACE, before=_limited),
    "Endpoint.spec.rates.receive.rate": spec("web", "rates.receive.rate", "10mbit", IN_PLACE, before=_limited),
    "Endpoint.spec.rates.receive.burst": spec("web", "rates.receive.burst", 256, IN_PLACE, before=_limited),
    "Endpoint.spec.rates.send": spec("web", "rates.send", {"rate": "10mbit"}, IN_PLACE, before=_limited),
    "Endpoint.spec.rates.send.rate": spec("web", "rates.send.rate", "10mbit", IN_PLACE, before=_limited),
    "Endpoint.spec.rates.send.burst": spec("web", "rates.send.burst", 256, IN_PLACE, before=_limited),
    "Endpoint.spec.rates.connectionsIn": spec("web", "rates", {"connectionsIn": 5}, EXCHANGE),
    "Endpoint.spec.rates.connectionsOut": spec("web", "rates", {"connectionsOut": 5}, EXCHANGE),
    "Endpoint.spec.rates.dscp": spec("web", "rates", {"dscp": 46}, EXCHANGE),
}
