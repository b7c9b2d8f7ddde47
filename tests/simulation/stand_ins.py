"""What stands in a world for the few things that production takes from the process: RocksDB, chance, the wall behind `monotonic`.

Everything else of an agent and a worker is production's own. A planted bug is put in place the same way (see `variant`).
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NoReturn
from unittest.mock import patch

from driftlog_edge.ports import Store, Writes
from driftlog_edge.store import lives
from driftlog_streams.core.chain_book import ChainBook
from driftlog_streams.core.state_cache import ENTRY_BYTES, CacheRoom
from tests.simulation.counting import counted
from tests.simulation.disk_store import DiskStore
from tests.simulation.life import Life, ProcessDied
from tests.simulation.registry_rim import RegistryClient, threading_of
from tests.simulation.scheduler import EPOCH_MS
from tests.simulation.worker_rim import Batch, Database, NoThread

if TYPE_CHECKING:
    from tests.simulation.world import World

LETTERS = "abcdefghijklmnopqrstuvwxyz234567"
"""Of a life's name."""
TICK_SECONDS = 2.0
"""The agent looks at its clock every half second; a world has many idle hours."""
CHECK_SECONDS = 5.0
"""A worker asks for the registry's end every three."""


class NoRotation:
    """A simulated disk holds values as they are."""

    def start(self) -> None: ...

    async def stop(self) -> None: ...

    def facts(self) -> dict[str, Any]:
        return {}


class Syncs:
    """The committing thread: a real one would run beside the world."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def write(
        self, writes: Writes, loop: asyncio.AbstractEventLoop, told: Callable[[BaseException | None], None]
    ) -> None:
        done = loop.run_in_executor(None, lambda: self._store.write(writes, sync=True))
        done.add_done_callback(lambda done: told(done.exception()))

    def close(self) -> None: ...


class Identities:
    """`Identity` as the assembly loads it."""

    def __init__(self, world: World) -> None:
        self._world = world

    def load(self, path: Any) -> Any:
        return self._world.identities[path.name]


@contextmanager
def in_place(world: World) -> Iterator[None]:
    """For the life of a world. Worlds of one process live one after another."""
    chance = world.scheduler.random

    def draw() -> str:
        return "".join(chance.choices(LETTERS, k=8))

    replaced: list[tuple[str, Any]] = [
        ("driftlog_edge.opening.RocksStore", lambda folder, *_: DiskStore(world.edges[folder.name].disk)),
        ("driftlog_edge.store.committer._Syncs", Syncs),
        ("driftlog_edge.assembly.Rotation", lambda *parts: NoRotation()),
        ("driftlog_edge.assembly.Identity", Identities(world)),
        ("driftlog_edge.link.sync.TICK_SECONDS", TICK_SECONDS),
        ("driftlog_edge.link.clients.random", chance),
        ("driftlog_edge.link.signal.random", chance),
        ("driftlog_edge.link.renewing.random", chance),
        ("driftlog_edge.outgoing.outbox.SEALED_OPS", world.batch_ops),
        ("driftlog_edge.outgoing.rebase.AT_ONCE", 1),
        ("driftlog_edge.incoming.verdicts.AT_ONCE", 2),
        ("driftlog_edge.outgoing.pump.random", chance),
        ("driftlog_edge.opening_anew.random", chance),
        ("driftlog_edge.opening.ensure_life", partial(lives.ensure_life, draw=draw)),
        ("driftlog_edge.opening.Lives", partial(lives.Lives, draw=draw)),
        *_below_a_worker(world),
        *counted(world),
        *world.variant.planted,
    ]
    with ExitStack() as stack:
        for name, replacement in replaced:
            stack.enter_context(patch(name, replacement))
        yield


def _below_a_worker(world: World) -> list[tuple[str, Any]]:
    scheduler = world.scheduler
    clock = SimpleNamespace(monotonic=lambda: (scheduler.now - EPOCH_MS) / 1000)
    driver = "driftlog_streams.faust_driver"

    def small_room(limit: int) -> CacheRoom:
        return CacheRoom(scheduler.between(4, 16) * ENTRY_BYTES)

    def small_book(load: Any, codecs: Any) -> ChainBook:
        return ChainBook(load, codecs, scheduler.between(1, 4))

    return [
        (f"{driver}.publisher.Producer", lambda config: _running().kafka_producer),
        (f"{driver}.publisher.threading", SimpleNamespace(Thread=NoThread, RLock=threading.RLock)),
        (f"{driver}.host.ChangelogReader", lambda *_: _running().changelog),
        (f"{driver}.host.die", _die),
        (f"{driver}.pump.die", _die),
        (f"{driver}.flights.die", _die),
        (f"{driver}.pump.time", clock),
        (f"{driver}.flights.time", clock),
        (f"{driver}.pump.CacheRoom", small_room),
        (f"{driver}.taking_over.ChainBook", small_book),
        (f"{driver}.taking_over.PartitionMerger", world.variant.merger),
        (f"{driver}.flights.FlightDeck", world.variant.deck),
        (f"{driver}.partition_store.WriteBatch", Batch),
        (f"{driver}.partition_store._open", lambda folder: Database(world, folder)),
        ("driftlog_streams.registry.doubt.time", clock),
        ("driftlog_streams.registry.device_view.threading", threading_of(world.threads)),
        ("driftlog_streams.registry.device_view.time", world.threads),
        ("driftlog_streams.registry.device_view.CHECK_SECONDS", CHECK_SECONDS),
        ("driftlog_streams.registry.device_view.Consumer", lambda config: RegistryClient(_running())),
        ("driftlog_streams.registry.device_view.Producer", lambda config: _running().kafka_producer),
    ]


def _running() -> Any:
    """The worker process that runs."""
    assert Life.current is not None
    return Life.current.owner


def _die(error: BaseException, code: int = 0) -> NoReturn:
    """The end of a process: nothing after this line happens in it."""
    _running().ends(error)
    raise ProcessDied(str(error))
