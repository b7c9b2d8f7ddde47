"""What the owner of a partition says to what somebody else has written into its topics, so that the last word there is its own.

Whoever writes there beside it was its owner before, or is nobody: the word may be older than what the owner has merged, or than what it has
forgotten. What knows as much is left alone. `core/restoration` does the same for what was written while nobody owned the partition.
"""

from __future__ import annotations

from collections.abc import Container

import structlog

from driftlog_crdt import BadEncoding, DocumentState, Vector, dominates, epoch_of
from driftlog_schemas.errors import RegistryUnreachable, Undecodable, UnknownSchema
from driftlog_schemas.identity import DocumentId, document_key
from driftlog_schemas.messages import Verdict
from driftlog_streams.core import chain
from driftlog_streams.core.conflict_answers import Ground, owners_word
from driftlog_streams.core.conflict_doubts import closing
from driftlog_streams.core.parking import Parking
from driftlog_streams.core.partition import Partition
from driftlog_streams.core.rules import Collection
from driftlog_streams.core.work import OutRecord

log = structlog.get_logger()


class Answers:
    """Of one partition."""

    def __init__(self, partition: Partition, parking: Parking) -> None:
        self._at = partition
        self._parking = parking
        self._ground = Ground(
            self._state_of, partition.disputes, partition.book.get, self._purged, self._ends_known, self._forgetful
        )
        self.late: Container[bytes] = ()
        """Keys of documents that somebody published while the partition was taken over: the ends of their conflicts may have come later."""

    def heard(self, key: bytes, value: bytes | None, number: int) -> bool:
        """`value` is the last record of a document in the state topic, of group `number`: unless it has seen all that our state has, ours is
        published again; so is that there is none, over what was before a purge. Was that so?

        A group of which all ops are merged here can hold no document that is not: it was purged, however long ago.
        """
        entry = self._at.entry_at(key)
        if entry is None:
            return False
        theirs: Vector = {}
        ours = entry.state.vector
        if entry.collection.type.blank(entry.state):
            ours = {}
            purged = self._at.memory.purged if number <= self._at.offset else 0
            entry.purged = entry.purged or self._at.cache.purged(key) or purged
        if value is not None:
            try:
                theirs = entry.collection.codec.decode(value).vector
            except (Undecodable, UnknownSchema, RegistryUnreachable, BadEncoding) as error:
                log.warning("a state record that nobody can read", document=key.decode(), error=str(error))
        before = not ours and bool(theirs) and epoch_of(theirs) < entry.purged
        return (before or not dominates(theirs, ours)) and self._at.publish_again(key)

    def heard_row(self, key: bytes, value: bytes | None) -> bool:
        """`value` is the last record of a replica in the receipts topic: unless it knows what our row knows, ours is published
        again. Was that so? What stands under a device's name is nobody's row.
        """
        replica = key.decode(errors="replace")
        row = self._at.book.held(replica)
        if row is None and value is not None and self._at.book.get(replica) is not None:
            self._at.publish_row_again(replica)  # it was removed
            return True
        if row is None or value == self._at.rules.records.encode_chain_row(row):
            return False
        try:
            found = None if value is None else self._at.rules.records.decode_chain_row(value)
        except (Undecodable, UnknownSchema, RegistryUnreachable, ValueError) as error:
            log.warning("a chain row is not readable", replica=replica, error=str(error))
            found = None
        if (
            found is not None
            and found.replica == replica
            and chain.later(row, found) is found
            and not row.offset
            < found.offset
            <= self._at.offset  # that record we have merged: it was none of this chain
        ):
            return False
        self._at.publish_row_again(replica)
        return True

    def heard_conflict(self, key: bytes, value: bytes | None) -> bool:
        """`value` is the last record of a conflict: unless it says what our state says, ours is published. Was that so?"""
        word, _ = owners_word(self._at.rules, key, value, self._ground)
        if word is not None:
            self._tell_conflict(key, word)
        return word is not None

    def doubts_conflict(self, key: bytes, value: bytes | None) -> bool:
        """Does the last record of a conflict name writes that are not here, so that it must be looked at again (see `conflict_doubts`)?"""
        return closing(self._at.rules, key, value, self._ground) is not None

    def close_conflict(self, key: bytes, value: bytes | None) -> bool:
        """`value` was doubted, and all is merged that there was when it was read. If its writes are here by now it is judged as ever, and if not it is
        closed. Was it answered?
        """
        if self.heard_conflict(key, value):
            return True
        word = closing(self._at.rules, key, value, self._ground)
        if word is not None:
            log.warning("a conflict of writes that nobody has", conflict=key.decode(errors="replace"))
            self._tell_conflict(key, word.value)
        return word is not None

    def _tell_conflict(self, key: bytes, value: bytes | None) -> None:
        self._at.work.carried.append(OutRecord(self._at.rules.topics.conflicts, self._at.number, key, value))

    def heard_parked(self, key: bytes, value: bytes | None) -> bool:
        """`value` is the last record of a name in the parked topic: unless it says what we know, ours is published, a tombstone for what does
        not wait. Was that so?

        What waits by its row and not here this release cannot read, or not yet: a word on it is left for one that can.
        """
        arrival = self._parking.get(key)
        if arrival is None and (value is None or self._may_wait(key, value)):
            return False
        records = self._at.records
        ours = records.released_as(key) if arrival is None else records.parked(arrival)
        if ours.value == value:
            return False
        self._at.work.carried.append(ours)
        return True

    def _may_wait(self, key: bytes, value: bytes) -> bool:
        """Can a command that does not wait here be waiting by what somebody says?"""
        try:
            word = self._at.rules.records.decode_parked(value)
            replica, number, _ = key.decode().split("/", 2)
            row = self._at.book.get(replica)
            entry = None if row is None else chain.entry_of(row, int(number))
            return entry is not None and chain.verdict_of(entry, word.command).verdict is Verdict.PARKED
        except (UnknownSchema, RegistryUnreachable):
            return True
        except (Undecodable, ValueError) as error:
            log.warning("a parked command is not readable", error=str(error))
            return False

    def _purged(self) -> int:
        return self._at.memory.purged

    def _ends_known(self, document: DocumentId) -> bool:
        return document_key(document) not in self.late

    def _forgetful(self) -> bool:
        return self._at.memory.now.floor >= 0

    def _state_of(self, document: DocumentId, collection: Collection) -> DocumentState | None:
        entry = self._at.entry_of(document)
        return None if entry is None else entry.state
