"""Who reaches whom: the networks' own walls, routes inside sandboxes, and policies, for one packet or for all pairs.

Pure, on the resolved topology: the same answer here, in a review and in a test, whatever the host looks like now.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property

from msgspec import Struct

from reconciler.drivers.driver import Place, host_port, place_of
from reconciler.drivers.registry import drivers
from reconciler.errors import Origin, UsageError
from reconciler.manifest.suggest import meant
from reconciler.policy.evaluate import Evaluator, Packet, Step, by_name
from reconciler.policy.view import EGRESS, ICMP, ICMPV6, INGRESS, PROTOCOLS, WITH_PORTS, Party, Policies
from reconciler.topology.view import Address, EndpointView, NetworkView, Topology

ECHO = {4: (8, 0), 6: (128, 0)}
CLIENT_PORT = 49152  # the first that is nobody's (RFC 6335, 6): where a client's packets come from


class Way(Struct, frozen=True):
    """``allowed`` None: cannot be told from the manifests; the last step says why."""

    allowed: bool | None
    steps: tuple[Step, ...]
    packet: Packet | None = None


class Service(Struct, frozen=True):
    """What is asked for: ``protocol`` by number, ``port`` 0 for those without. ICMP is an echo request, of either version."""

    protocol: int
    port: int = 0

    @property
    def text(self) -> str:
        name = next((name for name, number in PROTOCOLS.items() if number == self.protocol), str(self.protocol))
        return f"{self.port}/{name}" if self.port else name


ECHO_SERVICE = Service(ICMP)


def service(text: str) -> Service:
    """``80/tcp``, ``53/udp``, ``icmp``, ``47``. Raises UsageError."""
    port, slash, protocol = text.partition("/")
    if not slash:
        port, protocol = "", port
    number = int(protocol) if protocol.isdecimal() else PROTOCOLS.get(protocol, 256)
    number = ICMP if number == ICMPV6 else number
    wants = number in WITH_PORTS
    if number > 255 or (slash and not wants) or (wants and not (port.isdecimal() and 0 < int(port) < 65536)):
        raise UsageError(f"{text!r} is not a port: write one like 80/tcp or 53/udp, or icmp")
    return Service(number, int(port) if wants else 0)


class Reach:
    """Answers for one topology."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._networks = {network.name: network for network in topology.networks}
        self.endpoints = tuple(endpoint for network in topology.networks for endpoint in network.endpoints)
        self._by_stack: dict[tuple[str, str], list[EndpointView]] = {}
        for endpoint in self.endpoints:
            self._by_stack.setdefault((endpoint.sandbox.node, endpoint.sandbox.netns), []).append(endpoint)

    @cached_property
    def evaluator(self) -> Evaluator:
        return Evaluator(self._topology.policies or Policies())

    def endpoint(self, name: str) -> EndpointView:
        """By ``network/endpoint``, or by its own name where that is unique. Raises UsageError."""
        found = [e for e in self.endpoints if name in (f"{e.network}/{e.name}", e.name)]
        exact = [e for e in found if name == f"{e.network}/{e.name}"]
        if len(exact or found) == 1:
            return (exact or found)[0]
        if found:
            raise UsageError(f"{name} is on several networks: {', '.join(f'{e.network}/{e.name}' for e in found)}")
        names = [f"{e.network}/{e.name}" for e in self.endpoints]
        raise UsageError(f"there is no endpoint {name!r}: {meant(name, [*names, *(e.name for e in self.endpoints)])}")

    def ask(self, source: EndpointView, destination: EndpointView, version: int, what: Service) -> Way:
        """What becomes of the first packet of a connection, by this IP version."""
        packet = self.packet(source, destination, version, what)
        if packet is None:
            who = source if _address(source, version) is None else destination
            said = f"{_name(who)} has no IPv{version} address"
            return Way(False, (Step("addresses", said, "deny", who.origin),))
        if source.sandbox.netns == destination.sandbox.netns and source.sandbox.node == destination.sandbox.node:
            return Way(True, (Step("loopback", "both are in one sandbox: nothing leaves it", "allow"),), packet)
        steps: list[Step] = []
        allowed: bool | None = self._route(source, destination, packet, steps)
        if allowed is not False:
            allowed = self._walls(source, destination, steps) and allowed
        if allowed is not False:
            answer = self.evaluator.allows(packet)
            steps += answer.steps
            for endpoint, direction in ((source, EGRESS), (destination, INGRESS)):
                steps += self._where_enforced(endpoint, direction)
            allowed = allowed if answer.allowed else False
        return Way(allowed, tuple(steps), packet)

    def _where_enforced(self, endpoint: EndpointView, direction: str) -> Iterator[Step]:
        """What has to be known of policies that no host holds."""
        network = self._networks[endpoint.network]
        party = self._parties.get(_name(endpoint)) if network.filtered else None
        if party is None or place_of(drivers()[network.driver], network) is not Place.SANDBOX:
            return
        if (self._topology.policies or Policies()).guarded(party, direction):
            said = f"its {direction} policies stand inside it (driver {network.driver}): whoever is root there can lift them"
            yield Step(f"sandbox {endpoint.sandbox.name}", said, "", network.origin)

    @cached_property
    def _parties(self) -> Mapping[str, Party]:
        return by_name((self._topology.policies or Policies()).parties)

    @staticmethod
    def packet(source: EndpointView, destination: EndpointView, version: int, what: Service) -> Packet | None:
        """None when one of the two has no address of this version."""
        here, there = _address(source, version), _address(destination, version)
        if here is None or there is None:
            return None
        protocol = ICMPV6 if what.protocol == ICMP and version == 6 else what.protocol
        port = CLIENT_PORT if what.port else 0
        return Packet(here, there, protocol, port, what.port, ECHO[version])

    # -- the way there -------------------------------------------------------------------------------------

    def _route(self, source: EndpointView, destination: EndpointView, packet: Packet, steps: list[Step]) -> bool:
        """Which way the sandbox sends it: by its longest route."""
        best: tuple[int, EndpointView, str, Origin] | None = None
        for endpoint in self._by_stack[source.sandbox.node, source.sandbox.netns]:
            for length, said, origin in _routes(endpoint, packet.destination):
                if best is None or length > best[0]:
                    best = (length, endpoint, said, origin)
        where = f"sandbox {source.sandbox.name}"
        if best is None:
            steps.append(Step(where, f"no route to {packet.destination}", "deny", source.origin))
            return False
        _length, endpoint, said, origin = best
        if endpoint.name != source.name or endpoint.network != source.network:
            text = f"{packet.destination} is reached by {_name(endpoint)} ({said}), not by {_name(source)}"
            steps.append(Step(where, text, "deny", origin))
            return False
        port = host_port(drivers()[self._networks[source.network].driver], self._networks[source.network], source)
        steps.append(Step(where, f"out by {source.interface}: {said}", "", origin))
        if port is not None:
            guarded = "its guard lets its own addresses pass" if source.guard else "it has no guard (guard: false)"
            steps.append(Step(f"port {port}", f"into the host; {guarded}", "", source.origin))
        return True

    def _walls(self, source: EndpointView, destination: EndpointView, steps: list[Step]) -> bool | None:
        here, there = self._networks[source.network], self._networks[destination.network]
        layers = {(network.joined or network).name for network in (here, there)}  # of one switch, where they are joined
        if len(layers) == 1:
            return self._inside(self._networks[layers.pop()], steps)
        one, other = (drivers()[network.driver] for network in (here, there))
        if Place.HOST not in (place_of(one, here), place_of(other, there)):
            text = f"networks {here.name} and {there.name} do not meet on this host: what connects them decides"
            steps.append(Step(f"network {there.name}", text, "cannot tell", there.origin))
            return None
        interface = one.host_interface(here)
        if any(network.name == here.name for network in there.allow_from):
            steps.append(Step(f"network {there.name}", f"allowFrom names {here.name}", "allow", there.origin))
            return True
        if interface is not None and interface in getattr(there.options, "trusted_interfaces", ()):
            steps.append(Step(f"network {there.name}", f"trustedInterfaces names {interface}", "allow", there.origin))
            return True
        if one.host_interface(here) is None or other.host_interface(there) is None:
            text = f"whether {there.name} is open to {here.name} depends on what is between them"
            steps.append(Step(f"network {there.name}", text, "cannot tell", there.origin))
            return None
        text = f"no other network comes in but those of allowFrom, and {here.name} is not among them"
        steps.append(Step(f"network {there.name}", text, "deny", there.origin))
        return False

    @staticmethod
    def _inside(network: NetworkView, steps: list[Step]) -> bool:
        if getattr(network.options, "inter_container", True):
            steps.append(Step(f"network {network.name}", "among its own endpoints", "allow", network.origin))
            return True
        text = "its endpoints are kept apart (interContainer: false)"
        steps.append(Step(f"network {network.name}", text, "deny", network.origin))
        return False

    # -- all pairs -----------------------------------------------------------------------------------------

    def services(self) -> tuple[Service, ...]:
        """What has to be asked to know all that policies tell apart: echo, each port that a rule names, and one of
        each protocol that none names."""
        found = {ECHO_SERVICE}
        policies = self._topology.policies or Policies()
        for tier in policies.tiers:
            for policy in tier.policies:
                for rules in policy.rules.values():
                    for rule in rules:
                        protocols = {rule.protocol} & WITH_PORTS if rule.protocol is not None else WITH_PORTS
                        for port in (*(rule.destination.ports or ()), *rule.destination.not_ports):
                            numbers = _numbers(policies, port.name) if port.name else (port.first, port.last)
                            found |= {Service(number, n) for number in protocols if number for n in numbers}
        for number in (6, 17):
            taken = {one.port for one in found if one.protocol == number}
            found.add(Service(number, next(n for n in range(CLIENT_PORT - 1, 0, -1) if n not in taken)))
        return tuple(sorted(found, key=lambda one: (one.protocol, one.port)))

    def matrix(
        self, sources: Sequence[EndpointView], destinations: Sequence[EndpointView], asked: Iterable[Service]
    ) -> Iterator[tuple[EndpointView, EndpointView, str]]:
        """(source, destination, ``yes`` | ``some`` | ``no`` | ``?`` | ``-``): over the services and both IP versions;
        ``-``: both are in one sandbox."""
        services = tuple(asked)
        for source in sources:
            for destination in destinations:
                if (
                    source.sandbox.netns == destination.sandbox.netns
                    and source.sandbox.node == destination.sandbox.node
                ):
                    yield source, destination, "-"
                    continue
                found = {
                    self.ask(source, destination, version, one).allowed
                    for version in (4, 6)
                    if _address(source, version) is not None and _address(destination, version) is not None
                    for one in services
                }
                yield source, destination, _word(found)


