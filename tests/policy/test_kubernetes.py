"""Kubernetes' NetworkPolicy documents, as they are in its reference and its recipes, mean here what they mean there."""

from __future__ import annotations

import textwrap
from ipaddress import ip_address
from pathlib import Path

import pytest

from reconciler.engine.controller import NetworkController
from reconciler.errors import ManifestError
from reconciler.policy.evaluate import Evaluator, Packet
from reconciler.policy.view import PROTOCOLS

# name -> (namespace, label app)
PODS = {
    "web": ("shop", "web"),
    "api": ("shop", "api"),
    "db": ("shop", "db"),
    "ops": ("tools", "ops"),
    "job": ("default", "api"),
}
WORLD = """\
apiVersion: cnm/v1alpha1
kind: Network
metadata: {name: pods}
spec: {subnets: [{cidr: 10.5.0.0/24}, {cidr: "fd05::/64"}]}
---
apiVersion: v1
kind: Namespace
metadata: {name: tools, labels: {team: operations}, creationTimestamp: "2026-01-01T00:00:00Z", uid: "7"}
status: {phase: Active}
"""


def evaluator(folder: Path, *policies: str) -> tuple[Evaluator, dict[str, str]]:
    text = WORLD
    for name, (namespace, app) in PODS.items():
        port = 8080 if name == "api" else 9090
        text += f"""\
---
apiVersion: cnm/v1alpha1
kind: Sandbox
metadata: {{name: {name}, labels: {{app: {app}}}}}
spec: {{namespace: {namespace}, ports: [{{name: http, port: {port}}}]}}
---
apiVersion: cnm/v1alpha1
kind: Endpoint
metadata: {{name: {name}}}
spec: {{network: pods, sandbox: {name}}}
"""
    for number, policy in enumerate(policies):
        head = "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\n"
        text += f"---\n{head}metadata: {{name: p{number}, namespace: shop}}\nspec:\n{textwrap.indent(textwrap.dedent(policy), '  ')}\n"
    (folder / "all.yaml").write_text(text)
    topology = NetworkController(node="here").validate([str(folder)]).topology
    assert topology.policies is not None
    at = {e.name: str(e.addresses[0].ip) for network in topology.networks for e in network.endpoints}
    return Evaluator(topology.policies), {**at, "host": "10.5.0.1", "far": "198.51.100.7", "hole": "198.51.100.200"}


def senders(found: tuple[Evaluator, dict[str, str]], to: str, port: int = 80, protocol: str = "tcp") -> set[str]:
    evaluate, at = found
    return {
        name
        for name in at
        if name != to
        and evaluate.allows(Packet(ip_address(at[name]), ip_address(at[to]), PROTOCOLS[protocol], 40000, port)).allowed
    }


EVERYBODY = {*PODS, "host", "far", "hole"}


@pytest.mark.parametrize(
    ("policy", "port", "expected"),
    [
        ("podSelector: {}", 80, {"host"}),  # default deny ingress
        ("podSelector: {}\ningress: [{}]", 80, EVERYBODY - {"api"}),  # allow all ingress
        ("podSelector: {matchLabels: {app: db}}", 80, EVERYBODY - {"api"}),  # about somebody else
        ("podSelector: {}\ningress: [{from: [{podSelector: {}}]}]", 80, {"web", "db", "host"}),  # same namespace
        ("podSelector: {}\ningress: [{from: [{namespaceSelector: {}}]}]", 80, EVERYBODY - {"api", "far", "hole"}),
        ("podSelector: {}\ningress: [{from: [{namespaceSelector: {matchLabels: {team: operations}}}]}]", 80, {"ops", "host"}),
        ("podSelector: {}\ningress: [{from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: default}}}]}]",
         80, {"job", "host"}),
        ("podSelector: {}\ningress: [{from: [{namespaceSelector: {}, podSelector: {matchLabels: {app: api}}}]}]", 80,
         {"job", "host"}),  # both at once
        ("podSelector: {}\ningress: [{from: [{namespaceSelector: {matchLabels: {team: operations}}}, {podSelector: "
         "{matchLabels: {app: web}}}]}]", 80, {"ops", "web", "host"}),  # either
        ("podSelector: {}\ningress: [{from: [{ipBlock: {cidr: 198.51.100.0/24, except: [198.51.100.128/25]}}]}]", 80,
         {"far", "host"}),
        ("podSelector: {}\ningress: [{ports: [{port: 80}]}]", 80, EVERYBODY - {"api"}),
        ("podSelector: {}\ningress: [{ports: [{port: 80, protocol: UDP}]}]", 80, {"host"}),
        ("podSelector: {}\ningress: [{ports: [{port: http}]}]", 8080, EVERYBODY - {"api"}),  # a name, here 8080
        ("podSelector: {}\ningress: [{ports: [{port: http}]}]", 9090, {"host"}),  # which is another pod's
        ("podSelector: {}\ningress: [{ports: [{port: 32000, endPort: 32768}]}]", 32500, EVERYBODY - {"api"}),
        ("podSelector: {}\ningress: [{ports: [{port: 32000, endPort: 32768}]}]", 32769, {"host"}),
        ("podSelector: {matchExpressions: [{key: app, operator: NotIn, values: [db]}]}", 80, {"host"}),
        ("podSelector: {matchExpressions: [{key: tier, operator: Exists}]}", 80, EVERYBODY - {"api"}),
        ("podSelector: {}\npolicyTypes: [Egress]", 80, EVERYBODY - {"api", "web", "db"}),  # they may not send
    ],
)  # fmt: skip
def test_who_reaches_the_api(policy: str, port: int, expected: set[str], tmp_path: Path) -> None:
    assert senders(evaluator(tmp_path, policy), "api", port) == expected


def test_several_policies_allow_together(tmp_path: Path) -> None:
    web = "podSelector: {matchLabels: {app: api}}\ningress: [{from: [{podSelector: {matchLabels: {app: web}}}]}]"
    ops = "podSelector: {}\ningress: [{from: [{namespaceSelector: {matchLabels: {team: operations}}}]}]"
    assert senders(evaluator(tmp_path, web, ops), "api") == {"web", "ops", "host"}


def test_egress_to_names_only(tmp_path: Path) -> None:
    dns = (
        "podSelector: {matchLabels: {app: web}}\npolicyTypes: [Egress]\negress: [{ports: [{protocol: UDP, port: 53}]}]"
    )
    found = evaluator(tmp_path, dns)
    assert "web" in senders(found, "api", 53, "udp")
    assert "web" not in senders(found, "api", 53, "tcp")
    assert "db" in senders(found, "api", 53, "tcp")


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ("podSelectors: {}", "unknown key 'podSelectors'"),
        ("podSelector: {}\ningress: [{from: [{}]}]", "a peer is empty"),
        (
            "podSelector: {}\ningress: [{from: [{ipBlock: {cidr: 10.0.0.0/8}, podSelector: {}}]}]",
            "ipBlock stands alone",
        ),
        ("podSelector: {}\ningress: [{ports: [{endPort: 9}]}]", "endPort 9 ends no range"),
        ("podSelector: {matchExpressions: [{key: a, operator: In}]}", "operator In compares with something"),
    ],
)
def test_mistakes(policy: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=said.split("{")[0]):
        evaluator(tmp_path, policy)
