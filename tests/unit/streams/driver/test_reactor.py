"""The worker's own loop of reactions, from a till's record to the arrival elsewhere, with everything above the Kafka clients real."""

from __future__ import annotations

import asyncio
import random
from types import SimpleNamespace
from typing import Any

import pytest

from driftlog_schemas import topics
from driftlog_schemas.identity import CLOUD, DocumentId, document_key
from driftlog_streams.core.admission import Admitted, admit
from driftlog_streams.core.rules import SpaceRules
from driftlog_streams.faust_driver import host
from tests.fake_kafka.broker import Stored
from tests.unit.streams import reacting
from tests.unit.streams.cloud import IDS
from tests.unit.streams.driver.life import OPS, STATES, Life, Lives
from tests.unit.streams.reacting import SPACE, THERE, World

QUARANTINE = topics.quarantine_topic("retail")


@pytest.fixture
def world(lives: Lives, monkeypatch: pytest.MonkeyPatch) -> World:
    """Whose tills write; the lives are its workers."""
    made = World()
    reacting.broken.clear()
    lives.cloud.rules, lives.cloud.devices = made.rules, made.devices
    idle: Any = lambda *_: SimpleNamespace(run=asyncio.Event().wait)  # noqa: E731
    monkeypatch.setattr(host.WorkerHost, "_forgetter", idle)
    monkeypatch.setattr(host.WorkerHost, "_settler", idle)
    return made


def send(lives: Lives, world: World, number: str, qty: int) -> None:
    world.transfer(number, qty)
    lives.broker.append(OPS, 0, b"store-1", world.partitions[0].log[-1])


def stock(life: Life) -> dict[str, Any]:
    """What the read model has there."""
    name = document_key(DocumentId("Stock", THERE, "tea"))
    raw = [record.value for record in life.topic(STATES, 1) if record.key == name]
    if not raw or raw[-1] is None:
        return {"on_hand": 0, "arrivals": 0}
    collection = SpaceRules(SPACE, IDS).collections["Stock"]
    return dict(SPACE.collections["Stock"].present(THERE, "tea", collection.codec.decode(raw[-1])))


def reacted(lives: Lives, world: World, record: Stored) -> int:
    """How many calls a record has."""
    admission = admit(record.value, record.timestamp_ms, 1, world.rules, world.devices)
    react = admission.batch.react if isinstance(admission, Admitted) else None
    return 0 if react is None else len(react.calls)


async def test_what_a_change_calls_for_is_done_elsewhere(lives: Lives, world: World) -> None:
    send(lives, world, "1", 5)
    send(lives, world, "2", 6)
    life = lives.start()
    await life.own(0, 1)
    life.read()
    await life.until(lambda: stock(life)["arrivals"] == 2)
    await life.quiet()
    assert stock(life)["on_hand"] == 11


async def test_a_worker_that_is_killed_in_the_middle_again_and_again_does_each_once(
    lives: Lives, world: World, full: bool
) -> None:
    chance, kills, sent = random.Random(5), 100 if full else 20, 0
    for kill in range(kills):
        life = lives.start("ab"[kill % 2])
        await life.own(0, 1)
        life.read()
        for number in range(3):
            send(lives, world, f"{kill}-{number}", kill + number)
            sent += kill + number
            await asyncio.sleep(chance.random() * 0.02)
        if chance.random() < 0.5:
            await life.consumer.commit()
        await life.die()
    last = lives.start("a")
    await last.own(0, 1)
    last.read()
    await last.until(lambda: stock(last)["arrivals"] >= 3 * kills)
    await last.until(lambda: not any(merger.calls.waits for merger in last.pump.mergers.values()))
    assert (stock(last)["on_hand"], stock(last)["arrivals"]) == (sent, 3 * kills)
    assert last.topic(QUARANTINE, 0) == last.topic(QUARANTINE, 1) == []


async def died_before_it_ran(lives: Lives, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that has merged what calls for a command, written the call down, and died with it waiting."""
    idle: Any = lambda *_: SimpleNamespace(run=asyncio.Event().wait)  # noqa: E731
    with monkeypatch.context() as patched:
        patched.setattr(host.WorkerHost, "_reactor", idle)
        first = lives.start("a")
        await first.own(0, 1)
        first.read()
        send(lives, world, "1", 5)
        await first.until(lambda: sum(reacted(lives, world, r) for r in first.topic(OPS, 1)) == 1)
        await first.quiet()
        await first.die()


async def test_calls_that_waited_when_their_worker_died_are_read_again(
    lives: Lives, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await died_before_it_ran(lives, world, monkeypatch)
    second = lives.start("b")
    await second.own(0, 1)
    assert second.pump.mergers[1].calls.missing() == [0], "it is committed, and its row says that it waits"
    second.read()
    await second.until(lambda: stock(second)["arrivals"] == 1)
    assert stock(second)["on_hand"] == 5
    await second.until(lambda: not second.pump.mergers[1].calls.waits)


async def test_a_record_of_calls_that_is_gone_holds_up_nothing(
    lives: Lives, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await died_before_it_ran(lives, world, monkeypatch)
    lives.broker.remove(OPS, 1, 0)
    second = lives.start("b")
    await second.own(0, 1)
    second.read()
    send(lives, world, "2", 7)
    await second.until(lambda: stock(second)["arrivals"] == 1)
    assert stock(second)["on_hand"] == 7


async def test_what_nobody_but_the_workers_may_say_is_refused(lives: Lives, world: World) -> None:
    """A device with every right signs a call under its own name, and under the cloud's."""
    send(lives, world, "1", 5)
    life = lives.start()
    await life.own(0, 1)
    life.read()
    await life.until(lambda: stock(life)["arrivals"] == 1)
    body = world.rules.batches.open(life.topic(OPS, 1)[0].value or b"").body
    forged = world.rules.batches.seal(body, world.identities["store-1"])
    admission = admit(forged, lives.broker.now_ms, 1, world.rules, world.devices)
    assert (getattr(admission, "code", ""), CLOUD in world.devices.lines) == ("forbidden", True)
