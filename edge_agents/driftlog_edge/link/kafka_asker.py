"""Questions to the broker, with a client of their own.

A consumer lets one thread in at a time: whoever asks through the one that reads waits until it has read. So what the agent wants to
know (where topics begin and end, which life of a topic it is) is asked through a client that does nothing else. Its answers are futures: no thread waits for them, and an
asker that has no more time simply goes.

A client that had trouble is replaced, for it goes on asking who led the partitions before. Freeing the old one may never end (see `client_keeping`), so that is bounded: when
so many are being freed, the client that there is stays and finds its way by itself, which may take it some minutes more. The log says so once.

One that was made before the clock was set back is replaced as well where it is silent: between two attempts to connect librdkafka sleeps until a time of day, and would sleep
for that much longer.

So is one that the broker does not let in: its password, or a certificate, was read when it was made, and may be another in its file by now.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import time
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Any, NamedTuple, TypeVar

import structlog
from confluent_kafka import KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, OffsetSpec

from driftlog_edge.link.making import making
from driftlog_edge.ports import Extent, Unreachable
from driftlog_schemas import topics
from driftlog_schemas.client_keeping import MOST_FREED_AT_ONCE, keeper
from driftlog_schemas.connection import KafkaSettings
from driftlog_schemas.silence import locked_out
from driftlog_schemas.topic_ids import id_of

log = structlog.get_logger()

_EARLIEST: OffsetSpec = OffsetSpec.earliest()  # type: ignore[no-untyped-call]
_LATEST: OffsetSpec = OffsetSpec.latest()  # type: ignore[no-untyped-call]
_T = TypeVar("_T")
_E = TypeVar("_E", bound=BaseException)
SET_BACK_SECONDS = 1.0
"""A clock that is corrected by less makes nobody sleep long."""
REQUEST_SECONDS = 30.0
"""How long the client itself keeps a question; who asks has less patience."""


class _Topic(NamedTuple):
    id: str
    partitions: int


class KafkaAsker:
    """`ports.Asker` of one cluster."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka
        self._said: deque[KafkaError] = deque(maxlen=10)
        """The clients' own words since the last answer."""
        self._day_began = 0.0
        self._connection: AdminClient | None = self._connected()
        """None when it has left."""
        self._told = False
        """Was it said that this client stays?"""

    def _connected(self) -> AdminClient:
        with making():
            config: dict[str, Any] = {
                **self._kafka.asker(),
                "reconnect.backoff.max.ms": 1000,
                "socket.nagle.disable": True,
                "socket.keepalive.enable": True,
                "log_level": 0,
                "error_cb": self._said.append,
            }
            client = AdminClient(config)
        self._day_began = _day_began()
        keeper.hold(client)
        return client

    def leave(self) -> bool:
        """Be off the network, and ask nothing more; False where the client cannot be freed now, and stays."""
        if not keeper.let_go(self._client):
            return False
        self._connection = None
        return True

    @property
    def _client(self) -> AdminClient:
        if self._connection is None:
            raise Unreachable("the agent has left the network meanwhile")
        return self._connection

    async def ends(self, places: Sequence[tuple[str, int]], seconds: float) -> dict[tuple[str, int], int]:
        return await self._asked(lambda: self._offsets(places, _LATEST), seconds)

    async def extents(self, places: Sequence[tuple[str, int]], seconds: float) -> dict[tuple[str, int], Extent]:
        return await self._asked(lambda: self._extents(places), seconds)

    async def partitions(self, names: Collection[str], seconds: float) -> dict[str, int]:
        found = await self._asked(lambda: self._described(sorted(names)), seconds)
        return {name: topic.partitions for name, topic in found.items()}

    async def tombstones_kept(self, topic: str, seconds: float) -> float | None:
        try:
            told = await self._asked(lambda: self._setting(topic, topics.RETENTION), seconds)
        except Unreachable as error:
            if _forbidden(error.__cause__):
                return None
            raise
        return None if told is None else int(told) / 1000

    async def _asked(self, question: Callable[[], Awaitable[_T]], seconds: float) -> _T:
        try:
            async with asyncio.timeout(seconds):
                try:
                    answer = await question()
                except KafkaException as error:
                    if _forbidden(error) or not self._begin_anew():
                        raise
                    _cut(error)
                    answer = await question()
        except TimeoutError as error:
            why, locked = self._silence()
            if locked or _day_began() < self._day_began - SET_BACK_SECONDS:
                self._begin_anew()
            raise Unreachable(why) from error
        except KafkaException as error:
            if not _forbidden(error):
                self._begin_anew()
            raise Unreachable(_told(error)) from _cut(error)
        self._said.clear()
        return answer

    def _silence(self) -> tuple[str, bool]:
        """Why there is no answer, and whether somebody is there who does not let us in."""
        self._client.poll(0)
        found = locked_out(self._said.copy())
        if found is None:
            return "the broker does not answer", False
        return f"the broker does not let us in: {found.why}; {found.remedy}", True

    def _begin_anew(self) -> bool:
        """Ask with a new client. False when too many of those before cannot be freed: then this one stays. So it does where no other can be made: raises
        `Unreachable`."""
        if not keeper.let_go(self._client):
            if not self._told:
                log.warning(
                    "clients that had trouble are not freed, so this one is used on", not_freed=MOST_FREED_AT_ONCE
                )
            self._told = True
            return False
        before = self._client
        try:
            self._connection, self._told = self._connected(), False
        except Unreachable:
            keeper.hold(before)
            raise
        return True

    async def _extents(self, places: Sequence[tuple[str, int]]) -> dict[tuple[str, int], Extent]:
        names = sorted({topic for topic, _ in places})
        # First they are looked for: the offsets of a topic that is not there the client asks in vain, or for ever.
        await self._described(names)
        starts, ends = await asyncio.gather(self._offsets(places, _EARLIEST), self._offsets(places, _LATEST))
        # The ids come last: who finds one unchanged knows that the ends were this topic's.
        found = await self._described(names)
        return {place: Extent(found[place[0]].id, starts[place], ends[place]) for place in places}

    async def _described(self, names: list[str]) -> dict[str, _Topic]:
        """Raises `Unreachable` with the names of those that are not there."""
        asked = self._client.describe_topics(TopicCollection(names), request_timeout=REQUEST_SECONDS)
        answers = await asyncio.gather(*map(_answer, asked.values()), return_exceptions=True)
        found = {
            name: _Topic(id_of(answer), len(answer.partitions))
            for name, answer in zip(asked, answers, strict=True)
            if not isinstance(answer, BaseException)
        }
        if missing := [name for name, answer in zip(asked, answers, strict=True) if _unknown(answer)]:
            raise Unreachable(f"topics are not there ({', '.join(missing)}): make them with `driftlog topics apply`")
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return found

    async def _setting(self, topic: str, name: str) -> str | None:
        resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
        (future,) = self._client.describe_configs([resource], request_timeout=REQUEST_SECONDS).values()
        entry = (await _answer(future)).get(name)
        return None if entry is None else entry.value

    async def _offsets(self, places: Sequence[tuple[str, int]], where: OffsetSpec) -> dict[tuple[str, int], int]:
        wanted = {TopicPartition(*place): where for place in places}
        asked = self._client.list_offsets(wanted, request_timeout=REQUEST_SECONDS)
        found = await asyncio.gather(*map(_answer, asked.values()))
        return {(tp.topic, tp.partition): end.offset for tp, end in zip(asked, found, strict=True)}


def _answer(future: concurrent.futures.Future[_T]) -> asyncio.Future[_T]:
    """To be waited for on the loop. An error that comes when nobody waits any more makes no circle either."""
    future.add_done_callback(_cut_error)
    return asyncio.wrap_future(future)


def _cut_error(future: concurrent.futures.Future[_T]) -> None:
    if not future.cancelled() and (error := future.exception()) is not None:
        _cut(error)


def _cut(error: _E) -> _E:
    """Without the frames that it came through. They hold the futures that hold it, and without a broker each question would leave such a circle behind."""
    return error.with_traceback(None)


def _day_began() -> float:
    """When the clock that only goes on was 0, by the time of day: earlier once that is set back."""
    return time.time() - time.monotonic()


def _forbidden(error: BaseException | None) -> bool:
    return isinstance(error, KafkaException) and error.args[0].code() in (
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    )


def _unknown(error: object) -> bool:
    return isinstance(error, KafkaException) and error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART


def _told(error: KafkaException) -> str:
    return f"the broker does not say where its topics end: {error.args[0]}"
