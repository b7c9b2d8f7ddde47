"""A world of reactions whose logs are closed while calls are under way, and the one where it goes on with another number of partitions."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from driftlog_schemas.batch_codec import encode_body
from driftlog_schemas.identity import CLOSER, CLOSING_REPLICA, CLOUD
from driftlog_schemas.messages import Batch
from driftlog_schemas.moves import Moved, present
from driftlog_schemas.signing import Identity
from driftlog_streams.core.changelog_record import ChangelogRecord
from driftlog_streams.core.rights import CLOSE
from driftlog_streams.core.rules import SpaceRules
from driftlog_streams.faust_driver.partition_store import WorkerStore
from driftlog_streams.reading.set_aside import DROPPED
from driftlog_streams.replaying.calls_left import CallsLeft, Carried, calls_left
from driftlog_streams.replaying.predecessors import Closed, gathered
from driftlog_streams.replaying.publication import publish
from driftlog_streams.replaying.spreading import spread
from tests.unit.streams.cloud import IDS, NOW_MS, device
from tests.unit.streams.reacting import Crashed, World


def close(world: World, partitions: Sequence[int] = (0, 1)) -> None:
    """The records that end these logs are appended; nobody has read them."""
    identity = world.identities.setdefault(CLOSER, Identity.create(CLOSER))
    world.devices.lines[CLOSER] = device(identity, scopes=(), permissions=(CLOSE,))
    for number in partitions:
        batch = Batch(world.rules.name, number, CLOSING_REPLICA, 1, (), floor=1)
        world.partitions[number].log.append(world.rules.batches.seal(encode_body(batch), identity))


def confirm(world: World, chance: random.Random | None = None, crashes: int = 0) -> None:
    """The workers confirm all that is in the logs, dying so often on the way."""
    chance, died = chance or random.Random(1), 0
    for _ in range(2_000):
        number = chance.randrange(world.rules.partitions)
        world.step(number, chance.randint(1, 3))
        world.react(number)
        if died < crashes and not world.crash_after:
            world.crash_after = chance.randint(1, 4)
        try:
            world.fly(number)
        except Crashed:
            died += 1
            world.start()
        if died == crashes:
            world.crash_after = 0
        if all(p.committed == len(p.log) for p in world.partitions) and not any(m.work.dirty for m in world.mergers):
            return
    raise AssertionError("the ends of the logs are not confirmed")


def close_on_calls(world: World, changes: int = 1) -> None:
    """What so many changes of the first partition call for is in the logs; then these end, and nobody has answered."""
    world.step(0, changes)
    world.fly(0)
    close(world)
    confirm(world)


def move(world: World, partitions: int, folder: Path) -> tuple[World, CallsLeft]:
    """What is confirmed is laid anew; the world where it goes on, before any worker of it runs, and what of calls came along."""
    logs, rules = logs_of(world), SpaceRules(world.rules.space, IDS)
    with closing(WorkerStore(folder / f"stores-{world.rules.name}")) as stores:
        before = []
        for number, partition in enumerate(world.partitions):
            store = stores.partition(number)
            store.write(partition.states.items(), store.mark, partition.rows.items())
            row = store.row(CLOSING_REPLICA)
            assert row is not None, "its log is closed"
            before.append(Closed(store, rules.records.decode_chain_row(row).offset))
        known, left = gathered(rules, before), calls_left(rules, logs, world.devices, before)
        begins = 1 + max(len(partition.log) for partition in world.partitions)
        number = int(rules.name.partition(".p")[2] or 1) + 1
        moved = Moved(number, partitions, begins, known.since)
        after = World(space=present(rules.space, lambda name: moved if name == rules.name else None), before=world)
        for partition in after.partitions:
            partition.log, partition.committed = [None] * begins, begins
        after.read = begins - 1
        carried = Carried(after.rules, world.identities[CLOUD], left)
        targets = [stores.partition(10 + one) for one in range(partitions)]
        spread(after.rules, before, targets, known, begins, lambda name: True)
        carried.write_open(targets)

        def deliver(records: Sequence[Any]) -> None:
            for record in records:
                after.delivered(record)

        for one, target in enumerate(targets):
            publish(after.rules, one, target, deliver)
        deliver([*carried.records()])
    after.start()
    return after, left


def logs_of(world: World) -> Any:
    """`Logs`, of what its partitions have."""

    def blocks(topic: str, partition: int, start: int = 0) -> Iterator[list[ChangelogRecord]]:
        if topic == world.rules.topics.quarantine:
            aside = [one for one in world.quarantined if one.partition == partition]
            yield [
                ChangelogRecord(b"", world.rules.records.encode_quarantined(one), at, (), NOW_MS)
                for at, one in enumerate(aside)
            ]
            words = [name for at, name in world.dropped if at == partition]
            yield [ChangelogRecord(b"", None, -1, ((DROPPED, name.encode()),)) for name in words]
            return
        assert topic == world.rules.topics.ops
        for offset, value in enumerate(world.partitions[partition].log[start:], start):
            key = b"" if value is None else world.rules.batches.open(value).device_id.encode()
            yield [ChangelogRecord(key, value, offset, (), NOW_MS)]

    return SimpleNamespace(blocks=blocks)
