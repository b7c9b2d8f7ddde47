"""One agent in a folder of its own, with its loop, driven from outside: it gathers commands offline, and takes them back online."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from typing import Any

from benchmarks.cluster import BenchSpace
from driftlog_edge import EdgeAgent, EdgeConfig
from driftlog_edge.store.lives import FORKED
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.partitioning import partition_of
from tests.load.app import COLLECTION, COUNTER

PLACE = "place-1"
CALLERS = 64
LOOK_SECONDS = 0.02
PATIENCE_SECONDS = 3600.0
"""For the log to have all."""


class Device:
    """The agent of one of a space's devices."""

    def __init__(self, space: BenchSpace, number: int, command: str = "hit", named: str = "item") -> None:
        """`command` is what it runs, on the document that its argument `named` says."""
        member = space.fleet.members[number]
        identity = space.place.folder / f"{member.device_id}.json"
        member.save(identity)
        self._command, self._named = command, named
        self._place = space.name, partition_of(PLACE, space.place.partitions)
        config = EdgeConfig(
            data_dir=identity.with_suffix(".replica"),
            identity=identity,
            bootstrap=space.place.bootstrap,
            registry=space.place.registry_url,
            scopes=[PLACE],
            durability="os",
            keep_hours=0,
        )
        self._agent = EdgeAgent(space.contract, config)
        self._runner = asyncio.Runner()
        self._commands = self._empty = 0
        self._last = ""
        """The command that was written last, or with the last."""
        self.facts: dict[str, object] = {}

    def __enter__(self) -> Device:
        self._runner.__enter__()
        self._runner.run(self._agent.__aenter__())
        return self

    def __exit__(self, *error: Any) -> None:
        self._runner.run(self._agent.__aexit__(None, None, None))
        self._runner.__exit__(*error)

    def fill(self, commands: int, documents: int, ops: int = 1) -> None:
        """Go offline and gather so many commands, each of so many ops, on so many documents."""
        self._runner.run(self._fill(commands, documents, ops))

    def ship(self) -> float:
        """Seconds from going online until the log has all that was gathered, whatever becomes of it there."""
        return self._runner.run(self._ship())

    def drain(self) -> float:
        """Seconds from going online to nothing pending."""
        return self._runner.run(self._drain())

    def wait(self, seconds: float) -> None:
        """Let it run, with nothing to do."""
        self._runner.run(asyncio.sleep(seconds))

    def fork(self) -> None:
        """Let it find out that somebody else speaks in its name: its life is over, and all that is pending goes into a new one."""
        self._runner.run(self._fork())

    async def _fill(self, commands: int, documents: int, ops: int) -> None:
        await self._agent.offline()
        self._commands, self._empty = commands, self._bytes()
        left, changes = iter(range(commands)), [(COUNTER, "increment", (1,))] * ops

        async def caller() -> None:
            for number in left:
                named = f"{self._named}-{number % documents}"
                if ops == 1:
                    answer = await self._agent.run(self._command, place=PLACE, **{self._named: named})
                else:
                    answer = await self._agent.write(DocumentId(COLLECTION, PLACE, named), changes)
                self._last = answer.command_id

        await asyncio.gather(*(caller() for _ in range(CALLERS)))
        self._tell("disk bytes a waiting command")

    async def _ship(self) -> float:
        await self._agent.online()
        begun = time.perf_counter()
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self._all_in_the_log()
        return time.perf_counter() - begun

    async def _all_in_the_log(self) -> None:
        while self._agent.status()["unsent"] or self._agent.command(self._last).status == "pending":  # noqa: ASYNC110
            await asyncio.sleep(LOOK_SECONDS)

    async def _drain(self) -> float:
        await self._agent.online()
        begun = time.perf_counter()
        while self._agent.status()["pending"]:  # noqa: ASYNC110  # as an operator would see it
            await asyncio.sleep(LOOK_SECONDS)
        took = time.perf_counter() - begun
        await self._agent.tidy()
        self._tell("disk bytes a command after")
        return took

    async def _fork(self) -> None:
        lives = self._agent._executor._lives
        chain = lives.chain(*self._place)
        await self._agent._committer.stage(lives.written(*self._place, replace(chain, fork=FORKED)))

    def _tell(self, name: str) -> None:
        self.facts[name] = round((self._bytes() - self._empty) / self._commands)

    def _bytes(self) -> int:
        return int(self._agent.status()["disk_bytes"])
