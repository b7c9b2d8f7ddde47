"""The device registry as a worker knows it: read to its end before anybody is refused."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from driftlog_schemas import topics
from driftlog_schemas.errors import UnknownSchema
from driftlog_schemas.operator_keys import OperatorKey, RootKey
from driftlog_schemas.record_codecs import RecordCodecs
from driftlog_schemas.registry import FixedIds
from driftlog_schemas.signing import Identity
from driftlog_streams.errors import DevicesUnknown
from driftlog_streams.registry import device_view
from driftlog_streams.registry.device_view import DeviceView
from tests.fake_kafka.broker import START_MS, Broker
from tests.fake_kafka.clients import Consumer, Producer
from tests.unit.streams.cloud import device

CODECS = RecordCodecs(FixedIds())


def until(fact: Callable[[], bool]) -> None:
    for _ in range(1_000):
        if fact():
            return
        time.sleep(0.005)
    raise AssertionError("never so")


OPERATOR = OperatorKey.create(RootKey.create(), START_MS)


def line_of(name: str, operator: OperatorKey = OPERATOR) -> bytes:
    return CODECS.encode_signed_line(operator.sign(CODECS.encode_device(device(Identity.create(name)))))


def enrol(broker: Broker, name: str) -> bytes:
    line = line_of(name)
    broker.append(topics.DEVICES, 0, name.encode(), line)
    return line


@pytest.fixture
def started(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], DeviceView]]:
    monkeypatch.setattr(device_view, "Consumer", lambda config: Consumer(broker, config))
    monkeypatch.setattr(device_view, "Producer", lambda config: Producer(broker, config))
    views: list[DeviceView] = []

    def start() -> DeviceView:
        views.append(DeviceView("nowhere", CODECS, mend=True))
        views[-1].start(5.0)
        return views[-1]

    yield start
    for view in views:
        view.close()


def test_a_start_knows_everybody_who_was_enrolled(broker: Broker, started: Callable[[], DeviceView]) -> None:
    for name in ("a", "b", "c"):
        enrol(broker, name)
    view = started()
    assert [line.device_id for line in view.all()] == ["a", "b", "c"]
    assert view.find("d") is None


def test_an_empty_registry_is_known_too(started: Callable[[], DeviceView]) -> None:
    assert len(started()) == 0


def test_catching_up_is_decisive(broker: Broker, started: Callable[[], DeviceView]) -> None:
    view = started()
    for n in range(20):
        enrol(broker, f"late-{n}")
        view.catch_up(5.0)
        assert view.find(f"late-{n}") is not None


def test_a_registry_that_nobody_led_for_a_while_is_followed_again(
    broker: Broker, started: Callable[[], DeviceView], monkeypatch: pytest.MonkeyPatch
) -> None:
    clients: list[Consumer] = []

    def client(config: dict[str, Any]) -> Consumer:
        clients.append(Consumer(broker, config))
        return clients[-1]

    monkeypatch.setattr(device_view, "Consumer", client)
    view = started()
    for one in clients:
        one.leaderless.add(topics.DEVICES)
    enrol(broker, "late")
    view.catch_up(1.0)
    assert view.find("late") is not None


def test_holes_before_the_end_do_not_hold_it_up(broker: Broker, started: Callable[[], DeviceView]) -> None:
    for name in ("a", "b", "c"):
        enrol(broker, name)
    broker.remove(topics.DEVICES, 0, 1, 2)
    assert [line.device_id for line in started().all()] == ["a"]


def test_it_vouches_while_the_end_is_asked_for_and_reached_whoever_reads(
    broker: Broker, started: Callable[[], DeviceView], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tail thread hears nothing any more; the check notices, and the view no longer vouches."""
    monkeypatch.setattr(device_view, "CHECK_SECONDS", 0.01)
    monkeypatch.setattr(device_view, "NOTICE_MS", 300)
    view = started()
    until(lambda: view.vouches)
    view._consumer.assign([])  # it polls on, and is given nothing
    enrol(broker, "a")
    until(lambda: not view.vouches)
    with pytest.raises(DevicesUnknown, match="read 0 of 1"):
        view.catch_up(0.05)


def test_what_a_stranger_writes_over_a_line_is_put_back(
    broker: Broker, started: Callable[[], DeviceView], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_view, "CHECK_SECONDS", 0.01)
    line = enrol(broker, "a")
    view = started()
    stranger = OperatorKey.create(RootKey.create(), START_MS)
    broker.append(topics.DEVICES, 0, b"a", None)
    broker.append(topics.DEVICES, 0, b"a", line_of("a", stranger))
    until(lambda: broker.read(topics.DEVICES)[-1].value == line)
    view.catch_up(5.0)
    assert view.find("a") is not None
    assert not view.lines.covered
    until(lambda: view.vouches)
    assert len(broker.read(topics.DEVICES)) <= 5, "a stranger's write must not become a stream of ours"


