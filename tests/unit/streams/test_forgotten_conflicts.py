"""A conflict's old record comes once more when its writers' lives are over and nobody remembers how it ended: it does not stay open."""

from __future__ import annotations

from dataclasses import replace

import pytest

from driftlog_schemas.messages import ConflictStatus
from driftlog_streams.core import memory
from driftlog_streams.core.changelog_record import ChangelogRecord
from driftlog_streams.core.conflict_answers import said
from driftlog_streams.core.recovered import Recovered
from driftlog_streams.core.restoration import Restoration
from tests.unit.streams.cloud import Cloud, change, command, key, stock
from tests.unit.streams.test_forgotten_recovery import Kept

GONE, HEIR = "store-2.1", "store-2.2"


@pytest.fixture
def opened(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A conflict's first record. It was decided since, and one of its writers is forgotten by name, and so is how it ended."""
    monkeypatch.setattr(memory, "FOLD_FROM", 4)
    cloud.merge(command("a", change(stock(), "price", "set", 3, 1)))
    cloud.merge(command("b", change(stock(), "price", "set", 4, 1, replica=GONE)), replica=GONE)
    cloud.fly()
    seen = {"store-1.1": 1, GONE: 1}
    cloud.merge(command("c", change(stock(), "price", "set", 5, 2, context=seen)))
    cloud.merge_value(cloud.batch(replica=HEIR, ends=(GONE,)))
    cloud.merge_value(None)
    cloud.forget(cloud.end - 1)
    for replica in (HEIR, "store-1.2"):
        op = change(stock(), "name", "set", replica, 1, replica=replica, context={**seen, "store-1.1": 2})
        cloud.merge_value(cloud.batch(command(replica, op), replica=replica, read=cloud.end - 1))
    cloud.fly()
    assert GONE not in cloud.state(stock()).vector
    cloud.ends.clear()
    return cloud.rules.records.encode_conflict(cloud.conflicts()[0])


def forget_row(cloud: Cloud) -> None:
    cloud.merge_value(None)
    cloud.forget(cloud.end - 1, over=(GONE,))
    cloud.fly()
    assert cloud.rows[GONE] is None


def name(cloud: Cloud) -> bytes:
    return cloud.conflicts()[0].id.encode()


REMOVED = pytest.mark.parametrize("removed", [False, True], ids=["ended", "removed"])


@REMOVED
def test_the_owner_answers_it(cloud: Cloud, opened: bytes, removed: bool) -> None:
    if removed:
        forget_row(cloud)
    assert cloud.merger.answers.heard_conflict(name(cloud), opened)
    cloud.fly()
    last = cloud.conflicts()[-1]
    assert last.status is ConflictStatus.RESOLVED and last.decided_by is not None and last.decided_by.value == 5


@REMOVED
def test_the_next_owner_finds_it(cloud: Cloud, opened: bytes, removed: bool) -> None:
    if removed:
        forget_row(cloud)
    store, recovered = Kept(), Recovered()
    store.rows, store.states = cloud.rows, dict(cloud.store)
    Restoration(cloud.rules).take_conflicts(store, recovered, [ChangelogRecord(name(cloud), opened, 7, ())])
    assert recovered.stale_conflicts == {name(cloud): (7, opened)}


def test_the_next_owner_learns_how_it_ended(cloud: Cloud, opened: bytes) -> None:
    """From the record that said so when it ended, though it names who is forgotten."""
    resolved = cloud.rules.records.encode_conflict(cloud.conflicts()[1])
    store, recovered = Kept(), Recovered()
    store.rows, store.states = cloud.rows, dict(cloud.store)
    words = [ChangelogRecord(name(cloud), value, 6 + at, ()) for at, value in enumerate((resolved, opened))]
    Restoration(cloud.rules).take_conflicts(store, recovered, words)
    assert store.ended(name(cloud)) == resolved and recovered.stale_conflicts


def test_a_life_that_goes_on_and_more_than_was_forgotten_are_not_taken_for_it(cloud: Cloud, opened: bytes) -> None:
    found = said(cloud.rules, name(cloud), opened)
    assert found is not None and found.versions[0].replica == GONE
    for other in ({"seq": 2}, {"replica": "store-1.9"}, {"replica": "store-1.1", "seq": 9}):
        unseen = replace(found, versions=(replace(found.versions[0], **other), found.versions[1]))
        assert not cloud.merger.answers.heard_conflict(name(cloud), cloud.rules.records.encode_conflict(unseen))
    assert key(stock()) in cloud.store
