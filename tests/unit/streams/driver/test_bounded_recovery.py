"""A broker that is silent while partitions are taken over: Faust would take that for its own end, and keep partitions that nobody merges."""

from __future__ import annotations

import asyncio

import pytest
from aiokafka.errors import KafkaTimeoutError
from faust.tables.recovery import RebalanceAgain, Recovery, ServiceStopped

from driftlog_streams.errors import Exit
from driftlog_streams.faust_driver import sudden_end
from driftlog_streams.faust_driver.overrides import BoundedTables, FaustApp


async def recovery() -> Recovery:
    return FaustApp("bounded", store="memory://", TableManager=BoundedTables).tables.recovery


async def silent() -> None:
    await asyncio.Event().wait()


def test_a_step_that_takes_too_long_fails() -> None:
    async def take_over() -> None:
        await (await recovery())._wait(silent(), timeout=0.01)

    with pytest.raises(KafkaTimeoutError, match="silent"):
        asyncio.run(take_over())


def test_the_process_ends_as_in_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    codes: list[Exit] = []
    monkeypatch.setattr(sudden_end, "_exit", codes.append)
    sudden_end.die(KafkaTimeoutError("silent"))
    assert codes == [Exit.OUTAGE]


def test_another_rebalance_and_the_end_are_told_as_ever() -> None:
    async def again() -> None:
        found = await recovery()
        found.signal_recovery_start.set()
        await found._wait(silent(), timeout=10)

    async def end() -> None:
        found = await recovery()
        found._stopped.set()
        await found._wait(silent(), timeout=10)

    with pytest.raises(RebalanceAgain):
        asyncio.run(again())
    with pytest.raises(ServiceStopped):
        asyncio.run(end())


def test_a_step_in_time_is_done() -> None:
    async def take_over() -> None:
        await (await recovery())._wait(asyncio.sleep(0), timeout=10)

    asyncio.run(take_over())
