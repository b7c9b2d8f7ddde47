"""What a projector is told: option, then DRIFTLOG_*, then the TOML file (`--config`), then the default."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field

from driftlog_schemas.home import home
from driftlog_schemas.settings import Address, ConnectionSettings
from driftlog_streams.projections.postgres.settings import PostgresSettings


def _seconds(given: object) -> object:
    return given.removesuffix("s") if isinstance(given, str) else given


class ProjectorSettings(ConnectionSettings):
    """Settings of one projector process."""

    app: str
    """`module:attribute`"""
    postgres: PostgresSettings = PostgresSettings()
    space: str | None = None
    """Which of the app; needed where it has several."""
    into_schema: str = Field(default="", max_length=40)
    """The PostgreSQL schema of the tables; the space's name, if empty."""
    partitions: tuple[int, ...] = ()
    """Which of the space; all, if empty."""
    schema_cache: Path = home() / ".cache" / "driftlog" / "schemas"
    wait: Annotated[float, BeforeValidator(_seconds)] = Field(default=30.0, ge=0)
    """Seconds to wait for the broker at start, and for what is away while it has an end to come to; may be written 30s."""
    metrics_address: Address = None
    """Where `/metrics`, `/healthz` and `/readyz` are served, HOST:PORT or PORT on loopback."""
    log_level: str = "info"
