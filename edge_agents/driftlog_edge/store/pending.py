"""The pending index: which own ops a document's confirmed state does not cover yet, and what is known of each.

One entry per command and document. It says up to which seq the command wrote there, so that nobody decodes commands to learn what a new
state covers, and how the cloud has decided, which may be known before the state that shows it: a refused op then has no effect
in the view at once, while its dot stays taken.

A dot that was decided may never be shown: its document was purged since. So an entry also knows by which record of the op topic it was
decided. Rows that were read up to there and do not have it never will.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple

from driftlog_edge.ports import Family, Source
from driftlog_edge.store import keys

_KNOWN = b"\0"
"""Parts a replica's name from an offset; entries of the release before have none."""


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
    offset: int = -1
    """Of a decided one: the record of the op topic by which it was decided at the latest; -1 where nobody knows."""

    def encode(self) -> bytes:
        """The entry's value; the lsn stands in its key."""
        known = _KNOWN + keys.pack_number(self.offset) if self.offset >= 0 else b""
        return self.fate.value + keys.pack_pair(self.seq, self.generation) + self.replica.encode() + known

    def shown_by(self, group: int) -> bool:
        """Do rows that were read up to this group have what it became, if they ever will?"""
        return self.fate is not Fate.UNKNOWN and 0 <= self.offset <= group


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
    numbers, rest = value[1 : 1 + 2 * keys.LSN_BYTES], value[1 + 2 * keys.LSN_BYTES :]
    seq, generation = keys.unpack_pair(numbers)
    replica, known, offset = rest.partition(_KNOWN)
    decided_by = keys.unpack_number(offset) if known else -1
    return Mark(keys.parse_lsn(key), Fate(value[:1]), replica.decode(), seq, generation, decided_by)
