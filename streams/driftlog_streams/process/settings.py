"""What a worker is told: option, then DRIFTLOG_*, then the TOML file (`--config`), then the default."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field

from driftlog_schemas.settings import ConnectionSettings


def _seconds(given: object) -> object:
    return given.removesuffix("s") if isinstance(given, str) else given


class WorkerSettings(ConnectionSettings):
    """Settings of one worker process and its supervisor."""

    app: str
    """`module:attribute`"""
    data_dir: Path = Path("driftlog-worker")
    workers: int = Field(default=1, ge=1, le=256)
    slot: str = Field(default="", pattern=r"^[A-Za-z0-9_-]{0,40}$")
    """Names this worker among all workers of the group; empty: the name kept in its data folder (see `worker_id`)."""
    spaces: tuple[str, ...] = ()
    """Which spaces of the app; empty for all."""
    wait: Annotated[float, BeforeValidator(_seconds)] = Field(default=30.0, ge=0)
    """Seconds to wait for the broker at start; may be written 30s."""
    session_timeout: float = Field(default=10.0, ge=3, le=300)
    """Seconds after which the group gives a silent worker's partitions to another."""
    window_ms: float = Field(default=2.0, ge=0, le=1000)
    """How long changes gather behind a flight that is under way; at rest they are published at once."""
    cache_mb: int = Field(default=256, ge=1)
    """About how much memory the merged states that are kept decoded may take, per process."""
    metrics_port: int = Field(default=0, ge=0, le=65535)
    """Prometheus on this loopback port and the following ones, one per process; 0 for none."""
    log_level: str = "info"
