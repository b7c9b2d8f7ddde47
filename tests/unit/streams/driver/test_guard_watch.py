"""A guard that does not end is ended, whatever it catches; one that ends in time is left alone."""

from __future__ import annotations

import dataclasses
import signal

import pytest

from driftlog_crdt import DocumentState
from driftlog_streams.core.decision import Decider
from driftlog_streams.faust_driver.guard_watch import GuardOverrun, watch_guard
from tests.unit.streams.cloud import Cloud, change, command, count, stock


def endless() -> None:
    while True:
        try:
            while True:
                pass
        except Exception:  # noqa: BLE001, S110  # as an app may write it
            pass


def test_a_guard_that_does_not_end_is_interrupted_even_where_it_catches_everything() -> None:
    with pytest.raises(GuardOverrun, match="forever"), watch_guard("forever", limit=0.05):
        endless()


def test_one_that_ends_in_time_leaves_nothing_behind() -> None:
    before = signal.getsignal(signal.SIGALRM)
    with watch_guard("quick"):
        pass
    assert signal.getsignal(signal.SIGALRM) is before


def test_its_command_is_quarantined_and_the_queue_goes_on(cloud: Cloud) -> None:
    def check(scope: str, id: str, before: DocumentState, after: DocumentState) -> None:
        if "forever" in repr(after.fields.get("name")):
            endless()

    collection = cloud.rules.collections["Stock"]
    guard = dataclasses.replace(collection.guards[0], check=check)
    cloud.rules.collections["Stock"] = collection._replace(guards=(guard,))
    merger = cloud.new_life()
    merger._net._decider = Decider(
        cloud.rules, merger._at.cache, merger._at.memory, lambda name: watch_guard(name, 0.05)
    )
    cloud.merge(command("bad", change(stock(), "name", "set", "forever", 1)))
    cloud.merge(command("good", count(stock("milk"), 1, 1)))
    assert cloud.verdicts() == {"bad": "deferred quarantined", "good": "accepted"}
    assert [q.code for q in cloud.quarantined()] == ["unforeseen"]
