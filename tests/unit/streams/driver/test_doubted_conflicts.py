"""Conflicts of writes that are not here: one that nobody has is closed, by its owner or the next; one of a worker that was further never is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from driftlog_schemas.messages import Conflict, ConflictStatus
from driftlog_schemas.record_codecs import conflict_id
from driftlog_streams.core import conflict_doubts, recovered
from driftlog_streams.faust_driver import mender
from tests.unit.streams.cloud import change, count, stock
from tests.unit.streams.driver.life import CONFLICTS, OPS, PARKED, RECEIPTS, STATES, Life, Lives
from tests.unit.streams.driver.test_disputes import FOLDERS, disputed, heir
from tests.unit.streams.driver.test_flights import on_disk, send

WATCHED = (STATES, RECEIPTS, CONFLICTS, PARKED)


@pytest.fixture(autouse=True)
def prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mender, "CHECK_SECONDS", 0.01)


def forge(lives: Lives, like: Conflict, *skus: str) -> None:
    """A stranger tells conflicts of documents that nobody has written."""
    for sku in skus:
        versions = tuple(replace(version, replica="nobody.1") for version in like.versions)
        name = conflict_id(stock(sku), like.field)
        found = replace(like, id=name, document=stock(sku), versions=versions)
        lives.broker.append(CONFLICTS, 0, name.encode(), lives.cloud.rules.records.encode_conflict(found))


def listed(lives: Lives) -> list[Conflict]:
    """What is left after compaction."""
    last = {record.key: record.value for record in lives.broker.read(CONFLICTS)}
    decode = lives.cloud.rules.records.decode_conflict
    return [decode(value) for value in last.values() if value is not None]


def at_rest(life: Life) -> bool:
    return not life.pump.mender.unrest(0, {topic: life.broker.partition(topic).end for topic in WATCHED})


async def test_its_owner_closes_what_nobody_has(lives: Lives) -> None:
    life, told = await disputed(lives)
    forge(lives, told, "one", "two")
    await life.until(lambda: listed(lives) == [told])
    await life.until(lambda: at_rest(life))


@FOLDERS
async def test_the_next_owner_closes_what_was_written_while_there_was_none(lives: Lives, folder: str) -> None:
    life, told = await disputed(lives)
    await life.die()
    forge(lives, told, "one", "two")
    life = await heir(lives, life, folder)
    await life.until(lambda: listed(lives) == [told])
    await life.until(lambda: at_rest(life))


@FOLDERS
async def test_however_many_there_are_all_are_closed(
    lives: Lives, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    """A few at a time: there is room for so many only."""
    for module in (conflict_doubts, recovered):
        monkeypatch.setattr(module, "MAX_DOUBTED", 2)
    monkeypatch.setattr(mender, "AT_ONCE", 3)
    life, told = await disputed(lives)
    await life.die()
    forge(lives, told, *(f"before-{at}" for at in range(9)))
    life = await heir(lives, life, folder)
    forge(lives, told, *(f"after-{at}" for at in range(9)))
    await life.until(lambda: listed(lives) == [told])
    await life.until(lambda: at_rest(life))


async def test_who_dies_before_it_is_closed_leaves_it_to_the_next(lives: Lives) -> None:
    """Its store's mark stays before it."""
    life, told = await disputed(lives)
    await life.die()
    forge(lives, told, "one")
    at = lives.broker.read(CONFLICTS)[-1].offset
    send(lives, "more", count(stock("rye"), 1, 1, replica="store-1.3"), replica="store-1.3")
    second = lives.start("a")
    second.host._folder = life.host._folder
    await second.own(0)  # it merges nothing, so it does not come as far as the log's end
    assert second.host._recovered[0].doubted
    await second.die()
    with on_disk(life) as store:
        assert store.mark.conflicts == at - 1
    assert len(listed(lives)) == 2
    third = await heir(lives, life, "a")
    await third.until(lambda: listed(lives) == [told])


@pytest.mark.parametrize("status", [ConflictStatus.OPEN, ConflictStatus.RESOLVED])
async def test_its_owner_closes_a_conflict_of_writes_that_never_competed(lives: Lives, status: ConflictStatus) -> None:
    """They were made one after the other, at another place."""
    life, told = await disputed(lives)
    for seq in (1, 2, 3):
        op = change(
            stock("rye"),
            "price",
            "set",
            seq,
            seq,
            replica="store-1.1",
            context={"store-1.1": seq - 1} if seq > 1 else {},
        )
        send(lives, f"rye-{seq}", op, replica="store-1.1")
    await life.quiet()
    first, second, third = (replace(told.versions[0], replica="store-1.1", seq=seq, value=seq) for seq in (1, 2, 3))
    name, decided_by = conflict_id(stock("rye"), told.field), third if status.over else None
    lie = replace(told, id=name, document=stock("rye"), versions=(first, second), status=status, decided_by=decided_by)
    lives.broker.append(CONFLICTS, 0, name.encode(), lives.cloud.rules.records.encode_conflict(lie))
    await life.until(lambda: listed(lives) == [told])
    await life.until(lambda: at_rest(life))


@pytest.mark.parametrize("over", [False, True], ids=["open", "resolved"])
async def test_a_worker_that_was_cut_off_and_was_further_is_not_contradicted(lives: Lives, over: bool) -> None:
    """It had merged, told the conflict, and lost all else that it had done. Who takes over has merged nothing yet."""
    life, told = await disputed(lives)
    if over:
        seen = {"store-1.1": 1, "store-1.2": 1}
        op = change(stock(), "price", "set", 5, 2, replica="store-1.1", context=seen)
        send(lives, "over", op, replica="store-1.1")
        await life.quiet()
        (told,) = listed(lives)
        assert told.status is ConflictStatus.RESOLVED
    await life.die()
    for topic in (STATES, RECEIPTS):
        lives.broker.remove(topic, 0, *(record.offset for record in lives.broker.read(topic)))
        lives.broker._partitions.pop((topic, 0))
    lives.broker.committed.clear()
    words = [record.value for record in lives.broker.read(CONFLICTS)]

    heir = lives.start("empty")
    await heir.own(0)
    doubts = heir.pump.mender._doubts
    await heir.until(lambda: doubts.waiting() == [0] and not doubts.unasked(0))
    assert doubts._of[0].ops_end == lives.broker.partition(OPS).end
    assert [record.value for record in lives.broker.read(CONFLICTS)] == words
    heir.read()
    await heir.quiet()
    await heir.until(lambda: at_rest(heir))
    assert listed(lives) == [told]
    assert None not in [record.value for record in lives.broker.read(CONFLICTS)]
