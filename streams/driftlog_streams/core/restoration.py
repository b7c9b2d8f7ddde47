"""What the records of a changelog make of a partition's store, before the first op is merged.

What a crash leaves behind is a *torn tail*: state records and chain rows of flights that were never acknowledged, so their ops are
read again. What had been decided is known by the rows: no state leaves before the row that says what became of a command of
several documents, or of one that was not plainly accepted. So recovery keeps rows and states, and guesses nothing.

A record whose group number is below one already seen was published by another life (after a crash, or by a frozen
worker that woke): it may be older than what it would replace, so it is joined with it, never put over it, and the document is
published again. The same where one of the two says that the document was purged: what began after the purge is newer than it, and what
was there before is older (see `memory`). Rows and conflicts that are behind what we know are answered likewise. Until that has happened
the store's mark stays before them (`Recovered.settled`).
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import structlog

from driftlog_crdt import AlgebraError, DocumentState, Place, epoch_of
from driftlog_schemas import groups
from driftlog_schemas.errors import ContractError, Undecodable, UnknownSchema
from driftlog_schemas.identity import CLOUD_REPLICA, OVER_REPLICA, DocumentId, document_key, parse_document_key
from driftlog_schemas.messages import ChainRow, Forgot, ParkedCommand
from driftlog_schemas.record_codecs import conflict_id
from driftlog_schemas.row_columns import short_name
from driftlog_streams.core import conflicts
from driftlog_streams.core.chain import later
from driftlog_streams.core.chain_book import ChainBook
from driftlog_streams.core.changelog_record import ChangelogRecord
from driftlog_streams.core.conflict_answers import Ground, owners_word, said, seen
from driftlog_streams.core.conflict_answers import later as later_end
from driftlog_streams.core.conflict_doubts import MAX_DOUBTED, closing
from driftlog_streams.core.digest_counting import DigestCounting
from driftlog_streams.core.disputes import Disputes
from driftlog_streams.core.open_groups import Tail
from driftlog_streams.core.passed import Passed
from driftlog_streams.core.rules import Collection, SpaceRules
from driftlog_streams.core.store_mark import DIGESTS, NOTHING, Positions, StoreMark

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


@dataclass(slots=True)
class Recovered:
    """What a merger of a recovered partition must know."""

    read: Positions = NOTHING
    """how far the topics were read"""
    had: int = -1
    """the highest group that the store had before"""
    stale: dict[bytes, int] = field(default_factory=dict)
    """documents whose last record in the topic is behind the store, and where their cut begins: to be published again"""
    stale_rows: dict[str, int] = field(default_factory=dict)
    """replicas whose last row in the topic is behind the store, and its offset"""
    stale_conflicts: dict[bytes, tuple[int, bytes | None]] = field(default_factory=dict)
    """conflicts whose last record in the topic is not what the state says, with its offset and value; of those that are read for the first time also
    those that were not met"""
    doubted: dict[bytes, int] = field(default_factory=dict)
    """conflicts whose last record in the topic names writes that the states do not have, and its offset (see `conflict_doubts`)"""
    undoubted: int = -1
    """Where more of these begin than can be kept: from here on the conflicts must be read again; -1 for nowhere"""
    owed: dict[bytes, tuple[int, bytes, Place]] = field(default_factory=dict)
    """conflicts that had grown, by id, whose record was not met since: the offset of the state that says so, its key, and the place"""
    tail: Tail = field(default_factory=Tail)
    """of the state topic"""
    parked: list[ParkedCommand] = field(default_factory=list)
    """in order of parking"""
    spoiled: list[bytes] = field(default_factory=list)
    """names of which the last record in the parked topic is no true word"""
    parked_read: int = -1
    """how far the parked topic was read"""
    records: int = 0
    committed: int = 0
    ops_end: int = sys.maxsize
    """where the op topic ended when recovery began: what names a record behind that is of no worker"""

    def doubt(self, name: bytes, offset: int) -> None:
        """The last record of this conflict, there, names writes that the states do not have."""
        if len(self.doubted) < MAX_DOUBTED:
            self.doubted[name] = offset
        else:
            self.undoubted = offset if self.undoubted < 0 else min(self.undoubted, offset)

    @property
    def answers(self) -> bool:
        """Is there somebody else's word to answer?"""
        return bool(self.stale or self.stale_rows or self.stale_conflicts or self.owed)

    @property
    def settled(self) -> Positions:
        """How far the topics are right, whatever happens before it is answered."""
        owed = [offset for offset, _, _ in self.owed.values()]
        wrong = [*self.stale.values(), *owed] + [self.tail.start] * self.tail.open
        disputes = [*(offset for offset, _ in self.stale_conflicts.values()), *self.doubted.values()]
        disputes += [self.undoubted] * (self.undoubted >= 0)
        first = Positions(*(min(o, default=1 << 62) - 1 for o in (wrong, self.stale_rows.values(), disputes)))
        return first.before(self.read)


