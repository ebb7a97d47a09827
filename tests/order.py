"""Which tests are begun first where several workers share them: those that take long, so that at the end none is alone
with one. What is named here only saves time."""

from __future__ import annotations

import pytest

# What takes six seconds or more where both cores are busy, by how its id begins; the longest first.
LONG = (
    "tests/kernel/test_ovs_guard.py::test_what_root",
    "tests/kernel/test_sriov.py::test_killed",
    "tests/kernel/test_ovs_hosts.py::",
    "tests/faults/test_points.py::test_the_process_may_be_killed_at_any_step[link/vr0]",
    "tests/faults/test_points.py::test_the_process_may_be_killed_at_any_step[vf/",
    "tests/kernel/test_encryption.py::test_only_esp",
    "tests/demo/",
    "tests/faults/test_probes.py::",
    "tests/kernel/test_calico.py::test_status_tells",
    "tests/kernel/test_contiv.py::test_a_network_over_several_hosts",
    "tests/kernel/test_names.py::",
    "tests/kernel/test_lives.py::",
    "tests/kernel/test_racks.py::",
    "tests/kernel/test_rates.py::",
    "tests/kernel/test_hostile.py::",
    "tests/faults/test_scarce.py::",
    "tests/kernel/test_contiv.py::",
    "tests/kernel/test_soak.py::",
    "tests/kernel/test_overlay.py::",
    "tests/kernel/test_flows.py::",
    "tests/kernel/test_evpn.py::",
    "tests/kernel/test_ovs",
    "tests/service/test_systemd.py::",
    "tests/faults/test_trial.py::",
    "tests/kernel/test_calico.py::",
    "tests/stories/",
    "tests/kernel/test_ports.py::",
    "tests/kernel/test_watch.py::",
    "tests/manifest/test_fuzz.py::",
    "tests/policy/test_enforce.py::",
    "tests/policy/test_early.py::",
)


def dealt(items: list[pytest.Item], workers: int) -> list[pytest.Item]:
    """The same tests, for ``--dist worksteal``, which gives each worker a run of them to begin with: at the head of each
    run its share of the long ones, and behind them the others in their order."""
    long = [(rank, item) for item in items for rank in (_rank(item.nodeid),) if rank is not None]
    long.sort(key=lambda pair: pair[0])
    names = {item.nodeid for _, item in long}
    rest = [item for item in items if item.nodeid not in names]
    found: list[pytest.Item] = []
    left = len(items)
    for worker in range(workers):
        size = left // (workers - worker)  # as xdist counts
        left -= size
        share = [item for _, item in long[worker::workers]]
        others, rest = rest[: max(0, size - len(share))], rest[max(0, size - len(share)) :]
        found += share + others
    return found + rest


def _rank(test: str) -> int | None:
    return next((rank for rank, start in enumerate(LONG) if test.startswith(start)), None)
