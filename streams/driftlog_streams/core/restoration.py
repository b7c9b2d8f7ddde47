"""What the records of a changelog make of a partition's store, before the first op is merged.

What a crash leaves behind is a *torn tail*: state records and chain rows of flights that were never acknowledged, so their ops are
read again. What had been decided is known by the rows: no state leaves before the row that says what became of a command of
several documents, or of one that was not plainly accepted. So recovery keeps rows and states, and guesses nothing.

A record whose group number is below one already seen was published by another life (after a crash, or by a frozen
worker that woke): it may be older than what it would replace, so it is joined with it, never put over it, and the document is
published again. The same where one of the two says that the document was purged: what began after the purge is newer than it, and what
was there before is older (see `memory`). Rows and conflicts that are behind what we know are answered likewise. Until that has happened
the store's mark stays before them (`recovered`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol

import structlog

from driftlog_crdt import AlgebraError, DocumentState
from driftlog_schemas.errors import ContractError, Undecodable, UnknownSchema
from driftlog_schemas.identity import CLOUD_REPLICA, OVER_REPLICA, DocumentId, document_key
from driftlog_schemas.messages import ChainRow, Forgot
from driftlog_schemas.row_columns import short_name
from driftlog_streams.core import conflicts
from driftlog_streams.core.chain import later
from driftlog_streams.core.chain_book import ChainBook
from driftlog_streams.core.changelog_record import ChangelogRecord
from driftlog_streams.core.conflict_answers import Ground, owners_word, said, seen
from driftlog_streams.core.conflict_answers import later as later_end
from driftlog_streams.core.conflict_doubts import closing
from driftlog_streams.core.digest_counting import DigestCounting
from driftlog_streams.core.disputes import Disputes
from driftlog_streams.core.passed import Passed
from driftlog_streams.core.recovered import Recovered
from driftlog_streams.core.rules import Collection, SpaceRules
from driftlog_streams.core.same_log import WITNESSES
from driftlog_streams.core.store_mark import DIGESTS, Positions, StoreMark
from driftlog_streams.core.stored_states import StoredStates
from driftlog_streams.core.taken_states import TakenStates

log = structlog.get_logger()


class Changelogged(Protocol):
    """A store that recovery fills."""

    @property
    def mark(self) -> StoreMark: ...
    def get(self, key: bytes) -> bytes | None: ...
    def row(self, replica: str) -> bytes | None: ...
    def replicas(self) -> Iterable[str]: ...
    def digest(self, scope: str) -> int | None: ...
    def unknown_digests(self) -> list[str]: ...
    def documents(self) -> Iterable[tuple[bytes, bytes]]: ...
    def write(
        self,
        states: Iterable[tuple[bytes, bytes | None]],
        mark: StoreMark,
        rows: Iterable[tuple[str, bytes | None]] = (),
        passed: Passed | None = None,
        digests: Mapping[str, int | None] | None = None,
    ) -> None: ...
    def purged(self, key: bytes) -> int: ...
    def dispute(self, name: bytes) -> bytes | None: ...
    def disputes(self) -> Iterable[bytes]: ...
    def disputes_of(self, key: bytes) -> Iterable[bytes]: ...
    def ended(self, name: bytes) -> bytes | None: ...


class Restoration:
    """Takes changelog records into stores."""

    def __init__(self, rules: SpaceRules) -> None:
        self._rules = rules
        self._counting = DigestCounting(rules)
        self._states = StoredStates(rules)

    def begin_anew(self, store: Changelogged, recovered: Recovered) -> None:
        """The topics are not those that the store was filled from. They are read from their start, and what they lack of ours is published once more:
        nobody knows from what they were filled.
        """
        recovered.anew = True
        recovered.stale.update(dict.fromkeys((key for key, _ in store.documents()), 0))
        recovered.stale_rows.update(dict.fromkeys(store.replicas(), 0))

    def take(self, store: Changelogged, recovered: Recovered, records: Iterable[ChangelogRecord]) -> None:
        """Put state records of one partition into its store."""
        forgot = [entry for entry in self._forgot(store) if entry.offset <= recovered.had]
        taken = TakenStates(self._states, store, recovered, store.mark.group, forgot)
        taken.take(records)
        states, passed = taken.states, taken.passed
        for key, offset in taken.owing.items():
            recovered.owed.update(self._states.owed(key, states[key], offset))
        if next(iter(store.disputes()), None) is not None:
            passed.disputes.update(dict.fromkeys(states, ()))
        passed.disputes.update({key: self._states.names(key, states[key]) for key in taken.fought})
        digests = self._counting.changed(store, states)
        store.write(states.items(), store.mark.moved(recovered.settled, taken.highest), passed=passed, digests=digests)

    def count(self, store: Changelogged, recovered: Recovered) -> None:
        """All states are taken: count the digests that are unknown. Which conflicts are open a store of an older release learns from their topic."""
        digests, mark = self._counting.counted(store), store.mark
        if mark.digests != DIGESTS:
            mark = mark._replace(digests=DIGESTS, conflicts=-1)
            recovered.read = recovered.read._replace(conflicts=-1)
        if digests or mark != store.mark:
            store.write((), mark, digests=digests)

    def take_rows(self, store: Changelogged, recovered: Recovered, records: Iterable[ChangelogRecord]) -> None:
        """Put the chain rows among the receipts of one partition into its store; refusals stand there under a device's name."""
        rows: dict[str, bytes] = {}
        position, looked_again = recovered.read.rows, False
        for key, value, offset, _, _ in records:
            position = max(position, offset)
            replica = key.decode(errors="replace")
            known = rows[replica] if replica in rows else store.row(replica)
            found = self._row(replica, value)
            if found is None or value is None:
                if known is not None:
                    recovered.stale_rows[replica] = offset  # noise, or a late word: what was removed goes below
                continue
            recovered.stale_rows.pop(replica, None)
            stored = self._row(replica, known)
            if found.offset >= recovered.ops_end and not looked_again:
                recovered.look_again()
                looked_again = True
            ahead = found.offset >= recovered.ops_end
            if ahead and len(recovered.ahead) < WITNESSES:
                recovered.ahead.append(found)
            if ahead or (stored is not None and known != value and later(stored, found) is stored):
                recovered.stale_rows[replica] = offset
                continue
            rows[replica] = value
        recovered.read = recovered.read._replace(rows=position)
        store.write((), store.mark.moved(recovered.settled, store.mark.group), rows.items())

    def row(self, store: Changelogged, replica: str) -> ChainRow | None:
        """The chain row of a replica as it is stored."""
        return self._row(replica, store.row(replica))

    def without_removed(self, store: Changelogged, recovered: Recovered) -> None:
        """All rows are taken: those go that were removed by the record which `cloud.over` tells. The store may be older than that, or the row have
        come late, or been let out by a crash without its tombstone.
        """
        over = self._row(OVER_REPLICA, store.row(OVER_REPLICA))
        known = {} if over is None else over.over
        gone = []
        for replica in store.replicas() if known else ():
            removed = known.get(short_name(replica))
            row = self._row(replica, store.row(replica)) if removed is not None else None
            if removed is not None and (row is None or row.forgotten < removed.removed):
                gone.append(replica)
                recovered.stale_rows[replica] = recovered.read.rows
        if gone:
            store.write((), store.mark.moved(recovered.settled, store.mark.group), [(name, None) for name in gone])

    def expect_conflicts(self, store: Changelogged, recovered: Recovered) -> None:
        """All states are taken: where the conflicts are read from their start, each that is open must be met."""
        if recovered.read.conflicts < 0:
            recovered.stale_conflicts.update(dict.fromkeys(store.disputes(), (0, None)))

    def take_conflicts(self, store: Changelogged, recovered: Recovered, records: Iterable[ChangelogRecord]) -> None:
        """Compare the conflicts of one partition with its states, which must be in the store."""

        def state_of(document: DocumentId, collection: Collection) -> DocumentState | None:
            value = store.get(document_key(document))
            try:
                return collection.type.new() if value is None else collection.codec.decode(value)
            except (ContractError, AlgebraError) as error:
                log.warning("a document is left as it is", document="/".join(document), error=str(error))
                return None

        records = [*records]
        last = {record.key: record for record in records}
        found: dict[bytes, set[bytes]] = {}
        ends: dict[bytes, bytes] = {}
        known = Disputes(store.dispute, lambda name: ends.get(name) or store.ended(name))
        purged = max([entry.purged for entry in self._forgot(store)], default=0)
        ground = Ground(state_of, known, ChainBook(store.row, self._rules.records).get, lambda: purged)
        self._learn_ends(ends, records, ground)
        for key, value, offset, _, _ in last.values():
            recovered.stale_conflicts.pop(key, None)
            recovered.doubted.pop(key, None)
            recovered.owed.pop(key, None)  # it is compared
            word, there = owners_word(self._rules, key, value, ground)
            if word is not None:
                recovered.stale_conflicts[key] = offset, value
            elif closing(self._rules, key, value, ground) is not None:
                recovered.doubt(key, offset)
            if there is not None and store.dispute(key) is None:
                document = document_key(there)
                found.setdefault(document, {*store.disputes_of(document)}).add(key)
        position = max([recovered.read.conflicts, *(record.offset for record in last.values())])
        recovered.read = recovered.read._replace(conflicts=position)
        passed = Passed(disputes={**found}, ends=ends)
        store.write((), store.mark.moved(recovered.settled, store.mark.group), passed=passed)

    def _learn_ends(self, ends: dict[bytes, bytes], records: Iterable[ChangelogRecord], ground: Ground) -> None:
        """How conflicts have ended by these records, as far as that is later than what is known."""
        for key, value, _, _, _ in records:
            found = said(self._rules, key, value)
            if found is None or value is None or not found.status.over:
                continue
            collection = self._rules.collections.get(found.document.collection)
            state = None if collection is None else ground.state_of(found.document, collection)
            if state is None or not seen(state, found, ground):
                continue
            assert collection is not None, "the state was read"
            true = conflicts.as_held(collection, state, conflicts.place_of(found.field), found)
            before = said(self._rules, key, ground.known.ended(key))
            if before is None or not later_end(before, true):
                ends[key] = value if true == found else self._rules.records.encode_conflict(true)

    def ended(self, store: Changelogged, recovered: Recovered, read: Positions) -> None:
        """The topics were read so far, though their last records may be gone: holes of compaction are read, too."""
        recovered.read = Positions(*map(max, recovered.read, read))
        store.write((), store.mark.moved(recovered.settled, store.mark.group))

    def _forgot(self, store: Changelogged) -> tuple[Forgot, ...]:
        row = self._row(CLOUD_REPLICA, store.row(CLOUD_REPLICA))
        return () if row is None else row.forgot

    def _row(self, replica: str, value: bytes | None) -> ChainRow | None:
        if value is None or "." not in replica:
            return None
        try:
            row = self._rules.records.decode_chain_row(value)
        except (Undecodable, UnknownSchema, ValueError) as error:  # anybody's tool may write to a topic
            log.warning("a chain row is not readable", replica=replica, error=str(error))
            return None
        return row if row.replica == replica else None
