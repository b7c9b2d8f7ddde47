"""A broker whose node is away, though the cluster still says that it leads, is not tried without end: who asks it where a partition ends waits."""

from __future__ import annotations

import json
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from driftlog_schemas import asking
from driftlog_schemas.asking import AskingClient
from driftlog_schemas.connection import KafkaSettings
from driftlog_streams.reading.changelog_reader import ChangelogReader
from tests.listener import HOST, Listener
from tests.unit.schemas.test_reconnects import POLL_SECONDS, POLLS

TOPIC = "a"
THERE, AWAY = 1, 2
METADATA, LIST_OFFSETS, API_VERSIONS = 3, 2, 18
UNSUPPORTED_VERSION = 35


def _text(value: str) -> bytes:
    return struct.pack(">h", len(value)) + value.encode()


def _versions(error: int) -> bytes:
    known = ((METADATA, 1), (LIST_OFFSETS, 1), (API_VERSIONS, 0))
    return struct.pack(">hi", error, len(known)) + b"".join(struct.pack(">hhh", key, 0, most) for key, most in known)


class Survivor(Listener):
    """The node of a cluster that is left. It knows of one topic, and says that the other node leads its partition."""

    def __init__(self, other: int) -> None:
        super().__init__(lambda came: threading.Thread(target=self._serve, args=(came,), daemon=True).start())
        self._other = other

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as stream:
            while len(size := stream.read(4)) == 4:
                request = stream.read(*struct.unpack(">i", size))
                api, version, correlation = struct.unpack_from(">hhi", request)
                answer = struct.pack(">i", correlation) + self._answer(api, version)
                connection.sendall(struct.pack(">i", len(answer)) + answer)

    def _answer(self, api: int, version: int) -> bytes:
        if api == API_VERSIONS:
            return _versions(UNSUPPORTED_VERSION if version else 0)
        assert api == METADATA, f"nothing else is led here: {api}"
        nodes = ((THERE, self.port), (AWAY, self._other))
        brokers = b"".join(struct.pack(">i", n) + _text(HOST) + struct.pack(">ih", port, -1) for n, port in nodes)
        partition = struct.pack(">hiiiiii", 0, 0, AWAY, 1, AWAY, 1, AWAY)
        topic = struct.pack(">h", 0) + _text(TOPIC) + struct.pack(">?i", False, 1) + partition
        return struct.pack(">i", len(nodes)) + brokers + struct.pack(">ii", THERE, 1) + topic


@pytest.fixture
def away() -> Iterator[int]:
    """A port that refuses."""
    with socket.socket() as bound:
        bound.bind((HOST, 0))
        yield bound.getsockname()[1]


@pytest.fixture
def survivor(away: int) -> Iterator[Survivor]:
    with Survivor(away) as found:
        yield found


def tries(client: AdminClient, told: list[dict[str, Any]]) -> int:
    """How often it has tried the node that is away, after a while."""
    for _ in range(POLLS):
        client.poll(POLL_SECONDS)
    return sum(broker["connects"] for broker in told[-1]["brokers"].values() if broker["nodeid"] == AWAY)


def ask(reader: ChangelogReader) -> None:
    with suppress(KafkaException, TimeoutError):
        reader.ends([(TOPIC, 0)])


def test_who_asks_a_leader_that_is_away_tries_it_a_few_times(survivor: Survivor) -> None:
    told: list[dict[str, Any]] = []
    settings = KafkaSettings(bootstrap=f"{HOST}:{survivor.port}")
    heard = {"statistics.interval.ms": 500, "stats_cb": lambda text: told.append(json.loads(text))}
    client = AdminClient({**settings.asker(), **heard, "log_level": 0})
    client.list_offsets({TopicPartition(TOPIC, 0): OffsetSpec.latest()}, request_timeout=30)  # type: ignore[no-untyped-call]
    assert 0 < tries(client, told) <= 20  # librdkafka's own way: thousands in these three seconds


def test_what_a_worker_asks_with_tries_it_a_few_times(survivor: Survivor, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[dict[str, Any]] = []
    heard = {"statistics.interval.ms": 500, "stats_cb": lambda text: told.append(json.loads(text))}
    monkeypatch.setattr(asking, "AdminClient", lambda config: AdminClient({**config, **heard}))
    client = AskingClient(f"{HOST}:{survivor.port}")
    threading.Thread(target=ask, args=(ChangelogReader("nowhere", client),), daemon=True).start()
    assert 0 < tries(client.client, told) <= 20
