"""The command log: what was asked under which id, and what became of it.

It answers a repeated Idempotency-Key without running anything, and it is where the cloud's verdict is kept. The command itself, with
its ops, stands in the op log under its number (see `logged`).
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from pydantic_core import from_json, to_json

from driftlog_crdt import Plain
from driftlog_edge.ports import Family, Source
from driftlog_schemas.messages import Verdict


class Status(Enum):
    """How far a command has come."""

    PENDING = "pending"
    SHIPPED = "shipped"
    PARKED = "parked"
    """The cloud has it and waits for an earlier change."""
    REVIEW = "review"
    """What it changed is gone: kept until a person applies or drops it."""
    MERGED = "merged"
    NO_EFFECT = "no_effect"
    """Merged, and what it changed was no longer there."""
    REJECTED = "rejected"

    @property
    def final(self) -> bool:
        """Does nothing change it any more?"""
        return self in (Status.MERGED, Status.NO_EFFECT, Status.REJECTED)


FINAL = {Verdict.ACCEPTED: Status.MERGED, Verdict.NO_EFFECT: Status.NO_EFFECT, Verdict.REJECTED: Status.REJECTED}
"""What a verdict makes of a command, where it is final."""


class Entry(NamedTuple):
    """One command. `lsn` is 0 for a command that changed nothing."""

    lsn: int
    name: str
    fingerprint: str
    status: Status
    result: Plain
    dots: tuple[tuple[str, str, int], ...]
    """(document key, replica, seq)"""
    at_ms: int
    code: str = ""
    reason: str = ""
    asked: Plain = None
    """The arguments as they were given, until the command is decided: it may have to run again."""

    def with_status(self, status: Status, code: str = "", reason: str = "") -> Entry:
        asked = None if status.final else self.asked
        return self._replace(status=status, code=code, reason=reason, asked=asked)

    def encode(self) -> bytes:
        return to_json(
            (
                self.lsn,
                self.name,
                self.fingerprint,
                self.status.value,
                self.result,
                self.dots,
                self.at_ms,
                self.code,
                self.reason,
                self.asked,
            )
        )

    @classmethod
    def decode(cls, data: bytes) -> Entry:
        lsn, name, fingerprint, status, result, dots, at_ms, code, reason, asked = from_json(data)
        return cls(lsn, name, fingerprint, Status(status), result, tuple(map(tuple, dots)), at_ms, code, reason, asked)


def entry_of(source: Source, command_id: str) -> Entry | None:
    """The entry of a command; None for one that was never given to this agent."""
    raw = source.get(Family.COMMANDS, command_id.encode())
    return None if raw is None else Entry.decode(raw)
