"""What a test is told about a broker, wherever it runs."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RunningBroker:
    """`bootstrap` is `host:port`; `registry_url` is set where the broker brings its own registry."""

    bootstrap: str
    registry_url: str | None = None
