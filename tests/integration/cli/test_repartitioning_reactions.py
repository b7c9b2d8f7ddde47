"""Goods go from one store to another by a reaction while their space is given another number of partitions, on a real broker: the command is ended by SIGKILL at its steps, the
worker after each of them, and agents send without a pause. What leaves one store arrives in the other once."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from driftlog import EdgeAgent
from driftlog.testing.cluster import Cluster
from driftlog.testing.servers import RunningBroker
from driftlog_streams.registry.operator_folder import OperatorFolder
from tests.integration.cli.shell import Shell
from tests.integration.test_reactions import SKUS, STORES, arrived, cluster

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(1800), pytest.mark.deep]

AFTER = 3
STOCK = 100_000
LATE = 12
"""Transfers that are in the logs when these are closed, and that no worker has read."""
STEPS = "driftlog_streams.replaying.repartitioning"
CUT_AT = (
    (f"{STEPS}:close_logs", "after", 1),
    (f"{STEPS}:wait_confirmed", "after", 1),
    ("driftlog_streams.replaying.laying:publish", "after", 2),
    (f"{STEPS}:Carried.write_open", "after", 1),
    (f"{STEPS}:Carried.records", "after", 1),
    (f"{STEPS}:Commits.begin", "after", 1),
    ("driftlog_streams.registry.enrolment:Enrolment.move", "before", 1),
)


class Office:
    """Sends goods in a circle, and knows what has to come of that."""

    def __init__(self, agent: EdgeAgent, name: str) -> None:
        self._agent, self._name, self._chance = agent, name, random.Random(name)
        self._count = 0
        self.over = False
        self.moved: Counter[tuple[str, str]] = Counter()
        self.arrivals: Counter[tuple[str, str]] = Counter()

    async def send(self, **how: str) -> None:
        """Once."""
        source, target = self._chance.sample(STORES, 2)
        sku, qty = self._chance.choice(SKUS), self._chance.randint(1, 9)
        self._count += 1
        number = f"{self._name}-{self._count}"
        await self._agent.run("send", store=source, number=number, to=target, sku=sku, qty=qty, **how)
        self.moved[source, sku] -= qty
        self.moved[target, sku] += qty
        self.arrivals[target, sku] += 1

    async def sell(self) -> None:
        """Until it is over."""
        while not self.over:
            await self.send()
            await asyncio.sleep(0.1)


def operators(running: Cluster, folder: Path, **settings: str) -> Shell:
    """A shell of the operator of this cluster."""
    keys = OperatorFolder(folder / "operator")
    keys.folder.mkdir()
    keys.keep(running._operator)
    place = {"bootstrap": running.bootstrap, "registry": running.registry, "operator": str(keys.folder)}
    return Shell(folder / "app", schema_cache=str(folder / "cache"), **place, **settings)


async def moved(running: Cluster, shell: Shell, name: str, office: Office) -> dict[str, object]:
    """The space has moved; what the command says of that."""
    words = ("topics", "repartition", "--app", f"{name}:app", "--partitions", str(AFTER), "--wait", "120", "--json")
    await asyncio.to_thread(running.kill_worker)
    for _ in range(LATE):
        await office.send(wait="shipped")
    for step in CUT_AT:
        await asyncio.to_thread(shell.killed, *step, *words, "--yes")
        await asyncio.to_thread(running.kill_worker)
        await asyncio.to_thread(running.start_worker)
    done = await asyncio.to_thread(shell.run, *words, "--yes")
    assert done.code == 0, done
    assert json.loads(done.out)["written_before"], "all was written, the calls as well"
    return dict(json.loads(done.out))


async def lived(running: Cluster, shell: Shell, name: str) -> None:
    async with running.agent("one", scopes=STORES) as one, running.agent("two", scopes=STORES) as two:
        for store in STORES:
            for sku in SKUS:
                await one.run("stock_up", store=store, sku=sku, qty=STOCK)
                await one.run("stock_up", store=store, sku=sku, qty=1, wait="merged")
        await two.read("Shelf", STORES[0], SKUS[0], consistency="strong", seconds=60)
        selling, late = [Office(one, "one"), Office(two, "two")], Office(one, "late")
        tasks = [asyncio.create_task(office.sell()) for office in selling]
        told = await moved(running, shell, name, late)
        assert int(str(told["calls"])) >= LATE, "what they call for stands behind the ends"
        await asyncio.sleep(1)
        for office in selling:
            office.over = True
        await asyncio.gather(*tasks)
        offices = [*selling, late]
        counted = sum((office.arrivals for office in offices), Counter[tuple[str, str]]())
        await arrived(one, counted)
        for store in STORES:
            for sku in SKUS:
                net = sum(office.moved[store, sku] for office in offices)
                shelf = (await one.read("Shelf", store, sku, consistency="strong", seconds=60)).value
                wanted = (STOCK + 1 + net, counted[store, sku])
                assert (shelf["on_hand"], shelf["arrived"]) == wanted, f"{store}/{sku}"


def test_what_leaves_one_store_arrives_in_the_other_once_over_a_move(
    apart: RunningBroker, registry_url: str, tmp_path: Path, fresh_name: Callable[[str], str]
) -> None:
    name = fresh_name("goods").replace("-", "_")
    with cluster(apart, registry_url, tmp_path, name) as running:
        shell = operators(running, tmp_path, cloud_identity=str(tmp_path / "cloud.json"))
        asyncio.run(lived(running, shell, name))
        assert shell.run("parked", "list", "--app", f"{name}:app", "--json").data == []
