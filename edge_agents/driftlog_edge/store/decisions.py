"""What becomes of a pending entry when the cloud has decided: it waits for the rows that will show it, or goes, where none will.

No row will if those that readers have were read past the deciding record and do not cover it: the document was purged in between. While a
partition is read again nothing is said of that, for the rows that are filled are not those that were asked.
"""

from __future__ import annotations

from typing import NamedTuple

from driftlog_edge.ports import Family, Source
from driftlog_edge.store import keys
from driftlog_edge.store.cursors import NOTHING_READ, cursor_of
from driftlog_edge.store.generations import coming, serving
from driftlog_edge.store.pending import Fate, Mark
from driftlog_schemas import topics


class Decision(NamedTuple):
    """One of the cloud's, as it stands to the confirmed rows of its partition."""

    space: str
    partition: int
    generation: int
    """Of the rows that will show it."""
    group: int
    """Up to which group those that are read have come."""
    offset: int
    """See `Mark.offset`."""

    def mark(self, source: Source, document: bytes, mark: Mark, fate: Fate) -> Mark | None:
        """The entry with its fate; None where nothing is left to wait for."""
        decided = mark._replace(fate=fate, generation=self.generation, offset=self.offset)
        if not decided.shown_by(self.group):
            return decided
        row = keys.confirmed_prefix(self.space, self.partition, self.generation) + document
        return (
            None if source.get(Family.UNREAD, row) is None else decided
        )  # a row that nobody can read here may have it


def decision(source: Source, space: str, partition: int, offset: int) -> Decision:
    """What was decided by this record of the op topic at the latest (-1: nobody knows)."""
    generation = coming(source, space, partition)
    returning = generation != serving(source, space, partition)
    group = NOTHING_READ if returning else cursor_of(source, topics.state_topic(space), partition).group
    return Decision(space, partition, generation, group, offset)
