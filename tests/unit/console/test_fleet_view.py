"""The reader of what is in no one scope, where the broker is away when a console starts."""

from __future__ import annotations

import threading
from types import MappingProxyType

import pytest

from driftlog_console import fleet
from driftlog_console.fleet import FleetView
from driftlog_schemas.connection import KafkaSettings
from driftlog_schemas.registry import FixedIds
from driftlog_streams.errors import DevicesUnknown
from driftlog_streams.registry.device_view import DeviceView
from tests.load.waiting import until


def test_a_console_that_starts_before_its_broker_meets_the_fleet_when_it_comes(
    monkeypatch: pytest.MonkeyPatch, ids: FixedIds
) -> None:
    there = threading.Event()
    looked = threading.Event()

    def catch_up(self: DeviceView, timeout: float = 0.0) -> None:
        if not there.is_set():
            raise DevicesUnknown("the broker does not answer", "start it")

    monkeypatch.setattr(fleet, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(DeviceView, "catch_up", catch_up)
    monkeypatch.setattr(FleetView, "_look", lambda *_: looked.set())
    monkeypatch.setattr(FleetView, "_look_at_claims", lambda *_: None)
    kafka = KafkaSettings(bootstrap="127.0.0.1:1")
    view = FleetView(kafka, ids, MappingProxyType({}), None, lambda part: None)
    view.start()
    try:
        until(lambda: view.seen.problem != "", "it says that nobody answers", 30)
        assert not looked.is_set()
        there.set()
        assert looked.wait(30)
    finally:
        view.close()
