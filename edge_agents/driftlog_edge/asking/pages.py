"""Lists of what the store holds, a page at a time: bounded in number and in bytes, and read in turns.

What is shown of a page is made and sent in one step, so its bytes are what keeps that step short; a page ends before the item that would make it too
large, and one such item is a page by itself. A turn is bounded in bytes as well: what is passed over has to be read, too.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import TypeVar

from driftlog_schemas.contract import InvalidInput

K = TypeVar("K")
V = TypeVar("V", bound=bytes | None)
T = TypeVar("T")

MAX_PAGE = 1000
PAGE_BYTES = 1 << 20
"""As stored."""
COMMANDS_BYTES = PAGE_BYTES // 4
"""Of a page of commands: each of their small changes is shaped by itself, which takes four times as long."""
READ_AT_ONCE = 50
"""Entries that are looked at in one turn."""
TURN_BYTES = 128 << 10
"""The turn ends with the entry that makes it so large."""


def page_of(
    scan: Callable[[K], Iterator[tuple[K, V]]],
    read: Callable[[K, V], tuple[T, int] | None],
    limit: int,
    after: K,
    most: int | None = None,
) -> Generator[None, None, tuple[list[T], bool]]:
    """What `read` makes of the entries that `scan` finds after a key, and whether there is more behind it. `read` gives an item and its bytes,
    or None for what is passed over. `most` bytes stand on a page, `PAGE_BYTES` if not given.
    """
    most = PAGE_BYTES if most is None else most
    items: list[T] = []
    size = 0
    while True:
        looked = turn = 0
        for key, value in scan(after):
            if looked == READ_AT_ONCE or turn >= TURN_BYTES:
                break
            looked, turn, after = looked + 1, turn + (0 if value is None else len(value)), key
            found = read(key, value)
            if found is None:
                continue
            item, item_size = found
            size += item_size
            if items and (len(items) == limit or size > most):
                return items, True
            items.append(item)
        else:
            return items, False
        yield


def check_limit(limit: int) -> None:
    if not 1 <= limit <= MAX_PAGE:
        raise InvalidInput("limit", f"is 1 to {MAX_PAGE}")
