"""One background task at a time: begun, hurried, stopped, and begun again after a defect."""

from __future__ import annotations

import asyncio
from typing import Any

from driftlog_edge.errand import Errand


async def test_there_is_one_at_a_time_and_it_can_be_begun_again() -> None:
    begun, free = [], asyncio.Event()

    async def work() -> None:
        begun.append(len(begun))
        await free.wait()

    errand = Errand("test", work)
    errand.run()
    errand.run()
    await asyncio.sleep(0)
    assert begun == [0]
    free.set()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    errand.run()
    await asyncio.sleep(0)
    assert begun == [0, 1]


async def test_news_end_a_pause_and_the_end_of_the_agent_does() -> None:
    reached = []

    async def work() -> None:
        for at in range(2):
            await errand.pause(3600)
            reached.append(at)

    errand = Errand("test", work)
    errand.run()
    await asyncio.sleep(0)
    errand.hurry()
    for _ in range(5):
        await asyncio.sleep(0)
    assert reached == [0]
    await errand.stop()
    assert reached == [0]


async def test_a_defect_is_told_and_the_work_can_be_begun_anew() -> None:
    seen: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: seen.append(context))

    async def work() -> None:
        raise ZeroDivisionError("a defect")

    errand = Errand("test", work)
    for _ in range(2):
        errand.run()
        for _ in range(3):
            await asyncio.sleep(0)
    assert "ZeroDivisionError" in errand.problem
    assert len(seen) == 2
