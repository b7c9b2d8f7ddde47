"""The last moments of each document on disk: what was done to it, and what it was then.

A moment is what one record of the op log has done to one document. The last ones of each document are kept, and all together in so many bytes: the
oldest go first, and it is said up to when they went. What is put here reaches the disk with `flush`, all at once; a page reads what is there.

Keys: `m` + document + number -> moment, `d` + document -> which numbers there are, `f` + serial -> whose moment that was, `p` + place + name ->
a command that waits, `r` + place + minute -> what was decided then, `o` + place -> how far it goes.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from rocksdict import Options, Rdict, WriteBatch

from driftlog_schemas.contract import Json
from driftlog_schemas.identity import DocumentId, document_key
from driftlog_streams.errors import StoreFailed
from driftlog_streams.replaying.retelling import Change, Decided, Step

PER_DOCUMENT = 500
MOST_BYTES = 1 << 30
LONG_VALUE = 32 << 10
"""A value of more characters is not kept at each moment."""
MINUTES = 24 * 60
"""For so long it is known how many commands were decided in each."""
_NUMBER = 8
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
        self._db = Rdict(str(folder / "kept"), options=_options())
        self._per_document, self._most_bytes = per_document, most_bytes
        self._pending: dict[bytes, bytes | None] = {}
        self._bytes = self._oldest = self._serial = 0
        self.discard()

    def close(self) -> None:
        """Give the folder free; what was not flushed is forgotten."""
        self._db.close()

    # -- writing

    def take(self, space: str, document: DocumentId, moment: Moment) -> None:
        """The next moment of a document; one that is there already stays."""
        name = _name(space, document)
        known = self._known(name)
        last = self._at(name, known.following - 1) if known.following > known.first else None
        if last is not None and last.offset >= moment.offset:
            return
        value = _encoded(moment, self._serial)
        self._pending[b"m" + name + _eight(known.following)] = value
        self._pending[b"f" + _eight(self._serial)] = name
        self._bytes += len(value)
        self._serial += 1
        known = known._replace(following=known.following + 1)
        self._pending[b"d" + name] = _line(known)
        if known.following - known.first > self._per_document:
            self._drop_first(name)
        while self._bytes > self._most_bytes and self._oldest < self._serial:
            owner = self._get(b"f" + _eight(self._oldest))
            self._oldest += 1
            if owner is not None:
                self._drop_first(owner)

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
        key = b"m" + name + _eight(place)
        before = self._get(key)
        assert before is not None, "a moment that was read is there"
        value = _encoded(replace(moment, steps=steps), json.loads(before)["f"])
        self._bytes += len(value) - len(before)
        self._pending[key] = value

    def wait(self, space: str, partition: int, name: bytes, parked: bytes | None) -> None:
        """A command waits, or does no more."""
        self._pending[b"p" + _where(space, partition) + name] = parked

    def count(self, space: str, partition: int, minute: int, decided: Mapping[str, int]) -> None:
        """So many commands were decided so in this minute, besides those that are counted."""
        key = b"r" + _where(space, partition) + _eight(minute)
        counts = Counter(_counts(self._get(key) or b"{}"))
        counts.update(decided)
        self._pending[key] = json.dumps(counts).encode()

    def reach(self, space: str, partition: int, reached: Reached) -> None:
        """All is taken up to there."""
        self._pending[b"o" + _where(space, partition)] = json.dumps(reached).encode()

    def forget_minutes(self, space: str, partition: int, before: int) -> None:
        """What was decided earlier than this minute is counted no more."""
        start = b"r" + _where(space, partition)
        for key, _ in self._scan(start):
            if key[-_NUMBER:] >= _eight(before):
                return
            self._pending[key] = None

    def flush(self) -> None:
        """All of it is on disk, or nothing. Raises `StoreFailed`."""
        if not self._pending:
            return
        self._pending[b"!bytes"] = b"%d" % self._bytes
        self._pending[b"!serials"] = b"%d,%d" % (self._oldest, self._serial)
        try:
            batch = WriteBatch(raw_mode=True)
            for key, value in self._pending.items():
                if value is None:
                    batch.delete(key)
                else:
                    batch.put(key, value)
            self._db.write(batch)
        except Exception as error:  # rocksdict raises plain Exception for everything
            raise StoreFailed(
                f"the history cannot be kept: {error}", "look at the disk of the console's folder"
            ) from error
        self._pending.clear()

    def discard(self) -> None:
        """Forget what was not flushed."""
        self._pending.clear()
        self._bytes = int(self._db.get(b"!bytes") or b"0")
        self._oldest, self._serial = map(int, (self._db.get(b"!serials") or b"0,0").split(b","))

    # -- reading

    def page(self, space: str, document: DocumentId, limit: int, before: int | None = None) -> Past:
        """The last moments, or the last ones before an offset."""
        name = _name(space, document)
        known = _parsed(self._db.get(b"d" + name))
        end = known.following if before is None else self._place(name, known, before - 1) + 1
        start = max(known.first, end - limit)
        found = [moment for n in range(start, end) if (moment := self._stored(name, n)) is not None]
        return Past(found, start > known.first, end < known.following, known.gone_ms)

    def at(self, space: str, document: DocumentId, offset: int) -> Moment | None:
        """The last moment up to this offset; None where none is kept."""
        name = _name(space, document)
        known = _parsed(self._db.get(b"d" + name))
        place = self._place(name, known, offset)
        return self._stored(name, place) if place >= known.first else None

    def parked(self, space: str, partition: int) -> dict[bytes, bytes]:
        """What waits, by name."""
        start = b"p" + _where(space, partition)
        return {key[len(start) :]: value for key, value in self._scan(start)}

    def minutes(self, space: str, partition: int, since: int) -> dict[int, dict[str, int]]:
        """Minute -> what was decided in it, as counts."""
        start = b"r" + _where(space, partition)
        return {
            int.from_bytes(key[-_NUMBER:], "big"): _counts(value)
            for key, value in self._scan(start, start + _eight(max(0, since)))
        }

    def reached(self, space: str, partition: int) -> Reached | None:
        """How far it goes; None where nothing was read yet."""
        value = self._get(b"o" + _where(space, partition))
        return None if value is None else Reached(*json.loads(value))

    # --

    def _drop_first(self, name: bytes) -> None:
        known = self._known(name)
        key = b"m" + name + _eight(known.first)
        value = self._get(key)
        if value is None:
            return
        found = json.loads(value)
        self._pending[key] = self._pending[b"f" + _eight(found["f"])] = None
        self._bytes -= len(value)
        self._pending[b"d" + name] = _line(_Known(known.first + 1, known.following, found["ms"]))

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
        return _parsed(self._get(b"d" + name))

    def _at(self, name: bytes, number: int) -> Moment | None:
        return _decoded(self._get(b"m" + name + _eight(number)))

    def _stored(self, name: bytes, number: int) -> Moment | None:
        return _decoded(self._db.get(b"m" + name + _eight(number)))

    def _get(self, key: bytes) -> bytes | None:
        if key in self._pending:
            return self._pending[key]
        value: bytes | None = self._db.get(key)
        return value

    def _scan(self, prefix: bytes, start: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        cursor = self._db.iter()
        cursor.seek(max(prefix, start))
        while cursor.valid() and (key := cursor.key()).startswith(prefix):
            yield key, cursor.value()
            cursor.next()


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


def _where(space: str, partition: int) -> bytes:
    return space.encode() + b"\x00" + partition.to_bytes(4, "big")


def _eight(number: int) -> bytes:
    return number.to_bytes(_NUMBER, "big")


def _options() -> Options:
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_write_buffer_size(8 << 20)
    options.set_max_open_files(100)
    options.set_keep_log_file_num(2)
    return options
