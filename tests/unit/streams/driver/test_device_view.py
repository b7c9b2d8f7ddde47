"""The device registry as a worker knows it: read to its end before anybody is refused."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from driftlog_schemas import topics
from driftlog_schemas.record_codecs import RecordCodecs
from driftlog_schemas.registry import FixedIds
from driftlog_schemas.signing import Identity
from driftlog_streams.errors import DevicesUnknown
from driftlog_streams.registry import device_view
from driftlog_streams.registry.device_view import DeviceView
from tests.fake_kafka.broker import Broker
from tests.fake_kafka.clients import Consumer
from tests.unit.streams.cloud import device

CODECS = RecordCodecs(FixedIds())


def enrol(broker: Broker, name: str) -> None:
    line = CODECS.encode_device(device(Identity.create(name)))
    broker.append(topics.DEVICES, 0, name.encode(), line)


@pytest.fixture
def started(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], DeviceView]]:
    monkeypatch.setattr(device_view, "Consumer", lambda config: Consumer(broker, config))
    views: list[DeviceView] = []

    def start() -> DeviceView:
        views.append(DeviceView("nowhere", CODECS))
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


def test_holes_before_the_end_do_not_hold_it_up(broker: Broker, started: Callable[[], DeviceView]) -> None:
    for name in ("a", "b", "c"):
        enrol(broker, name)
    broker.remove(topics.DEVICES, 0, 1, 2)
    assert [line.device_id for line in started().all()] == ["a"]


def test_freshness_is_that_of_the_question(broker: Broker, started: Callable[[], DeviceView]) -> None:
    view = started()
    moment = time.monotonic()
    assert not view.fresh_since(moment)
    view.catch_up(5.0)
    assert view.fresh_since(moment)


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
