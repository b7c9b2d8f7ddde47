"""How large RocksDB's own parts may grow: what it needs on the disk besides the rows must fit into a small budget, too."""

from __future__ import annotations

from typing import NamedTuple

_MIB = 1 << 20


class Sizes(NamedTuple):
    """In bytes."""

    log: int = 64 * _MIB
    """Of the write-ahead logs together."""
    buffer: int = 16 * _MIB
    """Of a family's rows that are in no file yet."""
    file: int = 64 * _MIB
    """Of one file of rows: while files are merged, those that go and those that come are there together."""
    told: int = 4 * _MIB
    """Of a log in which RocksDB tells what it does."""


def sizes_of(budget: int) -> Sizes:
    """What fits into a budget; as it is without one where that is 0."""
    most = Sizes()
    if not budget:
        return most
    return Sizes(
        min(most.log, budget // 8),
        max(_MIB, min(most.buffer, budget // 32)),
        max(_MIB, min(most.file, budget // 32)),
        max(_MIB // 4, min(most.told, budget // 64)),
    )
