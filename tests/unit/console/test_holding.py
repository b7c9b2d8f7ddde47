"""A decision is undone while nobody saw it: held for a while, and then given as the command that it is."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from driftlog_console.deciding import Asked
from driftlog_console.held_memory import FILE, End, HeldMemory, HeldProblem
from driftlog_console.people import Right
from driftlog_console.words import dot
from driftlog_edge import EdgeAgent
from driftlog_schemas.messages import Conflict, ConflictStatus
from tests.unit.console.conftest import OURS, Console, version
from tests.unit.console.test_deciding import open_one, price, sent
from tests.unit.edge.waiting import until

__all__ = ["open_one"]


@pytest.fixture(autouse=True)
def held_long(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is due before a test says so."""
    monkeypatch.setattr(console.desk.holding, "_undo_seconds", 600.0)


async def click(who: httpx.AsyncClient, one: Conflict, choice: str, times: int = 0, **more: str) -> httpx.Response:
    return await who.post(f"/conflicts/{one.id}", data=sent(one, choice, times, **more), headers=OURS)


async def undo(who: httpx.AsyncClient, console: Console, one: Conflict, name: str = "") -> httpx.Response:
    """As the page has the button, or of a decision of that name."""
    held = console.desk.deciding.held.get(one.id)
    fields = {"do": "undo", "asked": name or (held.id if held else "")}
    return await who.post(f"/conflicts/{one.id}/undo", data=fields, headers=OURS)


