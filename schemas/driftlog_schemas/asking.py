"""The client by which a program asks a cluster: one for all its questions, connected to every broker, and replaced where it stays silent.

One that connects when it needs to tries a broker that is away, and that the others still name, thousands of times a second, on a whole core (`KafkaSettings.asker`). One that
is connected to all is at each of them from the start, so a process has one of these and not one for each who asks. And after a network that
took everything and answered nothing librdkafka (2.16) may know no broker any more, for as long as the client lives: it says that nobody answers, and connects to nobody.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from driftlog_schemas.client_keeping import keeper
from driftlog_schemas.connection import KafkaSettings, kafka_at
from driftlog_schemas.silence import nobody_answers

T = TypeVar("T")

RECONNECT_MAX_MS = 1000
PATIENCE_SECONDS = 15.0
"""So long a client may be silent before another takes its place: longer than one question waits."""


class AskingClient:
    """See the module. For any number of threads."""

    def __init__(self, kafka: KafkaSettings | str, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._kafka = kafka_at(kafka)
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._client = self._made()
        self._heard_at = monotonic()
        """When it was made, or answered last."""

    def _made(self) -> AdminClient:
        return AdminClient({**self._kafka.asker(), "reconnect.backoff.max.ms": RECONNECT_MAX_MS, "log_level": 0})

    @property
    def client(self) -> AdminClient:
        """The one that is in use."""
        return self._client

    def ask(self, question: Callable[[AdminClient], T]) -> T:
        """What it answers. Raises what the question raises: KafkaException, TimeoutError."""
        client = self._client
        try:
            answer = question(client)
        except KafkaException as error:
            if nobody_answers(error):
                self._silent(client)
            raise
        except TimeoutError:
            self._silent(client)
            raise
        self._heard_at = self._monotonic()
        return answer

    def _silent(self, client: AdminClient) -> None:
        with self._lock:
            if client is not self._client or self._monotonic() - self._heard_at < PATIENCE_SECONDS:
                return
            if keeper.let_go(client):
                self._client, self._heard_at = self._made(), self._monotonic()
