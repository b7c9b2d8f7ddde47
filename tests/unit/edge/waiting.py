"""Waiting for an agent's own loop to have done something."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable

from driftlog_edge.agent import EdgeAgent
from driftlog_edge.link.connectivity import Connection
from driftlog_edge.ports import Family, Source
from driftlog_edge.store import keys
from driftlog_schemas.contract import DocumentClass

SOON_SECONDS, SELDOM_SECONDS = 0.01, 0.025
"""Between two looks: what is asked, such as an agent's status, costs more than what is waited for, where that takes long."""


async def until(condition: Callable[[], object]) -> None:
    """Return when `condition` holds, or what it awaits; TimeoutError after what is for ever here."""
    pause = SOON_SECONDS
    async with asyncio.timeout(60):
        while not await _holds(condition()):
            await asyncio.sleep(pause)
            pause = min(SELDOM_SECONDS, pause * 1.25)


async def online(agent: EdgeAgent) -> None:
    """Return when it has a way to the cloud."""
    signal = agent._sync.signal  # not its status, which is a lot to ask for again and again
    await until(lambda: signal.state is Connection.ONLINE)


async def pages(agent: EdgeAgent, kind: type[DocumentClass], scope: str, ids: list[str]) -> bool:
    """Are these the documents of the scope?"""
    return [id for id, _ in await agent.page(kind, scope, 1000)] == ids


async def _holds(found: object) -> object:
    return await found if inspect.isawaitable(found) else found


def rests(agent: EdgeAgent) -> bool:
    """Is something put off on the disk, and not asked again before its pause is over? What a seal takes stays on the disk until that is written."""
    journal = agent._sync._journal
    held = agent._sync._shipper._outbox.queue.held
    return _put_off(journal.durable) and _put_off(journal) and bool(held._pauses) and not held.rounds


def _put_off(source: Source) -> bool:
    return any(keys.parse_outbox(key)[1] == keys.HELD for key, _ in source.scan(Family.OUTBOX, b""))
