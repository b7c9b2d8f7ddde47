"""The last commands of each device: bounded, the same wherever a life ends, and honest about where they begin."""

from __future__ import annotations

from pathlib import Path

import pytest

from driftlog_console.history.by_device import PER_DEVICE, Sent, SentBatch, Since
from driftlog_console.history.kept import KeptHistory, Moment
from driftlog_console.history.view import HistoryView
from driftlog_streams.replaying.retelling import NOT_KNOWN, NOT_TAKEN
from tests.unit.console.op_log import TEA, OpLog, history_of, priced
from tests.unit.streams.cloud import NOW_MS, command, count, ledger, stock


def outcomes(view: HistoryView, device: str = "store-1") -> list[tuple[str, str, str]]:
    return [(line.sent.command_id, line.sent.outcome, line.sent.code) for line in view.sent_by(device).lines]


def of_one(offset: int, *names: str) -> SentBatch:
    commands = tuple(
        Sent(name, "", "", NOW_MS, "s1", (("Stock", "tea"),), 0, "accepted", "", "")
        for name in names or (f"c{offset}",)
    )
    return SentBatch(offset, NOW_MS + offset, "store-1.1", offset + 1, commands)


def test_each_command_has_its_documents_its_clock_its_batch_and_what_became_of_it(
    log: OpLog, view: HistoryView
) -> None:
    sold = command("c1", count(stock(), 5, 1), count(ledger(), 5, 1), declared_as="sell")._replace(actor="Anna")
    log.append(sold, command("c2", count(stock(), -9, 2)))
    log.append(command("c9", count(TEA, 1, 9)), number=9)
    view.look()
    early, refused, first = view.sent_by("store-1").lines
    assert (early.sent.outcome, early.sent.code, early.batch.number) == (NOT_TAKEN, "early", 9)
    assert (refused.sent.outcome, refused.sent.code, refused.batch.offset) == ("rejected", "recount", 0)
    assert (first.sent.name, first.sent.actor, first.sent.clock_ms) == ("sell", "Anna", NOW_MS)
    assert first.sent.written == [stock(), ledger()]
    assert (first.batch.replica, first.batch.number, first.batch.logged_ms) == ("store-1.1", 1, NOW_MS)
    assert (outcomes(view, "store-2"), outcomes(view, "store")) == ([], [])


def test_a_device_with_several_lives_has_one_list_and_a_receipt_for_each(log: OpLog, view: HistoryView) -> None:
    log.append(command("c1", priced(1, 1)))
    log.append(
        command("c2", priced(2, 1, "store-1.2", store_1__1=1)), replica="store-1.2", ends=("store-1.1",), floor=1
    )
    log.append(command("other", priced(3, 1, "store-2.1")), replica="store-2.1")
    view.look()
    assert [line.batch.replica for line in view.sent_by("store-1").lines] == ["store-1.2", "store-1.1"]
    found = view.receipts_of("store-1").rows
    assert [(row.replica, row.last, row.ended) for row in found] == [("store-1.2", 1, ""), ("store-1.1", 1, "ended")]


@pytest.mark.parametrize("killed", [False, True])
def test_a_command_that_waited_is_decided_also_in_another_life(
    log: OpLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed: bool
) -> None:
    log.append(command("c1", priced(1, 1)))
    log.append(command("late", priced(9, 1, "store-2.1", store_1__1=2)), replica="store-2.1")
    first = history_of(log, tmp_path / "h")
    with monkeypatch.context() as patch:
        if killed:  # between its two stores
            patch.setattr(
                "driftlog_streams.faust_driver.partition_store.PartitionStore.write",
                lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt),
            )
            with pytest.raises(KeyboardInterrupt):
                first.look()
        else:
            first.look()
            assert outcomes(first, "store-2") == [("late", "parked", "gap")]
    first.close()
    log.append(command("came", priced(2, 2, store_1__1=1)))
    again = history_of(log, tmp_path / "h")
    again.look()
    assert outcomes(again, "store-2") == [("late", "accepted", "")]
    assert [name for name, _, _ in outcomes(again)] == ["came", "c1"]
    again.close()


