"""An agent's settings: options, then `DRIFTLOG_*`, then the TOML file, then the default."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ByteSize,
    Field,
    SecretStr,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError
from pydantic_settings import NoDecode, SettingsConfigDict

from driftlog_edge.store.sizes import DEFAULT
from driftlog_schemas.connection import Table, wrong
from driftlog_schemas.rhythm import REMEDY, rhythm_of
from driftlog_schemas.settings import Address, ConnectionSettings


def _split(value: str | None) -> str | None:
    shlex.split(value or "")  # raises ValueError
    return value


OF_OTHERS = frozenset({"postgres"})
"""Tables of a settings file that every program is given, and that say nothing to an agent."""
KEY_SOURCES = ("encryption_key_file", "encryption_key", "encryption_key_command")


class PowerSettings(Table):
    """`[power]`: where the device says how it is fed, and what that means."""

    source: Literal["api", "sys", "file", "command"] = "api"
    """`api`: whoever calls `PUT /v1/power`, and nobody else."""
    path: Path | None = None
    """Of `file`; of `sys` the folder, if it is not the kernel's."""
    command: str | None = Field(default=None, pattern=r"\S")
    """Prints it; run without a shell."""
    every_seconds: float = Field(default=30.0, gt=0, le=3600)
    """How often it is asked."""
    answer_seconds: float = Field(default=5.0, gt=0, le=60)
    """How long an answer may take."""
    valid_seconds: float = Field(default=3600.0, gt=0, le=86_400 * 7)
    """How long a caller's word stands, or a file that nobody writes any more; then it is unknown."""
    low_battery_percent: float = Field(default=30.0, ge=0, le=100)
    """Below it, without mains and Wi-Fi, only what is critical or high leaves."""

    _words = field_validator("command")(_split)

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> Self:
        for source, name in (("file", "path"), ("command", "command")):
            if self.source == source and getattr(self, name) is None:
                raise wrong(name, f"source {source!r} needs it", "give it, or choose another source")
        if self.command is not None and self.source != "command":
            raise wrong("command", f"source {self.source!r} runs none", 'set source to "command"')
        if self.path is not None and self.source not in ("file", "sys"):
            raise wrong("path", f"source {self.source!r} reads none", 'set source to "file" or "sys"')
        return self


class LinkSettings(Table):
    """`[link]`: what the agent may use of its network."""

    bytes_per_second: int = Field(default=0, ge=0)
    """Each way, of batches and of what is fetched; 0 for all that there is."""


LEAST_BUDGET = 16 << 20
"""RocksDB's own files want some of it."""
LEAST_MEMORY, MOST_MEMORY = 1 << 20, 1 << 40


def _bytes(given: object) -> int:
    try:
        return int(TypeAdapter(ByteSize).validate_python(given))
    except ValidationError as error:
        raise _wrong_size(f'{str(given)[:40]!r} is no number of bytes; "500 MB", "2 GiB" and 1000000000 are') from error


def _budget(given: object) -> int:
    found = _bytes(given)
    if found and found < LEAST_BUDGET:
        least = f"the least is {LEAST_BUDGET >> 20} MiB, and 0 is no budget"
        raise _wrong_size(f"{found} bytes are too few for a store; {least}")
    return found


def _memory(given: object) -> int:
    found = _bytes(given)
    if not LEAST_MEMORY <= found <= MOST_MEMORY:
        raise _wrong_size(f"{found} bytes are too few or too many; give 1 MiB to 1 TiB")
    return found


def _wrong_size(fact: str) -> PydanticCustomError:
    return PydanticCustomError("setting", "{fact}", {"fact": fact})


DiskBytes: TypeAlias = Annotated[int, BeforeValidator(_budget)]
MemoryBytes: TypeAlias = Annotated[int, BeforeValidator(_memory)]


class MemorySettings(Table):
    """`[memory]`: what the store may keep in memory, in bytes or as text with a unit."""

    write_buffers: MemoryBytes = DEFAULT.buffers
    """Rows that are in no file yet, of all families together."""
    block_cache: MemoryBytes = DEFAULT.cache
    """Blocks that were read, of all families together."""


def _rhythm(text: str) -> str:
    if rhythm_of(text) is None:
        raise PydanticCustomError("setting", "{fact}", {"fact": f"{text[:40]!r} is no rhythm", "remedy": REMEDY})
    return text


Rhythm: TypeAlias = Annotated[str, AfterValidator(_rhythm)]


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
    """In place of the token that the agent makes; needed to listen where other machines can reach it. Mode 0600, or 0640 where it is root's."""
    metrics_address: Address = None
    """Where `/metrics`, `/healthz` and `/readyz` are served besides, to whoever asks: HOST:PORT, or PORT on loopback."""
    durability: Literal["disk", "os"] = "disk"
    outbox_limit: int = Field(default=1_000_000, ge=1)
    """Commands without a verdict of the cloud, sent or not, at most."""
    outbox_bytes: int = Field(default=1 << 30, ge=1)
    """What they take, at most."""
    disk_budget: DiskBytes = 0
    """What the store may take on the disk, in bytes or as text with a unit; 0 for all that there is. Near it, confirmed documents make room."""
    keep_hours: float = Field(default=168.0, ge=0)
    """How long a command that is done stays in the logs, and with it the answer to its Idempotency-Key."""
    gathers: bool = False
    """Does it hold what only goes up of all devices, and for good, as a console does? Others hold of it what they have written, for a while."""
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

    @model_validator(mode="before")
    @classmethod
    def _ours(cls, given: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in given.items() if name not in OF_OTHERS}

    @field_validator("scopes", "http_hosts", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if value.lstrip().startswith("["):
            return json.loads(value)
        return [scope for part in value.split(",") if (scope := part.strip())]

    power: PowerSettings = PowerSettings()
    memory: MemorySettings = MemorySettings()
    link: LinkSettings = LinkSettings()
    sync: dict[str, Rhythm] = Field(default_factory=dict)
    """Collection -> when its commands leave, in place of what the app declares."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    _words = field_validator("encryption_key_command")(_split)

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        given = [name for name in KEY_SOURCES if getattr(self, name) is not None]
        if len(given) > 1:
            raise wrong(given[0], f"{' and '.join(given[1:])} is given too", "give one of them")
        return self
