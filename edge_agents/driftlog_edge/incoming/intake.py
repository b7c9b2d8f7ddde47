"""What one connection brings in: whole groups of states, receipts, conflicts and lines of the registry, in their order, into the store.

A new connection begins at the replica's own cursors with a new intake, so that nothing which the old one had half gathered is mixed
with what is read again. A schema that was never met is asked for in a thread: reading must not stop those who write.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Protocol

from driftlog_edge.errors import EdgeError
from driftlog_edge.incoming.groups import GroupAssembler, beyond, foreign
from driftlog_edge.incoming.landmarks import Kind
from driftlog_edge.incoming.pulled import Pulled
from driftlog_edge.incoming.puller import Puller
from driftlog_edge.ports import Chunk, Record, Writes
from driftlog_edge.store.committer import Committer
from driftlog_edge.turns import in_turns
from driftlog_schemas.errors import Undecodable, UnknownSchema
from driftlog_schemas.framing import schema_id_of
from driftlog_schemas.registry import SchemaIds


class Superseded(EdgeError):
    """A partition must be read from another place than this connection reads it from."""

    code = "superseded"


MAX_LEARNT = 10_000
WRITE_AT_LEAST = 200
"""Records of whole groups that are written together where there are many: one write each would cost more, one for all hold up the loop."""


class Registry(Protocol):
    """Who reads the device registry for this agent."""

    def learn(self, records: Sequence[Record]) -> None:
        """Takes its time; runs in a thread."""
        ...

    def written(self, records: Sequence[Record]) -> Writes:
        """What to write then."""
        ...

    def reached(self) -> None:
        """Its end was met."""
        ...


class OpLogs(Protocol):
    """Who knows where the op logs end, by whose offsets groups are numbered."""

    def near(self, space: str, partition: int) -> int:
        """Below this a number may be true."""
        ...

    def end(self, space: str, partition: int) -> int:
        """As it was told last."""
        ...

    async def ask(self, space: str, partition: int) -> int:
        """Where the log ends now. Raises `Unreachable`."""
        ...


class Intake:
    """The incoming side of one connection. `topics` says of each topic its space and what it carries."""

    def __init__(
        self,
        topics: Mapping[str, tuple[str, Kind]],
        puller: Puller,
        committer: Committer,
        ids: SchemaIds,
        pulled: Callable[[Pulled], None],
        registry: Registry | None = None,
        op_logs: OpLogs | None = None,
    ) -> None:
        self._topics = topics
        self._puller = puller
        self._committer = committer
        self._ids = ids
        self._pulled = pulled
        self._registry = registry
        self._op_logs = op_logs
        self._assemblers: dict[tuple[str, int], GroupAssembler] = {}
        self._reached: set[tuple[str, int]] = set()
        """State partitions whose end this connection has met: no longer catching up."""
        self._read_to: dict[tuple[str, int], int] = {}
        """Before which offset all records of a state partition were read; of the last some may wait for the end of their group."""
        self._generations: dict[tuple[str, int], int] = {}
        """Of each state partition the generation of rows that this connection reads into."""
        self._lives: dict[tuple[str, int], str] = {}
        """Of each other partition the id of the topic that this connection reads."""
        self._learnt: set[int] = set()
        self._open = True

    @property
    def open(self) -> bool:
        """Does it still take something?"""
        return self._open

    def read_to(self, place: tuple[str, int]) -> int:
        """Before which offset this connection has read all of a state partition, groups without an end among it; -1 where nothing came."""
        return self._read_to.get(place, -1)

    def follow(self, places: Iterable[tuple[str, int]]) -> None:
        """These are read from now on: states each into the rows that they are to be read into now, others of the topic that there is now."""
        for place in places:
            if self._topics[place[0]][1] == "state":
                self._generations[place] = self._generation(place)
            else:
                self._lives[place] = self._life(place)

    def _generation(self, place: tuple[str, int]) -> int:
        return self._puller.returns.generation(self._topics[place[0]][0], place[1])

    def _life(self, place: tuple[str, int]) -> str:
        return self._puller.landmarks.cursor(*self._topics[place[0]], place).topic_id

    def _require_going_on(self, place: tuple[str, int]) -> None:
        """A look may have sent a cursor back, while what this connection had fetched before was on its way."""
        if self._topics[place[0]][1] == "state":
            same = self._generations.get(place, self._generation(place)) == self._generation(place)
        else:
            life = self._lives.get(place, "")  # empty before the broker was asked
            same = not life or life == self._life(place)
        if not same:
            raise Superseded(f"{place[0]}[{place[1]}] is read again from its start")

    def close(self) -> None:
        """Take nothing more."""
        self._open = False

    async def take(self, chunk: Chunk) -> bool:
        """Apply what came; is the replica now at the end of a state partition?

        Raises:
            DiskFull, StoreFailed: nothing of it was kept, and what was gathered is lost; begin anew at the cursors.
            RegistryUnreachable: a schema is needed and cannot be had now.
            Unreachable: the broker is to say what a group's number is worth, and does not answer.
            Superseded: the partition is to be read again from its start, which is not where this came from; begin anew.
        """
        await self._learn(chunk.records)
        if not self._open:
            return False
        space, kind = self._topics[chunk.topic]
        here = (chunk.topic, chunk.partition)
        if kind == "devices":
            await self._take_lines(chunk)
            return False
        if kind == "receipts" and chunk.records:
            steps = self._puller.receipts(chunk.topic, chunk.partition, chunk.records)
            while await self._step(here, steps):
                if not self._open:
                    return False
            for place in self._generations:  # a row may say that this replica was away too long
                self._require_going_on(place)
        if kind == "conflicts" and chunk.records:
            self._require_going_on(here)
            await self._commit(self._puller.conflicts(chunk.topic, chunk.partition, chunk.records))
        if kind != "state":
            return False
        assembler = self._assemblers.setdefault(here, GroupAssembler())
        behind = here not in self._reached
        ripe: list[Record] = []
        for record in await self._honest(space, chunk):
            ripe += assembler.add(record, behind)
            if len(ripe) >= WRITE_AT_LEAST and not await self._states(space, chunk, ripe):
                return False
        if chunk.at_end:
            ripe += await self._freed(space, chunk.partition, assembler)
        returned = chunk.at_end and self._puller.returns.of(space, chunk.partition) is not None
        if (ripe or returned) and not await self._states(space, chunk, ripe, at_end=chunk.at_end):
            return False
        if chunk.records:
            self._read_to[here] = chunk.records[-1].offset + 1
        if chunk.at_end:
            self._reached.add(here)
        return chunk.at_end and not len(assembler)

    async def _honest(self, space: str, chunk: Chunk) -> list[Record]:
        """The records; one whose number lies so far behind the op log's end that it cannot be true is of no group."""
        logs, records = self._op_logs, chunk.records
        if logs is None or not any(beyond(record, logs.near(space, chunk.partition)) for record in records):
            return records
        end = await logs.ask(space, chunk.partition)
        return [foreign(record) if beyond(record, end) else record for record in records]

    async def _freed(self, space: str, partition: int, assembler: GroupAssembler) -> list[Record]:
        """What is ripe because that for which it waits at the topic's end will never come: the op log does not have its number."""
        logs = self._op_logs
        if logs is None or assembler.number < logs.end(space, partition):
            return []
        end = await logs.ask(space, partition)
        return assembler.bounded(end) if assembler.number >= end else []

    async def _states(self, space: str, chunk: Chunk, ripe: list[Record], *, at_end: bool = False) -> bool:
        """Apply whole groups, and empty the list; False if this connection was given up meanwhile."""
        place = (chunk.topic, chunk.partition)
        async with self._committer.turn:
            if not self._open:
                return False
            self._require_going_on(place)
            work = self._puller.states(space, chunk.topic, chunk.partition, [*ripe], at_end=at_end)
            ripe.clear()
            pulled = await in_turns(work)
            if not self._open:
                return False
            self._require_going_on(place)
            done = self._stage(pulled)
        await self._kept(done, pulled)
        return True

    async def _step(self, here: tuple[str, int], steps: Iterator[Pulled]) -> bool:
        """Apply the next step of what rows say; was there one?"""
        async with self._committer.turn:
            step = next(steps, None)
            if step is None:
                return False
            self._require_going_on(here)
            done = self._stage(step)
        await self._kept(done, step)
        return True

    async def _take_lines(self, chunk: Chunk) -> None:
        registry = self._registry
        assert registry is not None, "nobody follows that topic without it"
        if chunk.records:
            await asyncio.get_running_loop().run_in_executor(None, registry.learn, chunk.records)
            if not self._open:
                return
            self._require_going_on((chunk.topic, chunk.partition))
            await self._committer.stage(registry.written(chunk.records), sync=False)
        if chunk.at_end:
            registry.reached()

    async def _commit(self, pulled: Pulled) -> None:
        await self._kept(self._stage(pulled), pulled)

    async def _kept(self, done: asyncio.Future[None], pulled: Pulled) -> None:
        """Tell what was pulled when it is in the store; also where this connection is given up meanwhile, for nothing of it comes again."""
        try:
            await asyncio.shield(done)
        except asyncio.CancelledError:
            done.add_done_callback(lambda kept: kept.exception() or self._pulled(pulled))
            raise
        self._pulled(pulled)

    def _stage(self, pulled: Pulled) -> asyncio.Future[None]:
        done = self._committer.stage(pulled.writes, sync=False, changed=pulled.shown)
        self._puller.staged(pulled)
        return done

    async def _learn(self, records: Iterable[Record]) -> None:
        loop = asyncio.get_running_loop()
        for schema_id in {i for r in records if (i := _schema_id(r)) is not None} - self._learnt:
            with suppress(UnknownSchema):  # noise; the puller passes the record over and counts it
                await loop.run_in_executor(None, self._ids.schema_of, schema_id)
            if len(self._learnt) >= MAX_LEARNT:
                self._learnt.clear()
            self._learnt.add(schema_id)


def _schema_id(record: Record) -> int | None:
    try:
        return None if record.value is None else schema_id_of(record.value)
    except Undecodable:
        return None
