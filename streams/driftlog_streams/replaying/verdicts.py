"""What became of each command in a replay, held against what its chain row says, and counted.

The counts and the first commands that come out otherwise lie beside what is rebuilt, so that another attempt goes on with both. They are written with each seal, before the
store takes what has gathered, under the offset of its last record: a kill between the two leaves a count that is ahead of the store, and that of the seal before is the one
that counts. What still waits at the end is counted, and not written: the next attempt may see it decided.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from driftlog_schemas.messages import ChainRow, CommandOutcome, Verdict
from driftlog_streams.core.arrival import Arrival
from driftlog_streams.core.chain_book import ChainBook
from driftlog_streams.errors import SetupProblem
from driftlog_streams.faust_driver.partition_store import PartitionStore
from driftlog_streams.replaying.running import recorded

_HARMLESS = (Verdict.ACCEPTED, Verdict.NO_EFFECT)
_COUNTS, _CHANGE = b"\x01", b"\x02"
"""+ offset of the last record that is counted; + number of the command among those that come out otherwise."""


class Changed(NamedTuple):
    """A command that comes out otherwise."""

    partition: int
    offset: int
    replica: str
    command: str
    name: str
    actor: str
    before: CommandOutcome
    after: CommandOutcome


class Counts(NamedTuple):
    """How many commands were told of, of how many the rows say nothing any more, and how many come out otherwise."""

    commands: int = 0
    unknown: int = 0
    changed: int = 0


class Verdicts:
    """Of one partition. `told` hears what became of each command (`core.command_merge.Told`)."""

    def __init__(self, partition: int, book: ChainBook, store: PartitionStore, limit: int) -> None:
        """`book` has the rows as they run. `limit` bounds how many commands that come out otherwise are listed; all are counted."""
        self._partition, self._book, self._store, self._limit = partition, book, store, limit
        self._heard: dict[tuple[int, str], tuple[Arrival, CommandOutcome]] = {}
        """(offset, command) -> what became of it since the last seal; the last word counts."""
        self._written = -1, -1
        """The offsets under which the last two counts lie."""
        self.counts = Counts()

    def resume(self, following: int) -> None:
        """Go on as it was when the op record before this one was the last. What was heard until now was counted then. Raises `SetupProblem`."""
        self._heard.clear()
        if not following:
            return
        value = self._store.get(_COUNTS + _number(following - 1))
        if value is None:
            raise SetupProblem(
                f"of what an earlier attempt has rebuilt of partition {self._partition} nothing tells what became of its commands",
                "delete the folders driftlog-kept-* among the temporary files, and run the command again",
            )
        self.counts, self._written = Counts(*json.loads(value)), (-1, following - 1)

    def told(self, arrival: Arrival, outcome: CommandOutcome | None) -> None:
        """One that waits is told again when it is decided."""
        after = outcome or arrival.accepted
        if after.verdict is not Verdict.PARKED:
            self._heard[arrival.offset, arrival.command.id] = arrival, after

    def sealed(self, merged_to: int) -> None:
        """The store takes what was merged up to this offset next."""
        changes, before = self._counted(), self._written
        listed = [(_CHANGE + _number(number), _encoded(one)) for number, one in changes]
        words = [(_COUNTS + _number(merged_to), json.dumps(self.counts).encode())]
        over = [(_COUNTS + _number(at), None) for at in before[:1] if 0 <= at != merged_to]
        self._store.write([*listed, *words, *over], self._store.mark)
        if merged_to != before[1]:
            self._written = before[1], merged_to

    def end(self, waiting: Iterable[Arrival], following: int) -> list[Changed]:
        """These still wait before the record `following`. The first of those that come out otherwise, in order."""
        for arrival in waiting:
            after = arrival.given_up(following) or CommandOutcome(arrival.command.id, Verdict.PARKED)
            self._heard[arrival.offset, arrival.command.id] = arrival, after
        first = [*self._listed(min(self.counts.changed, self._limit))]
        return first + [one for _, one in self._counted()]

    def _counted(self) -> list[tuple[int, Changed]]:
        """Count what was heard; what of it is to be listed, with its number."""
        (commands, unknown, changed), listed = self.counts, []
        for arrival, after in self._heard.values():
            row: ChainRow | None = self._book.get(arrival.batch.replica)
            before = recorded(row, arrival.batch.number, arrival.command.id)
            commands += 1
            if before is None:
                unknown += 1
            elif _otherwise(before, after):
                if changed < self._limit:
                    listed.append((changed, _changed(self._partition, arrival, before, after)))
                changed += 1
        self._heard.clear()
        self.counts = Counts(commands, unknown, changed)
        return listed

    def _listed(self, count: int) -> Iterator[Changed]:
        for number in range(count):
            value = self._store.get(_CHANGE + _number(number))
            assert value is not None, "it was written with its count"
            yield _decoded(value)


def _otherwise(before: CommandOutcome, after: CommandOutcome) -> bool:
    """A row says nothing of a change without effect once its batch is confirmed, so that is no difference."""
    if before.verdict in _HARMLESS and after.verdict in _HARMLESS:
        return False
    if before.verdict is after.verdict is Verdict.PARKED:
        return False
    return (before.verdict, before.code) != (after.verdict, after.code)


def _changed(partition: int, arrival: Arrival, before: CommandOutcome, after: CommandOutcome) -> Changed:
    command = arrival.command
    return Changed(
        partition, arrival.offset, arrival.batch.replica, command.id, command.name, command.actor, before, after
    )


def _number(value: int) -> bytes:
    return value.to_bytes(8, "big")


def _encoded(one: Changed) -> bytes:
    *about, before, after = one
    outcomes = [(which.command_id, which.verdict.value, which.code, which.reason) for which in (before, after)]
    return json.dumps([about, *outcomes]).encode()


def _decoded(value: bytes) -> Changed:
    about, *outcomes = json.loads(value)
    return Changed(*about, *(CommandOutcome(name, Verdict(said), *why) for name, said, *why in outcomes))
