"""Goods go from one store to another by a reaction, on a real broker, while the workers are killed again and again."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from driftlog import EdgeAgent
from driftlog.testing.cluster import Cluster
from driftlog.testing.servers import RunningBroker

pytestmark = [pytest.mark.broker, pytest.mark.timeout(3600)]

EXAMPLE = Path(__file__).parents[2] / "examples" / "retail" / "transfers.py"
KILLS, KILLS_AT_LENGTH = 3, 100
"""A life takes some seconds here; `unit/streams/driver/test_reactor` has more of them in less time."""
PER_KILL = 6
STORES = [f"store-{number}" for number in range(1, 5)]
SKUS = ["tea", "milk", "rice"]


def cluster(apart: RunningBroker, registry_url: str, folder: Path, name: str) -> Cluster:
    """With the example's app under a space of its own."""
    text = EXAMPLE.read_text()
    (folder / "app").mkdir()
    (folder / "app" / f"{name}.py").write_text(text.replace('app.space("goods"', f'app.space("{name}"'))
    return Cluster(f"{name}:app", apart.bootstrap, registry_url, folder, folder / "app")


async def transfers(running: Cluster, kills: int) -> None:
    """Send goods in a circle, killing the worker all the while, and count."""
    chance, sent = random.Random(11), {(store, sku): 0 for store in STORES for sku in SKUS}
    counted = dict.fromkeys(sent, 0)
    async with running.agent("office", scopes=STORES) as office:
        for store in STORES:
            for sku in SKUS:
                await office.run("stock_up", store=store, sku=sku, qty=100_000)
        for kill in range(kills):
            for number in range(PER_KILL):
                source, target = chance.sample(STORES, 2)
                sku, qty = chance.choice(SKUS), chance.randint(1, 9)
                await office.run("send", store=source, number=f"{kill}-{number}", to=target, sku=sku, qty=qty)
                sent[source, sku] -= qty
                sent[target, sku] += qty
                counted[target, sku] += 1
            await asyncio.sleep(chance.random() * 0.5)  # so that they die anywhere in it
            await asyncio.to_thread(running.kill_worker)
            await asyncio.to_thread(running.start_worker)
        await arrived(office, counted)
        for (store, sku), moved in sent.items():
            shelf = (await office.read("Shelf", store, sku, consistency="strong", seconds=60)).value
            assert (shelf["on_hand"], shelf["arrived"]) == (100_000 + moved, counted[store, sku]), f"{store}/{sku}"


async def arrived(office: EdgeAgent, counted: Mapping[tuple[str, str], int]) -> None:
    """All of it has, or more."""
    for _ in range(1200):
        read = [(await office.read("Shelf", *place)).value["arrived"] >= count for place, count in counted.items()]
        if all(read):
            return
        await asyncio.sleep(0.1)
    raise AssertionError("what left one store does not arrive in the other")


def test_what_leaves_one_store_arrives_in_the_other_once(
    apart: RunningBroker, registry_url: str, tmp_path: Path, full: bool, fresh_name: Callable[[str], str]
) -> None:
    name = fresh_name("goods").replace("-", "_")
    with cluster(apart, registry_url, tmp_path, name) as running:
        asyncio.run(transfers(running, KILLS_AT_LENGTH if full else KILLS))
