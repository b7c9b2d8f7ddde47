"""Lists of what the store holds, a page at a time: bounded in number and in bytes, and read in turns.

What is shown of a page is made and sent in one step, so its bytes are what keeps that step short; a page ends before the item that would make it too
large, and one such item is a page by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from itertools import islice
from typing import TypeVar

from driftlog_schemas.contract import InvalidInput

T = TypeVar("T")

MAX_PAGE = 1000
PAGE_BYTES = 1 << 20
"""As stored."""
READ_AT_ONCE = 50
"""Entries that are looked at in one turn."""


def page_of(
    scan: Callable[[bytes], Iterator[tuple[bytes, bytes]]],
    read: Callable[[bytes, bytes], tuple[T, int] | None],
    limit: int,
    after: bytes,
) -> Generator[None, None, tuple[list[T], bool]]:
    """What `read` makes of entries after a key, and whether there is more behind it. `read` gives an item and its bytes, or None for what is passed over."""
    items: list[T] = []
    size = 0
    while True:
        turn = list(islice(scan(after), READ_AT_ONCE))
        for key, value in turn:
            found = read(key, value)
            if found is None:
                continue
            item, item_size = found
            size += item_size
            if items and (len(items) == limit or size > PAGE_BYTES):
                return items, True
            items.append(item)
        if len(turn) < READ_AT_ONCE:
            return items, False
        after = turn[-1][0]
        yield


def check_limit(limit: int) -> None:
    if not 1 <= limit <= MAX_PAGE:
        raise InvalidInput("limit", f"is 1 to {MAX_PAGE}")
