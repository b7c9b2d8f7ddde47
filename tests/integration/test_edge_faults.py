"""An agent that is killed at random points while many callers use it: what was answered is there, and nothing is there twice."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import httpx
import pytest

from tests.integration.conftest import LoadRun
from tests.load.edges import EdgeProcess

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(900)]

COMMANDS, KILLS = 800, 2
FULL = 10_000, 8
"""The same at full depth."""
CALLERS = 32
ITEMS = 40
PLACE = "place-of-kills"
GIVE_UP_SECONDS = 600.0


@dataclass
class Callers:
    """Many at once; each takes the next command and calls until it is answered, with the same key each time."""

    url: str
    commands: list[tuple[str, str]]
    """(key, item)"""
    answered: dict[str, object] = field(default_factory=dict)
    unanswered: int = 0
    """Calls that ended without an answer."""
    moved: asyncio.Event = field(default_factory=asyncio.Event)

    async def call(self, client: httpx.AsyncClient, key: str, item: str) -> object:
        """One call; raises httpx.TransportError when there is no answer."""
        answer = await client.post(
            f"{self.url}/v1/commands/hit", json={"place": PLACE, "item": item}, headers={"Idempotency-Key": key}
        )
        assert answer.status_code == 200, answer.text
        return answer.json()["result"]

    async def work(self, client: httpx.AsyncClient, queue: list[tuple[str, str]]) -> None:
        while queue:
            key, item = queue.pop()
            while key not in self.answered:
                try:
                    self.answered[key] = await self.call(client, key, item)
                    self.moved.set()
                except httpx.TransportError:
                    self.unanswered += 1
                    await asyncio.sleep(0.05)

    async def run(self, edge: EdgeProcess, kill_at: list[int]) -> None:
        """All commands, with a kill whenever so many have been answered; each life is asked for old answers."""
        queue = self.commands[::-1]
        async with (
            httpx.AsyncClient(
                auth=edge.auth, timeout=30, trust_env=False, limits=httpx.Limits(max_connections=CALLERS + 1)
            ) as client,
            asyncio.timeout(GIVE_UP_SECONDS),
            asyncio.TaskGroup() as tasks,
        ):
            for _ in range(CALLERS):
                tasks.create_task(self.work(client, queue))
            for goal in kill_at:
                while len(self.answered) < goal:
                    self.moved.clear()
                    await self.moved.wait()
                edge.kill()
                old = random.Random(goal).sample(sorted(self.answered), 20)
                await asyncio.to_thread(edge.start)
                items = dict(self.commands)
                for key in old:
                    assert await self.call(client, key, items[key]) == self.answered[key]


def test_killed_while_many_call(on_broker: Callable[..., LoadRun], full: bool) -> None:
    run = on_broker()
    chance = random.Random(3)
    count, kills = FULL if full else (COMMANDS, KILLS)
    commands = [(uuid.uuid4().hex, f"item-{chance.randrange(ITEMS)}") for _ in range(count)]
    with run.worker("only") as worker, run.edge(0, PLACE) as edge:
        callers = Callers(edge.url, commands)
        asyncio.run(callers.run(edge, sorted(chance.sample(range(50, count - 50), kills))))
        edge.await_quiet()
        run.group.await_drained(explain=worker.tail)
        wanted = Counter(item for _, item in commands)
        seen_by_edge = {item: edge.read(PLACE, item)["value"]["hits"] for item in wanted}
        assert worker.stop() == 0
    assert len(callers.answered) == count
    assert callers.unanswered > 0, "no call was ever cut off: the kills tested nothing"
    assert seen_by_edge == wanted
    assert {item: run.row(PLACE, item)["hits"] for item in wanted} == wanted
    found = run.judge(others=count)
    assert found.good, found
