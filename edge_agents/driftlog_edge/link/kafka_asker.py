"""Questions to the broker, with a client of their own.

A consumer lets one thread in at a time: whoever asks through the one that reads waits until it has read. So what the agent wants to
know (where topics end) is asked through a client that does nothing else. Its answers are futures: no thread waits for them, and an
asker that has no more time simply goes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from driftlog_edge.ports import Unreachable
from driftlog_schemas.connection import KafkaSettings

REQUEST_SECONDS = 30.0
"""How long the client itself keeps a question; who asks has less patience."""


class KafkaAsker:
    """`ports.Asker` of one cluster."""

    def __init__(self, kafka: KafkaSettings) -> None:
        self._kafka = kafka
        self._client = self._connected()

    def _connected(self) -> AdminClient:
        return AdminClient(
            {
                **self._kafka.client(),
                "reconnect.backoff.max.ms": 1000,
                "socket.nagle.disable": True,
                "socket.keepalive.enable": True,
                "log_level": 0,
            }
        )

    async def ends(self, places: Sequence[tuple[str, int]], seconds: float) -> dict[tuple[str, int], int]:
        try:
            async with asyncio.timeout(seconds):
                try:
                    return await self._ends(places)
                except KafkaException:
                    # The client goes on asking who led the partitions before the broker was away; a new one finds out.
                    self._client = self._connected()
                    return await self._ends(places)
        except TimeoutError as error:
            raise Unreachable("the broker does not answer") from error
        except KafkaException as error:
            self._client = self._connected()
            raise Unreachable(_told(error)) from error

    async def _ends(self, places: Sequence[tuple[str, int]]) -> dict[tuple[str, int], int]:
        wanted = {TopicPartition(*place): OffsetSpec.latest() for place in places}  # type: ignore[no-untyped-call]
        asked = self._client.list_offsets(wanted, request_timeout=REQUEST_SECONDS)
        found = await asyncio.gather(*(asyncio.wrap_future(future) for future in asked.values()))
        return {(tp.topic, tp.partition): end.offset for tp, end in zip(asked, found, strict=True)}


def _told(error: KafkaException) -> str:
    reason = error.args[0]
    if isinstance(reason, KafkaError) and reason.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
        return "the app's topics are not there: make them with `driftlog topics apply`"
    return f"the broker does not say where its topics end: {reason}"
