"""The agent's numbers for Prometheus, read from its status when asked."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from driftlog_edge.agent import EdgeAgent
from driftlog_edge.link.connectivity import Connection

MEDIA_TYPE = CONTENT_TYPE_LATEST


def render(agent: EdgeAgent) -> bytes:
    """The exposition text."""
    registry = CollectorRegistry()
    status = agent.status()

    def gauge(name: str, text: str, value: float) -> None:
        Gauge(f"driftlog_edge_{name}", text, registry=registry).set(value)

    gauge("pending_commands", "Own commands that the confirmed state lacks.", status["pending"])
    gauge("oldest_pending_seconds", "Age of the oldest of them.", status["oldest_pending_seconds"])
    gauge("disk_bytes", "Size of the local store.", status["disk_bytes"])
    if status["disk"]["budget_bytes"] is not None:
        gauge("disk_budget_bytes", "What the local store may take.", status["disk"]["budget_bytes"])
    gauge("disk_warning", "1 while the local store comes near its budget.", float(bool(status["disk"]["warning"])))
    gauge("evicted_documents", "Documents that made room.", sum(s["evicted"] for s in status["scopes"].values()))
    gauge("evictions", "Documents that made room since the start.", status["disk"]["evictions"])
    gauge("refetches", "Documents that were fetched again since the start.", status["disk"]["fetches"])
    gauge("store_damaged", "1 where the store is damaged and only read.", float(agent.damage is not None))
    gauge(
        "clock_skew_ms",
        "How far the device's clock is ahead of the broker's, negative behind it; 0 within 5 minutes.",
        status["clock_skew_ms"],
    )
    gauge("unsent_commands", "Own commands not yet sealed into a batch.", status["unsent"])
    gauge("dropped_commands", "Of the class low, not taken since the start for want of room.", status["dropped"])
    gauge("unresolved_conflicts", "Conflicts that nobody has resolved.", status["unresolved_conflicts"])
    gauge("unreadable_records", "Records from the cloud that nobody here can read.", status["unreadable_records"])
    gauge("digest_mismatches", "Scopes found to differ from the cloud's since the start.", status["mismatches"])
    gauge("differing_scopes", "Scopes that differ from the cloud's now.", len(status["differing"]))
    gauge(
        "snapshot_warning",
        "1 while the cloud will soon have forgotten what this device needs, or has.",
        float(bool(status["snapshot"]["warning"])),
    )
    if status["snapshot"]["needed_in_seconds"] is not None:
        gauge(
            "snapshot_needed_in_seconds",
            "When this device needs a snapshot if it stays away; below zero: it does.",
            status["snapshot"]["needed_in_seconds"],
        )
    ends = status["support"]["ends"]
    if ends is not None:
        gauge(
            "support_ends_timestamp_seconds",
            "When the cloud takes nothing more of this version of the app.",
            ends / 1000,
        )
    gauge("saving_power", "1 while only urgent commands leave because the battery is low.", status["power"]["saving"])
    gauge("power_hook_failures", "How often the device did not say how it is fed.", status["power"]["failures"])
    waiting = Gauge("driftlog_edge_waiting", "Commands that wait although there is a way.", ["for"], registry=registry)
    for one in status["waiting"]:
        waiting.labels(one["for"]).set(one["commands"])
    if status["link"]["bytes_per_second"] is not None:
        gauge("link_bytes_per_second", "What the link carries, as it was measured.", status["link"]["bytes_per_second"])
    for name, text in (
        ("commands_per_hour", "How many commands are written, over the last day at most."),
        ("full_in_seconds", "When the outbox is full, if nothing left from now on."),
        ("drained_in_seconds", "When it is empty, at the pace of the last minutes."),
    ):
        if status["forecast"][name] is not None:
            gauge(f"outbox_{name}", text, status["forecast"][name])
    connection = Gauge("driftlog_edge_connection", "1 for the present state.", ["state"], registry=registry)
    for state in Connection:
        connection.labels(state.value).set(1.0 if status["connection"] == state.value else 0.0)
    generation = Gauge(
        "driftlog_edge_generation", "Which generation of a space's read model is read.", ["space"], registry=registry
    )
    for space, facts in status["generations"].items():
        generation.labels(space).set(facts["followed"])
    age = Gauge("driftlog_edge_scope_age_seconds", "Since when a scope is not in step.", ["scope"], registry=registry)
    for scope, facts in status["scopes"].items():
        if facts["age_seconds"] is not None:
            age.labels(scope).set(facts["age_seconds"])
    return generate_latest(registry)
