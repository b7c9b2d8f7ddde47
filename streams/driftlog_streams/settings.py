"""What a worker is told: option, then DRIFTLOG_*, then the TOML file (`--config`), then the default."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import BeforeValidator, Field

from driftlog_schemas.settings import Address, ConnectionSettings

AUTO: Literal["auto"] = "auto"
"""As many processes as there are cores."""
MAX_WORKERS = 256

Workers: TypeAlias = int | Literal["auto"]


def _seconds(given: object) -> object:
    return given.removesuffix("s") if isinstance(given, str) else given


def worker_count(given: object) -> object:
    """How many processes a space gets, from text. Raises ValueError."""
    if given == AUTO:
        return given
    number = int(given) if isinstance(given, str) and given.isdecimal() else given
    if type(number) is not int or not 1 <= number <= MAX_WORKERS:
        raise ValueError(f"write a whole number from 1 to {MAX_WORKERS}, or {AUTO}")
    return number


class WorkerSettings(ConnectionSettings):
    """Settings of one worker process and its supervisor."""

    app: str
    """`module:attribute`"""
    data_dir: Path = Path("driftlog-worker")
    workers: Annotated[Workers, BeforeValidator(worker_count)] = 1
    """Processes for each space, or `auto` (see `cores`)."""
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
    standby: bool = False
    """Keep the stores of all partitions up to date, so that one is taken over quickly; each worker then reads the whole state topic."""
    metrics_address: Address = None
    """Where `/metrics`, `/healthz` and `/readyz` are served, HOST:PORT or PORT on loopback; each further process on the next port."""
    cloud_identity: Path | None = None
    """Identity file of the workers' own device, by which partitions forget and deadlines end conflicts; without one neither happens."""
    log_level: str = "info"
