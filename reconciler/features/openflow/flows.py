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
The lowest 16 bits of a cookie say which policy a flow is of (:func:`policy.policy_label`).
What flows cannot say (log, 'any but this') is refused at the rule's line.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from reconciler.drivers.cable import cable_name
from reconciler.drivers.contiv import ContivOptions, exit_name, gateway_mac, tunnel_name
from reconciler.drivers.ovsrates import burst_of
from reconciler.errors import Origin, Problem
from reconciler.features.openflow.policy import (
    FORWARD,
    IP,
    SENDER,
    STEPS,
    TRACKING,
    VERSIONS,
    Filter,
    inexpressible,
    steps_of,
)
from reconciler.policy.view import (
    DIRECTIONS,
    INGRESS,
    Policies,
)
from reconciler.resources.ovs_flow import OvsFlow, flow_key
from reconciler.resources.ovs_meter import OvsMeter, ovs_meter_key
from reconciler.resources.resource import Resource
from reconciler.topology.derive import digest
from reconciler.topology.view import EndpointView, NetworkView, RateView, Topology

_INPUT, _NAMES, _DELIVER = 0, 1, 231
_VXLAN_SEGMENT = 1 << 24  # VNIs are numbered apart from VLANs
_GROUP_BIT = "dl_dst=01:00:00:00:00:00/01:00:00:00:00:00"
_ONE_ADDRESSED = "dl_dst=00:00:00:00:00:00/01:00:00:00:00:00"
_ND = {"solicitation": 135, "advertisement": 136}
_ANSWERS = ("ct_state=+est+rpl+trk", "ct_state=+rel+trk")
_FORGED = (134, 137)  # router advertisements and redirects (RFC 4861)


def problems(networks: Sequence[NetworkView], policies: Policies) -> Iterable[Problem]:
    """What the policies about these networks' endpoints say that flows cannot."""
    about = {network.name for network in networks}
    seen: set[Problem] = set()
    for party in policies.parties:
        if party.network not in about:
            continue
        for direction in DIRECTIONS:
            levels = policies.levels(party, direction)
            for level in levels:
                for policy in level.policies:
                    for rule in policy.rules[direction]:
                        seen.update(inexpressible(rule))
            steps = steps_of(levels)
            if len(steps) > STEPS:
                hint = "let fewer tiers and staged policies be about it"
                said = f"{party.name} meets {len(steps)} tiers and staged policies, Open vSwitch has room for {STEPS}"
                seen.add(Problem(steps[STEPS].origin, said, hint))
    yield from sorted(seen)


def flows(networks: Sequence[NetworkView], topology: Topology) -> Iterable[Resource]:
    """All flows of the bridges of these networks on this node."""
    bridges: dict[str, list[NetworkView]] = {}
    for network in networks:
        bridges.setdefault(network.options.bridge, []).append(network)
    for bridge, those in sorted(bridges.items()):
        if any(network.local for network in those):
            yield from _Bridge(bridge, those, topology).render()


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
        after = SENDER if filtered else TRACKING if tracked else FORWARD
        for version in VERSIONS:
            self._flow(_NAMES, 10, IP[version], f"goto_table:{after}", shared)
        self._flow(_NAMES, 0, "", f"goto_table:{_DELIVER}", shared)
        self._flow(FORWARD, 0, "", f"goto_table:{_DELIVER}", shared)
        if tracked:
            names = {network.name for network in self.networks}
            for line in Filter(policies or Policies(), names).flows():
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
        for version in VERSIONS:
            leaving = f"{IP[version]},reg0={segment},reg5=0x1,dl_dst={gateway}"
            self._flow(FORWARD, 10, leaving, f"output:{port}", origin)
            coming = f"{IP[version]},in_port={port},dl_src={gateway},{_ONE_ADDRESSED}"
            self._flow(_INPUT, 100, coming, f"set_field:{segment}->reg0,goto_table:{_NAMES}", origin)
            side = "nw_dst" if version == 4 else "ipv6_dst"
            for cidr in sorted(str(s.cidr) for one in self.networks for s in one.subnets if s.cidr.version == version):
                match = f"{IP[version]},reg0={segment},dl_dst={gateway},{side}={cidr}"
                self._flow(FORWARD, 50, match, "drop", origin)

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
                    match = ",".join(filter(None, (IP[address.version], state, here, where)))
                    self._flow(FORWARD, 100, match, actions, endpoint.origin)


def _tagged(number: int, uplink: str) -> str:
    return f"push_vlan:0x8100,set_field:{0x1000 | number}->vlan_vid,output:{uplink}"


def _tunnelled(vni: int, far: str, port: str) -> str:
    to = "tun_ipv6_dst" if ":" in far else "tun_dst"
    return f"set_field:{vni:#x}->tun_id,set_field:{far}->{to},output:{port}"
