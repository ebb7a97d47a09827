"""Reports and states as JSON-native data, versioned (docs/cli.md)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec import to_builtins

from reconciler.engine.result import Check, Report, Rollback, Status
from reconciler.host.bgp import BgpRoute, Routes
from reconciler.planner.file import plan_to_data
from reconciler.resources.data import origin_to_data

FORMAT_VERSION = 1


def report_to_data(report: Report) -> dict[str, Any]:
    """What an apply did."""
    return {
        "format": "cnm-report",
        "format_version": FORMAT_VERSION,
        "ok": report.ok,
        "done": [op.id for op in report.done],
        "failed": [{"key": f.key, "action": f.action, "errno": f.errno, "text": f.text} for f in report.failed],
        "skipped": [op.id for op in report.skipped],
        "left": list(report.left),
        "reason": report.reason,
        "rollback": _rollback_to_data(report.rollback),
        "seconds": dict(report.seconds),
        "plan": plan_to_data(report.plan),
    }


def _rollback_to_data(rollback: Rollback | None) -> dict[str, Any] | None:
    if rollback is None:
        return None
    return {
        "complete": rollback.complete,
        "done": [op.id for op in rollback.done],
        "failed": list(rollback.failed),
        "left": list(rollback.left),
    }


def checks_to_data(checks: Iterable[Check]) -> dict[str, Any]:
    """What the doctor found."""
    return {"format": "cnm-doctor", "format_version": FORMAT_VERSION, "checks": to_builtins(list(checks))}


def _routes_to_data(routes: Routes) -> dict[str, Any]:
    return {
        "learned": [_route_to_data(route) for route in routes.learned],
        "exported": [_route_to_data(route) for route in routes.exported],
        "complete": not (routes.more_learned or routes.more_exported),
    }


def _route_to_data(route: BgpRoute) -> dict[str, Any]:
    return route._asdict() | {"communities": list(route.communities)}


def status_to_data(status: Status) -> dict[str, Any]:
    """What holds and what does not."""
    return {
        "format": "cnm-status",
        "format_version": FORMAT_VERSION,
        "owner": status.owner,
        "node": status.node,
        "in_sync": status.in_sync,
        "rows": [
            {
                "kind": row.kind,
                "name": row.name,
                "state": str(row.state),
                "reasons": list(row.reasons),
                "facts": dict(row.facts),
                "origin": origin_to_data(row.origin),
                **({"routes": _routes_to_data(row.routes)} if row.routes is not None else {}),
            }
            for row in status.rows
        ],
        "surplus": [str(key) for key in status.surplus],
        "warnings": [
            {"message": w.message, "hint": w.hint, "origin": origin_to_data(w.origin)} for w in status.warnings
        ],
        "partial": list(status.partial),
    }
