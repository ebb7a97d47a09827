"""Random worlds: documents as a user could write them, and what the drivers make of them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from reconciler.drivers.bridge import BridgeOptions
from reconciler.engine.render import render
from reconciler.errors import Origin
from reconciler.manifest.document import Document
from reconciler.manifest.load import kinds
from reconciler.manifest.lockfile import Lock
from reconciler.resources.resource import Resource
from reconciler.topology.resolve import resolve
from reconciler.topology.view import NodeFacts

NODE = "here"
FACTS = NodeFacts(name=NODE, ra_links=("uplink",))


def document(kind: str, name: str, spec: dict[str, Any], options: dict[str, Any] | None = None) -> Document:
    data = {"apiVersion": "cnm/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}
    model = kinds()[kind].model_validate(data)
    place = f"{spec['network']}/{name}" if kind == "Endpoint" else name
    chosen = BridgeOptions.model_validate(options or {}) if kind == "Network" else None
    return Document(model=model, origin=Origin("all.yaml", 1, 1, f"{kind}/{place}"), positions={}, options=chosen)


@st.composite
def _network(draw: st.DrawFn, number: int) -> Document:
    subnets = draw(
        st.sampled_from([[f"10.{number}.0.0/24"], [f"10.{number}.0.0/24", f"fd0{number}::/64"], [f"fd0{number}::/64"]])
    )
    extra = [f"10.{number}.1.0/24"] if draw(st.booleans()) else []
    options = {
        "interContainer": draw(st.booleans()),
        "masquerade": draw(st.booleans()),
        "hairpin": draw(st.booleans()),
        "gatewayMode": {"ipv4": draw(st.sampled_from(["nat", "routed", "nat-unprotected"]))},
    }
    spec = {
        "subnets": [{"cidr": cidr} for cidr in subnets + extra],
        "internal": draw(st.booleans()),
        "mtu": draw(st.sampled_from([1500, 1400, 9000])),
        "allowFrom": ["n1"] if number != 1 and draw(st.booleans()) else [],
    }
    return document("Network", f"n{number}", spec, options)


@st.composite
def documents(draw: st.DrawFn) -> list[Document]:
    """One to three networks, up to four sandboxes, each on some of the networks."""
    count = draw(st.integers(1, 3))
    found = [draw(_network(number)) for number in range(1, count + 1)]
    for sandbox in "abcd"[: draw(st.integers(0, 4))]:
        sysctls = {"net.ipv4.ip_default_ttl": "70"} if draw(st.booleans()) else {}
        found.append(document("Sandbox", sandbox, {"sysctls": sysctls}))
        for number in draw(st.sets(st.integers(1, count), max_size=count)):
            spec: dict[str, Any] = {"network": f"n{number}", "sandbox": sandbox}
            if draw(st.booleans()):
                spec["gatewayPriority"] = draw(st.integers(-2, 2))
            if draw(st.booleans()):
                spec["interface"] = f"lan{number}"
            if draw(st.booleans()):
                spec["mac"] = f"02:00:00:00:0{number}:{ord(sandbox):02x}"
            found.append(document("Endpoint", sandbox, spec))
    return found


def desired(found: list[Document]) -> tuple[Resource, ...]:
    """What this node shall have."""
    resolved = resolve(found, node=NODE, lock=Lock(), facts=FACTS)
    return render(resolved.topology, FACTS)


worlds = documents().map(desired)
