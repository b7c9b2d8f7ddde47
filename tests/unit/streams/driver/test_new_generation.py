"""A worker goes on where a new generation ends, as if it had always merged that one: what waits, what is fought over, whose row says what."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from driftlog_schemas.topics import SpaceTopics
from driftlog_streams.core import conflict_pace
from driftlog_streams.core.changelog_record import ChangelogRecord
from driftlog_streams.core.rules import SpaceRules
from driftlog_streams.core.work import OutRecord
from driftlog_streams.faust_driver import mender
from driftlog_streams.faust_driver.partition_store import WorkerStore
from driftlog_streams.replaying.publication import publish
from driftlog_streams.replaying.rebuild import Rebuild
from tests.few import few
from tests.unit.streams.cloud import IDS, NOW_MS, SPACE, change, count, stock
from tests.unit.streams.driver.fetching import GROUP
from tests.unit.streams.driver.life import CONFLICTS, OPS, PARKED, RECEIPTS, STATES, Life, Lives
from tests.unit.streams.driver.test_flights import merging, sell, send

SECOND = SpaceTopics("retail", 2)
RULES = SpaceRules(SPACE, IDS, generation=2)
OTHER = "store-2.1"


def newest(lives: Lives, topic: str) -> dict[bytes, bytes]:
    """What compaction will keep."""
    found = {record.key: record.value for record in lives.broker.read(topic)}
    return {key: value for key, value in found.items() if key is not None and value is not None}


def made(lives: Lives, folder: Path, until: int) -> None:
    """Generation 2, from the op records before `until`; its workers begin there."""
    store = WorkerStore(folder)
    rebuild = Rebuild(SpaceRules(SPACE, IDS), 0, store.partition(0), lives.cloud.devices)
    for record in lives.broker.read(OPS)[:until]:
        rebuild.take(ChangelogRecord(record.key or b"", record.value, record.offset, (), record.timestamp_ms))
    rebuild.end()

    def deliver(records: Sequence[OutRecord]) -> None:
        for topic, partition, key, value, headers in records:
            lives.broker.append(topic, partition, key, value, headers)

    publish(RULES, 0, store.partition(0), deliver)
    store.close()
    for group in (SECOND.group, GROUP):  # the second one is what the stand-in for the fetcher asks for
        lives.broker.committed[group, OPS, 0] = until


async def heir(lives: Lives) -> Life:
    life = lives.start("second", 2)
    await life.own(0)
    life.read()
    await life.quiet()
    return life


@pytest.mark.parametrize("until", few([0, 3, 7, 1, 2, 4, 5, 6]))
async def test_it_goes_on_from_any_record(
    lives: Lives, tmp_path: Path, until: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the workers of before have merged, told and taken off the list since."""
    monkeypatch.setattr(mender, "CHECK_SECONDS", 0.01)
    monkeypatch.setattr(conflict_pace, "SECONDS_EACH", 0.0)
    lives.broker.now_ms = NOW_MS
    sell(lives, 1)
    send(lives, "waits", count(stock("milk"), 3, 2))
    send(lives, "one", change(stock("fought"), "price", "set", 1, 1))
    send(lives, "two", change(stock("fought"), "price", "set", 2, 1, replica=OTHER), replica=OTHER)
    send(lives, "too much", count(stock(), -50, 2))
    send(lives, "comes", count(stock("milk"), 5, 1))
    decided = change(stock("fought"), "price", "set", 3, 2, context={OTHER: 1, "store-1.1": 1})
    send(lives, "decides", decided)
    send(lives, "late", count(stock("cheese"), 1, 2))
    first = await merging(lives)
    await first.quiet()
    await first.until(lambda: len(newest(lives, PARKED)) == 1)  # what is released leaves with the next flight
    await first.die()
    told = {topic: newest(lives, topic) for topic in (STATES, RECEIPTS, CONFLICTS, PARKED)}
    assert len(told[CONFLICTS]) == 1

    made(lives, tmp_path / "rebuilt", until)
    life = await heir(lives)
    await life.until(lambda: newest(lives, SECOND.state) == told[STATES])
    rows = {key: lives.cloud.rules.records.decode_chain_row(value) for key, value in told[RECEIPTS].items()}
    after = {
        key: lives.cloud.rules.records.decode_chain_row(value) for key, value in newest(lives, SECOND.receipts).items()
    }
    assert {key: (row.last, row.head, row.refused) for key, row in after.items()} == {
        key: (row.last, row.head, row.refused) for key, row in rows.items()
    }
    await life.until(lambda: newest(lives, CONFLICTS) == told[CONFLICTS])
    await life.until(lambda: newest(lives, PARKED).keys() == told[PARKED].keys())
    assert not life.died

    send(lives, "then", count(stock("cheese"), 1, 1))
    await life.quiet()
    await life.until(lambda: newest(lives, PARKED) == {})
    assert newest(lives, STATES) == told[STATES], "nobody writes into the generation of before"
    assert newest(lives, SECOND.state) != told[STATES]
