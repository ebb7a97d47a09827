"""`cnm explain --from A --to B`: the answer of the manifests, and what this host's other tables would do to it."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec import Struct
from msgspec.structs import replace

from reconciler.drivers.driver import host_port
from reconciler.drivers.firewall import table_name
from reconciler.drivers.registry import drivers
from reconciler.engine.reach import Reach, Service, Way
from reconciler.errors import ObservationError
from reconciler.host.files import read_small
from reconciler.host.host import Host
from reconciler.policy.evaluate import Packet, Step
from reconciler.policy.ruleset import Finding, Passing, Ruleset
from reconciler.topology.view import EndpointView, NetworkView, Topology


class Told(Struct, frozen=True):
    """One question, answered for one IP version. ``looked`` False: the host's other tables were not looked at."""

    source: str
    destination: str
    version: int
    service: str
    way: Way
    looked: bool


def explain_way(
    topology: Topology, source: str, destination: str, what: Service, host: Host | None, owner: str
) -> tuple[Told, ...]:
    """For each IP version that both have. ``host`` None: from the manifests alone. Raises UsageError."""
    reach = Reach(topology)
    here, there = reach.endpoint(source), reach.endpoint(destination)
    both = {address.version for address in here.addresses} & {address.version for address in there.addresses}
    ruleset = _ruleset(host, owner) if host is not None else None
    found = []
    for version in sorted(both) or (4,):
        way = reach.ask(here, there, version, what)
        if ruleset is not None and way.packet is not None and way.steps[0].where != "loopback":
            way = _with_host(way, ruleset, topology, here, there)
        names = (f"{here.network}/{here.name}", f"{there.network}/{there.name}")
        found.append(Told(*names, version, what.text, way, ruleset is not None))
    return tuple(found)


def _ruleset(host: Host, owner: str) -> Ruleset | None:
    own = [(family, table_name(owner)) for family in ("inet", "bridge")]
    try:
        objects, texts = host.nft.ruleset()
    except ObservationError:
        return None
    return Ruleset(objects, texts, own)


def _with_host(way: Way, ruleset: Ruleset, topology: Topology, here: EndpointView, there: EndpointView) -> Way:
    """The same with what tables that are not ours do, hook by hook."""
    steps = list(way.steps)
    allowed = way.allowed
    assert way.packet is not None
    doubts = [*_legacy()]
    for passing, families in _both_ways(way.packet, topology, here, there):
        passed = True
        what = f"host, {passing.hook}{' of the answer' if passing.answer else ''}"
        for finding in ruleset.against(passing, families):
            passed = False
            if finding.sure:
                allowed = False
            elif allowed:
                allowed = None
            steps.append(Step(what, _said(finding), "deny" if finding.sure else "cannot tell"))
        if passed:
            ways = (f"from {passing.iif}" if passing.iif else "", f"to {passing.oif}" if passing.oif else "")
            steps.append(Step(what, f"{' '.join(filter(None, ways))}: no table of others drops it"))
    for doubt in doubts:
        steps.append(doubt)
        allowed = None if allowed else allowed
    return replace(way, steps=tuple(steps), allowed=allowed)


def _said(finding: Finding) -> str:
    return f"{finding.where}: {finding.rule}"


def _both_ways(
    packet: Packet, topology: Topology, here: EndpointView, there: EndpointView
) -> Iterator[tuple[Passing, tuple[str, ...]]]:
    """The first packet's hooks, then its answer's: a table that lets one through may still drop the other."""
    yield from _hooks(packet, topology, here, there)
    answer = replace(
        packet,
        source=packet.destination,
        destination=packet.source,
        source_port=packet.destination_port,
        destination_port=packet.source_port,
        icmp=(0, 0) if packet.version == 4 else (129, 0),
    )
    for passing, families in _hooks(answer, topology, there, here):
        yield replace(passing, answer=True), families


def _hooks(
    packet: Packet, topology: Topology, here: EndpointView, there: EndpointView
) -> Iterator[tuple[Passing, tuple[str, ...]]]:
    """The hooks of this host that a packet passes, with the families whose tables see it there."""
    networks = {network.name: network for network in topology.networks}
    one, other = networks[here.network], networks[there.network]
    iif, oif = (_interface(network) for network in (one, other))
    if not here.local or not there.local or iif is None or oif is None:
        return
    port = host_port(drivers()[one.driver], one, here) or ""
    to = host_port(drivers()[other.driver], other, there) or ""
    if port:
        yield Passing(packet, "prerouting", iif=port), ("bridge",)
    if one.name == other.name:
        if port:
            yield Passing(packet, "forward", iif=port, oif=to), ("bridge",)
        if not (one.filtered or _bridged_frames_pass(packet.version)):
            return  # frames inside a bridge do not see the IP hooks
    yield Passing(packet, "prerouting", iif=iif), ()
    yield Passing(packet, "forward", iif=iif, oif=oif), ()
    yield Passing(packet, "postrouting", oif=oif), ()


def _interface(network: NetworkView) -> str | None:
    return drivers()[network.driver].host_interface(network)


def _bridged_frames_pass(version: int) -> bool:
    name = "iptables" if version == 4 else "ip6tables"
    return read_small(f"/proc/sys/net/bridge/bridge-nf-call-{name}").strip() == "1"


def _legacy() -> Iterator[Step]:
    """Rules of iptables-legacy are in tables of their own, which nft does not show."""
    for path, name in (("/proc/net/ip_tables_names", "iptables"), ("/proc/net/ip6_tables_names", "ip6tables")):
        tables = read_small(path).split()
        if tables:
            text = f"{name}-legacy has tables ({', '.join(tables)}): look with {name}-legacy -S"
            yield Step("host", text, "cannot tell")