class Restoration:
    """Takes changelog records into stores."""

    def __init__(self, rules: SpaceRules) -> None:
        self._rules = rules
        self._counting = DigestCounting(rules)

    def take(self, store: Changelogged, recovered: Recovered, records: Iterable[ChangelogRecord]) -> None:
        """Put state records of one partition into its store."""
        states: dict[bytes, bytes | None] = {}
        owing: dict[bytes, int] = {}
        fought: set[bytes] = set()
        passed = Passed()
        highest, position = store.mark.group, recovered.read.states
        forgot = [entry for entry in self._forgot(store) if entry.offset <= recovered.had]
        for record in records:
            key, value, offset, headers, _ = record
            if offset <= position:
                continue
            position = offset
            begin = recovered.tail.take(record)
            mark = groups.parse(headers)
            number = mark.number
            if not 0 <= number < recovered.ops_end:
                log.warning(
                    "a state that no worker wrote is passed over", key=key.decode(errors="replace"), offset=offset
                )
                recovered.stale[key] = begin
                continue
            recovered.stale.pop(key, None)
            if mark.owed:
                owing[key] = offset
            (fought.add if mark.disputed else fought.discard)(key)
            if number < highest:
                known = states[key] if key in states else store.get(key)
                gone = 0 if known is not None else passed.gone.get(key) or store.purged(key) or _over(forgot, number)
                kept = self._of_two(key, value, mark, known, gone)
                if kept != value:
                    recovered.stale[key] = begin
                value, mark = kept, mark._replace(number=highest, purged=gone or mark.purged)
            highest = max(highest, number)
            states[key] = value
            passed.take(key, value, mark, partial(self._deleted, key))
            recovered.records += 1
        for key, offset in owing.items():
            recovered.owed.update(self._owed(key, states[key], offset))
        if next(iter(store.disputes()), None) is not None:
            passed.disputes.update(dict.fromkeys(states, ()))
        passed.disputes.update({key: self._names(key, states[key]) for key in fought})
        recovered.read = recovered.read._replace(states=position)
        digests = self._counting.changed(store, states)
        store.write(states.items(), store.mark.moved(recovered.settled, highest), passed=passed, digests=digests)

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
        position = recovered.read.rows
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
            ahead = found.offset >= recovered.ops_end
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
            before = said(self._rules, key, ground.known.ended(key))
            if before is None or not later_end(before, found):
                ends[key] = value

    def ended(self, store: Changelogged, recovered: Recovered, read: Positions) -> None:
        """The topics were read so far, though their last records may be gone: holes of compaction are read, too."""
        recovered.read = Positions(*map(max, recovered.read, read))
        store.write((), store.mark.moved(recovered.settled, store.mark.group))

    def _owed(self, key: bytes, value: bytes | None, offset: int) -> Iterator[tuple[bytes, tuple[int, bytes, Place]]]:
        """The conflicts of a document of which one had grown and may not be told as it stands."""
        state = None if value is None else self._decoded(key, value)
        if state is not None:
            document = parse_document_key(key)
            for place in conflicts.places(self._rules.collections[document.collection], state):
                name = conflict_id(document, conflicts.place_name(*place))
                yield name.encode(), (offset, key, place)

    def _names(self, key: bytes, value: bytes | None) -> Sequence[bytes]:
        """The names of a document's conflicts."""
        state = None if value is None else self._decoded(key, value)
        if state is None:
            return ()
        document = parse_document_key(key)
        return tuple(conflicts.names(document, self._rules.collections[document.collection], state))

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

    def _of_two(
        self, key: bytes, value: bytes | None, mark: groups.GroupMark, known: bytes | None, gone: int
    ) -> bytes | None:
        """What stands after a record that may be older than what is known: known by a state, by its purge, or not at all."""
        if value is None:
            return known if known is not None and self._epoch(key, known) >= mark.purged else None
        if known is None:
            return None if gone and self._epoch(key, value) < gone else value
        return self._joined(key, value, known)

    def _epoch(self, key: bytes, value: bytes) -> int:
        """Since which purge a document has been there; without end where this release cannot tell."""
        state = self._decoded(key, value)
        return sys.maxsize if state is None else epoch_of(state.vector)

    def _deleted(self, key: bytes, value: bytes) -> bool:
        state = self._decoded(key, value)
        collection = self._rules.collections.get(parse_document_key(key).collection) if state is not None else None
        return state is not None and collection is not None and not collection.type.exists(state)

    def _decoded(self, key: bytes, value: bytes) -> DocumentState | None:
        try:
            return self._rules.collections[parse_document_key(key).collection].codec.decode(value)
        except (ValueError, KeyError, ContractError, AlgebraError):
            return None

    def _joined(self, key: bytes, value: bytes, stored: bytes | None) -> bytes:
        """Both sides' ops; what the store has where this release can read one of them not."""
        if stored is None or stored == value:
            return value
        try:
            document = parse_document_key(key)
            collection = self._rules.collections[document.collection]
            state = collection.type.join(collection.codec.decode(stored), collection.codec.decode(value))
            return collection.codec.encode(document, state)
        except (ValueError, KeyError, ContractError, AlgebraError) as error:
            log.warning(
                "two words on a document that this release cannot read",
                key=key.decode(errors="replace"),
                error=str(error),
            )
            return stored


def _over(forgot: Sequence[Forgot], number: int) -> int:
    """By which purge a document is over of which a store that had come beyond these has nothing, and a group below one of their floors tells.

    All that stands below a floor was published, and was in that store, before the floor was said.
    """
    return max([entry.purged for entry in forgot if number < entry.floor], default=0)
