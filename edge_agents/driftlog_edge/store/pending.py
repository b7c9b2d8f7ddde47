"""The pending index: which own ops a document's confirmed state does not cover yet, and what is known of each.

One entry per command and document. It says up to which seq the command wrote there, so that nobody decodes commands to learn what a new
state covers, and how the cloud has decided, which may be known before the state that shows it: a refused op then has no effect
in the view at once, while its dot stays taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple

from driftlog_edge.ports import Family, Source
from driftlog_edge.store import keys


class Fate(Enum):
    """What the cloud has decided about a pending op."""

    UNKNOWN = b"?"
    TAKEN = b"a"
    REFUSED = b"r"


class Mark(NamedTuple):
    """One command on one document."""

    lsn: int
    fate: Fate
    replica: str
    seq: int
    """Its highest on this document."""
    generation: int = 0
    """Of a decided one: the generation of confirmed rows that will show it, or a later one."""

    def encode(self) -> bytes:
        """The entry's value; the lsn stands in its key."""
        return self.fate.value + keys.pack_pair(self.seq, self.generation) + self.replica.encode()


def marks_of(source: Source, document: bytes, after: int = 0) -> Iterator[Mark]:
    """A document's pending entries after this lsn, in order."""
    start = keys.pending_key(document, after) if after else b""
    for key, value in source.scan(Family.PENDING, keys.pending_prefix(document), start):
        yield _decoded(key, value)


def mark_of(source: Source, document: bytes, lsn: int) -> Mark | None:
    """The entry of one command on one document."""
    key = keys.pending_key(document, lsn)
    value = source.get(Family.PENDING, key)
    return None if value is None else _decoded(key, value)


def _decoded(key: bytes, value: bytes) -> Mark:
    numbers, replica = value[1 : 1 + 2 * keys.LSN_BYTES], value[1 + 2 * keys.LSN_BYTES :]
    seq, generation = keys.unpack_pair(numbers)
    return Mark(keys.parse_lsn(key), Fate(value[:1]), replica.decode(), seq, generation)
