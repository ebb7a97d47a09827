"""What every sandbox is before any endpoint is plugged in: its namespace and what it must not inherit."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache

from msgspec.structs import replace

from reconciler.resources.netns import Netns, netns_key
from reconciler.resources.resource import Resource
from reconciler.resources.stack import Stack, stack_key
from reconciler.resources.sysctl import Sysctl, sysctl_key
from reconciler.topology.view import SandboxView

# A new namespace takes over its host's values: a sandbox on two networks would route between them wherever
# the host forwards. So these are set, whatever the host has. rp_filter 2 (RFC 3704, loose) suits sandboxes
# with several networks; the announcements make neighbours forget whoever had the address before.
BASELINE: dict[str, str] = {
    "net/ipv4/conf/all/accept_redirects": "0",
    "net/ipv4/conf/all/route_localnet": "0",
    "net/ipv4/conf/all/rp_filter": "0",
    "net/ipv4/conf/all/send_redirects": "0",
    "net/ipv4/conf/default/accept_redirects": "0",
    "net/ipv4/conf/default/arp_notify": "1",
    "net/ipv4/conf/default/route_localnet": "0",
    "net/ipv4/conf/default/rp_filter": "2",
    "net/ipv4/ip_forward": "0",
    "net/ipv6/conf/all/accept_redirects": "0",
    "net/ipv6/conf/all/forwarding": "0",
    "net/ipv6/conf/default/accept_ra": "0",
    "net/ipv6/conf/default/accept_redirects": "0",
    "net/ipv6/conf/default/ndisc_notify": "1",
}

# Turning forwarding on or off rewrites accept_redirects (net/ipv4/devinet.c, inet_forward_change): it goes first.
_FORWARDING = "net/ipv4/ip_forward"


def render_stack(sandbox: SandboxView) -> Iterable[Resource]:
    """The namespace of a sandbox that has one, with its sysctls. In a namespace that others made they are
    settings of their own, which are put back when the sandbox goes."""
    origin = replace(sandbox.origin, driver=sandbox.stack)
    if sandbox.stack == "container":
        return
    if sandbox.stack == "host":
        for path, value in sorted(sandbox.sysctls.items()):
            yield Sysctl(key=sysctl_key("", path), origin=origin, value=value)
        return
    values = _values(tuple(sandbox.sysctls.items()))
    if sandbox.made:
        yield Netns(key=netns_key(sandbox.name), origin=origin, lo=True, sysctls=values)
        return
    yield Netns(key=netns_key(sandbox.netns), origin=origin, source=f"{sandbox.stack}:{sandbox.target}")
    yield Stack(key=stack_key(sandbox.netns), origin=origin, sysctls=values)


@cache
def _values(own: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    """What a stack has, with what its sandbox wants itself: the same object for all that want the same."""
    return tuple(sorted((BASELINE | dict(own)).items(), key=lambda item: (item[0] != _FORWARDING, item)))
