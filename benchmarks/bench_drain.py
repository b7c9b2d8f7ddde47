"""What a pending command costs to take back, in queues of many lengths: the same for each, beside a queue a quarter as long.

An agent writes its commands offline, then goes online: they are sealed, merged by a worker on a real broker, and pulled until nothing is
pending. Time is measured from going online to the last command gone. What must hold is that a command costs the same however many wait, and
however many of them are on one document; so the baseline is the same drain of a quarter of the queue, in the same run.

The facts say what the folder takes for each command, while it waits and after it was merged and forgotten.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

from benchmarks import cluster
from benchmarks.case import Case, Ground, Samples, Sides, ratio_at_most
from benchmarks.cluster import BenchSpace, Cluster
from benchmarks.quiet import quiet
from driftlog_edge import EdgeAgent, EdgeConfig
from tests.load.workers import WorkerProcess

PLACE = "place-1"
PARTITIONS = 4
COMMANDS = (20_000, 40_000, 80_000)
PER_DOCUMENT = (10, 100, 1_000)
QUICK = 20
"""Divides the queue."""
WARM_UP = 100
"""Commands, before anything is measured."""
SHORTER = 4
"""The baseline's queue is so many times shorter."""
CALLERS = 64
LOOK_SECONDS = 0.02
AIM = 1.3

shared = cluster.servers


class _Device:
    """One agent in a folder of its own, with its loop, driven from outside."""

    def __init__(self, space: BenchSpace, number: int) -> None:
        member = space.fleet.members[number]
        identity = space.place.folder / f"{member.device_id}.json"
        member.save(identity)
        self._folder = identity.with_suffix(".replica")
        config = EdgeConfig(
            data_dir=self._folder,
            identity=identity,
            bootstrap=space.place.bootstrap,
            registry=space.place.registry_url,
            scopes=[PLACE],
            durability="os",
            keep_hours=0,
        )
        self._agent = EdgeAgent(space.contract, config)
        self._runner = asyncio.Runner()
        self._number = 0
        self.facts: dict[str, object] = {}

    def __enter__(self) -> _Device:
        self._runner.__enter__()
        self._runner.run(self._agent.__aenter__())
        return self

    def __exit__(self, *error: Any) -> None:
        self._runner.run(self._agent.__aexit__(None, None, None))
        self._runner.__exit__(*error)

    def drain(self, commands: int, per_document: int) -> Samples:
        """Microseconds a command, from online to nothing pending."""
        return [self._runner.run(self._drain(commands, per_document))]

    async def _drain(self, commands: int, per_document: int) -> float:
        await self._agent.offline()
        documents = max(1, commands // per_document)
        empty = self._bytes()
        left = iter(range(commands))

        async def caller() -> None:
            for number in left:
                await self._agent.run("hit", place=PLACE, item=f"item-{number % documents}")

        await asyncio.gather(*(caller() for _ in range(CALLERS)))
        self.facts["disk bytes a waiting command"] = round((self._bytes() - empty) / commands)
        await self._agent.online()
        begun = time.perf_counter()
        while self._agent.status()["pending"]:  # noqa: ASYNC110  # as an operator would see it
            await asyncio.sleep(LOOK_SECONDS)
        took = time.perf_counter() - begun
        await self._agent.tidy()
        self.facts["disk bytes a command after"] = round((self._bytes() - empty) / commands)
        return took / commands * 1e6

    def _bytes(self) -> int:
        return int(self._agent.status()["disk_bytes"])


@contextmanager
def _draining(commands: int, per_document: int, ground: Ground) -> Iterator[Sides]:
    quiet()
    servers: Cluster = ground.shared
    if ground.quick:
        commands //= QUICK
    space = servers.space(cluster.fresh_name("drain"), ground.folder, partitions=PARTITIONS, devices=2)
    worker = WorkerProcess(space.place, "0").start()
    try:
        with _Device(space, 0) as long, _Device(space, 1) as short:
            for device in (long, short):
                device.drain(WARM_UP, WARM_UP)  # until worker and agents have met
            yield Sides(
                partial(long.drain, commands, per_document),
                partial(short.drain, commands // SHORTER, per_document),
                long.facts,
            )
    finally:
        worker.stop()


def _case(commands: int, per_document: int) -> Case:
    opened: Callable[[Ground], AbstractContextManager[Sides]] = partial(_draining, commands, per_document)
    name = f"{commands}/per-document={per_document}"
    return Case(name, "us a command", opened, f"1/{SHORTER} of the queue", ratio_at_most(AIM), rounds=1, warm_up=False)


CASES: Sequence[Case] = [_case(commands, each) for commands in COMMANDS for each in PER_DOCUMENT]
