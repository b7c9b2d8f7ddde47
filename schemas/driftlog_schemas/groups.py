"""The headers of a state record: which group it belongs to, whether it ends it, and which of its ops were rejected.

They stand in headers because they depend on how the worker cut its work, while the value depends on the ops only. Anybody's
tool may write to a topic, so reading a mark never fails.
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


FOREIGN = GroupMark(-1, last=True)
"""The mark of a record that no worker wrote."""


def headers(number: int, *, last: bool, rejected: Iterable[tuple[str, int]] = ()) -> list[tuple[str, bytes]]:
    """The headers of one record. `number` is an offset; `rejected` are the dots rejected on this document within the group."""
    assert number >= 0, "a group is numbered by an offset"
    result = [(GROUP, str(number).encode())]
    if last:
        result.append((LAST, b"1"))
    if text := ",".join(f"{replica}:{seq}" for replica, seq in rejected):
        result.append((REJECTED, text.encode()))
    return result


def parse(record_headers: Headers | None) -> GroupMark:
    """The mark of a record. A record without one, or with one that no worker writes, is a group of its own."""
    number, last, rejected = -1, False, b""
    for name, value in record_headers or ():
        if name == GROUP and value and _is_number(value):
            number = int(value)
        elif name == LAST:
            last = value == b"1"
        elif name == REJECTED:
            rejected = value or b""
    if number < 0:
        return FOREIGN
    if not rejected:
        return GroupMark(number, last)
    dots = []
    for part in rejected.split(b","):
        replica, _, seq = part.rpartition(b":")
        if not (replica and replica.isascii() and _is_number(seq)):
            return FOREIGN
        dots.append((replica.decode(), int(seq)))
    return GroupMark(number, last, tuple(dots))


def _is_number(text: bytes) -> bool:
    return text.isdigit() and len(text) < 20
