"""The client that asks is replaced where it stays silent, and nowhere else."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from driftlog_schemas import asking
from driftlog_schemas.asking import PATIENCE_SECONDS, AskingClient
from driftlog_schemas.errors import BrokerUnreachable


class Client:
    """Answers as its cluster says."""

    def __init__(self, cluster: Cluster, config: dict[str, Any]) -> None:
        self.cluster, self.config = cluster, config

    def poll(self, timeout: float) -> int:
        for error in self.cluster.says:
            self.config["error_cb"](error)
        return 0


class Cluster:
    def __init__(self) -> None:
        self.now = 0.0
        self.error: Exception | None = None
        self.says: list[KafkaError] = []
        self.made: list[Client] = []
        self.gone: list[object] = []
        self.room = True

    def make(self, config: dict[str, Any]) -> Client:
        self.made.append(Client(self, config))
        return self.made[-1]

    def let_go(self, client: object) -> bool:
        if self.room:
            self.gone.append(client)
        return self.room

    def answer(self, client: Any) -> str:
        if self.error is not None:
            raise self.error
        return f"client {self.made.index(client)}"


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    found = Cluster()
    monkeypatch.setattr(asking, "AdminClient", found.make)
    monkeypatch.setattr(asking.keeper, "let_go", found.let_go)
    yield found


def connected(cluster: Cluster, *, ends_locked_out: bool = False) -> AskingClient:
    client = AskingClient("nowhere", lambda: cluster.now, ends_locked_out=ends_locked_out)
    assert client.client is cluster.made[-1]
    return client


def asked(client: AskingClient, cluster: Cluster, after: float = 0.0) -> str:
    cluster.now += after
    try:
        return client.ask(cluster.answer)
    except (KafkaException, TimeoutError, BrokerUnreachable) as error:
        return type(error).__name__


def test_nobody_is_connected_to_before_the_first_question(cluster: Cluster) -> None:
    client = AskingClient("nowhere", lambda: cluster.now)
    assert cluster.made == []
    assert asked(client, cluster) == asked(client, cluster) == "client 0"
    assert len(cluster.made) == 1


SILENCE = (KafkaException(KafkaError(KafkaError._TRANSPORT)), TimeoutError())


@pytest.mark.parametrize("silence", SILENCE, ids=["said", "nothing said"])
def test_one_that_is_silent_for_long_is_replaced(cluster: Cluster, silence: Exception) -> None:
    client = connected(cluster)
    cluster.error = silence
    asked(client, cluster, after=PATIENCE_SECONDS - 1)
    assert cluster.gone == []
    asked(client, cluster, after=1)
    assert cluster.gone == [cluster.made[0]]
    asked(client, cluster, after=1)
    assert len(cluster.made) == 2, "the new one has its time, too"
    cluster.error = None
    assert asked(client, cluster) == "client 1"


def test_one_that_answers_is_used_on(cluster: Cluster) -> None:
    client = connected(cluster)
    for _ in range(5):
        cluster.error = None
        assert asked(client, cluster, after=PATIENCE_SECONDS - 1) == "client 0"
        cluster.error = SILENCE[0]
        asked(client, cluster, after=1)
    assert len(cluster.made) == 1


def test_a_refusal_is_no_silence(cluster: Cluster) -> None:
    client = connected(cluster)
    cluster.error = KafkaException(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED))
    assert asked(client, cluster, after=10 * PATIENCE_SECONDS) == "KafkaException"
    assert len(cluster.made) == 1


def test_where_too_many_are_being_freed_it_stays(cluster: Cluster) -> None:
    client, cluster.room = connected(cluster), False
    cluster.error = SILENCE[0]
    asked(client, cluster, after=10 * PATIENCE_SECONDS)
    assert len(cluster.made) == 1
    cluster.room = True
    asked(client, cluster)
    assert len(cluster.made) == 2


def test_of_many_that_wait_for_a_silent_one_the_first_replaces_it(cluster: Cluster) -> None:
    client, both = connected(cluster), threading.Barrier(2)

    def question(admin: object) -> None:
        both.wait(10)
        raise TimeoutError

    def ask() -> None:
        with pytest.raises(TimeoutError):
            client.ask(question)

    cluster.now += PATIENCE_SECONDS
    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(cluster.made) == 2


def test_a_worker_that_is_not_let_in_for_long_ends_and_others_ask_on(cluster: Cluster) -> None:
    """Its other clients have the old password for as long as they live."""
    worker = connected(cluster, ends_locked_out=True)
    other = connected(cluster)
    cluster.error = SILENCE[1]
    cluster.says = [KafkaError(KafkaError._AUTHENTICATION, "sasl://broker: wrong password (after 3ms)")]
    assert asked(worker, cluster, after=PATIENCE_SECONDS - 1) == "TimeoutError"
    cluster.now += 1
    with pytest.raises(BrokerUnreachable, match="does not let us in: wrong password"):
        worker.ask(cluster.answer)
    assert asked(other, cluster) == "TimeoutError"
    assert len(cluster.made) == 4, "both ask with what the file says now"


def test_a_worker_whose_broker_is_away_asks_on(cluster: Cluster) -> None:
    client = connected(cluster, ends_locked_out=True)
    cluster.error, cluster.says = SILENCE[0], [KafkaError(KafkaError._ALL_BROKERS_DOWN)]
    assert asked(client, cluster, after=10 * PATIENCE_SECONDS) == "KafkaException"
