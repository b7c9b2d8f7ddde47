"""One clear outcome, whoever clicks what how often."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from urllib.parse import urlencode

import httpx
import pytest

from driftlog_console.deciding import MOST_TIMES, Deciding
from driftlog_console.people import Right
from driftlog_console.words import dot
from driftlog_crdt import Decision
from driftlog_edge import EdgeAgent
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.messages import Conflict, ConflictStatus
from driftlog_streams.reading.conflict_lists import mark
from tests.unit.console.conftest import OURS, Console, conflict, version
from tests.unit.edge.waiting import until


def sent(one: Conflict, choice: str, times: int = 0, **more: str) -> dict[str, str]:
    """The form of the page."""
    return {"mark": mark(one), "times": str(times), "choice": choice, **more}


async def price(agent: EdgeAgent) -> object:
    return (await agent.read("Stock", "s1", "tea")).value["price"]


@pytest.fixture
async def open_one(console: Console, agent: EdgeAgent) -> Conflict:
    """Two prices, of which 420 stands."""
    await agent.run("reprice", store="s1", sku="tea", price=420, wait="merged", seconds=20)
    one = conflict()
    await console.opened(one)
    return one


async def test_the_other_version_is_taken_as_a_command_of_the_person(
    console: Console, agent: EdgeAgent, open_one: Conflict
) -> None:
    async with console.client("anna", Right.DECIDE) as anna:
        answer = await anna.post(
            f"/conflicts/{open_one.id}", data=sent(open_one, dot(open_one.versions[1])), headers=OURS
        )
        assert (answer.status_code, answer.headers["location"]) == (303, f"/conflicts/{open_one.id}")
        page = (await anna.get(f"/conflicts/{open_one.id}")).text
    assert await price(agent) == 390
    (made,) = console.desk.deciding.made(open_one)
    assert (made.actor, made.value) == ("anna", 390)
    assert "anna has decided: 390" in page


async def test_a_decision_says_by_what_means_and_why(console: Console, agent: EdgeAgent, open_one: Conflict) -> None:
    async with console.client("anna", Right.DECIDE) as anna:
        form = sent(open_one, dot(open_one.versions[1]), reason=" as on the shelf ")
        await anna.post(f"/conflicts/{open_one.id}", data=form, headers=OURS)
        line = agent.log.of(console.desk.deciding.made(open_one)[0].answer.command_id)
        assert line is not None
        assert line.command.decision == Decision("page", "as on the shelf")
        long = await anna.post(
            f"/conflicts/{open_one.id}", data=sent(open_one, "write", 1, value="1", reason="x" * 2000), headers=OURS
        )
        assert (long.status_code, "reason" in long.text) == (422, True)
    assert len(console.desk.deciding.made(open_one)) == 1


async def test_what_a_deadline_has_settled_can_be_decided_otherwise(
    console: Console, agent: EdgeAgent, open_one: Conflict
) -> None:
    by = version(420, "cloud.deadline", 1, how="deadline")
    await console.opened(replace(open_one, status=ConflictStatus.SETTLED, deadline_ms=1, decided_by=by))
    async with console.client("anna", Right.DECIDE) as anna:
        assert "tea" not in (await anna.get("/inbox")).text
        assert "its deadline" in (await anna.get("/inbox?which=settled")).text
        assert "Settled: 420" in (await anna.get(f"/conflicts/{open_one.id}")).text
        answer = await anna.post(
            f"/conflicts/{open_one.id}", data=sent(open_one, dot(open_one.versions[1])), headers=OURS
        )
        assert answer.status_code == 303
    assert await price(agent) == 390


async def test_what_stands_is_kept_by_a_write_that_has_seen_both(
    console: Console, agent: EdgeAgent, cloud: object, open_one: Conflict
) -> None:
    async with console.client("anna", Right.DECIDE) as anna:
        await anna.post(f"/conflicts/{open_one.id}", data=sent(open_one, dot(open_one.winner)), headers=OURS)
    (made,) = console.desk.deciding.made(open_one)
    assert (made.value, await price(agent)) == (420, 420)


async def test_a_third_value_is_checked_by_the_declaration_and_its_message_is_told(
    console: Console, agent: EdgeAgent, open_one: Conflict
) -> None:
    async with console.client("anna", Right.DECIDE) as anna:
        wrong = await anna.post(
            f"/conflicts/{open_one.id}", data=sent(open_one, "write", value="cheap <b>"), headers=OURS
        )
        assert wrong.status_code == 422
        assert "Nothing was changed: price" in wrong.text
        assert "cheap &lt;b&gt;" in wrong.text, "what was typed is there still"
        assert await price(agent) == 420
        right = await anna.post(f"/conflicts/{open_one.id}", data=sent(open_one, "write", value="405"), headers=OURS)
        assert right.status_code == 303
    assert await price(agent) == 405


async def test_the_same_click_counts_once(console: Console, agent: EdgeAgent, open_one: Conflict) -> None:
    async with console.client("anna", Right.DECIDE) as anna:
        form = sent(open_one, dot(open_one.versions[1]))
        answers = [await anna.post(f"/conflicts/{open_one.id}", data=form, headers=OURS) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [303, 409, 409]
    assert len(console.desk.deciding.made(open_one)) == 1


async def test_of_two_who_decide_at_once_the_second_is_told_what_the_first_has_chosen(
    console: Console, agent: EdgeAgent, open_one: Conflict
) -> None:
    async with console.client("anna", Right.DECIDE) as anna, console.client("bob", Right.DECIDE) as bob:

        def click(who: httpx.AsyncClient, choice: str) -> asyncio.Task[httpx.Response]:
            return asyncio.create_task(who.post(f"/conflicts/{open_one.id}", data=sent(open_one, choice), headers=OURS))

        answers = await asyncio.gather(click(anna, dot(open_one.versions[1])), click(bob, dot(open_one.winner)))
        codes = sorted(answer.status_code for answer in answers)
        assert codes == [303, 409]
        loser = next(answer for answer in answers if answer.status_code == 409)
        (made,) = console.desk.deciding.made(open_one)
        assert f"{made.actor} has decided: {made.value}" in loser.text
        # Who still wants the other one says so, having seen that.
        again = await bob.post(f"/conflicts/{open_one.id}", data=sent(open_one, "write", 1, value="7"), headers=OURS)
        assert again.status_code == 303
    assert [one.value for one in console.desk.deciding.made(open_one)] == [made.value, 7]
    assert await price(agent) == 7


async def test_a_version_that_came_since_the_page_was_made_is_not_overwritten(
    console: Console, agent: EdgeAgent, open_one: Conflict
) -> None:
    more = replace(open_one, versions=(*open_one.versions, version(333, "store-3.c2d3e4f5", 9)))
    await console.opened(more)
    async with console.client("anna", Right.DECIDE) as anna:
        answer = await anna.post(
            f"/conflicts/{open_one.id}", data=sent(open_one, dot(open_one.versions[1])), headers=OURS
        )
        assert answer.status_code == 409
        assert "another version came in the meantime" in answer.text
        assert "333" in answer.text
    assert console.desk.deciding.made(more) == []
    assert await price(agent) == 420


async def test_what_is_decided_is_not_decided_again(console: Console, open_one: Conflict) -> None:
    over = replace(
        open_one,
        status=ConflictStatus.RESOLVED,
        decided_by=version(405, "store-2.b2c3d4e5", 3, actor="Bob", how="page", reason="as on the shelf"),
    )
    await console.opened(over)
    async with console.client("anna", Right.DECIDE) as anna:
        answer = await anna.post(f"/conflicts/{open_one.id}", data=sent(open_one, dot(open_one.winner)), headers=OURS)
        assert answer.status_code == 409
        page = (await anna.get(f"/conflicts/{open_one.id}")).text
        assert "By Bob at store-2" in page
        assert "<button name=" not in page
        decided = (await anna.get("/inbox?which=decided")).text
        assert ("Bob at store-2 (page)" in decided, "“as on the shelf”" in decided) == (True, True)
        assert "<b>405</b>" in decided, "what was decided, not what had stood"
        assert "tea" not in (await anna.get("/inbox")).text
    assert console.desk.deciding.made(over) == []


async def test_a_version_that_is_not_there_any_more(console: Console, open_one: Conflict) -> None:
    async with console.client("anna", Right.DECIDE) as anna:
        answer = await anna.post(f"/conflicts/{open_one.id}", data=sent(open_one, "gone.abcdefgh:1"), headers=OURS)
        assert (answer.status_code, "not there any more" in answer.text) == (409, True)
        bad = await anna.post(f"/conflicts/{open_one.id}", data=sent(open_one, "write") | {"times": "-1"}, headers=OURS)
        assert bad.status_code == 422
        lost = await anna.post("/conflicts/nothing", data=sent(open_one, "write"), headers=OURS)
        assert lost.status_code == 404


async def test_decisions_stay_known_when_the_console_starts_again(console: Console, open_one: Conflict) -> None:
    async with console.client("anna", Right.DECIDE) as anna:
        await anna.post(f"/conflicts/{open_one.id}", data=sent(open_one, dot(open_one.versions[1])), headers=OURS)
    anew = Deciding(console.desk.agent)
    assert [(made.actor, made.value) for made in anew.made(open_one)] == [("anna", 390)]


async def test_one_set_of_versions_is_decided_a_bounded_number_of_times(
    console: Console, open_one: Conflict, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("driftlog_console.deciding.MOST_TIMES", 2)
    assert MOST_TIMES > 2
    async with console.client("anna", Right.DECIDE) as anna:
        codes = [
            (
                await anna.post(
                    f"/conflicts/{open_one.id}", data=sent(open_one, "write", n, value=str(n)), headers=OURS
                )
            ).status_code
            for n in range(3)
        ]
    assert codes == [303, 303, 422]


async def together(console: Console, who: httpx.AsyncClient, choice: str, *marked: tuple[Conflict, str]) -> str:
    """Choose them in the inbox, which had shown them with these marks; the page of what became of it when it is over."""
    fields = [("choice", choice), *(("id", one.id) for one, _ in marked), *((f"mark-{one.id}", m) for one, m in marked)]
    form = OURS | {"content-type": "application/x-www-form-urlencoded"}
    answer = await who.post("/inbox", content=urlencode(fields), headers=form)
    assert answer.status_code == 303, answer.text
    name = answer.headers["location"].rpartition("/")[2]
    await until(lambda: console.desk.groups.memory.tally(name, None).left == 0)
    return (await who.get(answer.headers["location"])).text


def marks_on(page: str) -> dict[str, str]:
    """Conflict -> the versions that the inbox shows of it."""
    return dict(re.findall(r'name="mark-([^"]+)" value="([^"]+)"', page))


async def test_several_at_once_have_an_outcome_each(console: Console, agent: EdgeAgent) -> None:
    names = ["tea", "coffee", "cocoa"]
    for name in names:
        await agent.run("reprice", store="s1", sku=name, price=420)
    ones = [conflict(DocumentId("Stock", "s1", name)) for name in names[:2]]
    other = conflict(
        DocumentId("Stock", "s1", "cocoa"),
        "price",
        version(1),
        version(2, "store-9.d2e3f4a5"),
        version(3, "truck-1.e2f3a4b5"),
    )
    await console.opened(*ones, other)
    async with console.client("anna", Right.DECIDE) as anna:
        marks = marks_on((await anna.get("/inbox")).text)
        shown = [(one, marks[one.id]) for one in (*ones, other)]
        page = await together(console, anna, "device:store-2", *shown)
        assert "2 of 3 decided" in page and "store-2 wrote none of its versions" in page
        assert "anna has decided it; the cloud has not told of it yet" in (await anna.get("/inbox")).text
        again = await together(console, anna, "standing", *shown)
        assert "1 of 3 decided" in again and again.count("somebody has decided in the meantime") == 2
        wrong = await anna.post("/inbox", data={"id": ones[0].id, "choice": "store-2"}, headers=OURS)
        assert (wrong.status_code, "choose what is to stand" in wrong.text) == (422, True)
    assert [len(console.desk.deciding.made(one)) for one in (*ones, other)] == [1, 1, 1]


async def test_of_the_chosen_ones_a_version_that_came_since_is_not_overwritten(
    console: Console, agent: EdgeAgent, open_one: Conflict
) -> None:
    async with console.client("anna", Right.DECIDE) as anna:
        shown = marks_on((await anna.get("/inbox")).text)[open_one.id]
        more = replace(open_one, versions=(*open_one.versions, version(333, "store-3.c2d3e4f5", 9)))
        await console.opened(more)
        page = await together(console, anna, "device:store-2", (open_one, shown))
    assert "0 of 1 decided" in page and "another version came in the meantime" in page
    assert (console.desk.deciding.made(more), await price(agent)) == ([], 420)


async def test_the_chosen_ones_can_be_undone_while_nobody_saw_them(
    console: Console, open_one: Conflict, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console.desk.groups, "_undo_seconds", 600.0)
    async with console.client("anna", Right.DECIDE) as anna:
        answer = await anna.post("/inbox", data={"id": open_one.id, "choice": "standing"}, headers=OURS)
        group = answer.headers["location"]
        assert "Nothing is decided yet" in (await anna.get(group)).text
        assert (await anna.post(group, data={"do": "undo"}, headers=OURS)).status_code == 303
        assert "Undone: none of 1 was decided" in (await anna.get(group)).text
    assert console.desk.deciding.made(open_one) == []


async def test_without_a_network_a_decision_is_kept_and_said_to_be(
    console: Console, agent: EdgeAgent, open_one: Conflict
) -> None:
    await agent.offline()
    async with console.client("anna", Right.DECIDE) as anna:
        await anna.post(f"/conflicts/{open_one.id}", data=sent(open_one, dot(open_one.versions[1])), headers=OURS)
        page = (await anna.get(f"/conflicts/{open_one.id}")).text
        assert "It is kept here, and not sent yet" in page
        await agent.online()
        await until(lambda: console.desk.deciding.made(open_one)[0].answer.status == "merged")
        assert "The cloud has it (merged)" in (await anna.get(f"/conflicts/{open_one.id}")).text
