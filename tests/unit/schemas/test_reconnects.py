"""A port that takes connections and closes them is not tried without end: what stands there may be a proxy before a broker that died."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest
from confluent_kafka import Consumer

from driftlog_schemas.connection import KafkaSettings

POLLS = 15
POLL_SECONDS = 0.2


class Shutter:
    """Takes connections, counts them, and closes them."""

    def __init__(self) -> None:
        self.taken = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.taken += 1
            connection.close()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture
def shutter() -> Iterator[Shutter]:
    found = Shutter()
    yield found
    found.close()


def test_a_client_that_is_cut_off_at_once_tries_a_few_times(shutter: Shutter) -> None:
    settings = KafkaSettings(bootstrap=shutter.address)
    client = Consumer({**settings.client(), "group.id": "a", "log_level": 0})
    for _ in range(POLLS):
        client.poll(POLL_SECONDS)
    client.close()
    assert 0 < shutter.taken <= 20  # librdkafka's own pause: 55 in these three seconds
