"""Letting go of what only goes up: rows of confirmed documents leave the device when their time is over.

Never one with changes that the cloud has not confirmed. The note of a row stays when it goes (`going_up`). So that notes do not grow for ever, the folder
draws a new life after many: a life that is over writes no more dots, so notes of its dots alone are of no use, and they go.
"""

from __future__ import annotations

from itertools import islice
from typing import NamedTuple

from driftlog_edge.ports import Clock, Family, Place
from driftlog_edge.store import keys
from driftlog_edge.store.generations import coming, serving
from driftlog_edge.store.going_up import GoingUp, Note, note_of, written
from driftlog_edge.store.journal import Journal
from driftlog_edge.store.lives import LET_GO, Lives
from driftlog_edge.store.pending import marks_of

LOOK_AT = 100
"""Documents that one step looks at."""
AGAIN_MS = 3_600_000
"""When one is looked at again that was due and had changes pending."""
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

    def __init__(self, journal: Journal, going_up: GoingUp, lives: Lives, clock: Clock) -> None:
        self._journal = journal
        self._going_up = going_up
        self._lives = lives
        self._clock = clock
        self._swept, self._left = b"", 0
        """Up to which note a sweep has come, and how many it has left behind it."""

    def step(self) -> Step | None:
        """Some of what is due; None when nothing is."""
        return self._rows() or self._notes()

    def _rows(self) -> Step | None:
        now = self._going_up.now_ms()
        found = islice(self._journal.scan(Family.META, keys.DUE), LOOK_AT)
        due = [(keys.document_of_due(key), place) for key, place in found if keys.due_of(key) <= now]
        if not due:
            return None
        step, freed, went = Step({}, tuple(key for key, _ in due)), 0, 0
        for key, place in due:
            size = self._let_go(key, *keys.parse_place(place, b""), now, step.writes)
            freed, went = freed + size, went + bool(size)
        count, drawn = keys.unpack_pair(self._journal.get(Family.META, keys.NOTES))
        step.writes[Family.META, keys.NOTES] = keys.pack_pair(count + went, drawn)
        return step._replace(freed=freed)

    def _let_go(self, key: bytes, space: str, partition: int, now: int, writes: dict[Place, bytes | None]) -> int:
        """The bytes of its row."""
        note = note_of(self._journal, space, partition, key)
        assert note is not None, "what is due has a note"
        if next(marks_of(self._journal, key), None) is not None:
            writes.update(written(space, partition, key, note, note._replace(due_ms=now + AGAIN_MS)))
            return 0
        writes.update(written(space, partition, key, note, note._replace(due_ms=0)))
        size = 0
        for generation in {serving(self._journal, space, partition), coming(self._journal, space, partition)}:
            row = keys.confirmed_prefix(space, partition, generation) + key
            for place in ((Family.CONFIRMED, row), (Family.UNREAD, row)):
                if (raw := self._journal.get(*place)) is not None:
                    writes[place] = None
                    size += len(raw)
        return size

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
        if not looked:
            step.writes[Family.META, keys.NOTES] = keys.pack_pair(self._left, 0)
            self._swept, self._left = b"", 0
        return step
