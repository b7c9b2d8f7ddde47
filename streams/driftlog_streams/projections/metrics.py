"""What a projector tells Prometheus. `telling.health` serves it."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class ProjectorMetrics:
    """Of one process and one space."""

    def __init__(self, space: str) -> None:
        self.registry = CollectorRegistry()

        def counter(name: str, text: str) -> Counter:
            return Counter(f"driftlog_projector_{name}", text, ["space"], registry=self.registry).labels(space)

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"driftlog_projector_{name}", text, ["space"], registry=self.registry).labels(space)

        self.records = counter("records", "State records read")
        self.rows = counter("rows", "Rows written or deleted in the sink")
        self.commits = counter("commits", "Writes of the sink, each of rows and positions")
        self.skipped = counter("skipped_records", "State records that were passed over: not readable, or no worker's")
        self.troubles = counter("troubles", "Times that broker, registry or sink were away and reading began anew")
        self.partitions = gauge("partitions", "Partitions that this process writes")
        self.lag = gauge(
            "lag_records", "State records behind what the sink has, over the partitions that this process writes"
        )
        self.last_error = gauge(
            "last_error_timestamp_seconds", "When anything was in the way the last time; 0 for never"
        )
        self.commit_seconds = Histogram(
            "driftlog_projector_commit_seconds",
            "One write of the sink",
            ["space"],
            registry=self.registry,
            buckets=(0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
        ).labels(space)