def _word(found: set[bool | None]) -> str:
    if found == {True}:
        return "yes"
    if True in found:
        return "some"
    return "?" if None in found else "no"


def _numbers(policies: Policies, name: str) -> tuple[int, ...]:
    return tuple(sorted({number for party in policies.parties for own, _kind, number in party.ports if own == name}))


def _name(endpoint: EndpointView) -> str:
    return f"{endpoint.network}/{endpoint.name}"


def _address(endpoint: EndpointView, version: int) -> Address | None:
    return next((address.ip for address in endpoint.addresses if address.version == version), None)


def _routes(endpoint: EndpointView, to: Address) -> Iterator[tuple[int, str, Origin]]:
    """(prefix length, in words, where it is written) of what leads there by this endpoint."""
    for address in endpoint.addresses:
        if address.version == to.version and to in address.network:
            yield address.network.prefixlen, f"{address.network} is on the link", endpoint.origin
    for route in endpoint.routes:
        if route.to.version == to.version and to in route.to:
            yield route.to.prefixlen, f"route to {route.to}" + (f" via {route.via}" if route.via else ""), route.origin
    hop = endpoint.gateway4 if to.version == 4 else endpoint.gateway6
    if hop is not None:
        yield 0, f"default route via {hop}", endpoint.origin
    elif to.version in endpoint.on_device:
        yield 0, "default route on the device", endpoint.origin
