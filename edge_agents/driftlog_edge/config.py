"""An agent's settings: options, then `DRIFTLOG_*`, then the TOML file, then the default."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from driftlog_schemas.connection import wrong
from driftlog_schemas.settings import Address, ConnectionSettings

KEY_SOURCES = ("encryption_key_file", "encryption_key", "encryption_key_command")


class EdgeConfig(ConnectionSettings):
    """Where an agent lives and whom it talks to."""

    model_config = SettingsConfigDict(extra="forbid")

    data_dir: Path
    identity: Path
    scopes: Annotated[list[str], NoDecode] = Field(min_length=1)
    """In the environment `s1,s2`, or as JSON."""
    http_host: str = "127.0.0.1"
    http_port: int = Field(default=7420, ge=0, le=65535)
    http_socket: Path | None = None
    http_hosts: Annotated[list[str], NoDecode] = Field(default_factory=list)
    """Further names by which callers reach the agent (`Host`); those of loopback and `http_host` are known."""
    http_token_file: Path | None = None
    """In place of the token that the agent makes; needed to listen where other machines can reach it."""
    metrics_address: Address = None
    """Where `/metrics`, `/healthz` and `/readyz` are served besides, to whoever asks: HOST:PORT, or PORT on loopback."""
    durability: Literal["disk", "os"] = "disk"
    outbox_limit: int = Field(default=1_000_000, ge=1)
    """Commands without a verdict of the cloud, sent or not, at most."""
    outbox_bytes: int = Field(default=1 << 30, ge=1)
    """What they take, at most."""
    keep_hours: float = Field(default=168.0, ge=0)
    """How long a command that is done stays in the logs, and with it the answer to its Idempotency-Key."""
    batches_in_flight: int = Field(default=16, ge=1, le=1000)
    encryption_key_file: Path | None = None
    """Holds the key that wraps the store's data key; without any of these three the data key lies in the folder as it is."""
    encryption_key: SecretStr | None = None
    encryption_key_command: str | None = Field(default=None, pattern=r"\S")
    """Prints it; run without a shell."""
    encryption_key_seconds: float = Field(default=30.0, gt=0, le=600)
    """How long that may take."""
    encryption_key_days: float = Field(default=365.0, ge=0)
    """How old a data key gets before another takes its place; 0 for ever."""

    @field_validator("scopes", "http_hosts", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if value.lstrip().startswith("["):
            return json.loads(value)
        return [scope for part in value.split(",") if (scope := part.strip())]

    @field_validator("encryption_key_command")
    @classmethod
    def _words(cls, value: str | None) -> str | None:
        shlex.split(value or "")  # raises ValueError
        return value

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        given = [name for name in KEY_SOURCES if getattr(self, name) is not None]
        if len(given) > 1:
            raise wrong(given[0], f"{' and '.join(given[1:])} is given too", "give one of them")
        return self
