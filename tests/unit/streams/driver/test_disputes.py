"""Whatever a stranger writes over the record of an open conflict, its owner's word is the last again: the one that told it, or whoever owns the
partition next, on whichever folder.
"""

from __future__ import annotations

import pytest

from driftlog_schemas import groups
from driftlog_schemas.messages import Conflict, ConflictStatus
from driftlog_streams.core.store_mark import StoreMark
from driftlog_streams.faust_driver import mender, partition_store
from tests.unit.streams.cloud import change, stock
from tests.unit.streams.driver.life import CONFLICTS, STATES, Life, Lives
from tests.unit.streams.driver.test_flights import merging, on_disk, send

NOISE = pytest.mark.parametrize("value", [None, b"noise"], ids=["a tombstone", "noise"])
FOLDERS = pytest.mark.parametrize("folder", ["a", "empty"])


@pytest.fixture(autouse=True)
def prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mender, "CHECK_SECONDS", 0.01)


def last(lives: Lives) -> Conflict | None:
    value = lives.broker.read(CONFLICTS)[-1].value
    return None if value in (None, b"noise") else lives.cloud.rules.records.decode_conflict(value)


async def disputed(lives: Lives) -> tuple[Life, Conflict]:
    """A life that has told a conflict, and the record."""
    life = await merging(lives)
    for price in (1, 2):
        replica = f"store-1.{price}"
        send(lives, f"c{price}", change(stock(), "price", "set", price, 1, replica=replica), replica=replica)
    await life.quiet()
    told = last(lives)
    assert told is not None and told.status is ConflictStatus.OPEN
    return life, told


async def heir(lives: Lives, dead: Life, folder: str) -> Life:
    """The next owner: on the folder of the dead one, or on none."""
    life = lives.start(folder)
    if folder == "a":
        life.host._folder = dead.host._folder
    await life.own(0)
    life.read()
    return life


def over(lives: Lives, conflict: Conflict, value: bytes | None) -> None:
    """A stranger writes over its record."""
    lives.broker.append(CONFLICTS, 0, conflict.id.encode(), value)


@NOISE
async def test_its_owner_tells_it_again(lives: Lives, value: bytes | None) -> None:
    life, told = await disputed(lives)
    over(lives, told, value)
    await life.until(lambda: last(lives) == told)


@NOISE
@FOLDERS
async def test_the_next_owner_tells_it_again(lives: Lives, folder: str, value: bytes | None) -> None:
    """What was written while nobody owned the partition, and what is written afterwards."""
    life, told = await disputed(lives)
    await life.die()
    over(lives, told, value)
    life = await heir(lives, life, folder)
    await life.until(lambda: last(lives) == told)
    over(lives, told, value)
    await life.until(lambda: last(lives) == told)


async def test_one_of_which_nothing_is_left_in_its_topic_is_told_again(lives: Lives) -> None:
    """Compaction has forgotten the record for a tombstone, and the tombstone after a day. An owner that dies before it has answered leaves it to the next."""
    life, told = await disputed(lives)
    await life.die()
    lives.broker.remove(CONFLICTS, 0, *(record.offset for record in lives.broker.read(CONFLICTS)))
    dead = await _recovered(lives, "empty")
    life = await heir(lives, dead, "a")
    await life.until(lambda: bool(lives.broker.read(CONFLICTS)) and last(lives) == told)


async def _recovered(lives: Lives, folder: str) -> Life:
    """A life that dies as soon as it has recovered."""
    life = lives.start(folder)
    await life.own(0)
    await life.die()
    return life


async def test_a_store_of_an_older_release_learns_of_it_from_its_topic(
    lives: Lives, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as older:
        older.setattr(groups, "disputed", lambda: ("driftlog.other", b"1"))
        older.setattr(partition_store.PartitionStore, "_put_disputes", lambda *_: None)
        life, told = await disputed(lives)
        await life.die()
    with on_disk(life) as store:
        store.write((), StoreMark(*store.mark)._replace(digests=1))
    life = await heir(lives, life, "a")
    over(lives, told, None)
    await life.until(lambda: last(lives) == told)


@FOLDERS
async def test_nothing_is_told_again_that_nobody_wrote_over(lives: Lives, folder: str) -> None:
    life, told = await disputed(lives)
    await life.die()
    life = await heir(lives, life, folder)
    assert not life.host._recovered[0].answers
    assert [record.value is not None for record in lives.broker.read(CONFLICTS)] == [True]
    assert last(lives) == told


@FOLDERS
@pytest.mark.parametrize("spoil", ["a late word", "noise"])
async def test_the_next_owner_knows_who_decided(lives: Lives, folder: str, spoil: str) -> None:
    """An ordinary write stands there by then, which has decided nothing."""
    life, told = await disputed(lives)
    for price, seq in ((5, 2), (6, 3)):
        op = change(stock(), "price", "set", price, seq, replica="store-1.1", context={"store-1.1": 1, "store-1.2": 1})
        send(lives, f"price-{price}", op, replica="store-1.1")
        await life.quiet()
    await life.die()
    ended = last(lives)
    assert ended is not None and ended.decided_by is not None and ended.decided_by.value == 5
    over(lives, told, lives.cloud.rules.records.encode_conflict(told) if spoil == "a late word" else b"noise")
    life = await heir(lives, life, folder)
    await life.until(lambda: last(lives) == ended)


@FOLDERS
async def test_what_has_ended_is_not_kept(lives: Lives, folder: str) -> None:
    life, told = await disputed(lives)
    assert groups.parse(lives.broker.read(STATES)[-1].headers).disputed
    seen = {"store-1.1": 1, "store-1.2": 1}
    if folder == "a":
        await life.die()
        life = await heir(lives, life, "b")
    send(lives, "over", change(stock(), "price", "set", 5, 2, replica="store-1.1", context=seen), replica="store-1.1")
    await life.quiet()
    await life.die()
    assert not groups.parse(lives.broker.read(STATES)[-1].headers).disputed
    first = next(iter(lives))
    life = await heir(lives, first, folder)
    await life.die()
    with on_disk(life) as store:
        assert not list(store.disputes()) and store.dispute(told.id.encode()) is None
