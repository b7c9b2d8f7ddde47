"""What a worker must know of the registry, and of a record's time, before it decides: asked for seldom, and never left out."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from driftlog_schemas.devices import with_terms
from driftlog_schemas.errors import TopicProblem
from driftlog_schemas.signing import Identity
from driftlog_streams.core.admission import Refusal
from driftlog_streams.errors import DevicesUnknown
from driftlog_streams.faust_driver import host
from driftlog_streams.registry import doubt
from tests.fake_kafka.broker import START_MS, Stored
from tests.unit.streams.cloud import command, count, stock
from tests.unit.streams.driver.life import OPS, STATES, Life, Lives

NOISE = 60


def sell(lives: Lives, seq: int) -> None:
    value = lives.cloud.batch(command(f"c{seq}", count(stock(), 5, seq)))
    lives.broker.append(OPS, 0, b"store-1", value)


def shout(lives: Lives, times: int) -> None:
    """Batches of a device that nobody enrolled."""
    stranger = Identity.create("stranger")
    for number in range(times):
        good = lives.cloud.rules.batches.open(lives.cloud.batch(command(f"n{number}", count(stock(), 1, 1))))
        value = lives.cloud.envelope(replace(good, device_id="stranger", signature=stranger.sign(good.body)))
        lives.broker.append(OPS, 0, b"stranger", value)


async def test_a_wall_of_noise_costs_one_question(lives: Lives) -> None:
    shout(lives, NOISE)
    life = lives.start()
    await life.own(0)
    life.read()
    await life.quiet()
    assert life.directory.caught_up == 1


async def test_noise_that_comes_while_a_question_waits_its_turn_is_settled_with_it(
    lives: Lives, monkeypatch: pytest.MonkeyPatch
) -> None:
    life = lives.start()
    await life.own(0)

    async def slept(seconds: float) -> None:
        shout(lives, 10)

    monkeypatch.setattr(doubt, "asyncio", SimpleNamespace(sleep=slept, get_running_loop=asyncio.get_running_loop))
    shout(lives, 1)
    life.read()
    await life.until(lambda: lives.broker.partition(OPS, 0).end == 11)
    await life.quiet()
    assert life.directory.caught_up == 1


async def test_nothing_is_admitted_with_knowledge_that_is_too_old(lives: Lives) -> None:
    life = lives.start()
    await life.own(0)
    life.directory.vouches = False
    sell(lives, 1)
    life.read()
    await life.quiet()
    assert life.directory.caught_up == 1
    assert len(life.topic(STATES)) == 1


async def test_what_waits_is_taken_up_with_knowledge_that_counts(lives: Lives) -> None:
    """A right ended, what came then waits for another change, and the next owner has not read that the right ended."""
    enrolled = lives.cloud.devices.lines["store-1"]
    restricted = with_terms(enrolled, enrolled.latest._replace(permissions=("another",), from_ms=START_MS))
    lives.cloud.devices.lines["store-1"] = restricted
    value = lives.cloud.batch(command("waits", count(stock(), 5, 2)))
    lives.broker.append(OPS, 0, b"store-1", value)
    first = lives.start()
    await first.own(0)
    first.read()
    await first.quiet()
    await first.die()

    lives.cloud.devices.lines["store-1"] = enrolled
    heir = lives.start("b")
    heir.directory.vouches, heir.directory.late = False, {"store-1": restricted}
    await heir.own(0)
    (waiting,) = heir.pump._mergers[0].parking.waiting()
    assert waiting.device.permissions == ("another",)


async def test_a_worker_that_cannot_learn_who_may_write_ends(lives: Lives) -> None:
    """The thread that reads the registry hears nothing any more, and the end cannot be reached."""
    life = lives.start()

    def stalled() -> None:
        raise DevicesUnknown("read 3 of 4 records of driftlog.devices in 20 s")

    await life.own(0)
    life.directory.vouches = False
    life.host._devices.catch_up = stalled  # type: ignore[method-assign, assignment]
    sell(lives, 1)
    life.read()
    await life.until(lambda: bool(lives.deaths))
    assert isinstance(lives.deaths[0], DevicesUnknown)
    assert life.topic(STATES) == []


@pytest.fixture
def untimed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Records keep their writers' times; what the topic's settings are asked is noted."""
    asked: list[str] = []

    class Admin:
        def __init__(self, kafka: Any, asking: Any) -> None: ...

        def require_times(self, names: list[str]) -> None:
            asked.extend(names)

    monkeypatch.setattr(host, "TopicsAdmin", Admin)
    return asked


def message(stored: Stored, kind: int) -> SimpleNamespace:
    return SimpleNamespace(
        value=stored.value, partition=0, tp=("ops", 0), offset=stored.offset, timestamp=stored.timestamp_ms / 1000,
        timestamp_type=kind,
    )  # fmt: skip


async def decided(life: Life, lives: Lives, kind: int) -> Any:
    sell(lives, 1)
    return await life.pump.admitting.decide(message(lives.broker.read(OPS, 0)[-1], kind))


async def test_a_writers_own_time_is_not_believed(lives: Lives, untimed: list[str]) -> None:
    life = lives.start()
    await life.own(0)
    found = await decided(life, lives, 0)
    assert isinstance(found, Refusal) and found.code == "untimed"
    assert untimed == [OPS]


async def test_a_topic_that_keeps_writers_times_ends_the_worker_with_the_remedy(
    lives: Lives, untimed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def keeps(self: Any, names: list[str]) -> None:
        raise TopicProblem("retail.ops keeps its writers' times", "run `driftlog topics apply --app ...`")

    monkeypatch.setattr(host.TopicsAdmin, "require_times", keeps)
    life = lives.start()
    await life.own(0)
    with pytest.raises(TopicProblem) as caught:
        await decided(life, lives, 0)
    assert "driftlog topics apply" in caught.value.remedy