def test_a_topic_that_was_made_anew_is_read_by_a_new_client_and_given_what_it_lacks(
    broker: Broker, started: Callable[[], DeviceView], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device_view, "CHECK_SECONDS", 0.01)
    lines = [enrol(broker, name) for name in ("a", "b", "c")]
    view = started()
    before = view._consumer
    broker.make_anew(topics.DEVICES)
    broker.append(topics.DEVICES, 0, b"b", lines[1])
    until(lambda: {record.value for record in broker.read(topics.DEVICES)} == {*lines})
    assert view._consumer is not before
    enrol(broker, "d")
    view.catch_up(5.0)
    assert [line.device_id for line in view.all()] == ["a", "b", "c", "d"]
    until(lambda: not view.lines.covered)


def test_the_root_that_is_met_first_is_told_once(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_view, "Consumer", lambda config: Consumer(broker, config))
    enrol(broker, "a")
    met: list[bytes] = []
    view = DeviceView("nowhere", CODECS, met=met.append)
    view.start(5.0)
    enrol(broker, "b")
    view.catch_up(5.0)
    view.close()
    assert met == [OPERATOR.certificate.root]


def test_an_end_that_cannot_be_reached_refuses_nobody(broker: Broker, started: Callable[[], DeviceView]) -> None:
    view = started()
    broker.set_up(False)
    with pytest.raises(DevicesUnknown):
        view.catch_up(0.05)


def test_noise_in_the_registry_is_passed_over(broker: Broker, started: Callable[[], DeviceView]) -> None:
    enrol(broker, "a")
    broker.append(topics.DEVICES, 0, b"noise", b"\x00\x01noise")
    enrol(broker, "b")
    assert [line.device_id for line in started().all()] == ["a", "b"]


def test_closing_ends_the_thread_and_the_clients(broker: Broker, started: Callable[[], DeviceView]) -> None:
    view = started()
    view.close()
    assert not any(thread.name == "device-view" and thread.is_alive() for thread in threading.enumerate())


def test_a_line_of_a_schema_that_is_told_later_is_not_lost(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """The registry was not asked, for noise had used up what may be asked for in vain."""
    monkeypatch.setattr(device_view, "Consumer", lambda config: Consumer(broker, config))
    ids = LateIds()
    view = DeviceView("nowhere", RecordCodecs(ids))
    try:
        line = RecordCodecs(ids.writer).encode_signed_line(
            OPERATOR.sign(CODECS.encode_device(device(Identity.create("a"))))
        )
        broker.append(topics.DEVICES, 0, b"a", line)
        view.start(5.0)
        assert view.find("a") is None
        ids.told = True
        until(lambda: view.find("a") is not None)
    finally:
        view.close()


class LateIds(FixedIds):
    """A registry that does not know the writer's schema before it is told."""

    def __init__(self) -> None:
        super().__init__()
        self.told = False
        self.writer = WriterIds()

    def schema_of(self, schema_id: int) -> str:
        if not self.told:
            raise UnknownSchema(f"{schema_id}")
        return self.writer.schema_of(schema_id)


class WriterIds(FixedIds):
    """Another release's ids of the same schemas."""

    def id_of(self, text: str) -> int:
        return super().id_of(text + " ")


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, object]]:
    """The warnings."""
    lines: list[dict[str, object]] = []
    monkeypatch.setattr(device_view.log, "warning", lambda event, **facts: lines.append({"event": event, **facts}))
    return lines


def test_each_cause_why_a_record_is_not_believed_is_told_once(
    monkeypatch: pytest.MonkeyPatch, said: list[dict[str, object]]
) -> None:
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(device_view, "time", SimpleNamespace(monotonic=lambda: clock.now, sleep=lambda seconds: None))
    told = device_view._Disbelieved()
    for offset in range(1000):
        told.tell("foreign" if offset % 2 else "unsigned", f"store-{offset % 4}", offset)
    assert not said
    told.say()  # all that there was is read
    assert [line["devices"] for line in said] == [{"foreign": 2, "unsigned": 2}]
    told.tell("unsigned", "store-0", 1000)
    told.tell("foreign", "store-9", 1001)
    told.say(sparingly=True)
    assert len(said) == 1
    clock.now += device_view.DISBELIEVED_SECONDS
    told.say(sparingly=True)
    assert said[1]["devices"] == {"foreign": 1} and (said[1]["device"], said[1]["offset"]) == ("store-9", 1001)
    told.say()
    assert len(said) == 2


def test_whoever_makes_names_up_is_not_told_of_without_end(said: list[dict[str, object]]) -> None:
    told = device_view._Disbelieved()
    for offset in range(2 * device_view.MOST_CAUSES):
        told.tell("foreign", f"store-{offset}", offset)
    told.say()
    told.tell("unsigned", "another", 0)
    told.say()
    assert [line["devices"] for line in said] == [{"foreign": device_view.MOST_CAUSES}] and "others" in said[0]


def test_one_record_that_is_not_believed_is_told_though_no_other_comes(
    broker: Broker,
    started: Callable[[], DeviceView],
    monkeypatch: pytest.MonkeyPatch,
    said: list[dict[str, object]],
) -> None:
    monkeypatch.setattr(device_view, "CHECK_SECONDS", 0.01)
    started()
    for _ in range(3):
        broker.append(topics.DEVICES, 0, b"noise", b"\x00\x01noise")
    until(lambda: bool(said))
    assert said[0]["device"] == "noise"
