"""How a node speaks BGP: nothing comes of it before a network asks for it."""

from __future__ import annotations

from tests.kernel.fields.case import NOTHING, REFUSED, Case, Documents, spec


def _spoken(documents: Documents) -> None:
    documents["node"]["spec"] |= {"addresses": ["192.0.2.1"], "bgp": {}}


CASES: dict[str, Case] = {
    "Node.spec.bgp": spec("node", "bgp", {}, REFUSED),  # without any address it has no BGP identifier
    "Node.spec.bgp.asn": spec("node", "bgp.asn", 65000, NOTHING, before=_spoken),
    "Node.spec.bgp.routerId": spec("node", "bgp.routerId", "198.51.100.1", NOTHING, before=_spoken),
    "Node.spec.bgp.routeReflector": spec("node", "bgp.routeReflector", True, NOTHING, before=_spoken),
    "Node.spec.bgp.configFile": spec("node", "bgp.configFile", "/run/frr.conf", NOTHING, before=_spoken),
    "Node.spec.bgp.sockets": spec("node", "bgp.sockets", "/run/elsewhere", NOTHING, before=_spoken),
}
