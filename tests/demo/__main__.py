"""``make demo``: the main job from the first plan to nothing left.

Everything happens in a private host (its own network and mount namespace): nothing else on this machine is
touched, and nothing stays. Every claim is checked; the first that does not hold ends the demonstration.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from ipaddress import ip_address
from itertools import takewhile
from pathlib import Path

from tests.demo.stage import Stage
from tests.lab import Host, difference
from tests.lab.host import ROOT

SYMBOLS = ("+ ", "~ ", "- ", "-/+ ", "< ")
BROKEN = ("route/@web/0.0.0.0/0", "link/@api/eth0", "address/@api/eth0/", "route/@api/", "nft-")


def steps(plan: str) -> list[str]:
    """The lines of a printed plan that are steps; who gains or loses reach comes after them."""
    lines = (line.strip() for line in takewhile(lambda line: not line.startswith("Reach"), plan.splitlines()))
    return [line for line in lines if line.startswith(SYMBOLS)]


def addresses(host: Host, sandbox: str) -> dict[int, str]:
    """The global addresses of a sandbox's eth0, by IP version."""
    links = json.loads(host.ip("-j address show dev eth0 scope global", netns=sandbox))
    found = [entry["local"] for link in links for entry in link.get("addr_info", ()) if entry]
    return {ip_address(address).version: address for address in found}


def link(host: Host, sandbox: str) -> dict[str, object]:
    """A sandbox's eth0 as `ip -j link` tells it."""
    found: list[dict[str, object]] = json.loads(host.ip("-j link show dev eth0", netns=sandbox))
    return found[0]


def pings(stage: Stage, source: str, target: str, *, status: int = 0) -> None:
    """Ping a sandbox from another, over IPv4 and IPv6, with real packets."""
    for version, address in sorted(addresses(stage.host, target).items()):
        stage.run(f"cnm exec {source} -- ping -{version} -n -q -c 1 -W 1 {address}", status=status)


def first_plan(stage: Stage) -> None:
    stage.chapter("Two networks, four sandboxes: what has to change?")
    stage.run("cnm validate quickstart")
    plan = stage.run("cnm plan quickstart", status=2)
    stage.claim("netns/web" in plan.text, "the plan names what it makes; nothing is changed yet")
    stage.claim(stage.host.namespaces() == [], "there is no namespace yet")


def first_apply(stage: Stage) -> None:
    stage.chapter("Apply just that")
    stage.run("cnm apply --yes quickstart")
    stage.run("cnm status quickstart")
    stage.claim(stage.host.namespaces() == ["api", "db", "proxy", "web"], "the four namespaces are there")


def traffic(stage: Stage) -> None:
    stage.chapter("Who reaches whom")
    pings(stage, "api", "db")
    pings(stage, "proxy", "web")
    print("\nweb is on `front`, db on `back`: they must not reach each other.")
    pings(stage, "web", "db", status=1)
    forwarding = stage.run("cnm exec proxy -- cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv6/conf/all/forwarding")
    stage.claim(forwarding.text.split() == ["0", "0"], "proxy is on both, and does not route between them")


def nothing_to_do(stage: Stage) -> None:
    stage.chapter("Once more: nothing to do, nothing written")
    stage.run("cnm plan quickstart")
    with stage.host.events() as heard:
        stage.run("cnm apply --yes quickstart")
    stage.claim(heard.lines == [], "ip monitor and nft monitor heard nothing", "\n".join(heard.lines))


def repair(stage: Stage) -> None:
    stage.chapter("Break it by hand; only that is repaired")
    tables = json.loads(stage.host.run("nft", "-j", "list", "tables").stdout)["nftables"]
    family, table = next((t["table"]["family"], t["table"]["name"]) for t in tables if "table" in t)
    stage.run("ip -n web route delete default")
    stage.run("ip -n api link set eth0 down")
    stage.run(f"nft flush table {family} {table}")
    plan = stage.run("cnm plan -v quickstart", status=2)
    found = steps(plan.text)
    strange = [step for step in found if not any(part in step for part in BROKEN)]
    stage.claim(bool(found) and not strange, "the plan names what was broken and nothing else", "\n".join(strange))
    stage.claim(any("route/@web/0.0.0.0/0" in step for step in found), "the route is in it")
    stage.claim(any("link/@api/eth0" in step for step in found), "the link is in it")
    stage.run("cnm apply --yes quickstart")
    stage.run("cnm plan quickstart")
    pings(stage, "api", "db")
    pings(stage, "web", "db", status=1)


def change(stage: Stage) -> None:
    stage.chapter("Change one field: updated in place")
    before = link(stage.host, "web")
    stage.run("sed -i '0,/driver: bridge/s//driver: bridge\\n  mtu: 1400/' quickstart/networks.yaml")
    found = steps(stage.run("cnm plan -v quickstart", status=2).text)
    stage.claim(bool(found) and all(step.startswith("~ ") for step in found), "nothing is made anew or removed")
    stage.run("cnm apply --yes quickstart")
    after = link(stage.host, "web")
    stage.claim(after["mtu"] == 1400, "web's interface has its new MTU")
    stage.claim(after["ifindex"] == before["ifindex"], "and is the same interface as before")
    pings(stage, "proxy", "web")


def main() -> None:
    """Play it. Exit status 0: all of it held."""
    try:
        host = Host("demo")
    except OSError as error:
        sys.exit(f"demo: {error}\ndemo: run it as root, or as a user inside `unshare -Urnm`")
    with host, tempfile.TemporaryDirectory(prefix="cnm-demo-") as folder:
        shutil.copytree(ROOT / "manifests" / "quickstart", Path(folder, "quickstart"))
        before = host.fingerprint()
        stage = Stage(host, Path(folder))
        for act in (first_plan, first_apply, traffic, nothing_to_do, repair, change):
            act(stage)
        stage.chapter("Take it all away")
        stage.run("cnm destroy --yes")
        left = difference(before, host.fingerprint())
        stage.claim(not left, "links, addresses, routes, rules, neighbours, nft, sysctls: as before", "\n".join(left))
        stage.claim(host.namespaces() == [], "and no namespace is left")
        stage.end()


if __name__ == "__main__":
    main()
