"""Durable commands a second of an edge agent with one caller and with 64, beside RocksDB and SQLite writing the same bytes.

A command is run as an application runs it (`EdgeAgent.run`: arguments validated, the app's function, guards of size, op, op log,
pending index, outbox, clock, command log) and counts when it is answered. The agent is offline, so nothing but the write path runs.

The baselines put the very bytes that the agent's commands have put, into the same column families with the same options, with
nothing around them:

- `os`: one WriteBatch for each command without fsync, from one thread, which is the fastest way.
- `disk`: 64 threads, as many as callers, each of which writes one WriteBatch for a command with fsync and then the next. That is what 64
  callers get who each want to know that their own write is durable; RocksDB joins what comes at one time into a group of its own.
- `disk-grouped`: one thread that puts the bytes of 64 commands into one WriteBatch with one fsync. Nobody who waits for an answer can be
  served faster; it is here as the bound, without an aim.
- `sqlite`: the same bytes in SQLite (WAL, `synchronous=FULL`), a table for each family: what an application without Driftlog would do. One
  caller: a transaction for each command. 64 callers: the same from 64 threads that share a connection behind a lock.
- `processor`: microseconds of processor time for a command, which others on the machine do not change; beside one WriteBatch for each.
- `sqlite-grouped`: 64 commands in one transaction, which somebody would have to gather by hand; without an aim.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any, Literal, TypeAlias, get_args

from rocksdict import Rdict, WriteBatch, WriteOptions

from benchmarks.case import Aim, Case, Ground, Samples, Sides, ratio_at_least
from benchmarks.processor_time import took
from driftlog_edge import EdgeAgent, EdgeConfig
from driftlog_edge.ports import Family, Writes
from driftlog_edge.store.rocks import RocksStore
from driftlog_schemas.registry import FixedIds
from driftlog_schemas.signing import Identity
from tests.load.app import declare

CALLERS = 64
DOCUMENTS = 1_000
COMMANDS = 6_000
"""A round."""
QUICK_COMMANDS = 500
AIM = 0.5
SQLITE_ALONE, SQLITE_LOCKED = 1.0, 4.0

Durability: TypeAlias = Literal["os", "disk"]
Beside: TypeAlias = Literal["rocksdb", "sqlite"]
Put: TypeAlias = tuple[str, bytes, bytes | None]


class Agent:
    """An agent with its loop, driven from outside."""

    def __init__(self, folder: Path, durability: Durability, callers: int) -> None:
        self._callers = callers
        identity = folder / "identity.json"
        Identity.create("store-1").save(identity)
        config = EdgeConfig(data_dir=folder / "replica", identity=identity, scopes=["s1"], durability=durability)
        self._agent = EdgeAgent(declare("durable"), config, ids=FixedIds())
        self._runner = asyncio.Runner()
        self._written: list[Writes] | None = None
        self._number = 0

    def __enter__(self) -> Agent:
        self._runner.__enter__()
        self._runner.run(self._open())
        return self

    async def _open(self) -> None:
        await self._agent.__aenter__()
        await self._agent.offline()

    def __exit__(self, *error: Any) -> None:
        self._runner.run(self._agent.__aexit__(None, None, None))
        self._runner.__exit__(*error)

    def rate(self, commands: int) -> float:
        """Commands a second, all answered."""
        return self._runner.run(self._round(commands))

    async def _round(self, commands: int) -> float:
        left = iter(range(self._number, self._number + commands))
        self._number += commands

        async def caller() -> None:
            for number in left:
                await self._agent.run("hit", place="s1", item=f"item-{number * 7919 % DOCUMENTS:04d}", times=1)

        begun = time.perf_counter()
        await asyncio.gather(*(caller() for _ in range(self._callers)))
        return commands / (time.perf_counter() - begun)

    def read(self, documents: int, times: int) -> None:
        """A page of so many documents, so often."""
        self._runner.run(self._read(documents, times))

    async def _read(self, documents: int, times: int) -> None:
        for _ in range(times):
            await self._agent.page("Item", "s1", documents)

    def compacted_bytes(self) -> int:
        """What the folder takes when it holds nothing twice."""
        self._agent._store.reclaim(Family)
        return self._agent._store.disk_bytes()

    def recorded(self, commands: int) -> list[Writes]:
        """What this many further commands write, command by command."""
        committer = self._agent._committer
        stage = committer.stage
        found: list[Writes] = []

        def noting(writes: Writes, **how: Any) -> asyncio.Future[None]:
            found.append(dict(writes))
            return stage(writes, **how)

        committer.stage = noting  # type: ignore[method-assign]  # the bytes must be the agent's own
        try:
            self.rate(commands)
        finally:
            committer.stage = stage  # type: ignore[method-assign]
        return found


class _Raw:
    """RocksDB with nothing around it: the agent's column families and options."""

    def __init__(self, folder: Path, commands: Sequence[Writes], *, sync: bool) -> None:
        RocksStore(folder).close()  # makes the families
        self._db = Rdict(str(folder))
        self._handles = {f.value: self._db.get_column_family_handle(f.value) for f in Family}
        self._options = WriteOptions()
        self._options.sync = sync
        self._commands = [[(family.value, key, value) for (family, key), value in c.items()] for c in commands]

    def rate(self, *, group: int = 1, threads: int = 1) -> float:
        """Commands' worth of bytes a second: `group` commands in a batch, batches from `threads` threads."""
        return _rate(self._commands, self._write, group, threads)

    def _write(self, puts: Sequence[Put]) -> None:
        batch, handles = WriteBatch(raw_mode=True), self._handles
        for family, key, value in puts:
            if value is None:
                batch.delete(key, handles[family])
            else:
                batch.put(key, value, handles[family])
        self._db.write(batch, self._options)

    def close(self) -> None:
        self._handles.clear()
        self._db.close()


