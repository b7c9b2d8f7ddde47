"""The flow page: seconds and their trend first; what is not known is neither healthy nor 0."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from driftlog_console.app import build
from driftlog_console.chart import chart_of
from driftlog_console.flow import SAMPLES, FlowView, by_minute, trend
from driftlog_console.gate import Gate
from driftlog_console.history.view import Place, Progress
from driftlog_console.lag_memory import FILE, KEPT_MS, LagMemory, Sample
from driftlog_streams.reading.merge_lag import Lag
from driftlog_streams.reading.workers import Worker
from tests.unit.console.conftest import Console, now_ms
from tests.unit.console.op_log import Lags, Workers, priced
from tests.unit.console.test_pages import quarantined, seen
from tests.unit.streams.cloud import NOW_MS, command, count, stock

PLACE = Place("retail", 0)
MINUTE = 60_000
BEHIND = Lag(100, 60, NOW_MS)


def cells(page: str, label: str) -> list[str]:
    """What the rows have under a heading, without tags."""
    found = re.findall(rf'data-label="{label}"[^>]*>(.*?)</td>', page, re.S)
    return [re.sub(r"<[^>]+>", "", one).strip() for one in found]


def samples(*pairs: tuple[int, float | None]) -> list[Sample]:
    return [Sample(at * 1000, BEHIND, seconds) for at, seconds in pairs]


def test_a_lag_is_for_how_long_the_first_has_waited() -> None:
    assert BEHIND.records == 40 and BEHIND.seconds(NOW_MS + 5_000) == 5.0
    assert BEHIND.seconds(NOW_MS - 5_000) == 0.0, "a clock that is behind the broker's makes nothing negative"
    done, never, untimed = Lag(9, 9, None), Lag(9, None, NOW_MS), Lag(9, 3, None)
    assert (done.records, done.seconds(NOW_MS)) == (0, 0.0)
    assert (never.records, never.seconds(NOW_MS + 1_000)) == (None, 1.0)
    assert (untimed.records, untimed.seconds(NOW_MS)) == (6, None)


@pytest.mark.parametrize(
    ("known", "told"),
    [
        ([], ""),
        ([(0, 5.0)], ""),
        ([(0, 5.0), (10, 500.0)], ""),
        ([(0, 5.0), (60, 50.0)], "grows"),
        ([(0, 500.0), (60, 50.0)], "shrinks"),
        ([(0, 500.0), (60, 520.0)], "steady"),
        ([(0, 900.0), (400, 10.0), (460, 100.0)], "grows"),
        ([(0, None), (10, 5.0), (70, 60.0)], "grows"),
        ([(0, 5.0), (60, 50.0), (65, None)], ""),
        ([(0, 5.0), (2000, 50.0)], "grows"),
    ],
)
def test_a_trend_is_against_some_minutes_ago_and_not_guessed(known: list[tuple[int, float | None]], told: str) -> None:
    assert trend(samples(*known)) == told


def view_at(folder: Path, lags: Lags, times: Iterable[int]) -> FlowView:
    """One whose clock says these seconds, look by look; the first is asked for when it begins."""
    now = iter(times)
    return FlowView(lags, lambda: [PLACE], lambda: next(now) * 1000, lambda: None, LagMemory(folder), Workers())


def test_samples_are_bounded_and_a_failed_look_keeps_the_older_ones(tmp_path: Path) -> None:
    lags = Lags()
    view = view_at(tmp_path, lags, range(10**6))
    for _ in range(SAMPLES + 5):
        view.try_look()
    assert len(view.samples(PLACE)) == SAMPLES
    before, lags.refuses = view.samples(PLACE), "no broker"
    view.try_look()
    assert (view.samples(PLACE), view.problem) == (before, "no broker")
    lags.refuses = ""
    view.try_look()
    assert view.problem == ""
    view.close()


def test_a_trend_goes_on_where_the_console_that_ended_has_left_it(tmp_path: Path) -> None:
    lags = Lags()
    lags.lag = Lag(100, 60, 0)
    first = view_at(tmp_path, lags, [0, *range(600, 660, 5)])
    for _ in range(12):
        first.try_look()
    first.close()
    again = view_at(tmp_path, lags, [900, 900])
    assert [(s.at_ms, s.lag, s.seconds) for s in again.samples(PLACE)] == [(655_000, lags.lag, 655.0)], "the longest"
    again.try_look()
    assert trend(again.samples(PLACE)) == "grows"
    assert [None if s is None else s.seconds for s in by_minute(again.samples(PLACE))] == [655.0, *[None] * 4, 900.0]
    again.close()


def test_a_console_that_is_killed_loses_the_minute_that_it_was_in(tmp_path: Path) -> None:
    killed, lags = LagMemory(tmp_path), Lag(9, 3, 0)
    for at_ms in (0, 59_000, 60_000, 119_000):
        killed.take(PLACE, Sample(at_ms, lags, at_ms / 1000))
    assert [s.at_ms for s in LagMemory(tmp_path).load(120_000)[PLACE]] == [59_000]


def test_the_memory_is_an_hour_long_and_knows_nothing_of_what_is_to_come(tmp_path: Path) -> None:
    memory, hour = LagMemory(tmp_path), KEPT_MS // MINUTE
    for minute in range(3 * hour):
        memory.take(PLACE, Sample(minute * MINUTE, BEHIND, None))
    memory.close()
    rows = sqlite3.connect(tmp_path / FILE).execute("SELECT count(*) FROM lag").fetchone()
    assert rows == (hour,)
    again = LagMemory(tmp_path)
    assert len(again.load(3 * KEPT_MS)[PLACE]) == hour - 1
    assert again.load(KEPT_MS) == {}, "a clock that was set back"
    again.take(PLACE, Sample(0, BEHIND, 1.0))
    again.close()
    assert [s.at_ms for s in LagMemory(tmp_path).load(3 * KEPT_MS).get(PLACE, [])] == []
    assert [s.at_ms for s in LagMemory(tmp_path).load(0)[PLACE]] == [0], "what was to come is not kept beside it"


def test_a_clock_that_was_set_back_begins_anew(tmp_path: Path) -> None:
    lags = Lags()
    view = view_at(tmp_path, lags, [5000, 5000, 5005, 100])
    for _ in range(3):
        view.try_look()
    assert [s.at_ms for s in view.samples(PLACE)] == [100_000]
    view.close()


def test_a_file_that_is_none_costs_the_past_only(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"no database, and long enough to be seen as none" * 9)
    lags = Lags()
    view = view_at(tmp_path, lags, [0, 60, 120, 180])
    for _ in range(3):
        view.try_look()
    assert (len(view.samples(PLACE)), view.problem) == (3, "")
    view.close()


def test_what_is_not_known_has_no_bar() -> None:
    chart = chart_of([0, None, 50, 100, 0.001])
    assert [bar.known for bar in chart.bars] == [True, False, True, True, True]
    assert chart.bars[0].height == 0 and chart.bars[4].height > 0, "little can be told from none"
    assert chart.bars[3].height == 2 * chart.bars[2].height
    assert chart_of([]).bars == [] and chart_of([None]).most == 0


async def test_before_anything_was_asked_nothing_is_known(console: Console) -> None:
    async with console.client() as anna:
        page = (await anna.get("/flow")).text
    assert "Not known: it was not asked yet" in cells(page, "Behind")[0]
    assert set(cells(page, "This console")) == {"not known"} and set(cells(page, "Asked")) == {"never"}
    assert "0 seconds" not in page.partition("<main")[2] and page.count("not known") > 12
    assert "it was not read yet" in page


async def test_seconds_trend_and_records_stand_in_this_order(console: Console) -> None:
    console.lags.lag = BEHIND
    console.desk.flow.try_look()
    async with console.client() as anna:
        page = (await anna.get("/flow/retail/0")).text
        assert page.index(">Behind<") < page.index(">Trend<") < page.index(">Waiting<")
        assert re.fullmatch(r"\d+ days?( \d+ (hour|minute|second)s?)?", cells(page, "Behind")[0])
        assert cells(page, "Trend") == ["too short to tell"]
        assert cells(page, "Waiting") == ["40"] and cells(page, "Merged, of") == ["60 of 100"]
        console.lags.lag = Lag(100, 100, None)
        console.desk.flow.try_look()
        page = (await anna.get("/flow/retail/0")).text
        assert cells(page, "Behind") == ["0 seconds"] and "The numbers" in page
        console.lags.lag = Lag(100, None, None)
        console.desk.flow.try_look()
        told = cells((await anna.get("/flow/retail/0")).text, "Behind")
        assert told == ["not known: no worker has ever confirmed anything"]
        console.lags.refuses = "nobody answers"
        console.desk.flow.try_look()
        assert "cannot be asked for at the moment: nobody answers" in (await anna.get("/flow")).text


async def test_what_was_decided_is_counted_by_minute_and_refusals_by_code(console: Console) -> None:
    for number in range(1, 4):
        console.log.append(command(f"c{number}", priced(number, number, store_1__1=number - 1)), at_ms=NOW_MS)
    console.log.append(command("x", count(stock(), -9, 4)), at_ms=NOW_MS + 10 * MINUTE)
    console.log.again(b"noise", at_ms=NOW_MS + 10 * MINUTE)
    console.history.look()
    address = f"/flow/retail/0?until={NOW_MS + 11 * MINUTE}"
    async with console.client() as anna:
        page = (await anna.get(address)).text
        rows = re.findall(r"<tr><th scope=\"row\">(.*?)</tr>", page, re.S)
        numbers = [[re.sub(r"<[^>]+>", "", cell) for cell in re.findall(r"<td>(.*?)</td>", row)] for row in rows]
        assert len(numbers) == 12
        assert sorted(n for n in numbers if n[0] != "0" or "1" in n[3:]) == [
            ["1", "0.2", "0", "1", "1"],
            ["3", "0.6", "0", "0", "0"],
        ]
        assert "rejected recount; the highest bar is 1" in page and "refused; the highest bar is 1" in page
        assert "rejected recount" not in (await anna.get("/flow/retail/0?until=60000")).text
        assert (await anna.get("/flow?hours=2")).status_code == 422
        hours = (await anna.get(f"{address}&hours=6")).text
        assert re.findall(r"<td>(\d+)</td><td>([\d.]+)</td>", hours)[0] == ("4", "0.13"), "half an hour each"
        assert "not known" in (await anna.get(f"/flow/retail/0?until={NOW_MS - 2 * 86_400_000}")).text, "is forgotten"


async def test_what_the_console_itself_has_not_read_is_said(console: Console) -> None:
    console.history.look()
    console.desk.flow.try_look()
    async with console.client() as anna:
        assert cells((await anna.get("/flow/retail/0")).text, "This console") == ["has read all"]
        reached = console.history.progress.reached
        console.history.progress = Progress(reached, {PLACE: 7}, 1.0, "away")
        page = (await anna.get("/flow/retail/0")).text
        assert (
            cells(page, "This console")[0].startswith("7 records") and "cannot be read on at the moment: away" in page
        )
        desk = replace(console.desk, history=None)
        console.app = Gate(build(desk), frozenset({"127.0.0.1"}))
    async with console.client() as anna:
        page = (await anna.get("/flow/retail/0")).text
        assert cells(page, "This console") == ["not known"] and "this console does not read the op logs" in page


async def test_who_sees_some_scopes_sees_their_partitions_only(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("driftlog_console.desk.partition_of", lambda scope, partitions: {"s1": 1, "s2": 2}[scope])
    console.fleet.seen = seen(set_aside=(quarantined(),))
    at = {"s1": 1, "s2": 2}
    async with console.client("carl", scopes=("s2",)) as carl, console.client("anna") as anna:
        assert (await carl.get(f"/flow/retail/{at['s1']}")).status_code == 404
        assert (await carl.get(f"/flow/retail/{at['s2']}")).status_code == 200
        assert f'/flow/retail/{at["s1"]}"' not in (await carl.get("/flow")).text
        assert "you see some scopes only" in (await carl.get("/flow")).text
        assert "1 thing is parked or quarantined" in (await anna.get("/flow")).text


async def test_every_worker_is_listed_with_what_it_owns_and_what_nobody_owns_is_said(console: Console) -> None:
    flow, partitions = console.desk.flow, console.desk.agent.contract.spaces["retail"].partitions
    async with console.client() as anna:
        assert (
            "Of audit, retail they were not asked for yet: that is not the same as none"
            in (await anna.get("/fleet")).text
        )
        console.lags.lag = Lag(6, 2, now_ms() - 95_000)
        rest = tuple(range(1, partitions))
        console.workers.found = [Worker("w-1", "10.0.0.7", (0,)), Worker("<b>", "h", rest), Worker("spare", "h", ())]
        flow.try_look()
        page = (await anna.get("/fleet")).text
        assert "w-1" in page and "10.0.0.7" in page and "1 minute" in page and "none: it stands by" in page
        assert "No worker has" not in page and "&lt;b&gt;" in page and "Of audit they were not asked" in page
        console.workers.found = [Worker("w-1", "10.0.0.7", rest)]
        flow.try_look()
        assert "No worker has partition 0 of retail" in (await anna.get("/fleet")).text
        console.workers.refuses = "not authorized"
        flow.try_look()
        page = (await anna.get("/fleet")).text
        assert "not authorized. What is shown is older" in page and "w-1" in page
        console.workers.found, console.workers.refuses = [], ""
        flow.try_look()
        page = (await anna.get("/fleet")).text
        assert "No worker has partitions 0, 1" in page and "w-1" not in page
