"""Where topics end: the offset that comes next, of the partition that was asked for, or `Unreachable` in time."""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
import structlog
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from driftlog_edge.link import kafka_asker
from driftlog_edge.link.kafka_asker import KafkaAsker
from driftlog_edge.link.kafka_rim import KafkaRoute
from driftlog_edge.ports import Extent, Unreachable
from driftlog_schemas import client_keeping
from driftlog_schemas.connection import KafkaSettings
from tests.fake_kafka.broker import Broker
from tests.unit.edge.waiting import until

STATES, OTHER, EMPTY = ("retail.state", 3), ("retail.state", 0), ("retail.state", 9)


async def test_the_end_is_the_offset_that_comes_next_of_each_partition(broker: Broker) -> None:
    for n in range(5):
        broker.append(*STATES, b"key", b"%d" % n)
    broker.append(*OTHER, b"key", b"value")
    broker.retain(*STATES, 2)

    assert await KafkaRoute("nowhere").ask().ends([STATES, EMPTY, OTHER], 5.0) == {STATES: 5, EMPTY: 0, OTHER: 1}


async def test_an_extent_tells_where_a_partition_begins_and_ends_and_which_life_of_its_topic_it_is(
    broker: Broker,
) -> None:
    for n in range(5):
        broker.append(*STATES, b"key", b"%d" % n)
    broker.retain(*STATES, 2)
    asker = KafkaRoute("nowhere").ask()
    assert await asker.extents([STATES, EMPTY], 5.0) == {STATES: Extent("first", 2, 5), EMPTY: Extent("first", 0, 0)}
    broker.topic_ids["retail.state"] = "second"
    assert (await asker.extents([STATES], 5.0))[STATES].topic_id == "second"


async def test_topics_that_are_not_there_are_named(broker: Broker) -> None:
    """And not waited for: the client may ask for their offsets for ever."""
    broker.missing |= {"retail.state", "retail.ops"}
    with pytest.raises(Unreachable, match=r"\(retail.ops, retail.state\).*driftlog topics apply"):
        await KafkaRoute("nowhere").ask().extents([STATES, ("retail.ops", 0), ("retail.receipts", 0)], 5.0)


async def test_it_says_how_many_partitions_topics_have(broker: Broker) -> None:
    broker.spread = range(7)
    asker = KafkaRoute("nowhere").ask()
    assert await asker.partitions(["retail.ops", "retail.state"], 5.0) == {"retail.ops": 7, "retail.state": 7}
    broker.missing.add("retail.ops")
    with pytest.raises(Unreachable, match=r"\(retail.ops\).*driftlog topics apply"):
        await asker.partitions(["retail.ops", "retail.state"], 5.0)


async def test_how_long_tombstones_are_kept_is_the_topics_own_setting(broker: Broker) -> None:
    asker = KafkaRoute("nowhere").ask()
    assert await asker.tombstones_kept("retail.state", 5.0) is None
    broker.settings["delete.retention.ms"] = "90000"
    assert await asker.tombstones_kept("retail.state", 5.0) == 90.0


async def test_all_connections_ask_through_one_client(broker: Broker) -> None:
    route = KafkaRoute("nowhere")
    assert route.ask() is route.ask()


async def test_a_broker_that_says_no_is_unreachable(broker: Broker) -> None:
    broker.set_up(False)
    with pytest.raises(Unreachable):
        await KafkaRoute("nowhere").ask().ends([STATES], 5.0)


async def test_a_broker_that_says_nothing_is_unreachable_too(broker: Broker) -> None:
    broker.silent = True
    with pytest.raises(Unreachable) as failed:
        await KafkaRoute("nowhere").ask().ends([STATES], 0.05)
    assert isinstance(failed.value.__cause__, TimeoutError)


# -- clients that had trouble


class Clients:
    """Stand-ins for the client; freeing one that is `stuck` never ends."""

    def __init__(self, *, stuck: bool) -> None:
        self.kind = Client
        self.made = self.freed = 0
        self.release = threading.Event()
        if not stuck:
            self.release.set()

    def make(self, settings: object) -> Client:
        self.made += 1
        return self.kind(self)


