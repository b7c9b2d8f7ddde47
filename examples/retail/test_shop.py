"""How an app is tested: commands without a server, whole worlds from a seed, and one sale on a real broker."""

from __future__ import annotations

import asyncio

import pytest
from shop import Stock, app

from driftlog import Refused, testing


def test_nothing_is_sold_that_is_not_there() -> None:
    till = testing.replica(app)
    till.run("receive", store="s1", sku="tea", qty=1)
    till.run("sell", store="s1", sku="tea", qty=1)
    with pytest.raises(Refused, match="out_of_stock"):
        till.run("sell", store="s1", sku="tea", qty=1)


@pytest.mark.parametrize("seed", range(5))
def test_stock_is_never_negative_whatever_happens(seed: int) -> None:
    def not_negative(document: object) -> None:
        assert not isinstance(document, Stock) or document.on_hand.value >= 0

    testing.simulate(app, seed=seed, invariant=not_negative).check()


def test_a_sale_reaches_the_office(driftlog_cluster, driftlog_scope) -> None:  # type: ignore[no-untyped-def]
    cluster, store = driftlog_cluster(app), driftlog_scope

    async def day() -> None:
        async with cluster.agent("till", scopes=[store]) as till, cluster.agent("office", scopes=[store]) as office:
            await till.run("receive", store=store, sku="tea", qty=5)
            sold = await till.run("sell", store=store, sku="tea", qty=2, wait="merged", seconds=60)
            assert (sold.status, sold.result) == ("merged", 3)
            reading = await office.read(Stock, store, "tea", consistency="strong", seconds=60)
            assert reading.value["on_hand"] == 3

    asyncio.run(day())
