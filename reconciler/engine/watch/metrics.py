"""What the watch counts, in Prometheus's text format."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from reconciler.engine.result import Report
from reconciler.engine.watch.situation import Situation

CONTENT_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_STATES = ("ok", "drift", "pending", "conflict", "fight", "failing")


class Metrics:
    """One registry a watch; reading it from another thread is safe."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._situation: Situation | None = None

        def counter(name: str, text: str) -> Counter:
            return Counter(name, text, registry=self._registry)

        def histogram(name: str, text: str) -> Histogram:
            return Histogram(name, text, buckets=_SECONDS, registry=self._registry)

        self.drift = counter("cnm_drift_found", "Objects of ours that were found otherwise than wanted.")
        self.repaired = counter("cnm_repaired", "Objects that were made, changed or removed to be as wanted.")
        self.failures = counter("cnm_failures", "Runs that failed and were rolled back.")
        self.fights = counter("cnm_fights", "Objects that were left alone because somebody undid every repair.")
        self.invalid = counter("cnm_invalid_manifests", "Times that the manifests were not valid.")
        self.overflows = counter("cnm_event_overflows", "Times that the kernel dropped events.")
        self.looks = counter("cnm_looks", "Looks at everything.")
        self.plan_seconds = histogram("cnm_plan_seconds", "Time to look at what events named and to plan.")
        self.apply_seconds = histogram("cnm_apply_seconds", "Time to carry out a plan and to verify it.")
        self._objects = Gauge("cnm_objects", "Wanted objects by state.", ["state"], registry=self._registry)
        self._valid = Gauge("cnm_manifests_valid", "Whether the manifests are valid now.", registry=self._registry)
        self._in_sync = Gauge("cnm_in_sync", "Whether all that is wanted holds.", registry=self._registry)

    def ran(self, report: Report) -> None:
        if report.ok:
            self.repaired.inc(len(report.done))
        else:
            self.failures.inc()
        self.apply_seconds.observe(sum(report.seconds.values()))

    def stands(self, situation: Situation) -> None:
        """How it is now; counted when somebody asks."""
        self._situation = situation

    def text(self) -> bytes:
        situation = self._situation
        if situation is not None:
            counts = situation.counts()
            for state in _STATES:
                self._objects.labels(state).set(counts.get(state, 0))
            self._valid.set(not situation.invalid)
            self._in_sync.set(situation.state == "ok")
        return generate_latest(self._registry)
