"""Many who call one agent at once, each until it is answered, whatever happens to the agent meanwhile; and what their answers say."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import httpx

from tests.load.edges import EdgeProcess

CALLERS = 32
ASKED_AGAIN = 20
"""Old commands that each new life of the agent is asked for."""
STARTS_CUT_SHORT = 0.2
"""The share of faults after which the agent is also killed while it starts."""
START_SECONDS = 2.0
"""In which such a kill comes."""
PAUSE_SECONDS = 0.05


def hits(count: int, items: int, chance: random.Random) -> list[tuple[str, str]]:
    """So many commands, each its key and its item."""
    return [(uuid.uuid4().hex, f"item-{chance.randrange(items)}") for _ in range(count)]


@dataclass
class Callers:
    """Each takes the next command and calls until it is answered, with the same key each time."""

    edge: EdgeProcess
    place: str
    commands: list[tuple[str, str]]
    """(key, item)"""
    chance: random.Random
    answered: dict[str, int] = field(default_factory=dict)
    """Key -> what the document's count was then."""
    unanswered: int = 0
    """Calls that ended without an answer."""
    moved: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, strike: Callable[[], object], strike_at: Sequence[int], seconds: float) -> None:
        """All commands; whenever so many have been answered the agent is struck, which ends it, and started again."""
        queue = self.commands[::-1]
        async with (
            httpx.AsyncClient(
                auth=self.edge.auth, timeout=30, trust_env=False, limits=httpx.Limits(max_connections=CALLERS + 1)
            ) as client,
            asyncio.timeout(seconds),
            asyncio.TaskGroup() as tasks,
        ):
            for _ in range(CALLERS):
                tasks.create_task(self._work(client, queue))
            for goal in strike_at:
                while len(self.answered) < goal:
                    self.moved.clear()
                    await self.moved.wait()
                strike()
                old = self.chance.sample(sorted(self.answered.items()), min(ASKED_AGAIN, len(self.answered)))
                await self._start_again(strike)
                items = dict(self.commands)
                for key, answer in old:
                    found = await self._answer(client, key, items[key])
                    assert found == answer, f"{key} was answered otherwise before"

    async def _start_again(self, strike: Callable[[], object]) -> None:
        if self.chance.random() < STARTS_CUT_SHORT:
            self.edge.launch()
            await asyncio.sleep(self.chance.uniform(0, START_SECONDS))
            strike()
        await asyncio.to_thread(self.edge.start)

    async def _work(self, client: httpx.AsyncClient, queue: list[tuple[str, str]]) -> None:
        while queue:
            key, item = queue.pop()
            self.answered[key] = await self._answer(client, key, item)
            self.moved.set()

    async def _answer(self, client: httpx.AsyncClient, key: str, item: str) -> int:
        """Call until there is one; for how long the whole run says."""
        while True:
            try:
                return await self._call(client, key, item)
            except httpx.TransportError:
                self.unanswered += 1
                await asyncio.sleep(PAUSE_SECONDS)

    async def _call(self, client: httpx.AsyncClient, key: str, item: str) -> int:
        """One call; raises httpx.TransportError when there is no answer."""
        answer = await client.post(
            f"{self.edge.url}/v1/commands/hit",
            json={"place": self.place, "item": item},
            headers={"Idempotency-Key": key},
        )
        assert answer.status_code == 200, answer.text
        return int(answer.json()["result"])

    def expected(self) -> Counter[str]:
        """Item -> hits, once all are answered and nobody else has hit. Raises AssertionError where two answers deny one another."""
        assert len(self.answered) == len(self.commands), "some were never answered"
        counts: dict[str, list[int]] = {}
        for key, item in self.commands:
            counts.setdefault(item, []).append(self.answered[key])
        for item, told in counts.items():
            assert sorted(told) == list(range(1, len(told) + 1)), f"{item} was counted as {sorted(told)}"
        return Counter(item for _, item in self.commands)