class _Sqlite:
    """One connection, which its users take turns with."""

    def __init__(self, folder: Path, commands: Sequence[Writes]) -> None:
        self._db = sqlite3.connect(folder / "raw.sqlite", isolation_level=None, check_same_thread=False)
        self._lock = Lock()
        for pragma in ("journal_mode=WAL", "synchronous=FULL"):
            self._db.execute(f"PRAGMA {pragma}")
        for family in Family:
            self._db.execute(f'CREATE TABLE "{family.value}" (key BLOB PRIMARY KEY, value BLOB) WITHOUT ROWID')
        self._commands = [[(family.value, key, value) for (family, key), value in c.items()] for c in commands]

    def rate(self, *, group: int = 1, threads: int = 1) -> float:
        """As `_Raw.rate`: `group` commands in a transaction."""
        return _rate(self._commands, self._write, group, threads)

    def _write(self, puts: Sequence[Put]) -> None:
        with self._lock:
            self._db.execute("BEGIN")
            for family, key, value in puts:
                if value is None:
                    self._db.execute(f'DELETE FROM "{family}" WHERE key = ?', (key,))
                else:
                    self._db.execute(f'INSERT OR REPLACE INTO "{family}" VALUES (?, ?)', (key, value))
            self._db.execute("COMMIT")

    def close(self) -> None:
        self._db.close()


def _rate(commands: Sequence[Sequence[Put]], write: Callable[[Sequence[Put]], None], group: int, threads: int) -> float:
    batches = [[put for c in commands[i : i + group] for put in c] for i in range(0, len(commands), group)]
    left, lock = iter(batches), Lock()

    def work() -> None:
        while True:
            with lock:
                batch = next(left, None)
            if batch is None:
                return
            write(batch)

    begun = time.perf_counter()
    if threads == 1:
        work()
    else:
        with ThreadPoolExecutor(threads) as pool:
            for done in [pool.submit(work) for _ in range(threads)]:
                done.result()
    return len(commands) / (time.perf_counter() - begun)


@contextmanager
def _writing(
    durability: Durability, callers: int, beside: Beside, group: int, threads: int, processor: bool, ground: Ground
) -> Iterator[Sides]:
    commands = QUICK_COMMANDS if ground.quick else COMMANDS if callers > 1 else COMMANDS // 4

    def measured(work: Callable[[], float]) -> Samples:
        return took(work, commands) if processor else [work()]

    with Agent(ground.folder, durability, callers) as agent:
        agent.rate(commands // 2)
        writes = agent.recorded(commands)
        raw = (
            _Raw(ground.folder / "raw", writes, sync=durability == "disk")
            if beside == "rocksdb"
            else _Sqlite(ground.folder, writes)
        )
        size = sum(len(key) + len(value or b"") for w in writes for (_, key), value in w.items())
        try:
            yield Sides(
                ours=partial(measured, partial(agent.rate, commands)),
                baseline=partial(measured, partial(raw.rate, group=group, threads=threads)),
                facts={
                    "callers": callers,
                    "bytes a command": round(size / commands),
                    "puts a command": round(sum(map(len, writes)) / commands, 1),
                },
            )
        finally:
            raw.close()


def _case(
    name: str,
    durability: Durability,
    baseline: str,
    aim: Aim | None,
    *,
    callers: int = CALLERS,
    beside: Beside = "rocksdb",
    group: int = 1,
    threads: int = 1,
    processor: bool = False,
) -> Case:
    opened: Callable[[Ground], AbstractContextManager[Sides]] = partial(
        _writing, durability, callers, beside, group, threads, processor
    )
    unit = "us" if processor else "commands/s"
    return Case(f"{name}/callers={callers}", unit, opened, baseline, aim, rounds=5)


_SQLITE = "SQLite WAL FULL"
CASES: Sequence[Case] = [
    _case("os", "os", "raw WriteBatch", ratio_at_least(AIM)),
    _case("disk", "disk", f"raw WriteBatch, fsync, {CALLERS} threads", ratio_at_least(AIM), threads=CALLERS),
    _case("disk-grouped", "disk", f"raw WriteBatch of {CALLERS}, fsync", None, group=CALLERS),
    _case("sqlite", "disk", _SQLITE, ratio_at_least(SQLITE_ALONE), callers=1, beside="sqlite"),
    _case(
        "sqlite",
        "disk",
        f"{_SQLITE}, {CALLERS} threads",
        ratio_at_least(SQLITE_LOCKED),
        beside="sqlite",
        threads=CALLERS,
    ),
    _case("sqlite-grouped", "disk", f"{_SQLITE}, {CALLERS} a transaction", None, beside="sqlite", group=CALLERS),
    *(
        _case(f"processor/{durability}", durability, "raw WriteBatch", None, callers=callers, processor=True)
        for durability in get_args(Durability)
        for callers in (1, CALLERS)
    ),
]