class Client:
    def __init__(self, clients: Clients) -> None:
        self._clients = clients

    def list_offsets(self, wanted: dict[object, object], **options: object) -> dict[object, Future[None]]:
        failed: Future[None] = Future()
        failed.set_exception(KafkaException(KafkaError(KafkaError._TRANSPORT)))
        return dict.fromkeys(wanted, failed)

    def poll(self, timeout: float) -> int:
        return 0

    def __del__(self) -> None:
        self._clients.release.wait()
        self._clients.freed += 1


def used(clients: Clients, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_asker, "AdminClient", clients.make)
    monkeypatch.setattr(client_keeping, "LAST_WORDS_SECONDS", 0.0)
    monkeypatch.setattr(kafka_asker, "keeper", client_keeping.Keeper())


def asker_of(clients: Clients, monkeypatch: pytest.MonkeyPatch) -> KafkaAsker:
    used(clients, monkeypatch)
    return KafkaAsker(KafkaSettings(bootstrap="nowhere"))


async def asked(asker: KafkaAsker, times: int, seconds: float = 5.0) -> None:
    for _ in range(times):
        with pytest.raises(Unreachable):
            await asker.ends([STATES], seconds)


async def test_a_long_outage_leaves_a_bounded_number_of_clients_though_none_can_be_freed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clients, before = Clients(stuck=True), len(threading.enumerate())
    asker = asker_of(clients, monkeypatch)
    with structlog.testing.capture_logs() as lines:
        await asked(asker, 50)
    assert clients.made == 1 + client_keeping.MOST_FREED_AT_ONCE
    assert len(threading.enumerate()) <= before + 1 + client_keeping.MOST_FREED_AT_ONCE
    assert [line["not_freed"] for line in lines] == [client_keeping.MOST_FREED_AT_ONCE], "said once"
    clients.release.set()
    await until(lambda: clients.freed == client_keeping.MOST_FREED_AT_ONCE)
    await asked(asker, 1)
    assert clients.made > 1 + client_keeping.MOST_FREED_AT_ONCE, "when they are free it begins anew again"


async def test_one_that_cannot_be_freed_does_not_keep_the_next_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    stuck = Clients(stuck=True)
    asker = asker_of(stuck, monkeypatch)
    clients = Clients(stuck=False)
    monkeypatch.setattr(kafka_asker, "AdminClient", clients.make)
    for n in range(1, 10):
        await asked(asker, 1)
        await until(lambda n=n: clients.freed >= 2 * n - 1)  # type: ignore[misc]
    stuck.release.set()


async def test_off_the_network_there_is_no_client_until_the_next_connection_asks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clients = Clients(stuck=False)
    used(clients, monkeypatch)
    route = KafkaRoute("nowhere")
    asker = route.ask()
    assert route.ask() is asker
    route.rest()
    await until(lambda: clients.freed == clients.made == 1)
    with pytest.raises(Unreachable, match="left the network"):
        await asker.ends([STATES], 5.0)
    assert clients.made == 1, "who asks on does not bring it back"
    assert route.ask() is not asker
    assert clients.made == 2


class Silent(Client):
    """One that never answers."""

    def list_offsets(self, wanted: dict[object, object], **options: object) -> dict[object, Future[None]]:
        return {place: Future() for place in wanted}


