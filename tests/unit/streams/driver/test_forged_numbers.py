"""A stranger writes a group number or a row of an op record that there is not: no store waits for it, and no chain."""

from __future__ import annotations

from dataclasses import replace

import pytest

from driftlog_schemas import groups
from driftlog_streams.faust_driver import mender
from tests.unit.streams.cloud import key, stock
from tests.unit.streams.driver.life import RECEIPTS, STATES, Life, Lives
from tests.unit.streams.driver.test_flights import merging, on_disk, sell
from tests.unit.streams.driver.test_recovery import one_life

HUGE = (1 << 63) - 1


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mender, "CHECK_SECONDS", 0.02)


@pytest.mark.parametrize("forged", [key(stock()), b"noise", b"Undeclared/s1/x"])
@pytest.mark.parametrize("owned", [True, False])
async def test_a_group_that_cannot_be_holds_up_no_store(lives: Lives, forged: bytes, owned: bool) -> None:
    """Written while a worker owns the partition, and while none does."""
    life = await merging(lives)
    sell(lives, 1)
    await life.quiet()
    if not owned:
        await life.die()
    lives.broker.append(STATES, 0, forged, lives.broker.read(STATES)[0].value, groups.headers(HUGE, last=False))
    if not owned:
        life = await merging(lives, "empty")
    sell(lives, 2)
    await life.quiet()
    await life.until(lambda: not life.pump.mender.unrest(0, ends(lives, life)))
    sell(lives, 3)
    await life.quiet()
    await life.die()
    with on_disk(life) as store:
        assert store.mark.group < HUGE and store.mark.position == lives.broker.read(STATES)[-1].offset


def ends(lives: Lives, life: Life) -> dict[str, int]:
    return {topic: lives.broker.partition(topic).end for topic in life.pump.mender._watches}


async def test_a_row_of_a_record_that_there_is_not_is_not_believed(lives: Lives) -> None:
    """Behind it the chain would be a fork, and the life would be over."""
    await one_life(lives, 1)
    true = lives.broker.read(RECEIPTS)[-1]
    codecs = lives.cloud.rules.records
    row = replace(codecs.decode_chain_row(true.value or b""), offset=HUGE, last=70, floor=71, entries=())
    lives.broker.append(RECEIPTS, 0, true.key, codecs.encode_chain_row(row))
    sell(lives, 2)
    heir = await merging(lives, "empty")
    await heir.quiet()
    await heir.until(lambda: codecs.decode_chain_row(lives.broker.read(RECEIPTS)[-1].value or b"").last == 2)
