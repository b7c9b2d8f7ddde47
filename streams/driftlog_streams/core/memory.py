"""What a partition has forgotten: its floor, the lives that are over, and since when documents begin anew. Decided by the log alone.

The workers' own device writes a `Forgetting` into the op log now and then. From that record on

- whoever had not read up to its floor is *away*: none of its commands is taken, so every op that still comes was written by somebody
  who had seen all that happened below the floor;
- so lives that ended below the floor are forgotten by name: what an op knew of one counts as seen, and their entries in a document's vector
  become its past (`fold`);
- a tombstone that it purges is gone. What is written there later begins in an *epoch*, the offset of the last purge, and an op of
  somebody who had not read that purge and who speaks of the old document is refused as `purged`;
- a command that a new life has taken along says when it was first written, for what its new life has read it did not know. On a document that began
  after that it has no effect (`gone`), with a context or without: an op that is older than a purge never makes the document be there again.
  Only who had read nothing yet (a new device, an emptied folder) knew no document that this could be.

All of it is kept in the chain row of the cloud's replica, with the offsets from which it counts, so that a record that is read again is
judged as it was the first time, although the row may be ahead of it.
"""

from __future__ import annotations

from dataclasses import replace

from driftlog_crdt import Op, epoch_of
from driftlog_schemas.identity import CLOUD_REPLICA, device_of
from driftlog_schemas.messages import Batch, ChainRow, Forgetting, Forgot
from driftlog_streams.core.arrival import believed
from driftlog_streams.core.chain_book import ChainBook
from driftlog_streams.core.state_cache import Entry

MAX_FORGOT = 512
"""So many that a record read again can need are kept; more are not written (see `forgetting`)."""
FOLD_FROM = 64
NOTHING = Forgot(-1, -1, 0)


def due(count: int) -> bool:
    """Is a document with a vector so long to forget whom it can? Each time it has doubled: so it costs each life little."""
    return count >= FOLD_FROM and not count & (count - 1)


class Memory:
    """Of one partition, as it is at the record that is merged now."""

    def __init__(self, book: ChainBook) -> None:
        self._book = book
        self._offset = -1
        self._heirs: dict[object, str | None] = {}
        """Who was asked for since the record was reached, or since it made the partition forget: nothing else changes the answer."""
        self.over = Over(self)
        self.now = NOTHING
        """What was forgotten last before this record."""

    def reach(self, offset: int) -> None:
        """The record at this offset is merged now."""
        self._offset = offset
        self.forgets(next((forgot for forgot in reversed(self._all()) if forgot.offset < offset), NOTHING))

    def forgets(self, forgot: Forgot) -> None:
        """This was forgotten last."""
        self.now = forgot
        self._heirs.clear()

    @property
    def purged(self) -> int:
        """The offset of the last purge, this record's own among them; 0 for none."""
        return max([forgot.purged for forgot in self._all() if forgot.offset <= self._offset], default=0)

    def _all(self) -> tuple[Forgot, ...]:
        row = self._book.get(CLOUD_REPLICA)
        return () if row is None else row.forgot

    # -- records and commands

    @property
    def old_news(self) -> bool:
        """Does this record lie below a floor that the partition has already: read again from an earlier offset?"""
        known = self._all()
        return bool(known) and self._offset < known[-1].floor

    def away(self, batch: Batch) -> bool:
        """Had its writer not read up to the floor? A batch without commands brings nothing that could matter."""
        return bool(batch.commands) and self.lags(batch)

    def lags(self, batch: Batch) -> bool:
        """The same of any batch."""
        return believed(batch, self._offset) < self.now.floor

    def outlived(self, op: Op, read: int, epoch: int, last: int) -> bool:
        """Does an op speak of an older document than the one of this epoch, of which `last` is its replica's newest dot?"""
        if not epoch or read >= epoch:
            return False
        return op.before != last or (bool(op.context) and epoch_of(op.context or {}) < epoch)

    def gone(self, written: int | None, epoch: int) -> bool:
        """Was a command that a new life has taken along first written before its document began in this epoch? Perhaps on the one that was
        purged, or beside it; nobody can tell any more. But who had read nothing at all wrote on none.
        """
        return written is not None and 0 <= written < epoch

    # -- lives

    def __contains__(self, replica: object) -> bool:
        """Is this a life that ended below the floor?"""
        heirs = self._heirs
        return (heirs[replica] if replica in heirs else self.heir_of(replica)) is not None

    def entry(self, offset: int) -> Forgot | None:
        """What the record at this offset made the partition forget."""
        return next((forgot for forgot in reversed(self._all()) if forgot.offset == offset), None)

    def heir_of(self, replica: object) -> str | None:
        """Who inherits the rights of a life that ended below the floor; None where it did not."""
        if replica not in self._heirs:
            self._heirs[replica] = self._heir(replica)
        return self._heirs[replica]

    def _heir(self, replica: object) -> str | None:
        row = self._ended(replica)
        if row is None or row.ended_at >= self.now.floor:
            return None
        return row.heir if row.ended == "retired" else device_of(row.replica)

    def is_over(self, replica: str) -> bool:
        """Has this life ended?"""
        return self._ended(replica) is not None

    def _ended(self, replica: object) -> ChainRow | None:
        row = self._book.get(replica) if isinstance(replica, str) and "." in replica else None
        return row if row is not None and row.ended and 0 <= row.ended_at < self._offset else None

    def fold(self, entry: Entry) -> None:
        """Forget by name who is over, when the first op of a replica has doubled a document's vector: so it grows with those who are there.
        What was kept only for writers who had not seen the past goes with it, for there are none; and texts and lists are founded anew.
        """
        vector = entry.state.vector
        if due(len(vector)):
            heirs = {replica: heir for replica in vector if (heir := self.heir_of(replica)) is not None}
            kind = entry.collection.type
            if kind.fold(entry.state, heirs):
                kind.prune(entry.state, {})
                kind.found(entry.state, self._offset, self.now.floor)

    # -- a new entry

    def with_entry(self, row: ChainRow, forgetting: Forgetting, offset: int) -> ChainRow:
        """The cloud's row with one more; those go that no record read again can need."""
        if forgetting.floor < 0:
            return row  # it gives commands up, and forgets nothing
        known = row.forgot
        last = known[-1] if known else NOTHING
        floor = min(max(forgetting.floor, last.floor), offset)
        entry = Forgot(offset, floor, offset if forgetting.purge else last.purged)
        needed = [forgot for at, forgot in enumerate(known, 1) if at == len(known) or known[at].offset >= floor]
        return replace(row, forgot=(*needed, entry)[-MAX_FORGOT:])


class Over:
    """All lives that have ended: what is given to one of them would be lost."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    def __contains__(self, replica: object) -> bool:
        return isinstance(replica, str) and self._memory.is_over(replica)
