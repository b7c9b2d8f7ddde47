"""Conflicts as lists have them, and what a filter takes: the same for the console's pages, what they export, and the command line.

A list holds of each conflict what it is ordered and chosen by, never its values. What came in a window of time is told by the log's time of the
newest version: writers' clocks may be wrong.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Literal, NamedTuple, Self, TypeAlias

from driftlog_crdt import canonical
from driftlog_schemas.contract import InvalidInput
from driftlog_schemas.identity import DocumentId, device_of
from driftlog_schemas.messages import Conflict, ConflictStatus

Which: TypeAlias = Literal["open", "settled", "decided"]
LISTS: Mapping[Which, frozenset[ConflictStatus]] = {
    "open": frozenset({ConflictStatus.OPEN}),
    "settled": frozenset({ConflictStatus.RECORDED, ConflictStatus.SETTLED}),
    "decided": frozenset({ConflictStatus.RESOLVED}),
}
"""What waits for a person; what a rule or a deadline has settled, and anybody may decide otherwise; what a person has decided."""
NEVER_MS = 1 << 62
"""The deadline of what has none, for sorting."""


class Line(NamedTuple):
    """A conflict in a list; the first members are its place in the order."""

    order_ms: int
    at_ms: int
    """When the log took its newest version."""
    id: str
    document: DocumentId
    field: str
    status: ConflictStatus
    devices: tuple[str, ...]
    """That wrote one of its versions, the one that stands first."""
    commands: tuple[str, ...]
    """By which its versions were written."""
    actors: tuple[str, ...]
    mark: str
    """See `mark`."""


@dataclass(frozen=True, slots=True)
class Filter:
    """Which of them; what is empty is not asked for."""

    collection: str = ""
    scope: str = ""
    field: str = ""
    device: str = ""
    actor: str = ""
    command: str = ""
    since: str = ""
    """What came then or later: a time as ISO 8601 has it, in UTC where it names no zone, or in epoch milliseconds."""
    until: str = ""
    """What came before that."""

    @classmethod
    def of(cls, asked: Mapping[str, str]) -> Self:
        """What a form or a query asks for; other names in it are not a filter's. Raises `InvalidInput`."""
        found = cls(**{one.name: asked.get(one.name, "").strip() for one in fields(cls)})
        found.window()
        return found

    def window(self) -> tuple[int | None, int | None]:
        """Since and until in epoch milliseconds; None for no bound. Raises `InvalidInput`."""
        return _epoch_ms("since", self.since), _epoch_ms("until", self.until)

    def taken(self, lines: Iterable[Line]) -> list[Line]:
        """Those that it takes, in their order."""
        since, until = self.window()
        return [
            line
            for line in lines
            if (not self.collection or line.document.collection == self.collection)
            and (not self.scope or line.document.scope == self.scope)
            and (not self.field or line.field == self.field)
            and (not self.device or self.device in line.devices)
            and (not self.actor or self.actor in line.actors)
            and (not self.command or self.command in line.commands)
            and (since is None or line.at_ms >= since)
            and (until is None or line.at_ms < until)
        ]

    def items(self) -> dict[str, str]:
        """What is asked for, as a query has it."""
        return {one.name: value for one in fields(self) if (value := getattr(self, one.name))}


def list_of(status: ConflictStatus) -> Which:
    """In which list a conflict of this status stands."""
    return next(which for which, statuses in LISTS.items() if status in statuses)


def line_of(conflict: Conflict) -> Line:
    """Open ones are ordered by deadline, decided ones by when they were, the last one first."""
    if conflict.status.over and conflict.decided_by is not None:
        order = -(conflict.decided_by.append_ms or conflict.detected_ms)
    elif conflict.status is ConflictStatus.OPEN:
        order = conflict.deadline_ms or NEVER_MS
    else:
        order = -conflict.detected_ms
    versions = conflict.versions
    return Line(
        order,
        conflict.detected_ms,
        conflict.id,
        conflict.document,
        conflict.field,
        conflict.status,
        tuple(dict.fromkeys(device_of(version.replica) for version in versions)),
        tuple(dict.fromkeys(version.command_id for version in versions if version.command_id)),
        tuple(dict.fromkeys(version.actor for version in versions if version.actor)),
        mark(conflict),
    )


def mark(conflict: Conflict) -> str:
    """Names the versions that there are to decide between."""
    dots = sorted(f"{version.replica}:{version.seq}" for version in conflict.versions)
    text = canonical([conflict.id, *dots, str(conflict.omitted)])
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()


def mark_of_all(lines: Iterable[Line]) -> str:
    """Names a set of conflicts with the versions that each has: another set, another name."""
    digest = hashlib.blake2b(digest_size=16)
    for one in sorted(line.mark for line in lines):
        digest.update(one.encode())
    return digest.hexdigest()


def iso(ms: int) -> str:
    """A time as a filter has it; one that no calendar has, or between two seconds, as its number."""
    try:
        exact = datetime.fromtimestamp(ms / 1000, UTC)
        return exact.strftime("%Y-%m-%dT%H:%M:%SZ") if ms % 1000 == 0 else str(ms)
    except (ValueError, OverflowError, OSError):
        return str(ms)


def _epoch_ms(name: str, text: str) -> int | None:
    if not text:
        return None
    if text.isascii() and text.isdecimal():
        return int(text[:20])
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidInput(name, f"{text[:40]!r} is no time; write for example 2026-03-01T14:00Z") from error
    return round((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1000)