def test_the_last_ones_are_kept_and_whole_batches_leave(tmp_path: Path) -> None:
    kept = KeptHistory(tmp_path / "h")
    for offset in range(PER_DEVICE + 5):
        kept.send("retail", 0, "store-1", of_one(offset))
    kept.flush()
    found = kept.devices.lately("store-1", limit=1000)
    assert [line.batch.offset for line in found.lines] == list(range(PER_DEVICE + 4, 4, -1))
    assert found.gone_ms == NOW_MS + 4
    kept.send("retail", 0, "store-1", of_one(99, *(f"b{n}" for n in range(PER_DEVICE + 2))))
    kept.send("retail", 0, "store-1", of_one(98))  # given again: it stays as it was
    kept.flush()
    last = kept.devices.lately("store-1", limit=1000)
    assert [line.sent.command_id for line in last.lines] == [f"b{n}" for n in range(PER_DEVICE + 1, 1, -1)]
    assert last.gone_ms == NOW_MS + 99
    kept.close()


def test_the_newest_of_all_partitions_are_listed_and_those_left_out_are_said(tmp_path: Path) -> None:
    kept = KeptHistory(tmp_path / "h")
    for offset in range(6):
        kept.send("retail", offset % 2, "store-1", of_one(offset))
    kept.flush()
    found = kept.devices.lately("store-1", limit=4)
    assert [(line.partition, line.batch.offset) for line in found.lines] == [(1, 5), (0, 4), (1, 3), (0, 2)]
    assert found.gone_ms == NOW_MS + 1
    kept.close()


def test_devices_and_documents_share_the_room_and_the_oldest_leaves(tmp_path: Path) -> None:
    kept = KeptHistory(tmp_path / "h", most_bytes=3_000)
    kept.take("retail", TEA, Moment(0, NOW_MS, (), {"x": 1}))
    for number in range(200):
        kept.send("retail", 0, f"store-{number}", of_one(number))
    kept.flush()
    left = [number for number in range(200) if kept.devices.lately(f"store-{number}").lines]
    assert left == list(range(200 - len(left), 200)) and 0 < len(left) < 40
    assert kept.devices.lately("store-0").gone_ms == NOW_MS and not kept.page("retail", TEA, 9).moments
    kept.close()


def test_a_record_costs_the_same_however_many_devices_and_commands_there_are(tmp_path: Path) -> None:
    kept, touched = KeptHistory(tmp_path / "h"), list[int]()
    for number in range(10_000):
        kept.send("retail", 0, f"store-{number}", of_one(number))
        if number in (10, 9_999):
            kept.flush()
            kept.send("retail", 0, "store-5", of_one(20_000 + number))
            touched.append(len(kept._table._pending))
            kept.flush()
    assert touched[0] == touched[1] <= 3  # the entry, whose it is, and the device's line
    kept.close()


def test_a_history_of_the_release_before_is_followed_on_and_says_from_where(log: OpLog, tmp_path: Path) -> None:
    log.append(command("c1", priced(1, 1)))
    before = history_of(log, tmp_path / "h")
    before.look()
    table = before.kept._table
    for beginning in (b"c", b"h", b"i"):  # as the release before has left it
        for key, _ in list(table.scan(beginning)):
            table.put(key, None)
    before.kept.flush()
    before.close()
    log.append(command("c2", priced(2, 2, store_1__1=1)))
    view = history_of(log, tmp_path / "h")
    view.look()
    assert log.reads[-1].start == 1, "nothing is read again"
    assert outcomes(view) == [("c2", "accepted", "")]
    assert view.kept.devices.since("retail", 0) == Since(1, NOW_MS)
    assert [row.last for row in view.receipts_of("store-1").rows] == [2]
    view.close()
    again = history_of(log, tmp_path / "h")
    again.look()
    assert again.kept.devices.since("retail", 0) == Since(1, NOW_MS)
    again.close()


def test_of_a_log_without_its_beginning_nobody_knows_what_became_of_them(log: OpLog, view: HistoryView) -> None:
    for number in range(1, 4):
        log.append(command(f"c{number}", priced(number, number, store_1__1=number - 1)))
    log.first = 1
    view.look()
    assert outcomes(view) == [("c3", NOT_KNOWN, ""), ("c2", NOT_KNOWN, "")]
    assert list(view.receipts_of("store-1").rows) == []
