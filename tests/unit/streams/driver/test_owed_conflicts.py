"""A conflict that has grown and was not told is told: by its owner after a pause, or by whoever owns the partition next."""

from __future__ import annotations

import pytest

from driftlog_schemas.messages import Conflict
from driftlog_streams.core import conflict_pace
from driftlog_streams.faust_driver import mender
from tests.unit.streams.cloud import change, stock
from tests.unit.streams.driver.life import CONFLICTS, Life, Lives
from tests.unit.streams.driver.test_flights import merging, send

NEVER = 3600.0


def says(lives: Lives, price: int) -> None:
    """One who has heard of nobody."""
    replica = f"store-1.{price}"
    send(lives, f"c{price}", change(stock(), "price", "set", price, 1, replica=replica), replica=replica)


def told(lives: Lives) -> list[Conflict]:
    codecs = lives.cloud.rules.records
    return [codecs.decode_conflict(record.value or b"") for record in lives.broker.read(CONFLICTS)]


async def owing(lives: Lives, folder: str = "a") -> Life:
    """A life that has told two of three versions."""
    life = await merging(lives, folder)
    for price in (1, 2, 3):
        says(lives, price)
        await life.quiet()
    assert [len(conflict.versions) for conflict in told(lives)] == [2]
    return life


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conflict_pace, "SECONDS_EACH", NEVER)
    monkeypatch.setattr(conflict_pace, "MOST_SECONDS", NEVER)
    monkeypatch.setattr(mender, "CHECK_SECONDS", 0.01)


async def test_its_owner_tells_it_when_the_pause_is_over(lives: Lives, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conflict_pace, "SECONDS_EACH", 0.0)
    monkeypatch.setattr(mender, "CHECK_SECONDS", 0.01)
    life = await merging(lives)
    for price in (1, 2, 3):
        says(lives, price)
        await life.quiet()
    await life.until(lambda: len(told(lives)[-1].versions) == 3)
    await life.until(lambda: not life.pump._mergers[0].owes)


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("folder", ["a", "empty"])
async def test_the_next_life_tells_it(lives: Lives, folder: str) -> None:
    """On the folder of the one that died, or on none."""
    life = await owing(lives)
    await life.die()
    heir = lives.start(folder)
    if folder == "a":
        heir.host._folder = life.host._folder
    await heir.own(0)
    heir.read()
    await heir.until(lambda: len(told(lives)) == 2)
    assert len(told(lives)[-1].versions) == 3
    await heir.until(lambda: not heir.pump.mender._answers)
    await heir.die()

    third = lives.start("third")
    await third.own(0)
    assert not third.host._recovered[0].answers, "what is told is compared, and not told again"


@pytest.mark.usefixtures("patient")
async def test_an_earlier_owner_tells_it_whose_store_has_heard_of_less(lives: Lives) -> None:
    first = await merging(lives)
    for price in (1, 2):
        says(lives, price)
        await first.quiet()
    await first.die()
    other = await merging(lives, "b")
    for price in (3, 4):
        says(lives, price)
        await other.quiet()
    await other.die()
    assert [len(conflict.versions) for conflict in told(lives)] == [2, 3], (
        "the first that a life meets it tells at once"
    )

    again = lives.start()
    again.host._folder = first.host._folder
    await again.own(0)
    again.read()
    await again.until(lambda: len(told(lives)[-1].versions) == 4)
