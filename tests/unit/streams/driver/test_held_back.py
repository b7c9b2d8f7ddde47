"""A schema that must be asked for holds up its partition only, and not the event loop."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from driftlog_schemas.errors import RegistryUnreachable, UnknownSchema
from driftlog_schemas.framing import header
from driftlog_schemas.registry import CachedRegistry, FixedIds
from tests.unit.streams.cloud import command, count, stock
from tests.unit.streams.driver.life import OPS, STATES, Life, Lives

STRANGE = 4711


class SlowRegistry(FixedIds):
    """Answers when it is let."""

    def __init__(self, known: FixedIds) -> None:
        super().__init__()
        self.known = known
        self.asked = 0
        self.answered = False
        self.let = threading.Event()

    def at_hand(self, schema_id: int) -> bool:
        return self.answered or schema_id != STRANGE

    def schema_of(self, schema_id: int) -> str:
        if schema_id != STRANGE:
            return self.known.schema_of(schema_id)
        if not self.answered:
            assert threading.current_thread() is not threading.main_thread(), "the loop must not wait"
            self.asked += 1
            assert self.let.wait(30)
            self.answered = True
        raise UnknownSchema("never registered")


@pytest.fixture
async def life(lives: Lives) -> Life:
    """One that owns two partitions; in the first two strange records wait before a good one."""
    made = lives.start()
    registry = SlowRegistry(lives.cloud.rules._ids)  # type: ignore[arg-type]
    made.host._rules.batches._envelope._ids = registry
    for _ in range(2):
        lives.broker.append(OPS, 0, b"strange", header(STRANGE) + b"?")
    lives.broker.append(OPS, 0, b"store-1", lives.cloud.batch(command("c1", count(stock(), 5, 1))))
    await made.own(0, 1)
    made.read()
    made.registry = registry  # type: ignore[attr-defined]
    return made


async def test_other_partitions_go_on_while_one_waits_for_a_schema(lives: Lives, life: Life) -> None:
    registry: SlowRegistry = life.registry  # type: ignore[attr-defined]
    await life.until(lambda: registry.asked == 1)
    lives.broker.append(OPS, 1, b"noise", b"noise")
    await life.until(lambda: len(life.pump._held) == 3 and bool(lives.broker.partition(OPS, 1).end))
    await life.until(lambda: not any(m.tp.partition == 1 for m in life.consumer.unacked))
    await asyncio.sleep(0.02)
    assert not life.topic(STATES), "what is behind it waits"

    registry.let.set()
    await life.quiet()
    assert len(life.topic(STATES)) == 1 and life.committed() == 3 and registry.asked == 1


async def test_what_is_held_back_is_forgotten_with_its_partition(lives: Lives, life: Life) -> None:
    registry: SlowRegistry = life.registry  # type: ignore[attr-defined]
    await life.until(lambda: registry.asked == 1)
    await life.host._revoked(life.host.app, set())
    registry.let.set()
    await life.until(lambda: not life.pump._held._tasks)
    assert not life.pump._held and not life.topic(STATES)
    await life.own(0, 1)
    await life.quiet()
    assert len(life.topic(STATES)) == 1 and not lives.deaths


def test_nothing_is_asked_for_what_the_registry_has_just_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = CachedRegistry("http://127.0.0.1:1", tmp_path)
    assert not registry.at_hand(STRANGE)
    with pytest.raises(RegistryUnreachable):
        registry.schema_of(STRANGE)
    assert registry.at_hand(STRANGE), "a registry that is away is left alone for a while"