@pytest.mark.parametrize(("went", "made"), [(-3600.0, 2), (-0.5, 1), (0.0, 1), (3600.0, 1)])
async def test_a_silent_client_is_replaced_where_the_clock_was_set_back(
    went: float, made: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    clients = Clients(stuck=False)
    clients.kind = Silent
    asker = asker_of(clients, monkeypatch)
    day_began = kafka_asker._day_began()
    monkeypatch.setattr(kafka_asker, "_day_began", lambda: day_began + went)
    for _ in range(3):
        with pytest.raises(Unreachable, match="does not answer"):
            await asker.ends([STATES], 0.01)
    assert clients.made == made, "once: the new one was made after it"


async def test_a_client_that_cannot_be_freed_now_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    clients = Clients(stuck=True)
    await asked(asker_of(clients, monkeypatch), 50)
    route = KafkaRoute("nowhere")
    asker = route.ask()
    route.rest()
    assert route.ask() is asker
    clients.release.set()


# -- why there is no answer


class Mute:
    """A client that never answers, and says why when it is polled."""

    def __init__(self, config: dict[str, Any], says: Sequence[KafkaError]) -> None:
        self._told, self._says = config["error_cb"], says

    def list_offsets(self, wanted: dict[object, object], **options: object) -> dict[object, Future[None]]:
        return {place: Future() for place in wanted}

    def poll(self, timeout: float) -> int:
        for error in self._says:
            self._told(error)
        return 0


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (KafkaError._AUTHENTICATION, "does not let us in: it said no; check kafka.sasl_mechanism"),
        (KafkaError._SSL, "does not let us in: it said no; check kafka.ca_file"),
        (KafkaError._TRANSPORT, "the broker does not answer"),
    ],
)
async def test_a_broker_that_lets_nobody_in_is_told_from_one_that_is_not_there(
    code: int, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    says = [KafkaError(code, "sasl_ssl://broker/bootstrap: it said no (after 3ms in state AUTH_REQ)")]
    says.append(KafkaError(KafkaError._ALL_BROKERS_DOWN))
    monkeypatch.setattr(kafka_asker, "AdminClient", lambda config: Mute(config, says))
    monkeypatch.setattr(kafka_asker, "keeper", client_keeping.Keeper())
    asker = KafkaAsker(KafkaSettings(bootstrap="nowhere"))
    with pytest.raises(Unreachable, match=told):
        await asker.ends([STATES], 0.01)


@pytest.mark.parametrize(("code", "replaced"), [(KafkaError._AUTHENTICATION, True), (KafkaError._TRANSPORT, False)])
async def test_who_is_not_let_in_asks_with_what_the_password_file_says_by_now(
    code: int, replaced: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    passwords: list[str] = []

    def make(config: dict[str, Any]) -> Mute:
        passwords.append(config["sasl.password"])
        return Mute(config, [KafkaError(code, "sasl_ssl://broker/bootstrap: it said no (after 3ms)")])

    monkeypatch.setattr(kafka_asker, "AdminClient", make)
    monkeypatch.setattr(kafka_asker, "keeper", client_keeping.Keeper())
    password = tmp_path / "password"
    password.write_text("old")
    asker = KafkaAsker(
        KafkaSettings(
            bootstrap="nowhere",
            security_protocol="sasl_plaintext",
            sasl_mechanism="PLAIN",
            sasl_username="till",
            sasl_password_file=password,
        )
    )
    password.write_text("new")
    await asked(asker, 1, 0.01)
    assert passwords == (["old", "new"] if replaced else ["old"])
    password.unlink()
    await asked(asker, 1, 0.01)
    assert len(passwords) == 1 + replaced, "without the file the client stays"


# -- what an outage leaves behind


async def test_what_a_client_says_is_taken_though_nobody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    """It keeps each failed attempt to connect until then: in an outage of a week, a hundred megabytes."""
    taken: list[int] = []

    class Client(AdminClient):
        def poll(self, timeout: float) -> int:
            taken.append(super().poll(timeout))
            return taken[-1]

    monkeypatch.setattr(kafka_asker, "AdminClient", Client)
    monkeypatch.setattr(client_keeping, "HEED_SECONDS", 0.01)
    monkeypatch.setattr(kafka_asker, "keeper", client_keeping.Keeper())
    asker = KafkaAsker(KafkaSettings(bootstrap="127.0.0.1:1"))
    await until(lambda: sum(taken) > 0)
    assert asker.leave()


@pytest.fixture
def uncollected() -> Iterator[None]:
    """Nothing is freed but what nobody refers to any more."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("patience", [30.0, 0.01], ids=["answered", "given up before the error comes"])
async def test_without_a_broker_a_question_leaves_no_circle_for_the_collector(
    patience: float, uncollected: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An agent that is away for a month asks every few seconds, and has so little else to do that the collector seldom looks."""
    monkeypatch.setattr(kafka_asker, "REQUEST_SECONDS", 0.1)
    asker = KafkaAsker(KafkaSettings(bootstrap="127.0.0.1:1"))

    def left() -> int:
        return sum(isinstance(one, Future) for one in gc.get_objects())

    before = left()
    for _ in range(3):
        with pytest.raises(Unreachable):
            await asker.extents([STATES, OTHER], patience)
        with pytest.raises(Unreachable):
            await asker.tombstones_kept("retail.state", patience)
    await until(lambda: left() <= before)
