"""The headers of a state record: which group it belongs to, whether it ends it, by what a document went, what its scope is then, and
whether it has conflicts, whether they are told, and when the first of them must be decided; at a group's end also which versions of the app are supported.

They stand in headers because they depend on how the worker cut its work, while the value depends on the ops only. Anybody's
tool may write to a topic, so reading a mark never fails.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple, TypeAlias

from driftlog_schemas import bounds
from driftlog_schemas.support import Floor, told
from driftlog_schemas.tuples import maker

GROUP = "driftlog.group"
LAST = "driftlog.last"
PURGED = "driftlog.purged"
DIGEST = "driftlog.digest"
OWED = "driftlog.owed"
DUE = "driftlog.due"
DISPUTED = "driftlog.disputed"
SUPPORT = "driftlog.support"
_DIGEST = re.compile(rb"[0-9a-f]{16}")

Headers: TypeAlias = Sequence[tuple[str, bytes | None]]


class GroupMark(NamedTuple):
    """Of one state record. `number` is the offset of the last op record merged into the group; -1 for a foreign record."""

    number: int
    last: bool
    purged: int = 0
    """Of a record without a value: offset of the op record by which the document went for good."""
    digest: int | None = None
    """Of the last record that a group has of a scope: the digest of the whole scope after this group."""
    owed: bool = False
    """A conflict of the document has grown, and its record in the conflicts topic does not have all of it yet."""
    due_ms: int = 0
    """The first deadline of a conflict of the document; 0 for none."""
    disputed: bool = False
    """The document has a conflict that somebody is told of."""
    support: bytes = b""
    """Of the last record of a group: what its worker says of the versions of the app (`support.heard`)."""


_mark = maker(GroupMark)

FOREIGN = GroupMark(-1, last=True)
"""The mark of a record that no worker wrote."""


def headers(number: int, *, last: bool) -> list[tuple[str, bytes]]:
    """The headers of one record. `number` is an offset."""
    assert number >= 0, "a group is numbered by an offset"
    result = [(GROUP, str(number).encode())]
    if last:
        result.append((LAST, b"1"))
    return result


def purged(offset: int) -> tuple[str, bytes]:
    """The further header of a record without a value."""
    return PURGED, str(offset).encode()


def digest(scope: int) -> tuple[str, bytes]:
    """The further header of the last record of a scope."""
    return DIGEST, f"{scope:016x}".encode()


def owed() -> tuple[str, bytes]:
    """The further header of a document with a conflict that is not told as it stands."""
    return OWED, b"1"


def due(deadline_ms: int) -> tuple[str, bytes]:
    """The further header of a document with a conflict that has a deadline."""
    return DUE, str(deadline_ms).encode()


def disputed() -> tuple[str, bytes]:
    """The further header of a document with a conflict."""
    return DISPUTED, b"1"


def support(floors: Sequence[Floor]) -> list[tuple[str, bytes]]:
    """The further header of a group's last record; none where the app supports all its versions."""
    return [(SUPPORT, told(floors))] if floors else []


def parse(record_headers: Headers | None) -> GroupMark:
    """The mark of a record. A record without one, or with one that no worker writes, is a group of its own."""
    if not record_headers:
        return FOREIGN
    return _parsed(record_headers) if isinstance(record_headers, tuple) else _parse(record_headers)


def _parse(record_headers: Headers) -> GroupMark:
    number, last, gone, scope, owes, deadline, fought, supported = -1, False, 0, None, False, 0, False, b""
    for name, value in record_headers:
        if name == GROUP:
            number = _number(value, number)
        elif name == LAST:
            last = value == b"1"
        elif name == PURGED:
            gone = _number(value, gone)
        elif name == DIGEST and value and _DIGEST.fullmatch(value):
            scope = int(value, 16)
        elif name == OWED:
            owes = value == b"1"
        elif name == DUE:
            deadline = _number(value, deadline)
        elif name == DISPUTED:
            fought = value == b"1"
        elif name == SUPPORT:
            supported = value or b""
    return FOREIGN if number < 0 else _mark((number, last, gone, scope, owes, deadline, fought, supported))


_parsed = lru_cache(maxsize=1024)(_parse)
"""Several ask for the mark of one record, one after the other, and records of one group have like headers."""


class Cut:
    """Follows the records of a partition one after the other: do those read up to now make a consistent cut?

    A crash may tear a group: some of its records are out, its end is not, and the groups that follow have smaller or equal numbers and
    bring the rest. So what was read is whole when a record marked `last` comes whose number is at least the highest since it was whole.
    """

    __slots__ = ("highest",)

    def __init__(self) -> None:
        self.highest = -1
        """The number that a group's end must reach; -1 while nothing is open."""

    @property
    def open(self) -> bool:
        """Does something wait for its end?"""
        return self.highest >= 0

    def take(self, mark: GroupMark) -> bool:
        """True if this record makes it whole. A foreign record ends nothing but itself."""
        self.highest = max(self.highest, mark.number)
        if not mark.last or mark.number < self.highest:
            return False
        self.highest = -1
        return True


def _number(text: bytes | None, otherwise: int) -> int:
    """The number that stands there, if it is one that Kafka may count to."""
    if not text or not text.isdigit() or len(text) >= 20:
        return otherwise
    found = int(text)
    return found if found <= bounds.MAX_LONG else otherwise
