"""What the parked topic says of a command that waits, held against the op topic.

Anybody who may write to the parked topic may say that a record came at another offset or time: then a key would count that did not, or a
command would be older than what the partition remembers. So what is said of a record is believed as far as the op topic has it: the bytes
at the offset that it names, and the time at which the broker took them. Of several words on one command the newest that is true
counts. Where the op topic has forgotten the record the word stands, but for a time after that of the first record which is left. Then its
chain row has a say: in which record its batch entered the chain, and whether a person gave it up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

import structlog

from driftlog_schemas.errors import Undecodable
from driftlog_schemas.messages import ChainRow, ParkedCommand
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


class ParkedClaims:
    """Of one partition: the words on each command that waits, the newest last."""

    def __init__(self) -> None:
        self._words: dict[bytes, list[ParkedCommand]] = {}

    def say(self, key: bytes, word: ParkedCommand) -> None:
        """Another word on it. That it was given up later is the same word."""
        earlier = [w for w in self._words.pop(key, ()) if replace(w, dropped_at=word.dropped_at) != word]
        self._words[key] = [*earlier[1 - MAX_WORDS :], word]

    def leave(self, key: bytes) -> None:
        """It waits no more."""
        self._words.pop(key, None)

    def offsets(self) -> set[int]:
        """Where the op topic is asked."""
        return {word.offset for words in self._words.values() for word in words}

    def believed(self, ops: OpLog) -> list[ParkedCommand]:
        """The newest true word on each."""
        result = []
        for key, words in self._words.items():
            true = [found for word in words if (found := _as_it_came(word, ops)) is not None]
            if len(true) < len(words):
                name = key[:64].decode(errors="replace")
                log.warning("a parked command is not as it came", command=name, passed_over=len(words) - len(true))
            result += true[-1:]
        return result


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
    entry = None if row is None else chain.entry_of(row, admitted.batch.number)
    if entry is None:
        return word
    if not chain.may_bring(entry, admitted.digest, word.offset):
        raise Undecodable(f"its chain has another batch than the one that came at {word.offset}")
    given_up = chain.verdict_of(entry, word.command).code == DROPPED
    return word if given_up else replace(word, dropped_at=-1)
