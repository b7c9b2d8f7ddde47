"""The last commands of each device, as the op logs that are followed tell them: what was asked, of which documents, and what became of it. No values.

An entry is one record of a log. Of each device the last ones in each partition are kept, so many that they have `PER_DEVICE` commands; they count towards
the room of all that is kept. Devices' commands are known from the record on at which this began.

Keys: `c` + device + place + number -> entry, `h` + device + place -> which numbers there are, `i` + place -> since when devices' commands are kept.
"""

from __future__ import annotations

import heapq
import json
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from itertools import islice
from typing import NamedTuple

import msgspec

from driftlog_console.history.table import Table, eight, where
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.messages import CommandOutcome

PER_DEVICE = 50
"""So many commands of a device in a partition are kept, or those of its last record there."""
DOCUMENTS = 20
"""So many documents of a command are named."""
LONG_REASON = 500
_DEVICE = 16


class Sent(NamedTuple):
    """A command of a device, and what became of it."""

    command_id: str
    name: str
    """Empty for a write without a declared command."""
    actor: str
    clock_ms: int
    """The device's."""
    scope: str
    documents: tuple[tuple[str, str], ...]
    """Collection and id of the first ones that it has written."""
    more: int
    """How many documents it has written besides."""
    outcome: str
    code: str
    reason: str

    @property
    def written(self) -> list[DocumentId]:
        """The documents that are named."""
        return [DocumentId(collection, self.scope, id) for collection, id in self.documents]


class SentBatch(NamedTuple):
    """A record of an op log: the last commands of one batch of a device."""

    offset: int
    logged_ms: int
    replica: str
    number: int
    """Of the batch in its replica's chain."""
    commands: tuple[Sent, ...]
    omitted: int = 0
    """How many of its first commands are not kept."""
    serial: int = 0


class Line(NamedTuple):
    """A command where it was logged."""

    space: str
    partition: int
    batch: SentBatch
    sent: Sent


class Since(NamedTuple):
    """From where on devices' commands of a partition are kept."""

    offset: int
    at_ms: int
    """When the last record before was appended; 0 where there was none."""


class SentLately(NamedTuple):
    """A device's last commands, the newest first."""

    lines: Sequence[Line]
    gone_ms: int
    """When the last of those was logged that are kept, or listed, no more; 0 for none."""


class _Known(NamedTuple):
    first: int = 0
    following: int = 0
    commands: int = 0
    last_offset: int = -1
    gone_ms: int = 0


_batch = msgspec.json.Decoder(SentBatch).decode


