"""What anybody may append to the topics of a space stops nobody: it is passed over or set aside, and the next good batch merges."""

from __future__ import annotations

from typing import Any

import pytest

from driftlog_schemas import topics
from driftlog_schemas.batch_codec import MAX_BATCH_BYTES
from driftlog_schemas.errors import RegistryUnreachable
from driftlog_schemas.framing import header
from driftlog_schemas.registry import FixedIds
from driftlog_streams.core import admission
from tests.unit.streams.cloud import count, key, ledger
from tests.unit.streams.driver.life import OPS, STATES, Life, Lives
from tests.unit.streams.driver.test_flights import merging, sell, send

STRANGE = 4711
QUARANTINE = topics.quarantine_topic("retail")


def quarantined(life: Life) -> float:
    """What the metric says."""
    name = "driftlog_worker_quarantined_total"
    return life.host.metrics.registry.get_sample_value(name, {"space": "retail"}) or 0.0


@pytest.mark.parametrize("value", [None, b"", b"\x00", b"\x00\x00\x00\x00\x07zz", bytes(MAX_BATCH_BYTES + 5000)])
@pytest.mark.parametrize("named", [None, b"", b"\xff\xfe"])
async def test_an_op_record_of_nobody_is_passed_over(lives: Lives, named: bytes | None, value: bytes | None) -> None:
    sell(lives, 1)
    lives.broker.append(OPS, 0, named, value, [("", None), ("driftlog.group", b"-1")])
    sell(lives, 2)
    life = await merging(lives)
    await life.quiet()

    assert (life.committed(), life.pump.taken, lives.deaths) == (3, 3, [])
    assert quarantined(life) == 0, "there is nothing in it to look at"


async def test_what_fails_before_it_is_admitted_is_set_aside(lives: Lives, monkeypatch: pytest.MonkeyPatch) -> None:
    decode = admission.decode_body

    def failing(body: bytes) -> Any:
        batch = decode(body)
        if batch.number == 2:
            raise KeyError("nobody foresaw this")
        return batch

    monkeypatch.setattr(admission, "decode_body", failing)
    sell(lives, 1, 2)
    value = lives.broker.read(OPS)[1].value
    lives.broker.append(OPS, 0, b"store-2.1", lives.cloud.batch(replica="store-2.1"))
    life = await merging(lives)
    await life.quiet()

    assert (life.committed(), lives.deaths) == (3, [])
    (kept,) = life.topic(QUARANTINE)
    found = lives.cloud.rules.records.decode_quarantined(kept.value or b"")
    assert (found.code, found.offset, found.record) == ("unforeseen", 1, value)
    assert "KeyError" in found.reason and quarantined(life) == 1


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), MemoryError()])
async def test_what_is_not_the_records_fault_ends_the_worker(
    lives: Lives, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def failing(body: bytes) -> Any:
        raise error

    monkeypatch.setattr(admission, "decode_body", failing)
    sell(lives, 1)
    life = await merging(lives)
    await life.until(lambda: bool(lives.deaths))
    assert lives.deaths == [error] and not life.topic(QUARANTINE)


class AwayFor(FixedIds):
    """A registry that is away for whom it would have to be asked."""

    def __init__(self, known: FixedIds) -> None:
        super().__init__()
        self._known = known

    def schema_of(self, schema_id: int) -> str:
        if schema_id == STRANGE:
            raise RegistryUnreachable("nobody answers")
        return self._known.schema_of(schema_id)


async def test_an_unknown_schema_while_the_registry_is_away_is_set_aside(lives: Lives) -> None:
    lives.broker.append(OPS, 0, b"newer", header(STRANGE) + b"?")
    sell(lives, 1)
    life = lives.start()
    life.host._rules.batches._envelope._ids = AwayFor(lives.cloud.rules._ids)  # type: ignore[arg-type]
    await life.own(0)
    life.read()
    await life.quiet()

    (kept,) = life.topic(QUARANTINE)
    found = lives.cloud.rules.records.decode_quarantined(kept.value or b"")
    assert (found.code, found.offset, found.record) == ("unknown_schema", 0, header(STRANGE) + b"?")
    assert (life.committed(), quarantined(life), lives.deaths) == (2, 1, [])


@pytest.mark.parametrize("folder", ["the same disk", "another disk"])
async def test_a_collection_that_is_declared_no_longer_is_recovered_unread(lives: Lives, folder: str) -> None:
    send(lives, "a", count(ledger(), 1, 1))
    sell(lives, 1)
    life = await merging(lives)
    await life.quiet()
    await life.die()
    (row,) = [record for record in life.topic(STATES) if record.key == key(ledger())]

    heir = lives.start()
    if folder == "the same disk":
        heir.host._folder = life.host._folder
    del heir.host._rules.collections["Ledger"]
    await heir.own(0)
    heir.read()
    sell(lives, 2)
    await heir.quiet()
    assert heir.pump.open_stores()[0].get(key(ledger())) == row.value and lives.deaths == []
