"""A replica of many documents: how long until an empty agent has it, beside a raw consume; what it takes to hold and to start with.

A state topic of one partition is filled once for all cases of a size, as workers fill it. Every measurement is an agent in a process of its own, so that nothing of
another one counts:

- `bootstrap`: documents a second from an empty folder to `ready` (read, decoded, checked, stored). The baseline reads the same records with a
  plain consumer and does nothing with them. `bootstrap/processor` is the processor time of both, which says more where others use the machine.
- `rss`: resident memory of an agent, with its HTTP routes, that holds nothing, and of one that has just read all documents. The baseline is a process
  that has imported the agent and not run it. The facts say what it took at most while it read, and what `driftlog edge run` takes on that folder.
- `start`: processor time of `driftlog edge run` on a folder with all documents until it serves, imports and all, beside one on an empty folder.
- `step`: how long one step of the loop takes at most while an empty agent reads all documents, beside one that has nothing to read.
"""

from __future__ import annotations

import asyncio
import itertools
import multiprocessing
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

from confluent_kafka import Consumer, KafkaError, TopicPartition

from benchmarks import cluster
from benchmarks.agent_process import NOWHERE, PROC, Taken, edge_run, resident, taken
from benchmarks.case import Aim, Case, Ground, Samples, Sides, Skipped, at_most, ratio_at_least, ratio_at_most
from benchmarks.cluster import BenchSpace, Cluster
from benchmarks.longest import longest_step
from benchmarks.processor_time import took
from benchmarks.quiet import quiet
from benchmarks.states import published
from driftlog_crdt import DocumentState
from driftlog_edge import EdgeAgent, EdgeConfig
from driftlog_edge.collector import spare
from driftlog_edge.errors import NotReady
from driftlog_edge.http_api.app import build
from driftlog_schemas import topics
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.partitioning import partition_of
from tests.load.app import COLLECTION, COUNTER, PARTITIONS_VARIABLE, SPACE_VARIABLE, declare
from tests.load.workers import WorkerPlace

PLACE = "place-1"
PARTITIONS = 1
QUICK, USUAL = 2_000, 100_000
"""Documents."""
READ, HELD = 200_000, 1_000_000
"""With `--large`: of `bootstrap` and `step`, and of `rss` and `start`."""
PATIENCE_SECONDS = 3600.0
LOOK_SECONDS = 0.01
SETTLE_SECONDS = 1.0
"""Between being ready and looking at the memory."""


class Measured(NamedTuple):
    """What an agent's process tells of itself."""

    ready: float
    """Seconds until it has all that the cloud has."""
    worked: float
    """Seconds of processor time for that."""
    rss: float
    """MiB, a moment later."""
    peak: float
    """MiB, the most so far."""
    longest: float
    """Milliseconds of processor time that the longest step of its loop took."""


@dataclass(frozen=True, slots=True)
class Filled:
    """A space whose state topic holds the documents."""

    space: BenchSpace
    documents: int
    bootstrap: str
    identity: Path

    @property
    def replica(self) -> Path:
        """The folder of an agent that has read all of it, once one has."""
        return self.identity.with_name("replica")


@dataclass(slots=True)
class Spaces:
    """A broker and a registry, with a space for each number of documents that was asked for."""

    servers: Cluster
    ground: Ground
    _filled: dict[int, Filled] = field(default_factory=dict)

    def filled(self, large: int) -> Filled:
        """The space of so many documents with `--large`, and else of as many as usual."""
        documents = self.ground.size(QUICK, USUAL, large)
        if documents not in self._filled:
            self._filled[documents] = self._made(documents)
        return self._filled[documents]

    def _made(self, documents: int) -> Filled:
        folder = self.ground.folder / str(documents)
        folder.mkdir()
        space = self.servers.space(cluster.fresh_name("replica"), folder, partitions=PARTITIONS, devices=1)
        (member,) = space.fleet.members
        identity = folder / "identity.json"
        member.save(identity)
        self.ground.say(f"writing {documents} states")
        published(space, _counted(space, documents), group=1)
        return Filled(space, documents, self.servers.bootstrap, identity)


