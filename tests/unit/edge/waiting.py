"""Waiting for an agent's own loop to have done something."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable

from driftlog_edge.agent import EdgeAgent
from driftlog_edge.ports import Family
from driftlog_edge.store import keys
from driftlog_schemas.contract import DocumentClass


async def until(condition: Callable[[], object]) -> None:
    """Return when `condition` holds, or what it awaits; TimeoutError after what is for ever here."""
    async with asyncio.timeout(60):
        while not await _holds(condition()):  # noqa: ASYNC110  # asked from outside, as a user would
            await asyncio.sleep(0.01)


async def online(agent: EdgeAgent) -> None:
    """Return when it has a way to the cloud."""
    await until(lambda: agent.status()["connection"] == "ONLINE")


async def pages(agent: EdgeAgent, kind: type[DocumentClass], scope: str, ids: list[str]) -> bool:
    """Are these the documents of the scope?"""
    return [id for id, _ in await agent.page(kind, scope, 1000)] == ids


async def _holds(found: object) -> object:
    return await found if inspect.isawaitable(found) else found


def rests(agent: EdgeAgent) -> bool:
    """Is something put off on the disk, and not asked again before its pause is over?"""
    entries = agent._sync._journal.durable.scan(Family.OUTBOX, b"")
    queue = agent._sync._shipper._outbox.queue
    on_disk = any(keys.parse_outbox(key)[1] == keys.HELD for key, _ in entries)
    return on_disk and bool(queue.held._pauses) and not queue.held.rounds
