"""The last moments of each document on disk: what was done to it, and what it was then.

A moment is what one record of the op log has done to one document. The last ones of each document are kept, and all together in so many bytes: the
oldest go first, and it is said up to when they went. What is put here reaches the disk with `flush`, all at once; a page reads what is there.

Keys: `m` + document + number -> moment, `d` + document -> which numbers there are, `p` + place + name -> a command that waits, `r` + place + minute ->
what was decided then, `o` + place -> how far it goes; and those of devices' commands (`by_device`).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from driftlog_console.history.by_device import SentBatch, SentByDevice, is_of_device
from driftlog_console.history.table import Table, eight, number_in, where
from driftlog_schemas.contract import Json
from driftlog_schemas.identity import DocumentId, document_key
from driftlog_streams.replaying.retelling import Change, Decided, Step

PER_DOCUMENT = 500
MOST_BYTES = 1 << 30
LONG_VALUE = 32 << 10
"""A value of more characters is not kept at each moment."""
MINUTES = 24 * 60
"""For so long it is known how many commands were decided in each."""
_counts = msgspec.json.Decoder(dict[str, int]).decode
_STEP = tuple(one.name for one in fields(Step))


@dataclass(frozen=True, slots=True)
class Moment:
    """What one record did to a document. `value` is what a reader got after it, None where it was deleted."""

    offset: int
    at_ms: int
    steps: tuple[Step, ...]
    value: Mapping[str, Json] | None
    known: str = ""
    """Why the value is not known; empty if it is."""


class Past(NamedTuple):
    """Some of a document's moments, the oldest first."""

    moments: Sequence[Moment]
    older: bool
    """Are older ones kept?"""
    newer: bool
    gone_ms: int
    """When the last of those was that are kept no more; 0 for none."""

    def with_steps(self, of: Callable[[Step], Step]) -> Past:
        """The same with each step as `of` makes it."""
        return self._replace(moments=[replace(one, steps=tuple(map(of, one.steps))) for one in self.moments])


class Reached(NamedTuple):
    """How far the history of a partition goes."""

    following: int = 0
    """Offset of the op record that comes next."""
    at_ms: int = 0
    """When the last one that was read was appended."""
    began_ms: int = 0
    """Of a log whose beginning is gone, when the first that is left was appended; else 0."""
    cut: bool = False
    """Was the beginning gone? Then nobody can tell what became of the rest."""


class _Known(NamedTuple):
    first: int = 0
    following: int = 0
    gone_ms: int = 0


