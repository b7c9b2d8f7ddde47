"""The client by which a program asks a cluster: one for all its questions, connected to every broker, and replaced where it stays silent.

One that connects when it needs to tries a broker that is away, and that the others still name, thousands of times a second, on a whole core (`KafkaSettings.asker`). One that
is connected to all is at each of them from the start, so a process has one of these and not one for each who asks. And after a network that
took everything and answered nothing librdkafka (2.16) may know no broker any more, for as long as the client lives: it says that nobody answers, and connects to nobody.

A password that was changed, or a certificate, is read when a client is made. So a client that is not let in says so, and what it is replaced by tries what is in the files then.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from driftlog_schemas.client_keeping import keeper
from driftlog_schemas.connection import KafkaSettings, kafka_at
from driftlog_schemas.errors import BrokerUnreachable
from driftlog_schemas.silence import locked_out, nobody_answers

T = TypeVar("T")

RECONNECT_MAX_MS = 1000
PATIENCE_SECONDS = 15.0
"""So long a client may be silent before another takes its place: longer than one question waits."""


class AskingClient:
    """See the module. For any number of threads."""

    def __init__(
        self,
        kafka: KafkaSettings | str,
        monotonic: Callable[[], float] = time.monotonic,
        *,
        ends_locked_out: bool = False,
    ) -> None:
        """`ends_locked_out`: whoever asks is to end where the broker does not let it in, and that lasts."""
        self._kafka = kafka_at(kafka)
        self._ends_locked_out = ends_locked_out
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._said: deque[KafkaError] = deque(maxlen=10)
        """The client's own words since the last answer."""
        self._client: AdminClient | None = None
        """Made for the first question: it connects to every broker at once."""
        self._heard_at = 0.0
        """When it was made, or answered last."""

    def _made(self) -> AdminClient:
        own: dict[str, Any] = {
            "reconnect.backoff.max.ms": RECONNECT_MAX_MS,
            "log_level": 0,
            "error_cb": self._said.append,
        }
        return AdminClient({**self._kafka.asker(), **own})

    @property
    def client(self) -> AdminClient:
        """The one that is in use."""
        with self._lock:
            return self._anew() if self._client is None else self._client

    def _anew(self) -> AdminClient:
        self._client, self._heard_at = self._made(), self._monotonic()
        return self._client

    def ask(self, question: Callable[[AdminClient], T]) -> T:
        """What it answers. Raises what the question raises: KafkaException, TimeoutError; `BrokerUnreachable` (see `ends_locked_out`)."""
        client = self.client
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
        self._said.clear()
        return answer

    def _silent(self, client: AdminClient) -> None:
        client.poll(0)  # hands over what it has said meanwhile
        found = locked_out(self._said.copy())
        with self._lock:
            if client is not self._client or self._monotonic() - self._heard_at < PATIENCE_SECONDS:
                return
            if keeper.let_go(client):
                self._said.clear()
                self._anew()
        if found is not None and self._ends_locked_out:
            raise BrokerUnreachable(
                f"the Kafka broker at {self._kafka.bootstrap} does not let us in: {found.why}", found.remedy
            )
