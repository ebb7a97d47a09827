"""Say at the end at how many points the host was tried."""

from __future__ import annotations

from collections import Counter

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    counts: Counter[str] = Counter()
    for report in terminalreporter.stats.get("passed", []):
        for name, number in getattr(report, "user_properties", []):
            if name in ("failed", "killed", "steps"):
                counts[name] += number
    if counts:
        terminalreporter.write_line(
            f"faults: {counts['steps']} steps of {len(terminalreporter.stats.get('passed', []))} tests found; "
            f"made to fail at {counts['failed']}, killed at {counts['killed']}"
        )