async def due(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time is over."""
    later = console.desk.holding._now_ms() + 601_000
    monkeypatch.setattr(console.desk.holding, "_now_ms", lambda: later)
    console.desk.holding._moved.set()
    await until(lambda: not console.desk.deciding.held)


async def page_of(who: httpx.AsyncClient, one: Conflict) -> str:
    return (await who.get(f"/conflicts/{one.id}")).text


async def ended(console: Console, one: Conflict) -> None:
    """What was held is sent, or it is known why not."""
    desk = console.desk
    await until(lambda: bool(desk.deciding.made(one)) or desk.holding.unsent(one) is not None)


def killed(console: Console, folder: Path, monkeypatch: pytest.MonkeyPatch) -> HeldMemory:
    """The console ended as it was, and starts again: what was in its memory is gone."""
    console.desk.deciding.held.clear()
    again = HeldMemory(folder)
    monkeypatch.setattr(console.desk.holding, "_memory", again)
    return again


async def test_it_is_held_and_says_so_and_is_sent_when_the_time_is_over(
    console: Console, agent: EdgeAgent, open_one: Conflict, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with console.client("anna", Right.DECIDE) as anna:
        answer = await click(anna, open_one, dot(open_one.versions[1]), reason=" as on the shelf ")
        assert (answer.status_code, answer.headers["location"]) == (303, f"/conflicts/{open_one.id}")
        page = await page_of(anna, open_one)
        assert "anna wants 390 to stand" in page and "it is sent in " in page
        assert "Undo: keep asking about price" in page and "“as on the shelf”" in page
        assert 'name="choice"' not in page, "it is not decided twice"
        assert "tea" in (await anna.get("/inbox")).text, "it is open still"
        assert (console.desk.deciding.made(open_one), await price(agent)) == ([], 420)
        before = console.desk.signals.mark
        await due(console, monkeypatch)
        await ended(console, open_one)
        page = await page_of(anna, open_one)
    (made,) = console.desk.deciding.made(open_one)
    assert (made.actor, made.value, await price(agent)) == ("anna", 390, 390)
    line = agent.log.of(made.answer.command_id)
    assert line is not None and line.command.decision is not None
    assert (line.command.decision.how, line.command.decision.reason) == ("page", "as on the shelf")
    assert "anna has decided: 390" in page and "Undo:" not in page and "was not sent" not in page
    assert console.desk.signals.mark != before, "open pages are told"


async def test_what_was_undone_was_never_sent_and_can_be_decided_again(
    console: Console, agent: EdgeAgent, open_one: Conflict, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await agent.log.last(9)
    async with console.client("anna", Right.DECIDE) as anna:
        await click(anna, open_one, "write", value="405")
        assert (await undo(anna, console, open_one)).status_code == 303
        page = await page_of(anna, open_one)
        assert "anna had decided, and anna has undone it" in page and "Nobody has got it" in page
        assert "Take 390" in page and '<textarea id="value"' in page
        await due(console, monkeypatch)
        assert (console.desk.deciding.made(open_one), await price(agent)) == ([], 420)
        assert await agent.log.last(9) == before
        await click(anna, open_one, dot(open_one.winner))
        await due(console, monkeypatch)
        await ended(console, open_one)
        assert "has undone it" not in await page_of(anna, open_one)
    assert [made.value for made in console.desk.deciding.made(open_one)] == [420]


async def test_a_value_that_the_field_does_not_take_is_refused_at_once(console: Console, open_one: Conflict) -> None:
    async with console.client("anna", Right.DECIDE) as anna:
        wrong = await click(anna, open_one, "write", value="cheap")
        assert (wrong.status_code, "Nothing was changed: price" in wrong.text) == (422, True)
        assert "cheap" in wrong.text, "what was typed is there still"
        long = await click(anna, open_one, "write", value="1", reason="x" * 2000)
        assert (long.status_code, "reason" in long.text) == (422, True)
    assert console.desk.deciding.held == {}


async def test_who_comes_second_is_told_and_the_first_may_undo(
    console: Console, open_one: Conflict, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        console.client("anna", Right.DECIDE, scopes=("s1",)) as anna,
        console.client("bob", Right.DECIDE, scopes=("s1",)) as bob,
    ):
        clicks = [click(anna, open_one, dot(open_one.versions[1])), click(bob, open_one, "write", value="7")]
        answers = await asyncio.gather(*clicks)
        assert sorted(answer.status_code for answer in answers) == [303, 409]
        held = console.desk.deciding.held[open_one.id]
        first, second = (anna, bob) if held.person == "anna" else (bob, anna)
        told = next(answer.text for answer in answers if answer.status_code == 409)
        assert f"{held.person} has decided it already" in told
        page = await page_of(second, open_one)
        assert f"{held.person} can undo it until then" in page and "Undo:" not in page
        assert (await undo(second, console, open_one)).status_code == 403
        together = await second.post("/inbox", data={"id": open_one.id, "choice": "standing"}, headers=OURS)
        group = together.headers["location"]
        await until(lambda: console.desk.groups.memory.tally(group.rpartition("/")[2], None).left == 0)
        assert f"{held.person} has decided it already" in (await second.get(group)).text, "no other way leads around it"
        assert f"{held.person} has decided it, and it can be undone still" in (await second.get("/inbox")).text
        late = await click(second, open_one, "write", value="8")
        assert (late.status_code, "\n8</textarea>" in late.text) == (409, True), "what was typed is there still"
        assert (await undo(first, console, open_one)).status_code == 303
        assert (await click(second, open_one, "write", value="8")).status_code == 303
    assert console.desk.deciding.made(open_one) == []
    await due(console, monkeypatch)
    await ended(console, open_one)
    assert [made.value for made in console.desk.deciding.made(open_one)] == [8]


async def test_undoing_takes_the_right_and_the_decision_that_was_shown(
    console: Console, open_one: Conflict, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        console.client("anna", Right.DECIDE, scopes=("s1",)) as anna,
        console.client("chief", Right.DECIDE) as chief,
        console.client("eve") as eve,
        console.client("carl", Right.DECIDE, scopes=("s2",)) as carl,
    ):
        await click(anna, open_one, dot(open_one.versions[1]))
        assert "Undo:" not in await page_of(eve, open_one)
        assert [(await undo(who, console, open_one)).status_code for who in (eve, carl)] == [403, 404]
        burn = await anna.post(f"/conflicts/{open_one.id}/undo", data={"do": "burn"}, headers=OURS)
        assert burn.status_code == 422
        other = await undo(anna, console, open_one, "another")
        assert (other.status_code, "not held any more" in other.text) == (409, True)
        assert open_one.id in console.desk.deciding.held
        assert (await undo(chief, console, open_one)).status_code == 303
        assert "anna had decided, and chief has undone it" in await page_of(eve, open_one)
        await click(anna, open_one, dot(open_one.versions[1]))
        await due(console, monkeypatch)
        await ended(console, open_one)
        assert (await undo(anna, console, open_one, "x")).status_code == 409, "it is sent"
    assert len(console.desk.deciding.made(open_one)) == 1


async def test_when_the_conflict_has_changed_meanwhile_it_is_not_sent_and_the_page_says_so(
    console: Console, agent: EdgeAgent, open_one: Conflict, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with console.client("anna", Right.DECIDE) as anna:
        await click(anna, open_one, dot(open_one.versions[1]))
        more = replace(open_one, versions=(*open_one.versions, version(333, "store-3.c2d3e4f5", 9)))
        await console.opened(more)
        await due(console, monkeypatch)
        await ended(console, more)
        page = await page_of(anna, more)
        assert "was not sent: another version came in the meantime" in page and "Take 333" in page
        by = version(405, "store-2.b2c3d4e5", 3, actor="Bob", how="page")
        await click(anna, more, dot(more.versions[2]))
        await console.opened(over := replace(more, status=ConflictStatus.RESOLVED, decided_by=by))
        await due(console, monkeypatch)
        await ended(console, over)
        assert "was not sent: it is decided already" in await page_of(anna, over)
    assert (console.desk.deciding.made(more), await price(agent)) == ([], 420)


async def test_who_may_not_decide_any_more_when_it_is_due_decides_nothing(
    console: Console, open_one: Conflict, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with console.client("anna", Right.DECIDE) as anna, console.client("bob") as bob:
        await click(anna, open_one, dot(open_one.winner))
        console.people.remove("anna")
        await due(console, monkeypatch)
        await ended(console, open_one)
        assert "was not sent: anna may not decide there any more" in await page_of(bob, open_one)
    assert console.desk.deciding.made(open_one) == []


async def test_a_console_that_is_stopped_gives_what_it_holds(console: Console, open_one: Conflict) -> None:
    async with console.client("anna", Right.DECIDE) as anna:
        await click(anna, open_one, dot(open_one.versions[1]))
    console.desk.holding.close()
    await ended(console, open_one)
    assert [made.value for made in console.desk.deciding.made(open_one)] == [390]


async def test_a_console_that_was_killed_says_that_it_was_not_sent(
    console: Console, open_one: Conflict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with console.client("anna", Right.DECIDE) as anna:
        await click(anna, open_one, "write", value="40577")
        assert b"40577" not in (tmp_path / "data" / FILE).read_bytes(), "values are in no file of the console's"
        again = killed(console, tmp_path / "data", monkeypatch)
        page = await page_of(anna, open_one)
        assert "was not sent: the console ended" in page and "Take 390" in page
        assert "tea" in (await anna.get("/inbox")).text
        await due(console, monkeypatch)
        assert console.desk.deciding.made(open_one) == []
        again.close()


async def test_what_was_sent_before_the_kill_could_be_noted_is_not_said_to_be_lost(
    console: Console, open_one: Conflict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with console.client("anna", Right.DECIDE) as anna:
        await click(anna, open_one, dot(open_one.versions[1]))
        monkeypatch.setattr(console.desk.holding._memory, "forget", lambda conflict_id: None)
        console.desk.holding.close()
        await until(lambda: bool(console.desk.deciding.made(open_one)))
        again = killed(console, tmp_path / "data", monkeypatch)
        page = await page_of(anna, open_one)
        assert "anna has decided: 390" in page and "the console ended" not in page
        again.close()


async def test_nothing_is_held_that_cannot_be_noted_and_not_without_bound(
    console: Console, open_one: Conflict, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(asked: object) -> None:
        raise HeldProblem("what is held cannot be noted: disk full", "give the disk room")

    async with console.client("anna", Right.DECIDE) as anna:
        with monkeypatch.context() as bound:
            bound.setattr(console.desk.holding._memory, "add", full)
            answer = await click(anna, open_one, "write", value="405")
            assert (answer.status_code, "give the disk room" in answer.text) == (503, True)
            assert console.desk.deciding.held == {}
        with monkeypatch.context() as bound:
            bound.setattr("driftlog_console.holding.MOST_HELD", 0)
            answer = await click(anna, open_one, "write", value="405")
            assert (answer.status_code, "decisions are held" in answer.text) == (503, True)
    assert console.desk.deciding.held == {}


def test_a_file_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"no database at all, and longer than the header of one would be" * 9)
    with pytest.raises(HeldProblem, match=r"held\.sqlite cannot be read or written"):
        HeldMemory(tmp_path)


def test_what_is_remembered_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("driftlog_console.held_memory.MOST", 2)
    memory = HeldMemory(tmp_path)
    for number in range(4):
        memory.add(Asked("x", f"c-{number}", "s1", "anna", None, True, "m", 0, "", number, number))
        memory.end(f"c-{number}", End.UNDONE, "anna")
    assert [memory.of(f"c-{number}") is None for number in range(4)] == [True, True, False, False]
    memory.close()
