"""What policies cost as hosts grow: ``python -m tests.bench.policy`` (root); writes docs/benchmarks-policy.md.

In a namespace of its own: N addresses in a hash set and N in the map to profiles, and N CIDRs in an interval set. Then one
element is added and removed, by the very way that `cnm apply` takes, and a packet crosses the filter.
"""

from __future__ import annotations

import os
import platform
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

from reconciler.drivers.nftexpr import ACCEPT, COUNTER, DROP, address, jump, match, rule, vmap
from reconciler.host import libc
from reconciler.host.host import Host
from reconciler.planner.plan import Action, Op
from reconciler.resources.actuator import Scope
from reconciler.resources.nft import NftChain, NftElement, NftSet, NftTable, chain_key, element_key, set_key, table_key
from reconciler.resources.registry import actuators
from reconciler.resources.resource import Resource

T = ("inet", "cnm")
SIZES = (100, 1_000, 10_000)
ROUNDS = 5
PROFILES, POLICIES, RULES = 20, 20, 5
TARGET = Path(__file__).parents[2] / "docs" / "benchmarks-policy.md"


def v4(number: int) -> str:
    return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


def world(size: int, cidrs: int) -> list[Resource]:
    """20 profiles of 5 policies with 5 rules each, ``size`` endpoints in them, and ``cidrs`` CIDRs."""
    found: list[Resource] = [
        NftTable(key=table_key(*T)),
        NftSet(key=set_key(*T, "selected"), type="ipv4_addr"),
        NftSet(key=set_key(*T, "ingress4"), type="ipv4_addr", data_type="verdict"),
        NftSet(key=set_key(*T, "cidrs"), type="ipv4_addr", interval=True),
    ]
    chosen = match(address(4, "source"), "@selected")
    for number in range(POLICIES):
        ports = [{"payload": {"protocol": "tcp", "field": "dport"}}]
        rules = tuple(rule("r", chosen, match(ports[0], 1000 + n), ACCEPT) for n in range(RULES))
        found.append(NftChain(key=chain_key(*T, f"policy-{number}"), rules=rules))
    for number in range(PROFILES):
        jumps = [rule("p", jump(f"policy-{(number + n) % POLICIES}")) for n in range(5)]
        found.append(NftChain(key=chain_key(*T, f"profile-{number}"), rules=(*jumps, rule("end", COUNTER, DROP))))
    base = (rule("d", vmap(address(4, "destination"), "ingress4")),)
    found += [
        NftChain(key=chain_key(*T, hook), type="filter", hook=hook, priority=0, policy="accept", rules=base)
        for hook in ("forward", "output")
    ]
    for number in range(1, size + 1):
        found.append(NftElement(key=element_key(*T, "selected", v4(number))))
        found.append(NftElement(key=element_key(*T, "ingress4", v4(number)), value=f"goto profile-{number % PROFILES}"))
    found += [NftElement(key=element_key(*T, "cidrs", f"{v4(n * 256)}/28")) for n in range(1, cidrs + 1)]
    return found


def op(action: Action, resource: Resource) -> Op:
    gone = action is Action.DELETE
    return Op(
        id=f"{action}:{resource.key}",
        action=action,
        key=resource.key,
        before=resource if gone else None,
        after=None if gone else resource,
    )


def timed(work: Callable[[], object]) -> float:
    start = perf_counter()
    work()
    return (perf_counter() - start) * 1000


def measure(size: int) -> dict[str, float]:
    """Milliseconds, medians."""
    nft = actuators()["nft"]
    with Host(state_dir=Path("/run/cnm-bench")) as host:
        scope = Scope(owner="cnm")

        def apply(*ops: Op) -> None:
            for outcome in nft.apply(host, ops, "cnm"):
                assert not outcome.errno, outcome

        desired = world(size, 0)
        result = {"fill": timed(lambda: apply(*[op(Action.CREATE, r) for r in desired]))}
        result["read it all"] = timed(lambda: list(nft.read(host, scope)))
        subjects = {
            "endpoint in a set": NftElement(key=element_key(*T, "selected", "192.0.2.1")),
            "endpoint in the map": NftElement(key=element_key(*T, "ingress4", "192.0.2.1"), value="goto profile-1"),
            "endpoint beside CIDRs": NftElement(key=element_key(*T, "selected", "192.0.2.2")),
            "CIDR": NftElement(key=element_key(*T, "cidrs", "198.51.100.0/28")),
        }
        for name, subject in subjects.items():
            times = []
            for _ in range(ROUNDS):
                times.append(timed(lambda one=subject: apply(op(Action.CREATE, one))))  # type: ignore[misc]
                times.append(timed(lambda one=subject: apply(op(Action.DELETE, one))))  # type: ignore[misc]
            result[name] = statistics.median(times)
            if name == "endpoint in the map":  # from here on with as many CIDRs in an interval set of the same table
                more = world(0, size)[-size:]
                apply(*[op(Action.CREATE, r) for r in more])
        list(nft.read(host, scope))
        again = [timed(lambda: list(nft.read(host, scope))) for _ in range(ROUNDS)]
        result["look again"] = statistics.median(again)
    return result


def main() -> None:
    libc.unshare(libc.CLONE_NEWNET | libc.CLONE_NEWNS)
    rows = {}
    for size in SIZES:
        pid = os.fork()  # each size in a namespace of its own
        if not pid:
            libc.unshare(libc.CLONE_NEWNET)
            found = measure(size)
            Path(f"/tmp/cnm-bench-{size}").write_text("\n".join(f"{k}\t{v}" for k, v in found.items()))
            os._exit(0)
        os.waitpid(pid, 0)
        path = Path(f"/tmp/cnm-bench-{size}")
        rows[size] = dict(line.split("\t") for line in path.read_text().splitlines())
        path.unlink()
    TARGET.write_text(report(rows))
    sys.stdout.write(TARGET.read_text())


def report(rows: dict[int, dict[str, str]]) -> str:
    names = list(next(iter(rows.values())))
    lines = [
        "# What policies cost",
        "",
        "Written by `python -m tests.bench.policy` (root). Milliseconds, medians, on Linux "
        f"{platform.release()} with {os.cpu_count()} processors.",
        "",
        f"N endpoints in {PROFILES} profiles; a profile is 5 policies of {RULES} rules. In the last rows N CIDRs beside them.",
        "",
        "| | " + " | ".join(f"N = {size:,}" for size in rows) + " |",
        "|---|" + "---:|" * len(rows),
    ]
    titles = {
        "fill": "make all of it",
        "read it all": "read all of it, the first time",
        "endpoint in a set": "**one endpoint more or less, in a selector's set**",
        "endpoint in the map": "**one endpoint more or less, in the map to profiles**",
        "endpoint beside CIDRs": "the same in a table that also has N CIDRs in one set",
        "CIDR": "one CIDR more or less among N",
        "look again": "look again when nothing changed",
    }
    lines += [
        f"| {titles[name]} | " + " | ".join(f"{float(row[name]):.1f}" for row in rows.values()) + " |" for name in names
    ]
    lines += [
        "",
        "A change of elements is one batch of netlink messages, bound to the tables' generation; it lists nothing and starts no",
        "process ([why](adr/0012-elements-of-sets-by-netlink.md)). By nft(8) 1.0.6 each was some 20 ms, and 270 ms beside 10,000",
        "CIDRs, because nft reads all interval sets of a table before it changes any of its sets. In a map of verdicts the kernel",
        "follows its chains anew for every change, which is what grows there. Making and first reading are nft's.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
