"""The flows of driver contiv's bridges: who an endpoint is, what policies say, and where its packets go.

::

    table 0   input     by port: an endpoint's frames under its own addresses only (the guard), a tunnel's by VNI, the uplink's
                        by tag. reg0: the segment; reg5: it comes from an endpoint here; a meter and DSCP where a profile says so
          1   names     ARP is answered here; all IP goes on, the rest to 231
         10   sender    by source address: reg1 its class, reg3 its egress profile
         11   receiver  by destination address: reg2 its class, reg4 its ingress profile
         12   tracking  IPv6's own needs -> 230; all else through conntrack
         13             answers and what belongs to a connection -> 230
       20-   egress     a step a table: allow -> 120, deny, pass -> the next level. A step is what a level enforces without a
                        staged policy between; or a staged policy, whose flows count and go on to the next step
      120-   ingress    the same: allow -> 220
        220             a new connection is noted -> 230
        230   forward   by destination address, where this node routes
        231   deliver   by destination MAC: a port here, a tunnel, the uplink

Policies are the same documents that compile to nftables elsewhere, asked in the same order. Each packet of the direction in which
a connection was opened is asked about, so a change holds at once. A *class* is all endpoints that no rule tells apart.
The lowest 16 bits of a cookie say which policy a flow is of (:func:`policy_label`).
What flows cannot say (log, 'any but this') is refused at the rule's line.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from ipaddress import collapse_addresses, ip_network
from itertools import product
from typing import ClassVar, NamedTuple

from reconciler.drivers.cable import cable_name
from reconciler.drivers.contiv import ContivOptions, exit_name, gateway_mac, tunnel_name
from reconciler.drivers.ovsrates import burst_of
from reconciler.errors import Origin, Problem
from reconciler.policy.view import (
    ALWAYS_ICMPV6,
    DIRECTIONS,
    EGRESS,
    ICMP,
    ICMPV6,
    INGRESS,
    WITH_PORTS,
    Choice,
    Level,
    Party,
    PeerView,
    Policies,
    PolicyView,
    PortMatch,
    RuleView,
)
from reconciler.resources.ovs_flow import OvsFlow, flow_key
from reconciler.resources.ovs_meter import OvsMeter, ovs_meter_key
from reconciler.resources.resource import Resource
from reconciler.topology.derive import digest
from reconciler.topology.view import EndpointView, NetworkView, NodeFacts, RateView, Subnet, Topology

_INPUT, _NAMES, _SENDER, _RECEIVER, _TRACKING, _TRACKED = 0, 1, 10, 11, 12, 13
_LEVELS = {EGRESS: 20, INGRESS: 120}
_STEPS = 100  # tables for each
_COMMIT, _FORWARD, _DELIVER = 220, 230, 231
_ZONE = 0xC47  # of conntrack: addresses of networks do not overlap, so one serves all
_VXLAN_SEGMENT = 1 << 24  # VNIs are numbered apart from VLANs
_VERSIONS = (4, 6)
_IP = {4: "ip", 6: "ipv6"}
_WORDS = {(6, 4): "tcp", (17, 4): "udp", (132, 4): "sctp", (6, 6): "tcp6", (17, 6): "udp6", (132, 6): "sctp6"}
_GROUP_BIT = "dl_dst=01:00:00:00:00:00/01:00:00:00:00:00"
_ONE_ADDRESSED = "dl_dst=00:00:00:00:00:00/01:00:00:00:00:00"
_ND = {"solicitation": 135, "advertisement": 136}
_ANSWERS = ("ct_state=+est+rpl+trk", "ct_state=+rel+trk")
_FORGED = (134, 137)  # router advertisements and redirects (RFC 4861)


class PipelineFeature:
    """What driver contiv's networks and the policies about their endpoints come to on Open vSwitch."""

    name: ClassVar[str] = "pipeline"
    summary: ClassVar[str] = "driver contiv: forwarding, policies, rates and DSCP as OpenFlow"

    def requires(self, topology: Topology) -> frozenset[str]:
        return frozenset()

    def check(self, topology: Topology) -> Iterable[Problem]:
        networks = _networks(topology)
        if not networks or topology.policies is None:
            return
        about = {network.name for network in networks}
        parties = [party for party in topology.policies.parties if party.network in about]
        seen: set[Problem] = set()
        for party in parties:
            for direction in DIRECTIONS:
                levels = topology.policies.levels(party, direction)
                for level in levels:
                    for policy in level.policies:
                        for rule in policy.rules[direction]:
                            seen.update(_inexpressible(rule))
                steps = _steps(levels)
                if len(steps) > _STEPS:
                    hint = "let fewer tiers and staged policies be about it"
                    said = (
                        f"{party.name} meets {len(steps)} tiers and staged policies, Open vSwitch has room for {_STEPS}"
                    )
                    seen.add(Problem(steps[_STEPS].origin, said, hint))
        yield from sorted(seen)

    def render(self, topology: Topology, facts: NodeFacts) -> Iterable[Resource]:
        bridges: dict[str, list[NetworkView]] = {}
        for network in _networks(topology):
            bridges.setdefault(network.options.bridge, []).append(network)
        for bridge, networks in sorted(bridges.items()):
            if any(network.local for network in networks):
                yield from _Bridge(bridge, networks, topology).render()