class SentByDevice:
    """One thread writes; any may read."""

    def __init__(self, table: Table, per_device: int = PER_DEVICE) -> None:
        self._table, self._per_device = table, per_device

    # -- writing

    def begin(self, space: str, partition: int, offset: int, at_ms: int) -> None:
        """From this record of the partition on, unless it was begun before."""
        key = b"i" + where(space, partition)
        if self._table.get(key) is None:
            self._table.put(key, json.dumps(Since(offset, at_ms)).encode())

    def take(self, space: str, partition: int, device: str, batch: SentBatch) -> None:
        """The device's next record in this partition; one that is there already stays."""
        owner = _owner(device, space, partition)
        known = self._known(owner)
        if batch.offset <= known.last_offset:
            return
        commands = batch.commands[-self._per_device :]
        omitted = len(batch.commands) - len(commands)
        kept = batch._replace(commands=commands, omitted=omitted, serial=self._table.serial)
        self._table.enter(b"c" + owner + eight(known.following), msgspec.json.encode(kept), owner)
        known = known._replace(
            following=known.following + 1,
            commands=known.commands + len(commands),
            last_offset=batch.offset,
            gone_ms=batch.logged_ms if omitted else known.gone_ms,
        )
        while known.commands > self._per_device and known.following - known.first > 1:
            known = self._without_first(owner, known)
        self._table.put(b"h" + owner, _line(known))

    def decide(
        self, space: str, partition: int, device: str, offset: int, command_id: str, outcome: CommandOutcome
    ) -> None:
        """A command that waited has been decided; where it is kept no more, nothing is."""
        owner = _owner(device, space, partition)
        known = self._known(owner)
        numbers = range(known.first, known.following)
        at = bisect_left(numbers, offset, key=lambda number: self._entry(owner, number)[1].offset)
        if at == len(numbers):
            return
        value, batch = self._entry(owner, numbers[at])
        if batch.offset != offset:
            return
        verdict, reason = outcome.verdict.value, outcome.reason[:LONG_REASON]
        commands = tuple(
            one._replace(outcome=verdict, code=outcome.code, reason=reason) if one.command_id == command_id else one
            for one in batch.commands
        )
        changed = msgspec.json.encode(batch._replace(commands=commands))
        self._table.change(b"c" + owner + eight(numbers[at]), value, changed)

    def drop_first(self, owner: bytes) -> None:
        """There is no room for this one's oldest entry."""
        known = self._known(owner)
        if known.first < known.following:
            self._table.put(b"h" + owner, _line(self._without_first(owner, known)))

    # -- reading

    def since(self, space: str, partition: int) -> Since | None:
        """From where on they are kept; None where nothing was read yet."""
        value = self._table.stored(b"i" + where(space, partition))
        return None if value is None else Since(*json.loads(value))

    def lately(self, device: str, limit: int = PER_DEVICE) -> SentLately:
        """The last commands of a device in all the partitions that are followed, by the time of their logs."""
        start, places = b"h" + _named(device), list[Iterator[Line]]()
        gone_ms = 0
        for key, value in self._table.scan(start):
            known = _parsed(value)
            gone_ms = max(gone_ms, known.gone_ms)
            places.append(self._lines(key[1:], known))
        found = list(islice(heapq.merge(*places, key=lambda line: -line.batch.logged_ms), limit + 1))
        if len(found) > limit:
            gone_ms = max(gone_ms, found[limit].batch.logged_ms)
        return SentLately(found[:limit], gone_ms)

    # --

    def _lines(self, owner: bytes, known: _Known) -> Iterator[Line]:
        """Of one partition, the newest first."""
        space, partition = owner[_DEVICE:-5].decode(), int.from_bytes(owner[-4:], "big")
        for number in reversed(range(known.first, known.following)):
            value = self._table.stored(b"c" + owner + eight(number))
            if value is None:  # it has left since
                return
            batch = _batch(value)
            for sent in reversed(batch.commands):
                yield Line(space, partition, batch, sent)

    def _without_first(self, owner: bytes, known: _Known) -> _Known:
        value, batch = self._entry(owner, known.first)
        self._table.leave(b"c" + owner + eight(known.first), value, batch.serial)
        return known._replace(
            first=known.first + 1,
            commands=known.commands - len(batch.commands),
            gone_ms=max(known.gone_ms, batch.logged_ms),
        )

    def _entry(self, owner: bytes, number: int) -> tuple[bytes, SentBatch]:
        value = self._table.get(b"c" + owner + eight(number))
        assert value is not None, "an entry that is counted is there"
        return value, _batch(value)

    def _known(self, owner: bytes) -> _Known:
        return _parsed(self._table.get(b"h" + owner))


def is_of_device(owner: bytes) -> bool:
    """Does an entry with this owner stand here? A document's name is as long as a device's, and has no place behind it."""
    return len(owner) > _DEVICE


def _named(device: str) -> bytes:
    return blake2b(device.encode(), digest_size=_DEVICE).digest()


def _owner(device: str, space: str, partition: int) -> bytes:
    return _named(device) + where(space, partition)


def _line(known: _Known) -> bytes:
    return b"%d,%d,%d,%d,%d" % known


def _parsed(value: bytes | None) -> _Known:
    return _Known() if value is None else _Known(*map(int, value.split(b",")))
