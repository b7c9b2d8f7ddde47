"""Worlds that forget, and whose space is given another number of partitions meanwhile, once or twice.

Documents are purged before a move, between its steps and behind it, and are made again; devices are away over both. The reference knows of no purge, so these worlds are judged
as those are that forget: by an honest replay. It goes through all logs, the closed ones first, and lays what came of them as a move does (`gathered`, `spread`).

A replay shares the core with the workers. Two laws are therefore asked of the commands alone: each of them counts once over all logs, and none counts on a document that was
written before that was seen to be deleted, and has come after it was purged.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

from driftlog_crdt import sequence
from driftlog_schemas.batch_codec import decode_body
from driftlog_schemas.identity import CLOSING_REPLICA, CLOUD, DocumentId, parse_document_key
from driftlog_schemas.messages import ChainRow, CommandOutcome, Forgot, Verdict
from driftlog_schemas.moves import Moved
from driftlog_schemas.partitioning import partition_of
from driftlog_schemas.state_codec import codecs_of
from driftlog_streams.core import memory
from driftlog_streams.core.arrival import Arrival
from driftlog_streams.core.changelog_record import ChangelogRecord
from driftlog_streams.core.rules import SpaceRules
from driftlog_streams.faust_driver.partition_store import PartitionStore, WorkerStore
from driftlog_streams.replaying.predecessors import Closed, Predecessors, gathered
from driftlog_streams.replaying.rebuild import Rebuild
from driftlog_streams.replaying.repartitioning import Repartitioning
from driftlog_streams.replaying.spreading import spread
from tests.simulation.app import SPACE
from tests.simulation.forgetting import LOST_SIGHT, Directory, ForgettingWorld, _any, _two, replicas_apart
from tests.simulation.history import History
from tests.simulation.moving import AGAIN, MOVED, MovingWorld, watched
from tests.simulation.scheduler import EPOCH_MS
from tests.simulation.variant import HONEST, Variant
from tests.simulation.world import MINUTE_MS

LENGTH_MS = 12 * MINUTE_MS
BEFORE, AFTER = "documents were purged in a log that was closed then", "documents were purged where the space went on"
ANEW = "a document that was purged before its space moved was made again behind that"
AT_LEAST = {MOVED: 5, AGAIN: 1, BEFORE: 4, AFTER: 4, ANEW: 1, LOST_SIGHT: 4}
"""In the worlds of a run, also of the shortest; see `test_purging_moves`."""


class PurgingMovesWorld(ForgettingWorld, MovingWorld):
    """One of them."""

    errands = ("scrap", "work")
    soonest = 3

    def __init__(self, seed: int, variant: Variant = HONEST) -> None:
        super().__init__(seed, variant)
        self.length_ms = LENGTH_MS
        self.rules = SpaceRules(SPACE, self.ids, self.cloud)
        self.moves: list[Moved] = []
        self.active: dict[tuple[int, str], bool] = {}
        """(which of the spaces a move leads to, device) -> might it write then, as the operator's command took it?"""

    def _run(self) -> History:
        """One device is away from before a document can be purged until a space has moved: what it writes meanwhile speaks of what is gone."""
        draw = self.draw
        edge, away = draw.choice([*self.edges]), EPOCH_MS + draw.randrange(30_000, 90_000)
        lasts = draw.randrange(self.length_ms // 2, 3 * self.length_ms // 4)
        self.scheduler.at(away, f"{edge} is away", lambda: self.network.cut_off(edge, lasts))
        return super()._run()

    def goes_on(self, to: Moved) -> None:
        self.moves.append(to)
        super().goes_on(to)


# -- the judgement


class Replayed:
    """All logs of a world once more, without crash, rebalance or rim."""

    def __init__(self, world: PurgingMovesWorld, history: History, folder: Path) -> None:
        self._world, self._history = world, history
        self._devices = Directory(history.devices)
        self._stores = WorkerStore(folder / "states")
        self._opened = 0
        self._answered: dict[str, int] = {}
        for answer in history.answers:
            self._answered.setdefault(answer.command_id, answer.at_ms)
        self._accepted: Counter[str] = Counter()
        self._changed: dict[DocumentId, int] = {}
        """When a record came last that changed it, or could have."""
        self._purged: dict[DocumentId, int] = {}
        """When that was, of the life of a document that was purged last."""
        self._gone: set[DocumentId] = set()
        """What was purged in a log that is closed, and was not made again."""
        self._now_ms = 0
        self.present: list[PartitionStore] = []
        """What there is where the space is now."""
        self.met: Counter[str] = Counter()
        self.wrong = [*self._all()]

    def close(self) -> None:
        self._stores.close()

    def _all(self) -> Iterator[str]:
        spaces = self._world.spaces
        begins, stores = 0, self._room(spaces[0].partitions)
        for at, space in enumerate(spaces):
            rules = SpaceRules(space, self._world.ids, self._world.cloud)
            for number, store in enumerate(stores):
                yield from self._folded(rules, number, store, begins, closed=space is not spaces[-1])
            if space is spaces[-1]:
                break
            moved = self._world.moves[at]
            before = [Closed(store, ended) for store in stores if (ended := _ended_at(rules, store)) is not None]
            if len(before) < len(stores):
                yield f"a log of {space.name} has no end, and the space went on elsewhere"
                return
            known = gathered(rules, before)
            if known.since != moved.since:
                yield f"the line of {space.name} says {moved.since} was forgotten there, its logs say {known.since}"
            begins, stores = moved.begins, self._room(spaces[at + 1].partitions)
            after = SpaceRules(spaces[at + 1], self._world.ids, self._world.cloud)
            spread(after, before, stores, known, begins, lambda device, to=at + 1: self._world.active[to, device])
        self.present = stores

    def _room(self, partitions: int) -> list[PartitionStore]:
        self._opened += partitions
        return [self._stores.partition(self._opened - partitions + number) for number in range(partitions)]

    def _folded(
        self, rules: SpaceRules, number: int, store: PartitionStore, begins: int, *, closed: bool
    ) -> Iterator[str]:
        wrong: list[str] = []

        def told(arrival: Arrival, outcome: CommandOutcome | None) -> None:
            wrong.extend(self._hears(arrival, outcome))

        rebuild = Rebuild(rules, number, store, self._devices, told)
        rebuild.resume(())
        for record in self._history.ops[rules.name, number]:
            if record.offset < begins:
                continue
            self._now_ms = record.timestamp_ms
            named = _purged_by(rules, record.key, record.value)
            there = [document for document in named if rebuild.known(document)]
            rebuild.take(ChangelogRecord(record.key or b"", record.value, record.offset, (), record.timestamp_ms))
            for document in there:
                if not rebuild.known(document):
                    self._purged[document] = self._changed.get(document, 0)
                    self.met[BEFORE if closed else AFTER] += 1
                    if closed:
                        self._gone.add(document)
        rebuild.end()
        yield from wrong

    def _hears(self, arrival: Arrival, outcome: CommandOutcome | None) -> Iterator[str]:
        command = arrival.command
        if outcome is None or outcome.verdict not in (Verdict.DEFERRED, Verdict.PARKED):
            self._changed.update((document, self._now_ms) for document, _ in command.ops)
        if outcome is not None:
            return
        self._accepted[command.id] += 1
        if self._accepted[command.id] > 1:
            yield f"{command.id} counted {self._accepted[command.id]} times"
        unread = command.written is not None and command.written < 0  # it was written on no document
        written = None if unread else self._answered.get(command.id)
        for document in {document for document, _ in command.ops if document in self._purged}:
            if document in self._gone:
                self._gone.remove(document)
                self.met[ANEW] += arrival.batch.space == self._world.present.name
            if written is not None and written < self._purged[document]:
                yield f"{command.id} counts on {'/'.join(document)}, which was purged, and was written before that was deleted"


def _ended_at(rules: SpaceRules, store: PartitionStore) -> int | None:
    row = store.row(CLOSING_REPLICA)
    return None if row is None else rules.records.decode_chain_row(row).offset


def _purged_by(rules: SpaceRules, key: bytes | None, value: bytes | None) -> Iterable[DocumentId]:
    if key != CLOUD.encode() or value is None:
        return ()
    forget = decode_body(rules.batches.open(value).body).forget
    return [] if forget is None else [parse_document_key(one) for one in forget.purge]


def broken(world: PurgingMovesWorld, history: History, replayed: Replayed) -> Iterator[str]:
    """What is wrong with a world that was lived through."""
    yield from history.crashes
    if not history.quiet:
        yield f"not at rest in time: {history.unrest}"
    yield from replayed.wrong
    if not replayed.present:
        return
    space = world.present
    meant: dict[DocumentId, bytes] = {}
    for store in replayed.present:
        meant |= {parse_document_key(key): value for key, value in store.documents()}
    latest: dict[DocumentId, bytes | None] = {}
    for (name, at), records in history.states.items():
        for record in records if name == space.name else ():
            document = parse_document_key(record.key or b"")
            latest[document] = record.value
            if partition_of(document.scope, space.partitions) != at:
                yield f"{'/'.join(document)} lies in partition {at} of {space.name}"
    for document in meant.keys() | latest.keys():
        if latest.get(document) != meant.get(document):
            yield f"the read model of {'/'.join(document)} is not what the logs say"
    yield from replicas_apart(history, meant, codecs_of(SPACE.collections, world.ids))


def covered(history: History, replayed: Replayed) -> Counter[str]:
    """How much of it there was."""
    behind = {(row.replica, row.space, row.partition) for row in history.rows if _away(row)}
    return history.situations + replayed.met + Counter({LOST_SIGHT: len(behind)})


def _away(row: ChainRow) -> bool:
    return row.notice is not None and row.notice.code == "away"


def lived(seed: int, variant: Variant = HONEST) -> tuple[list[str], Counter[str]]:
    """What is wrong with the world of this seed, and what it covered. The replay is always honest, whatever was planted in the world."""
    honest = Repartitioning._active
    with patch.object(memory, "due", _two), patch.object(sequence, "pays", _any):
        world = PurgingMovesWorld(seed, variant)

        def asked(command: Any, device_id: str, now_ms: int) -> bool:
            active = world.active[len(world.spaces), device_id] = honest(command, device_id, now_ms)
            return active

        with watched(world), patch.object(Repartitioning, "_active", asked):
            history = world.run()
        with TemporaryDirectory() as folder, closing(Replayed(world, history, Path(folder))) as replayed:
            return [*broken(world, history, replayed)], covered(history, replayed)


def missing(found: Counter[str]) -> list[str]:
    """What should have been met more often."""
    return [f"{name}: {found[name]} of {least}" for name, least in AT_LEAST.items() if found[name] < least]


# -- planted


def forgets_purges(offset: int, floor: int, purged: int) -> Forgot:
    """Planted: where the space goes on nobody knows that anything was purged before."""
    return Forgot(offset, floor, 0)


def hears_who_was_away(offset: int, floor: int, purged: int) -> Forgot:
    """Planted: where the space goes on nobody is away who had not read what is laid there."""
    return Forgot(offset, -1, purged)


def counts_in_the_old_log_only(*given: Any) -> Predecessors:
    """Planted: the line of the space does not say that anything was purged before."""
    known = gathered(*given)
    return replace(known, since=(0,) * len(known.since))


PLANTED = (
    Variant("a move forgets purges", planted=(("driftlog_streams.replaying.predecessors.Forgot", forgets_purges),)),
    Variant(
        "who was away is heard behind a move",
        planted=(("driftlog_streams.replaying.predecessors.Forgot", hears_who_was_away),),
    ),
    Variant(
        "a purge counts in the old log only",
        planted=(("driftlog_streams.replaying.repartitioning.gathered", counts_in_the_old_log_only),),
    ),
)