@contextmanager
def shared(ground: Ground) -> Iterator[Spaces]:
    """Servers that leave nothing behind."""
    with cluster.servers(ground) as servers:
        yield Spaces(servers, ground)


def _spaces(ground: Ground) -> Spaces:
    assert isinstance(ground.shared, Spaces)
    return ground.shared


def _counted(space: BenchSpace, documents: int) -> Iterator[tuple[DocumentId, DocumentState]]:
    rules = space.contract.spaces[space.name].collections[COLLECTION].document
    for number in range(documents):
        state = rules.new()
        hlc = time.time_ns() // 1_000_000 << 16
        rules.apply(state, rules.prepare(state, "office.seed", hlc, COUNTER, "increment", number + 1))
        yield DocumentId(COLLECTION, PLACE, f"item-{number:06d}"), state


def _agent(place: WorkerPlace, identity: Path, folder: Path, online: bool, told: Connection) -> None:
    quiet()
    spare()  # as in an agent's own process
    config = EdgeConfig(
        data_dir=folder,
        identity=identity,
        scopes=[PLACE],
        bootstrap=place.bootstrap if online else NOWHERE,
        registry=place.registry_url,
    )

    async def run() -> Measured:
        begun, worked = time.perf_counter(), time.process_time()
        async with EdgeAgent(declare(place.space, place.partitions), config) as agent:
            while online:
                try:
                    agent.ready()
                    break
                except NotReady:
                    await asyncio.sleep(LOOK_SECONDS)
            ready, worked = time.perf_counter() - begun, time.process_time() - worked
            build(agent)  # what serves it takes memory, too
            await asyncio.sleep(SETTLE_SECONDS)
            return Measured(ready, worked, *_memory(), longest=0.0)

    with longest_step() as longest:
        found = asyncio.run(run())
    told.send(found._replace(longest=longest.processor))


def _memory() -> tuple[float, float]:
    """MiB now, and at most so far; zeros where the system does not tell."""
    return (resident(), resident(what="VmHWM")) if PROC.exists() else (0.0, 0.0)


def _nothing(told: Connection) -> None:
    told.send(Measured(0.0, 0.0, *_memory(), longest=0.0))


def _in_a_process(run: Callable[..., None], *arguments: object) -> Measured:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=run, args=(*arguments, theirs), daemon=True)
    process.start()
    try:
        if not ours.poll(PATIENCE_SECONDS):
            raise TimeoutError("the agent's process did not answer")
        return Measured(*ours.recv())
    finally:
        process.join(10)
        process.kill()


