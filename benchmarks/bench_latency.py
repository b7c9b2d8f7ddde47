"""From an answered write at one edge to its sight at another, beside raw produce-to-consume on the same broker.

Two agents and a worker, each a process: the write is durable at the first agent and answered (the clock starts); it is sealed, signed and
sent, merged by the worker, published, pulled and stored by the second agent, whose watcher is told (the clock stops). That is two
passes through the log, so twice the raw time is the floor.

The baseline sends a record of the size of such a batch and waits for it with a plain consumer: one pass, nothing in between. Both
sides have one record under way at a time, after a short pause, as a person at a till has.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import random
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition

from benchmarks import cluster
from benchmarks.case import Case, Ground, Samples, Sides, ratio_at_most
from benchmarks.cluster import BenchSpace, Cluster
from driftlog_edge import EdgeAgent, EdgeConfig
from driftlog_schemas.contract import AppContract
from tests.load.app import declare
from tests.load.workers import WorkerPlace, WorkerProcess

PLACE = "place-1"
PARTITIONS = 4
WRITES = 200
"""A round."""
QUICK_WRITES = 20
RAW_BYTES = 400
"""About a signed batch of one op."""
PAUSE_SECONDS = (0.005, 0.025)
PATIENCE_SECONDS = 30.0
AIM = 4.0

shared = cluster.servers


def _agent(contract: AppContract, place: WorkerPlace, identity: Path) -> EdgeAgent:
    config = EdgeConfig(
        data_dir=identity.with_suffix(".replica"),
        identity=identity,
        bootstrap=place.bootstrap,
        registry=place.registry_url,
        scopes=[PLACE],
    )
    return EdgeAgent(contract, config)


def _writer(place: WorkerPlace, identity: Path, orders: Connection) -> None:
    """The writing agent, in a process of its own: names the document for each order, and says when that was answered."""

    async def obey() -> None:
        loop = asyncio.get_running_loop()
        async with _agent(declare(place.space, place.partitions).contract, place, identity) as agent:
            while (label := await loop.run_in_executor(None, orders.recv)) is not None:
                await agent.run("name", place=PLACE, item="tea", label=label)
                orders.send(time.perf_counter())  # of the machine's one monotonic clock

    asyncio.run(obey())


class _Edges:
    """Two agents, each in its process: the other one writes, the one here sees."""

    def __init__(self, space: BenchSpace) -> None:
        folder = space.place.folder
        files = [folder / f"{member.device_id}.json" for member in space.fleet.members]
        for member, file in zip(space.fleet.members, files, strict=True):
            member.save(file)
        self._orders, theirs = multiprocessing.Pipe()
        spawn = multiprocessing.get_context("spawn")
        self._writer = spawn.Process(target=_writer, args=(space.place, files[0], theirs), daemon=True)
        self._reader = _agent(space.contract, space.place, files[1])
        self._runner = asyncio.Runner()
        self._number = 0

    def __enter__(self) -> _Edges:
        self._writer.start()
        self._runner.__enter__()
        self._runner.run(self._reader.__aenter__())
        return self

    def __exit__(self, *error: Any) -> None:
        self._orders.send(None)
        self._runner.run(self._reader.__aexit__(None, None, None))
        self._runner.__exit__(*error)
        self._writer.join(PATIENCE_SECONDS)
        self._writer.kill()

    def round(self, writes: int) -> Samples:
        """Milliseconds from answered to seen."""
        return self._runner.run(self._round(writes))

    async def _round(self, writes: int) -> Samples:
        watch = self._reader.watch("Item", PLACE)
        event = asyncio.ensure_future(anext(watch))
        await asyncio.sleep(0)  # now it watches
        found = []
        for _ in range(writes):
            self._number += 1
            label = f"label {self._number}"
            await asyncio.sleep(random.uniform(*PAUSE_SECONDS))
            self._orders.send(label)
            async with asyncio.timeout(PATIENCE_SECONDS):
                while True:
                    await event
                    event = asyncio.ensure_future(anext(watch))
                    if (await self._reader.read("Item", PLACE, "tea")).value["label"] == label:
                        break
            now = time.perf_counter()
            found.append((now - self._orders.recv()) * 1000)
        event.cancel()
        await asyncio.gather(event, return_exceptions=True)
        return found


class _Raw:
    """One producer, one consumer."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._topic = topic
        self._producer = Producer(
            {"bootstrap.servers": bootstrap, "acks": "all", "enable.idempotence": True, "linger.ms": 0, "log_level": 0}
        )
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": topic,
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "log_level": 0,
            }
        )
        self._consumer.assign([TopicPartition(topic, 0, 0)])
        self._value = random.randbytes(RAW_BYTES)

    def round(self, records: int) -> Samples:
        """Milliseconds from `produce` to `poll`."""
        found = []
        for _ in range(records):
            time.sleep(random.uniform(*PAUSE_SECONDS))
            begun = time.perf_counter()
            self._producer.produce(self._topic, self._value)
            while (message := self._consumer.poll(0.2)) is None or message.error() is not None:
                if time.perf_counter() - begun > PATIENCE_SECONDS:
                    raise TimeoutError(f"a record of {self._topic} did not come back")
            found.append((time.perf_counter() - begun) * 1000)
            self._producer.poll(0)
        return found

    def close(self) -> None:
        self._producer.flush(10)
        self._consumer.close()


@contextmanager
def _edge_to_edge(ground: Ground) -> Iterator[Sides]:
    servers: Cluster = ground.shared
    writes = QUICK_WRITES if ground.quick else WRITES
    space = servers.space(cluster.fresh_name("latency"), ground.folder, partitions=PARTITIONS, devices=2)
    raw = _Raw(servers.bootstrap, servers.topic(f"{space.name}-raw", 1))
    worker = WorkerProcess(space.place, "0").start()
    try:
        with _Edges(space) as edges:
            yield Sides(partial(edges.round, writes), partial(raw.round, writes), {"writes a round": writes})
    finally:
        raw.close()
        worker.stop()


def _case(name: str, share: float, aim: float | None) -> Case:
    opened: Callable[[Ground], AbstractContextManager[Sides]] = _edge_to_edge
    limit = None if aim is None else ratio_at_most(aim)
    return Case(f"edge-to-edge/{name}", "ms", opened, "raw produce to consume", limit, quantile=share, rounds=5)


CASES: Sequence[Case] = [_case("p50", 0.5, AIM), _case("p99", 0.99, None)]