class KeptHistory:
    """One thread writes; any may read."""

    def __init__(self, folder: Path, per_document: int = PER_DOCUMENT, most_bytes: int = MOST_BYTES) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._table = Table(folder / "kept", most_bytes)
        self._per_document = per_document
        self.devices = SentByDevice(self._table)

    def close(self) -> None:
        """Give the folder free; what was not flushed is forgotten."""
        self._table.close()

    # -- writing

    def take(self, space: str, document: DocumentId, moment: Moment) -> None:
        """The next moment of a document; one that is there already stays."""
        name = _name(space, document)
        known = self._known(name)
        last = self._at(name, known.following - 1) if known.following > known.first else None
        if last is not None and last.offset >= moment.offset:
            return
        self._table.enter(b"m" + name + eight(known.following), _encoded(moment, self._table.serial), name)
        known = known._replace(following=known.following + 1)
        self._table.put(b"d" + name, _line(known))
        if known.following - known.first > self._per_document:
            self._drop_first(name)
        self._make_room()

    def send(self, space: str, partition: int, device: str, batch: SentBatch) -> None:
        """The next record of a device in this partition; one that is there already stays."""
        self.devices.take(space, partition, device, batch)
        self._make_room()

    def decide(self, space: str, decided: Decided) -> None:
        """A step that waited has been decided; where it is kept no more, nothing is."""
        name, outcome = _name(space, decided.document), decided.outcome
        known = self._known(name)
        place = self._place(name, known, decided.offset)
        moment = self._at(name, place) if place >= known.first else None
        if moment is None or moment.offset != decided.offset:
            return
        steps = tuple(
            replace(step, outcome=outcome.verdict.value, code=outcome.code, reason=outcome.reason)
            if step.command_id == decided.command_id
            else step
            for step in moment.steps
        )
        key = b"m" + name + eight(place)
        before = self._table.get(key)
        assert before is not None, "a moment that was read is there"
        self._table.change(key, before, _encoded(replace(moment, steps=steps), json.loads(before)["f"]))

    def wait(self, space: str, partition: int, name: bytes, parked: bytes | None) -> None:
        """A command waits, or does no more."""
        self._table.put(b"p" + where(space, partition) + name, parked)

    def count(self, space: str, partition: int, minute: int, decided: Mapping[str, int]) -> None:
        """So many commands were decided so in this minute, besides those that are counted."""
        key = b"r" + where(space, partition) + eight(minute)
        counts = Counter(_counts(self._table.get(key) or b"{}"))
        counts.update(decided)
        self._table.put(key, json.dumps(counts).encode())

    def reach(self, space: str, partition: int, reached: Reached) -> None:
        """All is taken up to there."""
        self._table.put(b"o" + where(space, partition), json.dumps(reached).encode())

    def forget_minutes(self, space: str, partition: int, before: int) -> None:
        """What was decided earlier than this minute is counted no more."""
        start = b"r" + where(space, partition)
        for key, _ in self._table.scan(start):
            if number_in(key) >= before:
                return
            self._table.put(key, None)

    def flush(self) -> None:
        """All of it is on disk, or nothing. Raises `StoreFailed`."""
        self._table.flush()

    def discard(self) -> None:
        """Forget what was not flushed."""
        self._table.discard()

    # -- reading

    def page(self, space: str, document: DocumentId, limit: int, before: int | None = None) -> Past:
        """The last moments, or the last ones before an offset."""
        name = _name(space, document)
        known = _parsed(self._table.stored(b"d" + name))
        end = known.following if before is None else self._place(name, known, before - 1) + 1
        start = max(known.first, end - limit)
        found = [moment for n in range(start, end) if (moment := self._stored(name, n)) is not None]
        return Past(found, start > known.first, end < known.following, known.gone_ms)

    def at(self, space: str, document: DocumentId, offset: int) -> Moment | None:
        """The last moment up to this offset; None where none is kept."""
        name = _name(space, document)
        known = _parsed(self._table.stored(b"d" + name))
        place = self._place(name, known, offset)
        return self._stored(name, place) if place >= known.first else None

    def parked(self, space: str, partition: int) -> dict[bytes, bytes]:
        """What waits, by name."""
        start = b"p" + where(space, partition)
        return {key[len(start) :]: value for key, value in self._table.scan(start)}

    def minutes(self, space: str, partition: int, since: int) -> dict[int, dict[str, int]]:
        """Minute -> what was decided in it, as counts."""
        start = b"r" + where(space, partition)
        return {number_in(key): _counts(value) for key, value in self._table.scan(start, start + eight(max(0, since)))}

    def reached(self, space: str, partition: int) -> Reached | None:
        """How far it goes; None where nothing was read yet."""
        value = self._table.get(b"o" + where(space, partition))
        return None if value is None else Reached(*json.loads(value))

    # --

    def _make_room(self) -> None:
        for owner in self._table.overfull():
            if is_of_device(owner):
                self.devices.drop_first(owner)
            else:
                self._drop_first(owner)

    def _drop_first(self, name: bytes) -> None:
        known = self._known(name)
        key = b"m" + name + eight(known.first)
        value = self._table.get(key)
        if value is None:
            return
        found = json.loads(value)
        self._table.leave(key, value, found["f"])
        self._table.put(b"d" + name, _line(_Known(known.first + 1, known.following, found["ms"])))

    def _place(self, name: bytes, known: _Known, offset: int) -> int:
        """The number of the last moment up to an offset; below the first where there is none."""
        low, high = known.first, known.following
        while low < high:
            middle = (low + high) // 2
            moment = self._at(name, middle)
            if moment is None or moment.offset <= offset:
                low = middle + 1
            else:
                high = middle
        return low - 1

    def _known(self, name: bytes) -> _Known:
        return _parsed(self._table.get(b"d" + name))

    def _at(self, name: bytes, number: int) -> Moment | None:
        return _decoded(self._table.get(b"m" + name + eight(number)))

    def _stored(self, name: bytes, number: int) -> Moment | None:
        return _decoded(self._table.stored(b"m" + name + eight(number)))


def _encoded(moment: Moment, serial: int) -> bytes:
    steps = [{name: getattr(step, name) for name in _STEP} for step in moment.steps]
    whole = {"f": serial, "o": moment.offset, "ms": moment.at_ms, "s": steps, "v": moment.value, "k": moment.known}
    value = json.dumps(whole, ensure_ascii=False, separators=(",", ":"))
    return value.encode()


def _decoded(value: bytes | None) -> Moment | None:
    if value is None:
        return None
    found: dict[str, Any] = json.loads(value)
    steps = (Step(**{**one, "changes": tuple(Change(*c) for c in one["changes"]), "now": {}}) for one in found["s"])
    return Moment(found["o"], found["ms"], tuple(steps), found["v"], found["k"])


def _line(known: _Known) -> bytes:
    return b"%d,%d,%d" % known


def _parsed(value: bytes | None) -> _Known:
    return _Known() if value is None else _Known(*map(int, value.split(b",")))


def _name(space: str, document: DocumentId) -> bytes:
    return blake2b(space.encode() + b"\x00" + document_key(document), digest_size=16).digest()