def _read_by_an_agent(filled: Filled, folder: Path) -> Measured:
    """All of it, into an empty folder, which is gone afterwards."""
    try:
        return _in_a_process(_agent, filled.space.place, filled.identity, folder, True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _served(filled: Filled, folder: Path, cache: Path) -> Taken:
    """What `driftlog edge run` takes on a folder."""
    place = filled.space.place
    environment = {SPACE_VARIABLE: place.space, PARTITIONS_VARIABLE: str(place.partitions)}
    return taken(edge_run(folder, filled.identity, PLACE), cache, environment)


def _consumed(filled: Filled) -> Samples:
    """Documents a second of a plain consumer."""
    consumer = Consumer(
        {"bootstrap.servers": filled.bootstrap, "group.id": "raw", "enable.partition.eof": True, "log_level": 0}
    )
    begun = time.perf_counter()
    consumer.assign([TopicPartition(topics.state_topic(filled.space.name), partition_of(PLACE, PARTITIONS), 0)])
    read, ended = 0, False
    while not ended:
        first = consumer.poll(1.0)
        for message in [] if first is None else [first, *consumer.consume(500, 0)]:
            error = message.error()
            if error is None:
                read += 1
            elif error.code() == KafkaError._PARTITION_EOF:
                ended = True
    seconds = time.perf_counter() - begun
    consumer.close()
    if read != filled.documents:
        raise RuntimeError(f"{read} of {filled.documents} records were read")
    return [read / seconds]


@contextmanager
def _bootstrapping(ground: Ground) -> Iterator[Sides]:
    filled = _spaces(ground).filled(READ)

    def ours() -> Samples:
        return [filled.documents / _read_by_an_agent(filled, ground.folder / "replica").ready]

    yield Sides(ours, partial(_consumed, filled), {"documents": filled.documents})


@contextmanager
def _bootstrapping_by_processor(ground: Ground) -> Iterator[Sides]:
    filled = _spaces(ground).filled(READ)

    def ours() -> Samples:
        return [_read_by_an_agent(filled, ground.folder / "replica").worked / filled.documents * 1e6]

    yield Sides(ours, lambda: took(lambda: _consumed(filled), filled.documents), {"documents": filled.documents})


@contextmanager
def _remembering(full: bool, ground: Ground) -> Iterator[Sides]:
    if not PROC.exists():
        raise Skipped("resident memory is read from /proc")
    filled = _spaces(ground).filled(HELD)
    folder = filled.replica if full else ground.folder / "replica"
    facts: dict[str, object] = {"documents": filled.documents if full else 0}

    def ours() -> Samples:
        shutil.rmtree(folder, ignore_errors=True)
        found = _in_a_process(_agent, filled.space.place, filled.identity, folder, full)
        if full:
            facts["MiB at most while it read"] = round(found.peak)
            facts["MiB of driftlog edge run on that folder"] = round(
                _served(filled, folder, ground.folder / "cache").rss
            )
        return [found.rss]

    yield Sides(ours, lambda: [_in_a_process(_nothing).rss], facts)


@contextmanager
def _stepping(ground: Ground) -> Iterator[Sides]:
    filled = _spaces(ground).filled(READ)
    folders = itertools.count()

    def longest(online: bool) -> Samples:
        folder = ground.folder / f"replica-{next(folders)}"
        found = _in_a_process(_agent, filled.space.place, filled.identity, folder, online)
        shutil.rmtree(folder)
        return [found.longest]

    yield Sides(partial(longest, True), partial(longest, False), {"documents": filled.documents})


@contextmanager
def _starting(ground: Ground) -> Iterator[Sides]:
    if not PROC.exists():
        raise Skipped("processor time is read from /proc")
    filled = _spaces(ground).filled(HELD)
    full = filled.replica
    if not full.exists():
        _in_a_process(_agent, filled.space.place, filled.identity, full, True)
    empties = itertools.count()

    def worked(folder: Path) -> Samples:
        return [_served(filled, folder, ground.folder / "cache").seconds]

    yield Sides(
        lambda: worked(full),
        lambda: worked(ground.folder / f"empty-{next(empties)}"),
        {"documents": filled.documents},
    )


def _case(
    name: str, unit: str, opened: Callable[[Ground], AbstractContextManager[Sides]], baseline: str, aim: Aim | None
) -> Case:
    return Case(name, unit, opened, baseline, aim, rounds=3, warm_up=False)


CASES: Sequence[Case] = [
    _case("bootstrap", "documents/s", _bootstrapping, "raw consume", ratio_at_least(0.03)),
    _case("bootstrap/processor", "us a document", _bootstrapping_by_processor, "raw consume", ratio_at_most(60)),
    _case("rss/idle", "MiB", partial(_remembering, False), "imported, not run", ratio_at_most(2.0)),
    _case("rss/documents", "MiB", partial(_remembering, True), "imported, not run", at_most(160, "MiB")),
    _case("step", "ms", _stepping, "nothing to read", at_most(50, "ms")),
    _case("start", "s", _starting, "an empty folder", at_most(2, "s")),
]
