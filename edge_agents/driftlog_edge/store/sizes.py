"""How large RocksDB's own parts may grow, in memory and on the disk: what it needs besides the rows must fit into a small budget, too.

Memory is shared by all families: one cache for blocks that were read, one bound for rows that are in no file yet.
"""

from __future__ import annotations

from typing import NamedTuple

_MIB = 1 << 20


class Sizes(NamedTuple):
    """In bytes."""

    log: int = 64 * _MIB
    """Of the write-ahead logs together."""
    buffer: int = 4 * _MIB
    """Of a family's rows that are in no file yet; RocksDB holds as many again while it writes them to one."""
    file: int = 64 * _MIB
    """Of one file of rows: while files are merged, those that go and those that come are there together."""
    buffers: int = 16 * _MIB
    """Of those of all families together, in memory."""
    cache: int = 16 * _MIB
    """Of blocks that were read, with the indices and filters of the files, for all families together, in memory."""
    told: int = 4 * _MIB
    """Of a log in which RocksDB tells what it does."""


DEFAULT = Sizes()
MOST_BUFFER = 16 * _MIB
"""Of one family, whoever gives all of them more."""


def sizes_of(budget: int = 0, buffers: int = DEFAULT.buffers, cache: int = DEFAULT.cache) -> Sizes:
    """With so much memory, what fits into a budget of the disk; 0 for none."""
    most = DEFAULT._replace(buffer=min(MOST_BUFFER, buffers // 4), buffers=buffers, cache=cache)
    if not budget:
        return most
    return most._replace(
        log=min(most.log, budget // 8),
        buffer=max(_MIB, min(most.buffer, budget // 32)),
        file=max(_MIB, min(most.file, budget // 32)),
        told=max(_MIB // 4, min(most.told, budget // 64)),
    )
