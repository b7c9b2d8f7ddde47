"""The history of a document says what the workers decided, and of every change in the log."""

from __future__ import annotations

from typing import Any

import pytest

from driftlog_crdt import DELETE, DOCUMENT
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.messages import Command, DocumentOp
from driftlog_streams.core.changelog_record import ChangelogRecord
from driftlog_streams.errors import SetupProblem
from driftlog_streams.replaying import history as module
from driftlog_streams.replaying import rebuild
from driftlog_streams.replaying.history import BESIDE, STANDS, DocumentHistory, History, temporary_store
from driftlog_streams.replaying.retelling import NOT_TAKEN, Step
from tests.unit.streams.cloud import NOW_MS, PARTITION, Cloud, change, command, count, ledger, stock

TEA = stock()


class Log:
    """An op log that workers merge, and that is told anew."""

    def __init__(self) -> None:
        self.cloud = Cloud()
        self.records: list[tuple[bytes | None, int]] = []

    def append(self, *commands: Command, replica: str = "store-1.1", **more: Any) -> bytes:
        value = self.cloud.batch(*commands, replica=replica, **more)
        self.again(value)
        return value

    def again(self, value: bytes | None) -> None:
        """This very record."""
        append_ms = NOW_MS + len(self.records)
        self.records.append((value, append_ms))
        self.cloud.merge_value(value, append_ms=append_ms)
        self.cloud.fly()

    def told(self, document: DocumentId = TEA) -> History:
        """Its history; the state that came of it is the workers'."""
        with temporary_store() as store:
            retelling = DocumentHistory(self.cloud.rules, PARTITION, document, self.cloud.devices, store)
            for offset, (value, append_ms) in enumerate(self.records):
                retelling.take(ChangelogRecord(b"", value, offset, (), append_ms))
            history = retelling.history()
        kind = self.cloud.rules.collections[document.collection].type
        assert kind.encode(history.state) == kind.encode(self.cloud.state(document))
        assert history.read == len(self.records)
        return history

    def steps(self, document: DocumentId = TEA) -> list[Step]:
        return list(self.told(document).steps)


@pytest.fixture
def log() -> Log:
    return Log()


def price(value: int, seq: int, replica: str = "store-1.1", **context: int) -> Any:
    seen = {name.replace("_", "-").replace("--", "."): count for name, count in context.items()}
    return change(TEA, "price", "set", value, seq, replica=replica, context=seen)


def test_each_change_is_there_with_who_made_it(log: Log) -> None:
    received = command("c1", count(TEA, 5, 1), count(ledger(), 5, 1), declared_as="receive")._replace(actor="Anna")
    log.append(received)
    log.append(command("c2", count(ledger(), 1, 2)))
    (step,) = log.steps()
    assert (step.offset, step.logged_ms, step.device, step.actor, step.command) == (
        0,
        NOW_MS,
        "store-1",
        "Anna",
        "receive",
    )
    assert [tuple(one) for one in step.changes] == [("on_hand", "increment", 5, 1)]
    assert (step.outcome, step.code, step.unseen) == ("accepted", "", None)
    assert len(log.steps(ledger())) == 2


def test_what_a_writer_had_not_seen_is_counted_by_device(log: Log) -> None:
    log.append(command("c1", price(1, 1)))
    log.append(command("c2", price(2, 2)))
    log.append(command("c3", price(3, 1, "store-2.1", store_1__1=1)), replica="store-2.1")
    log.append(command("c4", price(4, 2, "store-2.1", store_1__1=2)), replica="store-2.1")
    unseen = [step.unseen for step in log.steps()]
    assert unseen == [{}, {}, {"store-1": 1}, {}]


def test_what_stands_and_what_lost_to_it(log: Log) -> None:
    log.append(command("c1", price(1, 1)))
    log.append(
        command("c2", change(TEA, "price", "set", 2, 1, replica="store-2.1", context={}, ms=NOW_MS + 5)),
        replica="store-2.1",
    )
    log.append(command("c3", change(TEA, "name", "set", "Tea", 2)))
    assert [list(step.now.values()) for step in log.steps()] == [[BESIDE], [STANDS], [STANDS]]
    log.append(command("c4", price(3, 3, store_2__1=1)))
    assert [list(step.now.values()) for step in log.steps()] == [[], [], [STANDS], [STANDS]]


def test_refused_parked_and_released_commands_say_so(log: Log) -> None:
    log.append(command("sold", count(TEA, -5, 1)))
    log.append(command("later", price(9, 1, "store-2.1", store_1__1=2)), replica="store-2.1")
    refused, waits = log.steps()
    assert (refused.outcome, refused.code) == ("rejected", "recount")
    assert (waits.outcome, waits.code) == ("parked", "gap")
    log.append(command("came", count(TEA, 5, 2)))
    assert [step.outcome for step in log.steps()] == ["rejected", "accepted", "accepted"]


def test_a_batch_that_was_not_taken_and_one_that_comes_again(log: Log) -> None:
    first = log.append(command("c1", count(TEA, 5, 1)))
    log.again(first)
    log.append(command("c9", count(TEA, 5, 2)), number=9)
    log.again(b"no Avro at all")
    log.again(None)
    taken, early = log.steps()
    assert taken.outcome == "accepted"
    assert (early.outcome, early.code) == (NOT_TAKEN, "early")


def test_a_delete_is_a_change_of_the_document(log: Log) -> None:
    log.append(command("c1", price(1, 1)))
    log.append(command("c2", change(TEA, DOCUMENT, DELETE, None, 2, context={})))
    history = log.told()
    assert [(c.field, c.op) for step in history.steps for c in step.changes] == [("price", "set"), ("", "delete")]
    assert not log.cloud.rules.collections["Stock"].type.exists(history.state)
    assert [dict(step.now) for step in history.steps] == [{}, {}]


def test_a_record_written_as_one(log: Log) -> None:
    document = DocumentId("Address", "s1", "a")
    kind = log.cloud.rules.collections["Address"].type
    op = kind.prepare(kind.new(), "store-1.1", NOW_MS << 16, "city", "set", "Ghent")
    log.append(command("c1", DocumentOp(document, op)))
    (step,) = log.steps(document)
    assert list(step.now.values()) == [STANDS]


def test_many_records_go_through_the_store(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rebuild, "SEAL_RECORDS", 3)
    for number in range(1, 12):
        log.append(
            command(f"c{number}", count(stock(f"sku{number % 2}"), 1, (number + 1) // 2 if number % 2 else number // 2))
        )
    steps = log.steps(stock("sku1"))
    assert [step.outcome for step in steps] == ["accepted"] * 6


def test_a_log_without_its_beginning_is_refused(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    class Consumer:
        def get_watermark_offsets(self, *_: object, **__: object) -> tuple[int, int]:
            return 7, 9

        def close(self) -> None: ...

    monkeypatch.setattr("driftlog_streams.reading.topic_reading.plain_reader", lambda kafka, name: Consumer())
    monkeypatch.setattr("driftlog_streams.reading.topic_reading.TopicsAdmin.require", lambda *_: None)
    with pytest.raises(SetupProblem, match="begins at offset 7"):
        module.read_history("nowhere:1", log.cloud.rules, TEA, log.cloud.devices)
