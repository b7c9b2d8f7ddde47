"""The way to the cloud, to the generation of each space's read model that is in force.

Everybody else in the agent calls a topic as the first generation has it, and so do cursors and all that is kept. Another generation is for them the
same topic with another id: it was made anew, so it is read from its start while readers have what was there (`incoming/returning`). Only here it is told
which topic that is.

It is told once for each connection, when the first question of that is asked: what one connection brings and answers is all of one generation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from driftlog_edge.ports import Asker, Chunk, Extent, Feed, Record, Route, Sealed, Shipping
from driftlog_schemas import topics
from driftlog_schemas.topics import SpaceTopics

_T = TypeVar("_T")


class GenerationRoute:
    """`ports.Route` by way of another one. `read` says of each space which generation is in force."""

    def __init__(self, route: Route, read: Callable[[], Mapping[str, int]]) -> None:
        self._route = route
        self._read = read
        self._followed = dict(read())
        self._names = _names(self._followed)

    @property
    def followed(self) -> Mapping[str, int]:
        """Of each space the generation that this connection reads, or the last one has read."""
        return self._followed

    @property
    def outdated(self) -> bool:
        """Is another generation in force than the one of this connection?"""
        return self._followed != self._read()

    def ship(
        self,
        loop: asyncio.AbstractEventLoop,
        delivered: Callable[[Sealed, str | None], None],
        trouble: Callable[[], None],
    ) -> Shipping:
        return self._route.ship(loop, delivered, trouble)

    def follow(
        self,
        loop: asyncio.AbstractEventLoop,
        positions: Mapping[tuple[str, int], int],
        arrived: Callable[[Sequence[Chunk]], Coroutine[Any, Any, None]],
        trouble: Callable[[], None],
    ) -> Feed:
        ours = {there: here for here, there in self._names.items()}

        async def named(chunks: Sequence[Chunk]) -> None:
            await arrived([chunk._replace(topic=ours.get(chunk.topic, chunk.topic)) for chunk in chunks])

        there = {(self._at(topic), partition): offset for (topic, partition), offset in positions.items()}
        return self._route.follow(loop, there, named if ours else arrived, trouble)

    def ask(self) -> Asker:
        """Begins a connection, with the generations that are in force now."""
        self._followed = dict(self._read())
        self._names = _names(self._followed)
        asker = self._route.ask()
        return _Asker(asker, self._names) if self._names else asker

    def rest(self) -> None:
        self._route.rest()

    def deliver(self, topic: str, key: bytes, value: bytes, seconds: float) -> None:
        self._route.deliver(topic, key, value, seconds)

    def records(
        self, topic: str, partition: int, wanted: Mapping[bytes, int], end: int, seconds: float
    ) -> dict[bytes, Record]:
        return self._route.records(self._at(topic), partition, wanted, end, seconds)

    def history(self, topic: str, partition: int, key: bytes, start: int, end: int, seconds: float) -> list[bytes]:
        return self._route.history(self._at(topic), partition, key, start, end, seconds)

    def _at(self, topic: str) -> str:
        return self._names.get(topic, topic)


class _Asker:
    """`ports.Asker`, asking for the topics of later generations."""

    def __init__(self, asker: Asker, names: Mapping[str, str]) -> None:
        self._asker, self._names = asker, names

    async def extents(self, places: Sequence[tuple[str, int]], seconds: float) -> dict[tuple[str, int], Extent]:
        return await self._renamed(self._asker.extents, places, seconds)

    async def partitions(self, names: Collection[str], seconds: float) -> dict[str, int]:
        there = {self._names.get(name, name): name for name in names}
        found = await self._asker.partitions(there.keys(), seconds)
        return {there[name]: count for name, count in found.items()}

    async def tombstones_kept(self, topic: str, seconds: float) -> float | None:
        return await self._asker.tombstones_kept(self._names.get(topic, topic), seconds)

    async def ends(self, places: Sequence[tuple[str, int]], seconds: float) -> dict[tuple[str, int], int]:
        return await self._renamed(self._asker.ends, places, seconds)

    async def _renamed(
        self,
        ask: Callable[[Sequence[tuple[str, int]], float], Awaitable[dict[tuple[str, int], _T]]],
        places: Sequence[tuple[str, int]],
        seconds: float,
    ) -> dict[tuple[str, int], _T]:
        there = {(self._names.get(topic, topic), partition): (topic, partition) for topic, partition in places}
        return {there[place]: said for place, said in (await ask(list(there), seconds)).items()}


def _names(generations: Mapping[str, int]) -> dict[str, str]:
    """What each topic of a space is called there, where that is another name."""
    found: dict[str, str] = {}
    for space, generation in generations.items():
        if generation != 1:
            named = SpaceTopics(space, generation)
            found[topics.state_topic(space)] = named.state
            found[topics.receipts_topic(space)] = named.receipts
    return found
