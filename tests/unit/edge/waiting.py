"""Waiting for an agent's own loop to have done something."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def until(condition: Callable[[], object]) -> None:
    """Return when `condition` holds; TimeoutError after what is for ever here."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110  # asked from outside, as a user would
            await asyncio.sleep(0.01)
