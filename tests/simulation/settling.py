"""Worlds in which deadlines pass: production's settler beside production's host, every conflict with a deadline of some minutes, over the simulated log.

They are judged by a replay, like worlds that forget (see `forgetting`), and by laws of their own: nothing is settled twice, nothing overdue
stays open, and what the conflicts topic says in the end is what the log means.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from driftlog_crdt import DEADLINE, Field
from driftlog_schemas import topics
from driftlog_schemas.contract import SpaceContract
from driftlog_schemas.messages import Conflict, ConflictStatus
from driftlog_streams.core.rules import SpaceRules
from driftlog_streams.core.work import OutRecord
from driftlog_streams.faust_driver.broker_time import BrokerTime
from driftlog_streams.faust_driver.settler import Settler
from tests.simulation import all_types, forgetting
from tests.simulation.app import SPACE
from tests.simulation.forgetting import ForgettingWorld, Past, topics_with
from tests.simulation.history import History
from tests.simulation.operator import BARRED
from tests.simulation.variant import HONEST, Variant
from tests.simulation.world import MINUTE_MS

if TYPE_CHECKING:
    from tests.simulation.worker_rim import Changelog

DEADLINE_MS = 5_000
LENGTH_MS = 10 * MINUTE_MS
RETENTION_MS = 30 * 24 * 60 * MINUTE_MS
PATIENCE_MS = MINUTE_MS
"""So long after a deadline a conflict may still be open: it is looked for every second, and a record is waited for."""
SETTLED, OVERRULED, REOPENED = (
    "deadlines ended conflicts",
    "a person decided what a deadline had settled",
    "a settled place was fought over again",
)
AT_LEAST = {SETTLED: 8, OVERRULED: 1, BARRED: 10}
"""In the worlds of a run, also of the shortest; see `test_settling`."""


class SettlingWorld(ForgettingWorld):
    """One of them; nothing is forgotten in it."""

    settles = True
    diligence = 32

    def __init__(self, seed: int, variant: Variant = HONEST) -> None:
        super().__init__(seed, variant)
        self.favourites = [DISPUTED[(seed + at) % len(DISPUTED)] for at in (0, 5)]
        self.length_ms, self.retention_ms = LENGTH_MS, RETENTION_MS
        self.rules = SpaceRules(with_deadlines(SPACE), self.ids)

    def unrest(self) -> str:
        return super().unrest() or next(self._overdue(), "")

    def _overdue(self) -> Iterator[str]:
        for record in self.log.latest(topics.conflicts_topic(SPACE.name)).values():
            conflict = self.rules.records.decode_conflict(record.value or b"")
            if conflict.status is ConflictStatus.OPEN:
                yield f"conflict {conflict.id} is open until {conflict.deadline_ms}"


def _settles(field: Field) -> bool:
    return field.type.conflicting and field.type.picks


DISPUTED = [
    (kind, place) for kind, place in all_types.PLACES if _settles(SPACE.collections[kind].document.fields[place])
]
"""The places of documents of every type that a deadline can settle."""


def with_deadlines(space: SpaceContract) -> SpaceContract:
    """The same app, but that each conflict that can be settled is, after `DEADLINE_MS`."""
    collections = {}
    for name, contract in space.collections.items():
        fields = {
            place: replace(field, on_conflict="review", deadline_ms=DEADLINE_MS)
            if _settles(field)
            else replace(field, on_conflict="silent" if field.on_conflict == "silent" else "record", deadline_ms=0)
            for place, field in contract.document.fields.items()
        }
        collections[name] = replace(contract, document=replace(contract.document, fields=fields))
    return replace(space, collections=collections)


def settler(world: Any, changelog: Changelog, publisher: Any, pump: Any) -> Settler:
    """Production's, of one worker."""

    def seconds() -> float:
        return float(world.scheduler.now) / 1000

    told = BrokerTime(Past(world, changelog, world.rules), topics_with(world.retention_ms), publisher, seconds)
    assert world.cloud is not None
    return Settler(world.rules, world.cloud, told, publisher, pump.open_stores, pump.forgotten, seconds)


# -- the judgement


def broken(world: SettlingWorld, history: History) -> Iterator[str]:
    """What is wrong with a world that was lived through."""
    meant: dict[str, Conflict] = {}

    def told(record: OutRecord) -> None:
        if record.topic == topics.conflicts_topic(SPACE.name) and record.value is not None:
            conflict = world.rules.records.decode_conflict(record.value)
            meant[conflict.id] = conflict

    yield from forgetting.broken(world, history, told)
    said: dict[str, list[Conflict]] = {}
    for conflict in history.conflicts:
        said.setdefault(conflict.id, []).append(conflict)
    for identifier in meant.keys() | said.keys():
        words, means = said.get(identifier, []), meant.get(identifier)
        # What a frozen worker wrote over it later is answered by the state, which knows only what stands there by then.
        if means is None or not words or means.status.over is not words[-1].status.over:
            yield f"conflict {identifier} ends {words and _end(words[-1])}, the log means {means and _end(means)}"
        elif means.status.over and _end(means) not in map(_end, words):
            yield f"conflict {identifier} was never told to end {_end(means)}"
    by_versions: dict[Any, set[Any]] = {}
    for conflict in history.conflicts:
        if conflict.status is ConflictStatus.SETTLED and conflict.decided_by is not None:
            competed = conflict.id, tuple((v.replica, v.seq) for v in conflict.versions)
            by_versions.setdefault(competed, set()).add(conflict.decided_by.seq)
    for (identifier, _), settlements in by_versions.items():
        if len(settlements) > 1:
            yield f"conflict {identifier} was settled {len(settlements)} times between the same writes"


def _end(conflict: Conflict) -> tuple[str, ...]:
    by = conflict.decided_by
    return conflict.status.value, "" if by is None else f"{by.replica}:{by.seq} {by.how}"


def covered(history: History) -> Counter[str]:
    """How much of it there was."""
    found: Counter[str] = Counter({BARRED: history.situations[BARRED]})
    before: dict[str, Conflict] = {}
    for conflict in history.conflicts:
        was = before.get(conflict.id)
        settled = was is not None and was.status is ConflictStatus.SETTLED
        found[SETTLED] += conflict.status is ConflictStatus.SETTLED and not settled
        found[OVERRULED] += settled and conflict.status is ConflictStatus.RESOLVED
        found[REOPENED] += conflict.status is ConflictStatus.OPEN and any(v.how == DEADLINE for v in conflict.versions)
        before[conflict.id] = conflict
    return found


def lived(seed: int, variant: Variant = HONEST) -> tuple[list[str], Counter[str]]:
    """What is wrong with the world of this seed, and what it covered."""
    world = SettlingWorld(seed, variant)
    history = world.run()
    return list(broken(world, history)), covered(history)


def missing(found: Counter[str]) -> list[str]:
    """What should have been met more often."""
    return [f"{name}: {found[name]} of {least}" for name, least in AT_LEAST.items() if found[name] < least]
