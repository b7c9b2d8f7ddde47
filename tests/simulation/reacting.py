"""Worlds in which something reacts: production's reactor beside production's host, and a reaction of the app, while workers die between any two deliveries.

What is sold in a store is counted in another one's scope, of another partition, under an article that nobody else touches. So each reaction has had its effect
exactly once if that count is what the ledger says, and nothing was set aside. Beside that these worlds are judged by a replay, like those that forget.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from driftlog import Emit
from driftlog.reactions import compile_reaction
from driftlog_schemas import topics
from driftlog_schemas.batch_codec import decode_body
from driftlog_schemas.contract import SpaceContract
from driftlog_schemas.identity import CLOUD, DocumentId, document_key
from driftlog_schemas.messages import Call
from driftlog_schemas.state_codec import StateCodec, codecs_of
from driftlog_streams.core.calls import Calls
from driftlog_streams.core.rules import SpaceRules
from driftlog_streams.faust_driver import reactor
from driftlog_streams.faust_driver.reactor import Reactor
from tests.simulation import forgetting
from tests.simulation.app import SHARED, SPACE, Ledger, receive
from tests.simulation.forgetting import ForgettingWorld
from tests.simulation.history import History
from tests.simulation.scheduler import EPOCH_MS
from tests.simulation.variant import HONEST, Variant
from tests.simulation.world import MINUTE_MS, World

COUNTED_IN = {"s1": "s4", "s2": SHARED, "s4": "s1", SHARED: "s2"}
"""Of a store's sales the scope in which they are counted, which lies in another partition."""
LENGTH_MS = 5 * MINUTE_MS
RETENTION_MS = 30 * 24 * 60 * MINUTE_MS
KILLS = 25
"""How often a worker is killed, most of the time between two deliveries, besides what else goes wrong."""
LOOK_SECONDS = 0.5
"""The reactor looks less often than in production: a world has many idle minutes."""
CALLED, AGAIN = "reactions called for commands", "calls came again"
AT_LEAST = {CALLED: 120, AGAIN: 3}
"""In the worlds of a run, also of the shortest; see `test_reacting`. A call comes again where a worker died before its change was acknowledged."""


class Reacts(World):
    """What all worlds that react have in common, besides what else they are."""

    reacts = True
    errands = ("receive", "sell", "sell")
    diligence = 32

    def _run(self) -> History:
        draw = random.Random(self.history.seed)
        for _ in range(KILLS):
            worker, at = draw.choice(self.workers), EPOCH_MS + draw.randrange(1_000, self.length_ms)
            self.scheduler.at(at, f"{worker.name} is killed soon", worker.crash_soon)
        return super()._run()

    def unrest(self) -> str:
        return super().unrest() or next(self._waiting(), "")

    def _waiting(self) -> Iterator[str]:
        for worker in self.workers:
            pump = None if worker.process is None else worker.process.host.pump
            for partition, merger in {} if pump is None else pump.mergers.items():
                if merger.calls.waits:
                    yield f"calls wait in partition {partition}"


class ReactingWorld(Reacts, ForgettingWorld):
    """One of them; nothing is forgotten in it."""

    bars = 0
    """What is drawn besides is enough: of devices that are barred nothing is called for."""

    def __init__(self, seed: int, variant: Variant = HONEST) -> None:
        super().__init__(seed, variant)
        self.length_ms, self.retention_ms = LENGTH_MS, RETENTION_MS
        self.rules = SpaceRules(with_reaction(SPACE), self.ids, self.cloud)


def sales_are_counted(before: Ledger | None, after: Ledger | None) -> Iterator[Emit]:
    """The reaction."""
    more = (after.sold.value if after else 0) - (before.sold.value if before else 0)
    if after is not None and more > 0:
        yield Emit(receive, store=COUNTED_IN[after.store], sku=f"sold-{after.store}", qty=more)


def with_reaction(space: SpaceContract) -> SpaceContract:
    """The same app, which reacts."""
    ledger = space.collections["Ledger"]
    compiled = compile_reaction(sales_are_counted, "sales_are_counted", ledger, lambda command: "receive")
    return replace(space, reactions={"Ledger": (compiled,)})


def reactor_of(process: Any, devices: Any, publisher: Any, pump: Any) -> Reactor:
    """Production's, of one worker."""
    world = process.world

    def seconds() -> float:
        return float(world.scheduler.now) / 1000

    return Reactor(process.rules, devices, world.cloud, publisher, process.changelog, pump, seconds, seconds)


# -- the judgement


def broken(world: ReactingWorld, history: History) -> Iterator[str]:
    """What is wrong with a world that was lived through."""
    yield from forgetting.broken(world, history)
    yield from set_aside(world, SPACE)
    yield from miscounted(world, SPACE, {r.key or b"": r.value for records in history.states.values() for r in records})


def set_aside(world: World, space: SpaceContract) -> Iterator[str]:
    """What workers have put into the quarantine of a space: nothing that reacts is to fail."""
    for partition in range(space.partitions):
        for record in world.log.history(topics.quarantine_topic(space.name), partition):
            found = world.rules.records.decode_quarantined(record.value or b"")
            yield f"set aside in {space.name}[{partition}]: {found.code} {found.reason}"


def miscounted(world: World, space: SpaceContract, latest: Mapping[bytes, bytes | None]) -> Iterator[str]:
    """Sales that were not counted once each, by the latest states."""
    codecs = codecs_of(space.collections, world.ids)
    for store, place in COUNTED_IN.items():
        sold = shown(codecs, latest, DocumentId("Ledger", store, "today"), "sold")
        counted = shown(codecs, latest, DocumentId("Stock", place, f"sold-{store}"), "on_hand")
        if sold != counted:
            yield f"{store} has sold {sold}, and {counted} were counted in {place}"


def shown(
    codecs: Mapping[str, StateCodec], latest: Mapping[bytes, bytes | None], document: DocumentId, field: str
) -> int:
    """A field of a document by the latest states."""
    value = latest.get(document_key(document))
    return 0 if value is None else int(codecs[document.collection].decode_row(value)[field])


def calls(world: ReactingWorld, history: History) -> Iterator[Call]:
    """All that are in the log, in order."""
    for records in history.ops.values():
        for record in records:
            if record.key == CLOUD.encode():
                react = decode_body(world.rules.batches.open(record.value or b"").body).react
                yield from () if react is None else react.calls


def covered(world: ReactingWorld, history: History) -> Counter[str]:
    """How much of it there was."""
    made = Counter(call.id for call in calls(world, history))
    return Counter({CALLED: len(made), AGAIN: made.total() - len(made)})


def lived(seed: int, variant: Variant = HONEST) -> tuple[list[str], Counter[str]]:
    """What is wrong with the world of this seed, and what it covered."""
    with patch.object(reactor, "LOOK_SECONDS", LOOK_SECONDS):
        world = ReactingWorld(seed, variant)
        history = world.run()
    return list(broken(world, history)), covered(world, history)


def missing(found: Counter[str]) -> list[str]:
    """What should have been met more often."""
    return [f"{name}: {found[name]} of {least}" for name, least in AT_LEAST.items() if found[name] < least]


# -- planted


def believes_repetitions(self: Calls, calls: tuple[Call, ...], offset: int, append_ms: int) -> None:
    """Planted: whatever is called for is done, though it was called for before."""
    known = self._book.known
    self._said[offset] = calls
    self._book.put(known._replace(waiting=(*known.waiting, (offset, 0))))


TWICE = Variant("a call counts twice", planted=(("driftlog_streams.core.calls.Calls.take", believes_repetitions),))