def _networks(topology: Topology) -> list[NetworkView]:
    return [network for network in topology.networks if isinstance(network.options, ContivOptions)]


def _inexpressible(rule: RuleView) -> Iterator[Problem]:
    said = "Open vSwitch cannot express this rule: "
    if rule.action == "log":
        yield Problem(rule.origin, f"{said}flows do not log", "leave the log rule out")
    if rule.not_protocol is not None:
        yield Problem(rule.origin, f"{said}flows have no 'any protocol but this'", "write the protocols that are meant")
    if rule.not_icmp is not None:
        yield Problem(rule.origin, f"{said}flows have no 'any type but this'", "write the types that are meant")


# -- a bridge --------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Bridge:
    """All flows of one bridge on this node."""

    bridge: str
    networks: Sequence[NetworkView]
    topology: Topology
    _found: dict[tuple[int, int, str], Resource] = field(default_factory=dict)
    _meters: list[Resource] = field(default_factory=list)
    _guarded: frozenset[str] = frozenset()  # NETWORK/ENDPOINT of those to whom a policy may deny something

    def render(self) -> Iterable[Resource]:
        policies = self.topology.policies
        if policies is not None:
            own = {network.name for network in self.networks if network.local}
            here = [party for party in policies.parties if party.local and party.network in own]
            self._guarded = frozenset(party.name for party in here if policies.guarded(party, INGRESS))
        filtered = policies is not None and not policies.idle
        tracked = filtered or any(network.allow_from for network in self.networks)
        shared = Origin(document=f"bridge {self.bridge}", driver="contiv")
        for network in self.networks:
            if network.local:
                self._network(network)
        after = _SENDER if filtered else _TRACKING if tracked else _FORWARD
        for version in _VERSIONS:
            self._flow(_NAMES, 10, _IP[version], f"goto_table:{after}", shared)
        self._flow(_NAMES, 0, "", f"goto_table:{_DELIVER}", shared)
        self._flow(_FORWARD, 0, "", f"goto_table:{_DELIVER}", shared)
        if tracked:
            names = {network.name for network in self.networks}
            for line in _Filter(policies or Policies(), names).flows():
                self._flow(line.table, line.priority, line.match, line.actions, line.origin or shared, line.label)
        return [*self._found.values(), *self._meters]

    def _flow(
        self, table: int, priority: int, match: str, actions: str, origin: Origin, label: int | None = None
    ) -> None:
        key = flow_key(self.bridge, table, priority, match)
        flow = OvsFlow(key=key, origin=replace(origin, driver="contiv"), actions=actions, label=label)
        self._found.setdefault((table, priority, key.name), flow)

    # -- networks --------------------------------------------------------------------------------------------

    def segment(self, network: NetworkView, endpoint: EndpointView | None = None) -> int:
        """What reg0 says: the VLAN, of an endpoint on a fabric its group's; VNIs above those."""
        options: ContivOptions = network.options
        if options.encapsulation == "vxlan":
            return _VXLAN_SEGMENT | (self._vni(network))
        if options.vlan is None and endpoint is not None:
            tenant = self.topology.tenant_of(network.name)
            groups = tenant.groups if tenant is not None else ()
            return next((group.vlan for group in groups if group.name == endpoint.group), 0)
        return options.vlan or 0

    @staticmethod
    def _vni(network: NetworkView) -> int:
        return network.vnis[0] if network.vnis else 0

    def _segments(self, network: NetworkView) -> list[int]:
        return sorted(
            {self.segment(network, endpoint) for endpoint in network.endpoints} | {self.segment(network)} - {0}
        )

    def _network(self, network: NetworkView) -> None:
        options: ContivOptions = network.options
        numbers = self._segments(network)
        for number in numbers:
            into = f"set_field:{number:#x}->reg0,goto_table:{_NAMES}"
            if options.encapsulation == "vxlan":
                port = tunnel_name(self.bridge)
                self._flow(_INPUT, 100, f"in_port={port},tun_id={self._vni(network):#x}", into, network.origin)
            elif options.uplink is not None:
                self._flow(
                    _INPUT, 100, f"in_port={options.uplink},dl_vlan={number}", f"pop_vlan,{into}", network.origin
                )
            self._group_addressed(network, number)
            if options.uplink is not None and options.encapsulation == "vlan":
                self._flow(_DELIVER, 10, f"reg0={number:#x}", _tagged(number, options.uplink), network.origin)
        for endpoint in network.local:
            self._input(network, endpoint)
        for endpoint in network.endpoints:
            self._deliver(network, endpoint)
            for address in endpoint.addresses:
                if address.version == 4:
                    self._arp(numbers, str(address.ip), endpoint.mac, endpoint.origin)
        if options.forwarding == "routing":
            self._routes(network)

    def _input(self, network: NetworkView, endpoint: EndpointView) -> None:
        """The guard: under its own addresses, or not at all."""
        port = cable_name(network, endpoint)
        segment = f"set_field:{self.segment(network, endpoint):#x}->reg0,"
        into, asked = f"{segment}set_field:0x1->reg5,goto_table:{_NAMES}", f"{segment}goto_table:{_NAMES}"
        first = self._held(network, endpoint, endpoint.send, "send")
        if endpoint.dscp is not None:
            first += f"set_field:{endpoint.dscp}->ip_dscp,"

        def let(match: str, start: str = "") -> None:
            self._flow(_INPUT, 100, f"in_port={port},{match}", start + into, endpoint.origin)

        if not endpoint.guard:
            meter = first.partition("set_field")[0]
            let("ip", first)
            let("ipv6", first)
            self._flow(_INPUT, 90, f"in_port={port}", meter + into, endpoint.origin)
            return
        mac = f"dl_src={endpoint.mac}"
        for address in (*endpoint.addresses, *endpoint.link_local):
            own = str(address.ip)
            if address.version == 4:
                let(f"ip,{mac},nw_src={own}", first)
                let(f"arp,{mac},arp_spa={own},arp_sha={endpoint.mac}")
                served = f"udp,in_port={port},nw_src={own},tp_src=67,tp_dst=68"
                self._flow(_INPUT, 110, served, "drop", endpoint.origin)  # no DHCP server
                # Is it free (RFC 5227)? All others may answer, and not the switch in its own name.
                probe = f"in_port={port},arp,{mac},arp_spa=0.0.0.0,arp_tpa={own},arp_sha={endpoint.mac}"
                self._flow(_INPUT, 100, probe, asked, endpoint.origin)
            else:
                let(f"ipv6,{mac},ipv6_src={own}", first)
                served = f"udp6,in_port={port},ipv6_src={own},tp_src=547,tp_dst=546"
                self._flow(_INPUT, 110, served, "drop", endpoint.origin)
                for number in (*_FORGED, _ND["advertisement"]):
                    match = f"icmp6,in_port={port},ipv6_src={own},icmp_type={number}"
                    self._flow(_INPUT, 110, match, "drop", endpoint.origin)
                for target in (*endpoint.addresses, *endpoint.link_local):
                    if target.version == 6:
                        # With the code: see CVE-2023-5366 in ovsguard.py.
                        about = f"icmp_type=136,icmp_code=0,nd_target={target.ip}"
                        match = f"icmp6,in_port={port},{mac},ipv6_src={own},{about}"
                        self._flow(_INPUT, 120, match, into, endpoint.origin)
        if network.ipv6:
            let(f"icmp6,{mac},ipv6_src=::,icmp_type=135")  # duplicate address detection
        for number in endpoint.ether_types:
            let(f"{mac},dl_type={number:#06x}")

    def _held(self, network: NetworkView, endpoint: EndpointView, rate: RateView | None, way: str) -> str:
        """The meter that a rate comes to, and the action that asks it; "" without one."""
        if rate is None:
            return ""
        number = int.from_bytes(digest("meter", way, network.name, endpoint.name)[:4], "big") % 0x7FFFFFFF + 1
        key = ovs_meter_key(self.bridge, number)
        origin = replace(endpoint.origin, driver="contiv")
        self._meters.append(OvsMeter(key=key, origin=origin, rate=max(1, rate.rate // 1000), burst=burst_of(rate)))
        return f"meter:{number},"

    def _arp(self, numbers: Sequence[int], address: str, mac: str, origin: Origin) -> None:
        """Who asks here gets the answer from here (RFC 826); who asks from outside is answered by the endpoint itself."""
        for number in numbers:
            actions = (
                f"move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],set_field:{mac}->eth_src,set_field:2->arp_op,"
                f"move:NXM_NX_ARP_SHA[]->NXM_NX_ARP_THA[],set_field:{mac}->arp_sha,"
                f"move:NXM_OF_ARP_SPA[]->NXM_OF_ARP_TPA[],set_field:{address}->arp_spa,IN_PORT"
            )
            match = f"arp,reg0={number:#x},reg5=0x1,arp_tpa={address},arp_op=1"
            self._flow(_NAMES, 100, match, actions, origin)

    def _deliver(self, network: NetworkView, endpoint: EndpointView) -> None:
        options: ContivOptions = network.options
        number = self.segment(network, endpoint)
        match = f"reg0={number:#x},dl_dst={endpoint.mac}"
        if endpoint.local:
            held = self._held(network, endpoint, endpoint.receive, "receive")
            self._flow(_DELIVER, 100, match, f"{held}output:{cable_name(network, endpoint)}", endpoint.origin)
        elif options.encapsulation == "vxlan":
            far = self._address_of(endpoint.sandbox.node)
            if far:
                self._flow(
                    _DELIVER, 100, match, _tunnelled(self._vni(network), far, tunnel_name(self.bridge)), endpoint.origin
                )
        elif options.uplink is not None:
            self._flow(_DELIVER, 100, match, _tagged(number, options.uplink), endpoint.origin)

    def _address_of(self, node: str) -> str:
        found = next((view for view in self.topology.nodes if view.name == node), None)
        return str(found.addresses[0]) if found is not None and found.addresses else ""

    def _group_addressed(self, network: NetworkView, number: int) -> None:
        """Broadcast and multicast reach those that no policy guards, on this node and, from here, on the others. What
        IPv6 needs of it reaches all."""
        options: ContivOptions = network.options
        here = [endpoint for endpoint in network.local if self.segment(network, endpoint) == number]
        away = ""
        if options.encapsulation == "vxlan":
            nodes = sorted({e.sandbox.node for e in network.endpoints if not e.local})
            far = [self._address_of(node) for node in nodes]
            away = ",".join(_tunnelled(self._vni(network), one, tunnel_name(self.bridge)) for one in far if one)
        elif options.uplink is not None:
            away = _tagged(number, options.uplink)
        everybody = [f"output:{cable_name(network, endpoint)}" for endpoint in here]
        open_to = [f"output:{cable_name(network, e)}" for e in here if f"{network.name}/{e.name}" not in self._guarded]
        for kind in sorted(_ND.values()):
            actions = ",".join(filter(None, (*everybody, away))) or "drop"
            self._flow(_DELIVER, 60, f"icmp6,reg0={number:#x},{_GROUP_BIT},icmp_type={kind}", actions, network.origin)
        self._flow(
            _DELIVER,
            50,
            f"arp,reg0={number:#x},{_GROUP_BIT}",
            ",".join(filter(None, (*everybody, away))) or "drop",
            network.origin,
        )
        actions = ",".join(filter(None, (*open_to, away))) or "drop"
        self._flow(_DELIVER, 40, f"reg0={number:#x},{_GROUP_BIT}", actions, network.origin)

    # -- routing ---------------------------------------------------------------------------------------------

    def _routes(self, network: NetworkView) -> None:
        """This node is the gateway: it answers for that address (its IPv6 neighbour entry endpoints have), and sends on what is
        for a network that lets this one in. Networks of one bridge only; each hop counts (RFC 1812, 5.3.1)."""
        gateway = gateway_mac(self.bridge)
        number = self.segment(network)
        for subnet in network.subnets:
            if subnet.gateway is None:
                continue
            own, version = str(subnet.gateway), subnet.gateway.version
            if version == 4:
                self._arp([number], own, gateway, subnet.origin)
            # An echo to the gateway itself (RFC 1122, 3.2.2.6; RFC 4443, 4.2).
            here = f"reg0={number:#x},reg5=0x1"
            if version == 4:
                echo, kind, side = f"icmp,{here},nw_dst={own},icmp_type=8", "0->icmp_type", "ip"
            else:
                echo, kind, side = f"icmp6,{here},ipv6_dst={own},icmp_type=128", "129->icmpv6_type", "ipv6"
            turned = {4: "move:NXM_OF_IP_SRC[]->NXM_OF_IP_DST[]", 6: "move:NXM_NX_IPV6_SRC[]->NXM_NX_IPV6_DST[]"}
            actions = (
                f"move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],{turned[version]},set_field:{gateway}->eth_src,"
                f"set_field:{own}->{side}_src,set_field:{kind},set_field:64->nw_ttl,IN_PORT"
            )
            self._flow(_NAMES, 100, echo, actions, subnet.origin)
        for other in self.networks:
            options: ContivOptions = other.options
            if other is not network and options.forwarding == "routing":
                opens = network.name in {one.name for one in other.allow_from}
                answers = other.name in {one.name for one in network.allow_from}
                states = ("",) if opens else _ANSWERS if answers else ()
                self._towards(network, other, gateway, states)
        if network.options.outgoing is not None:
            self._outgoing(network, gateway)

    def _outgoing(self, network: NetworkView, gateway: str) -> None:
        """What an endpoint here sends to no network of the bridge is the host's to route; what the host sends is one
        endpoint's."""
        port, origin = exit_name(network), network.at("spec", "options", "outgoing")
        segment = f"{self.segment(network):#x}"
        for version in _VERSIONS:
            leaving = f"{_IP[version]},reg0={segment},reg5=0x1,dl_dst={gateway}"
            self._flow(_FORWARD, 10, leaving, f"output:{port}", origin)
            coming = f"{_IP[version]},in_port={port},dl_src={gateway},{_ONE_ADDRESSED}"
            self._flow(_INPUT, 100, coming, f"set_field:{segment}->reg0,goto_table:{_NAMES}", origin)
            side = "nw_dst" if version == 4 else "ipv6_dst"
            for cidr in sorted(str(s.cidr) for one in self.networks for s in one.subnets if s.cidr.version == version):
                match = f"{_IP[version]},reg0={segment},dl_dst={gateway},{side}={cidr}"
                self._flow(_FORWARD, 50, match, "drop", origin)

    def _towards(self, network: NetworkView, other: NetworkView, gateway: str, states: Sequence[str]) -> None:
        """``states``: matches on conntrack, of which one must hold; where the other side lets nobody open anything, only
        answers pass."""
        here = f"reg0={self.segment(network):#x},dl_dst={gateway}"
        for endpoint in other.endpoints:
            for address in endpoint.addresses:
                actions = (
                    f"dec_ttl,set_field:{gateway}->eth_src,set_field:{endpoint.mac}->eth_dst,"
                    f"set_field:{self.segment(other, endpoint):#x}->reg0,goto_table:{_DELIVER}"
                )
                for state in states:
                    where = f"nw_dst={address.ip}" if address.version == 4 else f"ipv6_dst={address.ip}"
                    match = ",".join(filter(None, (_IP[address.version], state, here, where)))
                    self._flow(_FORWARD, 100, match, actions, endpoint.origin)


def _tagged(number: int, uplink: str) -> str:
    return f"push_vlan:0x8100,set_field:{0x1000 | number}->vlan_vid,output:{uplink}"


def _tunnelled(vni: int, far: str, port: str) -> str:
    to = "tun_ipv6_dst" if ":" in far else "tun_dst"
    return f"set_field:{vni:#x}->tun_id,set_field:{far}->{to},output:{port}"


# -- policies --------------------------------------------------------------------------------------------------


class Line(NamedTuple):
    """A flow of a bridge's. ``label``: of the policy it is of."""

    table: int
    priority: int
    match: str
    actions: str
    origin: Origin | None = None
    label: int | None = None


@dataclass(frozen=True, slots=True)
class _Step:
    """What one table asks about somebody: a staged policy, or policies of one level that nothing staged is between.
    ``depth``: the level; ``last`` of it; ``denies``: what the level does not decide is denied."""

    depth: int
    policies: tuple[PolicyView, ...]
    staged: bool
    last: bool
    denies: bool
    origin: Origin


def _steps(levels: Sequence[Level]) -> list[_Step]:
    found = []
    for depth, level in enumerate(levels):
        runs: list[tuple[bool, list[PolicyView]]] = []
        for policy in level.policies:
            if policy.staged or not runs or runs[-1][0]:
                runs.append((policy.staged, []))
            runs[-1][1].append(policy)
        denies = level.tier.default == "deny" and not all(staged for staged, _ in runs)
        for number, (staged, policies) in enumerate(runs, start=1):
            last = number == len(runs)
            origin = policies[0].origin if staged else level.tier.origin
            found.append(_Step(depth, tuple(policies), staged, last, denies, origin))
    return found


def policy_label(document: str) -> int:
    """16 bits by which the flows of ``Policy/NAME`` are known among a bridge's: the first of its SHA-256, so that a shell can
    tell them too; 0 is no policy's."""
    return int.from_bytes(sha256(document.encode()).digest()[:2], "big") or 1


def _said(policy: PolicyView) -> str:
    return f"{policy.document}{' (staged)' if policy.staged else ''}"


class _Filter:
    """The flows of tables 10 to 220."""

    def __init__(self, policies: Policies, networks: set[str]) -> None:
        self._policies = policies
        self._parties = [party for party in policies.parties if party.addresses]
        self._networks = networks
        self._choices = self._chosen()
        self._classes: dict[str, list[Party]] = {}
        for party in self._parties:
            self._classes.setdefault(self._signature(party), []).append(party)
        self._numbers = {signature: _number("class", signature) for signature in self._classes}

    def _chosen(self) -> list[Choice]:
        found: dict[str, Choice] = {}
        for tier in self._policies.tiers:
            for policy in tier.policies:
                for rules in policy.rules.values():
                    for rule in rules:
                        for side in (rule.source, rule.destination):
                            for choice in (*([side.who] if side.who is not None else []), *side.not_who):
                                found.setdefault(choice.text, choice)
        return [found[text] for text in sorted(found)]

    def _signature(self, party: Party) -> str:
        """Equal for parties that no rule tells apart."""
        parts = [choice.text for choice in self._choices if choice(party)]
        return "\0".join([*parts, *(f"{name}/{protocol}/{number}" for name, protocol, number in sorted(party.ports))])

    def flows(self) -> Iterator[Line]:
        profiles: dict[tuple[str, int], tuple[tuple[Level, ...], str]] = {}
        for party in self._parties:
            number = self._numbers[self._signature(party)]
            for direction, table, side, own, its in (
                (EGRESS, _SENDER, "src", "reg1", "reg3"),
                (INGRESS, _RECEIVER, "dst", "reg2", "reg4"),
            ):
                profile = (
                    self._profile(party, direction, profiles) if party.network in self._networks and party.local else 0
                )
                following = _RECEIVER if direction == EGRESS else _TRACKING
                for address in party.addresses:
                    match = f"ip,nw_{side}={address}" if address.version == 4 else f"ipv6,ipv6_{side}={address}"
                    actions = f"set_field:{number:#x}->{own},set_field:{_hex(profile)}->{its},goto_table:{following}"
                    yield Line(table, 100, match, actions, party.origin)
        yield Line(_SENDER, 0, "", f"goto_table:{_RECEIVER}")
        yield Line(_RECEIVER, 0, "", f"goto_table:{_TRACKING}")
        for kind in sorted(ALWAYS_ICMPV6):
            yield Line(_TRACKING, 100, f"icmp6,icmp_type={kind}", f"goto_table:{_FORWARD}")
        for version in _VERSIONS:
            yield Line(_TRACKING, 10, _IP[version], f"ct(table={_TRACKED},zone={_ZONE})")
            yield Line(_TRACKED, 90, f"ct_state=+inv+trk,{_IP[version]}", "drop")
            for state in ("-new+est+rpl+trk", "+rel+trk"):
                yield Line(_TRACKED, 100, f"ct_state={state},{_IP[version]}", f"goto_table:{_FORWARD}")
            noted = f"ct(commit,zone={_ZONE}),goto_table:{_FORWARD}"
            yield Line(_COMMIT, 10, f"ct_state=+new+trk,{_IP[version]}", noted)
        yield Line(_TRACKED, 0, "", f"goto_table:{_LEVELS[EGRESS]}")
        yield Line(_COMMIT, 0, "", f"goto_table:{_FORWARD}")
        for (direction, number), (levels, default) in sorted(profiles.items()):
            yield from self._profile_flows(direction, number, levels, default)
        yield Line(_LEVELS[EGRESS], 0, "", f"goto_table:{_LEVELS[INGRESS]}")
        yield Line(_LEVELS[INGRESS], 0, "", f"goto_table:{_COMMIT}")

    def _profile(
        self, party: Party, direction: str, profiles: dict[tuple[str, int], tuple[tuple[Level, ...], str]]
    ) -> int:
        """The number of all that holds for a party in one direction; 0 where nothing can be denied to it, and nothing counts."""
        levels = self._policies.levels(party, direction)
        if not levels and party.default == "allow":
            return 0
        ids = [f"{level.tier.name}:{','.join(map(_said, level.policies))}" for level in levels]
        number = _number("profile", direction, *ids, party.default)
        profiles[direction, number] = (levels, party.default)
        return number

    def _profile_flows(self, direction: str, number: int, levels: Sequence[Level], default: str) -> Iterator[Line]:
        own = f"{'reg3' if direction == EGRESS else 'reg4'}={number:#x}"
        allowed = f"goto_table:{_LEVELS[INGRESS] if direction == EGRESS else _COMMIT}"
        over = allowed if default == "allow" else "drop"
        base, steps = _LEVELS[direction], _steps(levels)
        if not steps:
            yield Line(base, 1, own, over)
        for place, step in enumerate(steps):
            table = base + place
            onward = f"goto_table:{table + 1}" if place + 1 < len(steps) else over
            later = next((at for at in range(place + 1, len(steps)) if steps[at].depth != step.depth), None)
            next_level = f"goto_table:{base + later}" if later is not None else over
            ends = "drop" if step.last and step.denies else next_level if step.last else onward
            verdicts = {"allow": allowed, "deny": "drop", "pass": next_level}
            priority = 60000
            for policy in step.policies:
                for rule in policy.rules[direction]:
                    priority -= 1
                    for match in self._matches(rule):
                        actions = ends if step.staged else verdicts[rule.action]
                        match = ",".join(filter(None, (match, own)))
                        yield Line(table, priority, match, actions, rule.origin, policy_label(policy.document))
            yield Line(table, 1, own, ends, step.origin)

    # -- one rule ------------------------------------------------------------------------------------------

    def _matches(self, rule: RuleView) -> Iterator[str]:
        """All matches that together are what a rule asks for."""
        for version in _VERSIONS:
            if rule.version not in (0, version) or {ICMP: 4, ICMPV6: 6}.get(rule.protocol or 0, version) != version:
                continue
            sides = [self._side(rule, rule.source, "src", version), self._side(rule, rule.destination, "dst", version)]
            for source, destination in product(*sides):
                yield ",".join(filter(None, (self._protocol(rule, version), *source, *destination)))

    @staticmethod
    def _protocol(rule: RuleView, version: int) -> str:
        if rule.protocol is None:
            return _IP[version]
        if rule.protocol in (ICMP, ICMPV6):
            parts = ["icmp" if rule.protocol == ICMP else "icmp6"]
            if rule.icmp is not None:
                parts.append(f"icmp_type={rule.icmp[0]}")
                if rule.icmp[1] is not None:
                    parts.append(f"icmp_code={rule.icmp[1]}")
            return ",".join(parts)
        word = _WORDS.get((rule.protocol, version))
        return word or f"{_IP[version]},nw_proto={rule.protocol}"

    def _side(self, rule: RuleView, peer: PeerView, side: str, version: int) -> list[tuple[str, ...]]:
        found: list[tuple[str, ...]] = []
        for who, ports in self._who(rule, peer, "reg1" if side == "src" else "reg2"):
            for net, port in product(_nets(peer, version), ports):
                where = f"{'nw' if version == 4 else 'ipv6'}_{side}={net}" if net else ""
                found.append((who, where, f"tp_{side}={port}" if port else ""))
        return found

    def _who(self, rule: RuleView, peer: PeerView, register: str) -> Iterator[tuple[str, list[str]]]:
        """(a match on the class, matches on ports), for each class that a rule is about; one for all where no class
        is told apart."""
        names = [port for port in (*(peer.ports or ()), *peer.not_ports) if port.name]
        if peer.who is None and not peer.not_who and not names:
            yield "", _port_matches(rule, peer, ())
            return
        for signature, members in sorted(self._classes.items()):
            one = members[0]
            if (peer.who is None or peer.who(one)) and not any(choice(one) for choice in peer.not_who):
                yield f"{register}={self._numbers[signature]:#x}", _port_matches(rule, peer, one.ports)
        if peer.who is None:  # who is no party at all is none of those that are excluded
            yield f"{register}=0", _port_matches(rule, peer, ())


def _hex(number: int) -> str:
    """As C prints it with %#x."""
    return f"{number:#x}" if number else "0"


def _number(*parts: str) -> int:
    """A register's value: the same on every node and in every run, and 0 never."""
    return int.from_bytes(digest(*(part.replace("/", "\1") for part in parts))[:4], "big") | 1


def _nets(peer: PeerView, version: int) -> list[str]:
    """The networks that an address must be in, without those that it must not; [""]: anywhere."""
    wanted: list[Subnet] | None = None
    if peer.nets is not None:
        wanted = [cidr for nets in peer.nets for cidr in nets.cidrs if cidr.version == version]
    if peer.nodes is not None:
        own = [ip_network(address) for address in peer.nodes if address.version == version]
        wanted = own if wanted is None else [a for a in own if any(_inside(a, b) for b in wanted)]
    holes: list[Subnet] = [cidr for nets in peer.not_nets for cidr in nets.cidrs if cidr.version == version]
    holes += [ip_network(address) for address in peer.not_nodes if address.version == version]
    if wanted is None:
        if not holes:
            return [""]
        wanted = [ip_network("0.0.0.0/0" if version == 4 else "::/0")]
    for hole in holes:
        wanted = [part for net in wanted for part in _without(net, hole)]
    return [_cidr(net) for net in sorted(collapse_addresses(wanted))]  # type: ignore[type-var]  # all of one version


def _inside(one: Subnet, other: Subnet) -> bool:
    return one.network_address in other and one.prefixlen >= other.prefixlen


def _without(net: Subnet, hole: Subnet) -> Iterable[Subnet]:
    if _inside(net, hole):
        return ()
    return net.address_exclude(hole) if _inside(hole, net) else (net,)  # type: ignore[arg-type]  # of one version


def _cidr(net: Subnet) -> str:
    """As ovs-ofctl prints it; "" for everything."""
    if not net.prefixlen:
        return ""
    return str(net.network_address) if net.prefixlen == net.max_prefixlen else str(net)


def _port_matches(rule: RuleView, peer: PeerView, ports: Iterable[tuple[str, int, int]]) -> list[str]:
    """Numbers and masks that together are the ports that a rule asks for; [""]: any."""
    if rule.protocol not in WITH_PORTS or (peer.ports is None and not peer.not_ports):
        return [""]
    named = {(name, protocol): number for name, protocol, number in ports}

    def spans(some: Iterable[PortMatch]) -> list[tuple[int, int]]:
        found = []
        for port in some:
            if not port.name:
                found.append((port.first, port.last))
            elif (port.name, rule.protocol) in named:
                number = named[port.name, rule.protocol or 0]
                found.append((number, number))
        return found

    wanted = spans(peer.ports) if peer.ports is not None else [(0, 65535)]
    for low, high in spans(peer.not_ports):
        wanted = [
            (first, last)
            for span in wanted
            for first, last in ((span[0], min(span[1], low - 1)), (max(span[0], high + 1), span[1]))
            if first <= last
        ]
    return sorted({mask for first, last in wanted for mask in port_masks(first, last)})


def port_masks(first: int, last: int) -> Iterator[str]:
    """A range as values with masks, as few as there can be; "" for all ports."""
    if (first, last) == (0, 65535):
        yield ""
        return
    while first <= last:
        size = first & -first or 1 << 16
        while size > last - first + 1:
            size >>= 1
        yield str(first) if size == 1 else f"{first:#x}/{0x10000 - size:#x}"
        first += size


FEATURE = PipelineFeature()
