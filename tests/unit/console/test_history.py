"""The history that a console keeps is what the workers decided; it goes on where it was left, is bounded, and says what it does not know."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from rocksdict import Rdict

from driftlog_console.history.drawing import picture_of, rows_of
from driftlog_console.history.following import CUT, TOO_LONG
from driftlog_console.history.kept import KeptHistory, Moment
from driftlog_console.history.view import HistoryView, Place
from driftlog_edge.errors import NotReady
from driftlog_schemas.errors import RegistryUnreachable
from driftlog_streams.core.admission import Refusal
from driftlog_streams.replaying.history import BESIDE, STANDS
from driftlog_streams.replaying.rebuild import Rebuild
from driftlog_streams.replaying.retelling import NOT_KNOWN
from tests.unit.console.op_log import HOUR_MS, TEA, OpLog, history_of, priced
from tests.unit.streams.cloud import NOW_MS, change, command, count, stock

PLACE = Place("retail", 0)


def moments(view: HistoryView, limit: int = 100, before: int | None = None) -> list[Moment]:
    return list(view.page("retail", TEA, limit, before).moments)


def test_each_moment_has_who_what_and_the_value_after_it(log: OpLog, view: HistoryView) -> None:
    log.append(command("c1", priced(420, 1), count(stock(), 5, 2))._replace(actor="Anna"))
    log.append(command("c2", count(stock(), -9, 3)))
    log.append(command("c3", change(TEA, "", "delete", None, 4, context={"store-1.1": 3})))
    view.look()
    first, refused, deleted = moments(view)
    (step,) = first.steps
    assert (step.actor, step.device, step.outcome, step.offset) == ("Anna", "store-1", "accepted", 0)
    assert first.value is not None and (first.value["price"], first.value["on_hand"]) == (420, 5)
    assert (refused.steps[0].outcome, refused.steps[0].code) == ("rejected", "recount")
    assert refused.value is not None and refused.value["on_hand"] == 5
    assert (deleted.value, deleted.known) == (None, "")
    looked = view.kept.at("retail", TEA, 1)
    assert looked is not None and looked.offset == 1
    assert view.progress.behind(PLACE) == 0


def test_what_stands_and_what_lost_is_marked_by_the_state_as_it_is_now(log: OpLog, view: HistoryView) -> None:
    log.append(command("c1", priced(1, 1)))
    log.append(command("c2", priced(2, 1, "store-2.1", NOW_MS + 5)), replica="store-2.1")
    view.look()
    assert [list(m.steps[0].now.values()) for m in moments(view)] == [[BESIDE], [STANDS]]
    log.append(command("c3", priced(3, 2, store_1__1=1, store_2__1=1)))
    view.look()
    assert [list(m.steps[0].now.values()) for m in moments(view)] == [[], [], [STANDS]]


def test_a_command_that_waited_is_told_when_it_is_decided_also_in_another_life(log: OpLog, tmp_path: Path) -> None:
    log.append(command("c1", priced(1, 1)))
    log.append(command("late", priced(9, 1, "store-2.1", NOW_MS + 9, store_1__1=2)), replica="store-2.1")
    first = history_of(log, tmp_path / "h")
    first.look()
    assert [m.steps[0].outcome for m in moments(first)] == ["accepted", "parked"]
    first.close()
    log.append(command("came", priced(2, 2, store_1__1=1)))
    again = history_of(log, tmp_path / "h")
    again.look()
    assert [m.steps[0].outcome for m in moments(again)] == ["accepted", "accepted", "accepted"]
    last = moments(again)[-1]
    assert last.value is not None and last.value["price"] == 9  # at this moment it took effect
    assert log.reads[-1].start == 2, "it goes on where it was left"
    again.close()


def test_it_is_the_same_wherever_a_life_ends(log: OpLog, tmp_path: Path) -> None:
    whole = history_of(log, tmp_path / "whole")
    pieces = tmp_path / "pieces"
    log.append(command("w", priced(9, 1, "store-2.1", store_1__1=2)), replica="store-2.1")
    for number in range(1, 8):
        value = log.append(command(f"c{number}", priced(number, number, store_1__1=number - 1)))
        if number == 3:
            log.again(value)
        one = history_of(log, pieces)
        one.look()
        one.close()
    whole.look()
    last = history_of(log, pieces)
    last.look()
    assert moments(last) == moments(whole)
    assert (
        last.kept.minutes("retail", 0, 0)
        == whole.kept.minutes("retail", 0, 0)
        == {NOW_MS // 60_000: {"accepted": 8, "parked": 1}}
    )
    last.close()
    whole.close()


def test_a_life_that_ends_between_its_two_stores_loses_nothing(
    log: OpLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(1, 4):
        log.append(command(f"c{number}", priced(number, number, store_1__1=number - 1)))
    first = history_of(log, tmp_path / "h")
    with monkeypatch.context() as patch:
        patch.setattr(
            "driftlog_streams.faust_driver.partition_store.PartitionStore.write",
            lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt),
        )
        with pytest.raises(KeyboardInterrupt):
            first.look()
    first.close()
    again = history_of(log, tmp_path / "h")
    again.look()
    assert [m.value and m.value["price"] for m in moments(again)] == [1, 2, 3]
    assert sum(sum(counts.values()) for counts in again.kept.minutes("retail", 0, 0).values()) == 3
    again.close()


def test_a_full_disk_stops_it_and_it_goes_on_after(
    log: OpLog, view: HistoryView, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.append(command("c1", priced(1, 1)))
    view.look()
    log.append(command("c2", priced(2, 2, store_1__1=1)))
    with monkeypatch.context() as patch:
        patch.setattr(
            "driftlog_console.history.table.WriteBatch.put", lambda *_: (_ for _ in ()).throw(OSError("no space"))
        )
        view.try_look()
    assert "no space" in view.progress.problem
    assert len(moments(view)) == 1
    view.try_look()
    assert view.progress.problem == ""
    assert [m.value and m.value["price"] for m in moments(view)] == [1, 2]


def test_an_agent_that_opens_its_folder_anew_is_waited_for(
    log: OpLog, view: HistoryView, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.append(command("c1", priced(1, 1)))

    def moment() -> list[str]:
        raise NotReady("this folder is opened anew", "ask again in a moment")

    with monkeypatch.context() as patch:
        patch.setattr(view, "_scopes", moment)
        view.try_look()
    assert "opened anew" in view.progress.problem
    view.try_look()
    assert view.progress.problem == "" and len(moments(view)) == 1


def test_a_disk_that_is_full_at_the_end_keeps_nothing_from_being_closed(
    log: OpLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.append(command("1", priced(380, 1)))
    view = history_of(log, tmp_path / "history")
    view.look()
    real = Rdict.close

    def full(db: Rdict) -> None:
        real(db)
        raise Exception("IO error: No space left on device")  # as RocksDB's binding says it

    with monkeypatch.context() as patch:
        patch.setattr(Rdict, "close", full)
        view.close()
    again = history_of(log, tmp_path / "history")
    again.look()
    assert [moment.offset for moment in again.page("retail", TEA, 9).moments] == [0]
    again.close()


def test_a_registry_that_is_away_makes_nobody_a_stranger(
    log: OpLog, view: HistoryView, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (1, 2):
        log.append(command(f"c{number}", priced(number, number, store_1__1=number - 1)))
    with monkeypatch.context() as patch:
        real = Rebuild.admit
        patch.setattr(
            "driftlog_streams.replaying.rebuild.Rebuild.admit",
            lambda self, record: Refusal("unknown_schema", "away") if record.offset else real(self, record),
        )
        with pytest.raises(RegistryUnreachable):
            view.look()
    assert len(moments(view)) == 1
    view.try_look()
    assert [m.steps[0].outcome for m in moments(view)] == ["accepted", "accepted"]


def test_a_log_without_its_beginning_is_listed_and_says_so(log: OpLog, tmp_path: Path) -> None:
    for number in range(1, 4):
        log.append(command(f"c{number}", priced(number, number, store_1__1=number - 1)))
    log.first = 1
    view = history_of(log, tmp_path / "h")
    view.look()
    reached = view.progress.reached[PLACE]
    assert (reached.cut, reached.began_ms) == (True, NOW_MS + 1)
    assert [(m.offset, m.known, m.steps[0].outcome) for m in moments(view)] == [
        (1, CUT, NOT_KNOWN),
        (2, CUT, NOT_KNOWN),
    ]
    view.close()


def test_who_followed_before_the_beginning_went_knows_the_whole(log: OpLog, view: HistoryView) -> None:
    log.append(command("c1", priced(1, 1)))
    view.look()
    log.append(command("c2", priced(2, 2, store_1__1=1)))
    log.first = 1
    view.look()
    assert not view.progress.reached[PLACE].cut
    assert [m.value and m.value["price"] for m in moments(view)] == [1, 2]


def test_records_that_went_before_they_were_read_are_missed_aloud(log: OpLog, view: HistoryView) -> None:
    log.append(command("c1", priced(1, 1)))
    view.look()
    for number in (2, 3):
        log.append(command(f"c{number}", priced(number, number, store_1__1=number - 1)))
    log.first = 2
    view.look()
    assert (view.progress.reached[PLACE].cut, view.progress.reached[PLACE].began_ms) == (True, NOW_MS + 2)
    assert [(m.offset, m.known) for m in moments(view)] == [(0, ""), (2, CUT)]


def test_a_topic_that_was_made_anew_has_a_history_of_its_own(log: OpLog, view: HistoryView) -> None:
    for number in (1, 2):
        log.append(command(f"c{number}", priced(number, number, store_1__1=number - 1)))
    view.look()
    log.records_.clear()
    log.append(command("new", priced(7, 1, "store-2.1")), replica="store-2.1")
    view.look()
    assert [m.value and m.value["price"] for m in moments(view)] == [7]


def test_of_each_document_the_last_moments_are_kept_and_it_says_up_to_when(log: OpLog, tmp_path: Path) -> None:
    view = history_of(log, tmp_path / "h", per_document=3)
    for number in range(1, 7):
        log.append(command(f"c{number}", priced(number, number, store_1__1=number - 1)))
    view.look()
    past = view.page("retail", TEA, 2)
    assert ([m.offset for m in past.moments], past.older, past.gone_ms) == ([4, 5], True, NOW_MS + 2)
    older = view.page("retail", TEA, 2, before=4)
    assert ([m.offset for m in older.moments], older.older, older.newer) == ([3], False, True)
    assert view.kept.at("retail", TEA, 2) is None
    view.close()


def test_all_together_fit_the_room(log: OpLog, tmp_path: Path) -> None:
    view = history_of(log, tmp_path / "h", most_bytes=2_000)
    for number in range(40):
        log.append(command(f"c{number}", count(stock(f"sku{number}"), 1, 1)))
    view.look()
    left = [n for n in range(40) if view.page("retail", stock(f"sku{n}"), 9).moments]
    assert left == list(range(40 - len(left), 40)) and 0 < len(left) < 10
    assert view.page("retail", stock("sku0"), 9).gone_ms == NOW_MS
    view.close()
    again = KeptHistory(tmp_path / "h", most_bytes=2_000)
    again.take("retail", TEA, Moment(99, NOW_MS, (), {"x": "y" * 1_900}))
    again.flush()
    assert not again.page("retail", stock("sku39"), 9).moments, "the room is counted across lives"
    again.close()


def test_a_long_value_is_not_kept_at_each_moment(
    log: OpLog, view: HistoryView, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("driftlog_console.history.following.LONG_VALUE", 10)
    log.append(command("c1", priced(1, 1)))
    view.look()
    assert [(m.value, m.known) for m in moments(view)] == [(None, TOO_LONG)]


def test_the_picture_is_of_the_rows_and_its_arrows_are_what_was_seen(log: OpLog, view: HistoryView) -> None:
    log.append(command("c1", priced(1, 1)))
    log.append(command("c2", priced(2, 2, store_1__1=1)), at_ms=NOW_MS + 3 * HOUR_MS)
    log.append(
        command("c3", priced(3, 1, "store-2.1", NOW_MS + 1, store_1__1=1)),
        replica="store-2.1",
        at_ms=NOW_MS + 3 * HOUR_MS + 1,
    )
    log.append(
        command("c4", priced(4, 2, "store-2.1", NOW_MS + 2, store_1__1=1, store_2__1=1)),
        replica="store-2.1",
        at_ms=NOW_MS + 3 * HOUR_MS + 2,
    )
    view.look()
    rows = rows_of(moments(view))
    assert [(row.key, row.author, row.mark, row.idle_ms) for row in rows] == [
        ("3-0", "store-2", STANDS, 0),
        ("2-0", "store-2", "done", 0),
        ("1-0", "store-1", BESIDE, 3 * HOUR_MS),
        ("0-0", "store-1", "done", 0),
    ]
    picture = picture_of(rows)
    assert [name for _, name in picture.lanes] == ["store-2", "store-1"]
    assert [node.row.key for node in picture.nodes] == [row.key for row in rows]
    (arrow,) = picture.arrows  # not twice: the second change had seen nothing more
    oldest, seen_it = picture.nodes[3], picture.nodes[1]
    assert arrow.path.startswith(f"M{oldest.x} {oldest.y - 13}") and arrow.path.endswith(f" {seen_it.y}")
    assert [pause.ms for pause in picture.pauses] == [3 * HOUR_MS]


def test_a_step_survives_its_way_to_the_disk(tmp_path: Path, log: OpLog, view: HistoryView) -> None:
    big = 2**80 + 1
    log.append(command("c1", change(TEA, "name", "set", "Grüner 🍵", 1, context={}), priced(7, 2)))
    view.look()
    (moment,) = moments(view)
    kept = KeptHistory(tmp_path / "other")
    written = replace(moment, value={"n": big}, steps=tuple(replace(s, now={}) for s in moment.steps))
    kept.take("retail", TEA, written)
    kept.flush()
    assert list(kept.page("retail", TEA, 9).moments) == [written]
    kept.close()
