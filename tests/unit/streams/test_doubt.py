"""Noise costs no question each, and no newcomer is refused for want of one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from driftlog_schemas.errors import TopicProblem
from driftlog_streams.faust_driver.append_time import LOG_APPEND_TIME, TimesCheck, append_ms, timed
from driftlog_streams.registry import doubt
from driftlog_streams.registry.doubt import Doubts


class Registry:
    def __init__(self) -> None:
        self.asked = 0

    def catch_up(self) -> None:
        self.asked += 1


async def test_one_question_settles_all_that_was_in_the_log() -> None:
    registry = Registry()
    doubts = Doubts(registry.catch_up, apart_seconds=0)
    assert not doubts.settled("p0", 0)
    await doubts.settle(lambda: {"p0": 100, "p1": 7})
    assert [doubts.settled("p0", offset) for offset in (0, 99, 100)] == [True, True, False]
    assert not doubts.settled("p1", 7)
    assert registry.asked == 1


async def test_the_end_is_looked_at_before_the_registry_is_asked() -> None:
    """Later it would count records that the answer knows nothing of."""
    order: list[str] = []
    doubts = Doubts(lambda: order.append("asked"), apart_seconds=0)

    def ends() -> dict[Any, int]:
        order.append("looked")
        return {}

    await doubts.settle(ends)
    assert order == ["looked", "asked"]


async def test_questions_are_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    registry, waits = Registry(), []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    monkeypatch.setattr(doubt.asyncio, "sleep", sleep)
    doubts = Doubts(registry.catch_up, apart_seconds=3600)
    await doubts.settle(dict)
    await doubts.settle(dict)
    assert waits[0] == 0
    assert waits[1] > 3000
    assert registry.asked == 2


async def test_nothing_is_settled_for_the_next_owner() -> None:
    doubts = Doubts(lambda: None, apart_seconds=0)
    await doubts.settle(lambda: {"p0": 100})
    doubts.forget()
    assert not doubts.settled("p0", 1)


def message(kind: int) -> SimpleNamespace:
    return SimpleNamespace(timestamp=1_790_000_000.123, timestamp_type=kind)


def test_only_the_brokers_time_is_believed() -> None:
    assert timed(message(LOG_APPEND_TIME))
    assert not timed(message(0))
    assert append_ms(message(0)) == 1_790_000_000_123


async def test_a_topic_that_keeps_its_writers_times_is_told_once_in_a_while() -> None:
    asked = 0

    def require() -> None:
        nonlocal asked
        asked += 1
        raise TopicProblem("keeps its writers' times", "run `driftlog topics apply`")

    check = TimesCheck(require)
    with pytest.raises(TopicProblem):
        await check.untimed()
    await check.untimed()
    assert asked == 1
