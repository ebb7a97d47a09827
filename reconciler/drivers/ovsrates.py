"""What an endpoint sends and receives, held where it enters and leaves the switch, and the DSCP that its packets get.

On the kernel's datapath a port's ingress is policed, and a queue is at its egress. The userspace datapath polices nothing, whatever
the database says: there a meter stands in front of what comes in.

::

    table 0      10  in_port -> table 3                (a guarded port: see ovsguard.py, which has the tables between)
                  0  NORMAL                            (as the bridge has it by itself, until somebody flushes its flows)
    table 3     100  in_port, ip: meter, DSCP, NORMAL
                 90  in_port: meter, NORMAL
                  0  NORMAL
"""

from __future__ import annotations

from collections.abc import Iterable

from reconciler.drivers.ovsoptions import SwitchOptions
from reconciler.errors import Origin, Problem
from reconciler.resources.ovs import OvsQos, OvsQueue, ovs_qos_key, ovs_queue_key
from reconciler.resources.ovs_flow import OvsFlow, flow_key
from reconciler.resources.ovs_meter import OvsMeter, ovs_meter_key
from reconciler.resources.resource import Resource
from reconciler.topology.derive import digest
from reconciler.topology.view import EndpointView, NetworkView, RateView

RATES = 3  # the table of meters
_NEW_ENOUGH = frozenset(("OpenFlow13", "OpenFlow14", "OpenFlow15"))  # for meters


def queue_name(endpoint: EndpointView) -> str:
    """What the QoS and the queue at an endpoint's port are called."""
    return f"{endpoint.network}/{endpoint.name}"


def burst_of(rate: RateView) -> int:
    """Kilobits that may come at once: what is said, or a fifth of a second (TCP makes little of a policer with less), and
    no less than some packets."""
    return max(1, rate.burst * 1024 * 8 // 1000) if rate.burst else max(rate.rate // 5000, 1000)


def queue(endpoint: EndpointView, origin: Origin) -> Iterable[Resource]:
    """What it receives waits in one queue at the port, on interfaces of the kernel's (tc-htb(8))."""
    rate = endpoint.receive
    if rate is None:
        return
    own, most = queue_name(endpoint), str(rate.rate)
    config = {"max-rate": most, "min-rate": most}
    if rate.burst:
        config["burst"] = str(rate.burst * 1024 * 8)
    yield OvsQueue(key=ovs_queue_key(own), origin=origin, other_config=tuple(sorted(config.items())), dscp=-1)
    yield OvsQos(
        key=ovs_qos_key(own),
        origin=origin,
        type="linux-htb",
        queues=((0, own),),
        other_config=(("max-rate", most),),
    )


def flows_are_ours(options: SwitchOptions) -> bool:
    """Whether this bridge takes flows of ours: not somebody else's bridge, nor one whose flows are its controllers'."""
    return not (
        options.existing
        or options.controllers
        or options.fail_mode == "secure"
        or (options.protocols and _NEW_ENOUGH.isdisjoint(options.protocols))
    )


def hold_rates(
    bridge: str, port: str, endpoint: EndpointView, origin: Origin, *, userspace: bool, guarded: bool = False
) -> Iterable[Resource]:
    """The flows, and in userspace the meter, of an endpoint that has need of them. What comes in by a port that is
    ``guarded`` arrives in the table of meters by way of the guard."""
    if not _metered(endpoint, userspace=userspace):
        return
    behind = Origin(document=f"bridge {bridge}", driver=origin.driver)
    yield OvsFlow(key=flow_key(bridge, RATES, 0), origin=behind, actions="NORMAL")
    if not guarded:
        key = flow_key(bridge, 0, 10, f"in_port={port}")
        yield OvsFlow(key=key, origin=origin, actions=f"resubmit(,{RATES})")
    first = ""
    if userspace and endpoint.send is not None:
        number, kilobits = _number(endpoint), max(1, endpoint.send.rate // 1000)
        burst = burst_of(endpoint.send)
        yield OvsMeter(key=ovs_meter_key(bridge, number), origin=origin, rate=kilobits, burst=burst)
        first = f"meter:{number},"
        yield OvsFlow(key=flow_key(bridge, RATES, 90, f"in_port={port}"), origin=origin, actions=f"{first}NORMAL")
    if endpoint.dscp is not None:
        actions = f"{first}set_field:{endpoint.dscp}->ip_dscp,NORMAL"
        for family in ("ip", "ipv6"):
            key = flow_key(bridge, RATES, 100, f"{family},in_port={port}")
            yield OvsFlow(key=key, origin=origin, actions=actions)


def check_rates(network: NetworkView, endpoint: EndpointView, *, userspace: bool) -> Iterable[Problem]:
    """Where flows of ours would be needed, and cannot be."""
    options: SwitchOptions = network.options
    if not _metered(endpoint, userspace=userspace):
        return
    what = "dscp" if endpoint.dscp is not None else "send"
    start = f"endpoint {endpoint.name}: rates.{what}"
    at = endpoint.at("spec", "rates", what)
    if options.existing:
        yield Problem(
            at,
            f"{start} needs flows in table 0 of the bridge, and an existing one is used as it is",
            f"leave rates.{what} out, or let cnm make the bridge",
        )
    if options.controllers or options.fail_mode == "secure":
        whose = "its controllers'" if options.controllers else "others', with failMode: secure"
        yield Problem(
            at,
            f"{start} needs flows of ours, and the flows of network {network.name} are {whose}",
            f"leave rates.{what} out, or {'controllers' if options.controllers else 'failMode'} of the network",
        )
    if options.protocols and _NEW_ENOUGH.isdisjoint(options.protocols):
        yield Problem(
            at,
            f"{start} is set by OpenFlow 1.3, which network {network.name} leaves out",
            "add OpenFlow13 to options.protocols",
        )
    twin = next((one for one in network.local if one.name < endpoint.name and _number(one) == _number(endpoint)), None)
    if twin is not None and twin.send is not None:
        yield Problem(
            at,
            f"endpoints {twin.name} and {endpoint.name} have one meter's number: a chance of one in two thousand million",
            "rename one of them",
        )


def _metered(endpoint: EndpointView, *, userspace: bool) -> bool:
    return endpoint.dscp is not None or (userspace and endpoint.send is not None)


def _number(endpoint: EndpointView) -> int:
    """A meter's number, from the endpoint's name: of 2**31, so that two hardly ever meet (and then it is an error)."""
    return int.from_bytes(digest("meter", endpoint.network, endpoint.name)[:4], "big") % 0x7FFFFFFF + 1
