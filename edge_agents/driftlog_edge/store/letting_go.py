"""Letting go of what only goes up: rows of confirmed documents leave the device when their time is over.

Never one with changes that the cloud has not confirmed, nor one that this release cannot read, nor while the partition is read again. The note of a row stays when it goes (`going_up`). So that notes do not grow for ever, the folder
draws a new life after many: a life that is over writes no more dots, so notes of its dots alone are of no use, and they go.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import NamedTuple

from driftlog_crdt import AlgebraError, Vector
from driftlog_edge.ports import Clock, Family, Place
from driftlog_edge.store import keys
from driftlog_edge.store.generations import return_of, serving
from driftlog_edge.store.going_up import GoingUp, Note, learnt, note_of, written
from driftlog_edge.store.journal import Journal
from driftlog_edge.store.lives import LET_GO, Lives
from driftlog_edge.store.pending import marks_of
from driftlog_schemas.errors import ContractError
from driftlog_schemas.identity import parse_document_key
from driftlog_schemas.state_codec import StateCodec

LOOK_AT = 100
"""Documents that one step looks at."""
AGAIN_MS = 86_400_000
"""When one is looked at again that was due and could not go. As a rule the state that settles it says before that when it is due."""
MOST_NOTES = 100_000
"""So many rows may have gone under one life."""


class Step(NamedTuple):
    """What one step writes. Stage it, then let views of these documents be made anew."""

    writes: dict[Place, bytes | None]
    documents: tuple[bytes, ...] = ()
    freed: int = 0
    """Bytes of rows."""


class LettingGo:
    """Passes over the rows that are due."""

    def __init__(
        self,
        codecs: Mapping[str, StateCodec],
        journal: Journal,
        going_up: GoingUp,
        lives: Lives,
        clock: Clock,
        gathers: bool = False,
    ) -> None:
        self._gathers = gathers
        self._codecs = codecs
        self._journal = journal
        self._going_up = going_up
        self._lives = lives
        self._clock = clock
        self._swept, self._left = b"", 0
        """Up to which note a sweep has come, and how many it has left behind it."""

    def step(self) -> Step | None:
        """Some of what is due; None when nothing is. Nothing goes from a folder that gathers."""
        if self._gathers:
            return None
        return self._rows() or self._notes()

    def _rows(self) -> Step | None:
        now = self._going_up.now_ms()
        found = islice(self._journal.scan(Family.META, keys.DUE), LOOK_AT)
        due = [(name, place) for name, place in found if keys.due_of(name) <= now]
        if not due:
            return None
        step, freed, went = Step({}, tuple(keys.document_of_due(name) for name, _ in due)), 0, 0
        for name, place in due:
            step.writes[Family.META, name] = None
            space, partition = keys.parse_place(place, b"")
            note = note_of(self._journal, space, partition, keys.document_of_due(name))
            if note is None or note.due_ms != keys.due_of(name):  # a folder was salvaged, and of the two one is older
                continue
            size = self._let_go(keys.document_of_due(name), note, space, partition, now, step.writes)
            freed, went = freed + size, went + bool(size)
        count, drawn = keys.unpack_pair(self._journal.get(Family.META, keys.NOTES))
        step.writes[Family.META, keys.NOTES] = keys.pack_pair(count + went, drawn)
        return step._replace(freed=freed)

    def _let_go(
        self, key: bytes, note: Note, space: str, partition: int, now: int, writes: dict[Place, bytes | None]
    ) -> int:
        """The bytes of its row."""
        row = keys.confirmed_prefix(space, partition, serving(self._journal, space, partition)) + key
        raw = self._journal.get(Family.CONFIRMED, row)
        waits = next(marks_of(self._journal, key), None) is not None or return_of(self._journal, space, partition)
        if raw is None and not waits:  # its scope was left
            writes.update(written(space, partition, key, note, note._replace(due_ms=0)))
            return 0
        vector = None if raw is None or waits else self._seen(key, row, raw)
        if raw is None or vector is None:
            writes.update(written(space, partition, key, note, note._replace(due_ms=now + AGAIN_MS)))
            return 0
        made = learnt(None, vector, self._lives.writing(space, partition))
        writes.update(written(space, partition, key, note, note._replace(due_ms=0, made=made)))
        writes[Family.CONFIRMED, row] = None
        return len(row) + len(raw)

    def _seen(self, key: bytes, row: bytes, raw: bytes) -> Vector | None:
        """What a row has seen; None where this release cannot tell."""
        codec = self._codecs.get(parse_document_key(key).collection)
        if codec is None or self._journal.get(Family.UNREAD, row) is not None:
            return None
        try:
            return codec.decode(raw).vector
        except (ContractError, AlgebraError):
            return None

    def _notes(self) -> Step | None:
        """A life is drawn when many rows have gone; then notes of dots of earlier ones go."""
        count, drawn = keys.unpack_pair(self._journal.get(Family.META, keys.NOTES))
        if count < MOST_NOTES or self._lives.stuck:
            return None
        if not drawn:
            _, writes = self._lives.begun(self._clock.wall_ms(), LET_GO)
            writes[Family.META, keys.NOTES] = keys.pack_pair(count, 1)
            return Step(writes)
        step, looked = Step({}), 0
        for name, raw in islice(self._journal.scan(Family.META, keys.GOING_UP, self._swept), LOOK_AT):
            looked, self._swept = looked + 1, name
            space, partition, key = keys.parse_note(name)
            note = Note.decode(raw)
            if note.due_ms or self._lives.writer(space, partition).replica in note.made:
                self._left += not note.due_ms
            else:
                step.writes.update(written(space, partition, key, note, None))
        if not looked:  # those of a partition where something waits under the life of before go with a later sweep, when as many more have gone
            step.writes[Family.META, keys.NOTES] = keys.pack_pair(min(self._left, MOST_NOTES // 2), 0)
            self._swept, self._left = b"", 0
        return step
