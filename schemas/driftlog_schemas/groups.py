"""The headers of a state record: which group it belongs to, whether it ends it, and which of its ops were rejected.

They stand in headers because they depend on how the worker cut its work, while the value depends on the ops only.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeAlias

GROUP = "driftlog.group"
LAST = "driftlog.last"
REJECTED = "driftlog.rejected"

Headers: TypeAlias = Sequence[tuple[str, bytes | None]]


class GroupMark(NamedTuple):
    """Of one state record. `number` is the offset of the last op record merged into the group; -1 for a foreign record."""

    number: int
    last: bool
    rejected: tuple[tuple[str, int], ...] = ()


def headers(number: int, *, last: bool, rejected: Iterable[tuple[str, int]] = ()) -> list[tuple[str, bytes]]:
    """The headers of one record."""
    result = [(GROUP, str(number).encode())]
    if last:
        result.append((LAST, b"1"))
    if text := ",".join(f"{replica}:{seq}" for replica, seq in rejected):
        result.append((REJECTED, text.encode()))
    return result


def parse(record_headers: Headers | None) -> GroupMark:
    """The mark of a record. A record without one (another tool's) is a group of its own."""
    number, last, rejected = -1, False, b""
    for name, value in record_headers or ():
        if name == GROUP and value:
            number = int(value)
        elif name == LAST:
            last = value == b"1"
        elif name == REJECTED:
            rejected = value or b""
    if number < 0:
        return GroupMark(-1, last=True)
    dots = []
    for part in rejected.decode().split(",") if rejected else ():
        replica, _, seq = part.rpartition(":")
        dots.append((replica, int(seq)))
    return GroupMark(number, last, tuple(dots))
