"""Options of driver vrf, on network lan with endpoint rider."""

from __future__ import annotations

from tests.kernel.fields.case import ANEW, EXCHANGE, Case, Documents, document


def _lan(documents: Documents) -> None:
    options = {"vrf": "red", "table": 1001}
    documents["lan"] = document("Network", "lan", driver="vrf", subnets=[{"cidr": "10.3.0.0/24"}], options=options)
    documents["rider"] = document("Endpoint", "rider", network="lan", sandbox="c")


CASES: dict[str, Case] = {
    "vrf.vrf": Case(EXCHANGE, "lan", "spec.options.vrf", "blue", before=_lan, requires=("link:vrf",)),
    "vrf.table": Case(ANEW, "lan", "spec.options.table", 1002, before=_lan, requires=("link:vrf",)),
}
