"""A worker that takes over a partition whose log is closed: it stops where that is so, and nowhere on a stranger's word."""

from __future__ import annotations

import pytest

from driftlog_schemas.batch_codec import encode_body
from driftlog_schemas.identity import CLOSER, CLOSING_REPLICA
from driftlog_schemas.messages import Batch, ChainRow
from driftlog_schemas.signing import Identity
from driftlog_streams.core.rights import CLOSE
from tests.unit.streams.cloud import device, stock
from tests.unit.streams.driver.life import OPS, RECEIPTS, Life, Lives
from tests.unit.streams.driver.test_flights import merging, on_disk, sell

END = Batch("retail", 0, CLOSING_REPLICA, 1, (), floor=1)


def end_of_log(lives: Lives, *, permitted: bool = True) -> bytes:
    identity = lives.cloud.identities.setdefault(CLOSER, Identity.create(CLOSER))
    lives.cloud.devices.lines[CLOSER] = device(identity, scopes=(), permissions=(CLOSE,) if permitted else ("*",))
    return lives.cloud.rules.batches.seal(encode_body(END), identity)


def told(lives: Lives, offset: int) -> None:
    """A stranger's row."""
    row = ChainRow(CLOSER, CLOSING_REPLICA, "retail", 0, 1, b"x" * 16, 1, (), offset=offset)
    lives.broker.append(RECEIPTS, 0, CLOSING_REPLICA.encode(), lives.cloud.rules.records.encode_chain_row(row))


async def on_hand(life: Life) -> object:
    await life.quiet()
    await life.die()
    with on_disk(life) as store:
        value = store.get("/".join(stock()).encode())
    assert value is not None
    return life.host._rules.collections["Stock"].codec.decode_row(value)["on_hand"]


@pytest.mark.parametrize("folder", ["a", "empty"])
async def test_who_takes_over_behind_the_end_merges_nothing(lives: Lives, folder: str) -> None:
    life = await merging(lives)
    sell(lives, 1)
    lives.broker.append(OPS, 0, CLOSER.encode(), end_of_log(lives))
    await life.quiet()
    await life.die()
    sell(lives, 2)
    assert await on_hand(await merging(lives, folder)) == 5


@pytest.mark.parametrize("at", [0, 1, 7])
@pytest.mark.parametrize("folder", ["a", "empty"])
async def test_a_row_ends_nothing_where_the_log_has_no_such_record(lives: Lives, folder: str, at: int) -> None:
    """There is another record, a stranger's, or none."""
    life = await merging(lives)
    sell(lives, 1)
    lives.broker.append(OPS, 0, CLOSER.encode(), end_of_log(lives, permitted=False))
    await life.quiet()
    await life.die()
    told(lives, at)
    sell(lives, 2)
    assert await on_hand(await merging(lives, folder)) == 10
