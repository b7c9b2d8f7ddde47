"""What the parked topic says of a command that waits, held against the op topic.

Anybody who may write to the parked topic may say that a record came at another offset or time: then a key would count that did not, or a
command would be older than what the partition remembers. So what is said of a record is believed as far as the op topic has it: the bytes
at the offset that it names, and the time at which the broker took them. Of several words on one command the newest that is true
counts. Where the op topic has forgotten the record the word stands, but for a time after that of the first record which is left. Then its
chain row has a say: in which record its batch entered the chain, and whether, and by when at the latest, a person gave it up.

Nor does anybody take a command away by a tombstone there, or by noise over its word: **it waits as long as its row says so**, for a worker's own tombstone
comes after the row. What is left of its words counts then, and where none is, the record that brought it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple, Protocol

import structlog

from driftlog_schemas.errors import Undecodable
from driftlog_schemas.messages import ChainRow, ParkedCommand, Verdict, parked_name
from driftlog_schemas.row_columns import short_name
from driftlog_streams.core import chain
from driftlog_streams.core.admission import Admitted
from driftlog_streams.core.arrival import DROPPED
from driftlog_streams.core.changelog_record import UNTIMED, ChangelogRecord

log = structlog.get_logger()

MAX_WORDS = 16
"""On one command."""


class OpLog(Protocol):
    """Records of the op topic. `first` and `end` are the offsets between which it has some; `began_ms` is when the first came."""

    @property
    def found(self) -> Mapping[int, ChangelogRecord]: ...
    @property
    def first(self) -> int: ...
    @property
    def end(self) -> int: ...
    @property
    def began_ms(self) -> int | None: ...


class _Waits(NamedTuple):
    """A command that waits, as its row has it, and the offset of the record by which its batch entered the chain."""

    command: str
    offset: int


class Believed(NamedTuple):
    """What a partition's parked topic is taken for."""

    words: list[ParkedCommand]
    """One on each command that waits."""
    spoiled: list[bytes]
    """Names of which the last record there is no true word."""


class ParkedClaims:
    """Of one partition: the words on each command that waits, the newest last. `rows` gives the chain row of a replica."""

    def __init__(self, rows: Callable[[str], ChainRow | None]) -> None:
        self._rows = rows
        self._waiting: dict[str, dict[bytes, _Waits]] = {}
        """replica -> those of its commands that wait"""
        self._words: dict[bytes, list[ParkedCommand]] = {}
        self._spoiled: set[bytes] = set()

    def say(self, key: bytes, word: ParkedCommand) -> None:
        """Another word on it. That it was given up later is the same word."""
        earlier = [w for w in self._words.pop(key, ()) if replace(w, dropped_at=word.dropped_at) != word]
        self._words[key] = [*earlier[1 - MAX_WORDS :], word]
        self._spoiled.discard(key)

    def leave(self, key: bytes) -> None:
        """A tombstone: it waits no more, unless its row says that it does."""
        if self._waits(key) is None:
            self._words.pop(key, None)
            self._spoiled.discard(key)
        else:
            self.spoil(key)

    def spoil(self, key: bytes, *, noise: bool = True) -> None:
        """No word that can be read, and it stands in the place of one. What may be a later release's is left where nothing waits."""
        if noise or self._waits(key) is not None:
            self._words.setdefault(key, [])
            self._spoiled.add(key)

    def offsets(self) -> set[int]:
        """Where the op topic is asked."""
        waits = [waits.offset for key in self._words if (waits := self._waits(key)) is not None]
        return {*waits, *(word.offset for words in self._words.values() for word in words)}

    def believed(self, ops: OpLog) -> Believed:
        """The newest true word on each. Where none is true, what the op topic has of a command that waits by its row."""
        result = Believed([], [])
        for key, words in self._words.items():
            true = [found for word in words if (found := _as_it_came(word, ops)) is not None]
            if len(true) < len(words):
                name = key[:64].decode(errors="replace")
                log.warning("a parked command is not as it came", command=name, passed_over=len(words) - len(true))
            found = true[-1] if true else self._came(key, ops)
            result.words.extend([] if found is None else [found])
            if key in self._spoiled or _as_it_came(words[-1], ops) is None:
                result.spoiled.append(key)
        return result

    def _came(self, key: bytes, ops: OpLog) -> ParkedCommand | None:
        """The word on a command that waits, from the record that brought it."""
        waits = self._waits(key)
        if waits is None:
            return None
        record = ops.found.get(waits.offset)
        if record is None or record.value is None:
            log.error("a command that waits is lost", command=key[:64].decode(errors="replace"), offset=waits.offset)
            return None
        return ParkedCommand(record.append_ms, record.offset, waits.command, record.value)

    def _waits(self, key: bytes) -> _Waits | None:
        """Does the command of this name wait, or was it given up while it did, by its row?"""
        replica = key.partition(b"/")[0].decode(errors="replace")
        if replica not in self._waiting:
            row = self._rows(replica)
            self._waiting[replica] = {} if row is None else _waiting_in(row)
        return self._waiting[replica].get(key)


def _waiting_in(row: ChainRow) -> dict[bytes, _Waits]:
    return {
        parked_name(row.replica, entry.number, outcome.command_id).encode(): _Waits(outcome.command_id, entry.offset)
        for entry in row.entries
        for outcome in entry.outcomes
        if outcome.verdict is Verdict.PARKED or outcome.code == DROPPED
    }


def _given_up(row: ChainRow, number: int, command_id: str) -> bool:
    """A row of an older release: it keeps no entry of a command that was given up and waits."""
    refused = row.refused.get(short_name(command_id))
    return refused is not None and refused.number == number and refused.code == DROPPED


def _may_have_lost(row: ChainRow, number: int, offset: int) -> bool:
    """Can something wait of a batch that the row has no entry of? Only where an older release anchored the chain anew above it: ours keeps the entry
    of whatever waits. Of a life of which no batch was taken, or whose row was removed, nothing does, nor what came behind the first batch that the row has.
    """
    if not row.entries or row.forgotten >= 0:
        return False
    return number < row.refused_from and offset < row.entries[0].offset


def _as_it_came(word: ParkedCommand, ops: OpLog) -> ParkedCommand | None:
    if not 0 <= word.offset < ops.end:
        return None
    if word.offset < ops.first:
        began_ms = ops.began_ms
        return word if began_ms is None else replace(word, append_ms=min(word.append_ms, began_ms))
    record = ops.found.get(word.offset)
    if record is None or record.value != word.record:
        return None
    return word if record.append_ms == UNTIMED else replace(word, append_ms=record.append_ms)


def by_its_chain(word: ParkedCommand, admitted: Admitted, row: ChainRow | None) -> ParkedCommand:
    """The word, as far as the row of its replica says nothing else. Raises `Undecodable` where the row has another batch."""
    number = admitted.batch.number
    entry = None if row is None else chain.entry_of(row, number)
    if entry is None:
        given_up = row is not None and _given_up(row, number, word.command)
        if not (given_up or (row is not None and _may_have_lost(row, number, word.offset))):
            raise Undecodable(f"nothing waits of batch {number} by its chain")
        return replace(word, dropped_at=max(word.dropped_at, 0)) if given_up else word
    if not chain.may_bring(entry, admitted.digest, word.offset):
        raise Undecodable(f"its chain has another batch than the one that came at {word.offset}")
    given_up = chain.verdict_of(entry, word.command).code == DROPPED
    latest = entry.decided_at if given_up else -1
    return word if 0 <= word.dropped_at <= latest else replace(word, dropped_at=latest)
