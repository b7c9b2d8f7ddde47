"""Many conflicts at once: by their cause, decided as the set that was shown, each with an outcome, and undone while nobody saw it."""

from __future__ import annotations

import asyncio
import csv
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from driftlog_console.group_deciding import STANDING, WRITTEN, GroupDeciding
from driftlog_console.group_memory import KEPT, GroupMemory, GroupsProblem, State
from driftlog_console.people import Right
from driftlog_edge import EdgeAgent
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.messages import Conflict, ConflictStatus
from driftlog_streams.reading.conflict_lists import Filter, iso, line_of
from tests.unit.console.conftest import OURS, Console, conflict, version
from tests.unit.edge.waiting import until

HOUR_MS = 3_600_000
THEN_MS = 1_700_000_000_000 // HOUR_MS * HOUR_MS


@pytest.fixture
async def outage(console: Console, agent: EdgeAgent) -> list[Conflict]:
    """Three prices that till-7 and store-2 have set apart from each other, and one of two others."""
    names = ["tea", "coffee", "cocoa", "milk"]
    for name in names:
        await agent.run("reprice", store="s1", sku=name, price=420)
    ones = [conflict(DocumentId("Stock", "s1", name)) for name in names[:3]]
    other = conflict(
        DocumentId("Stock", "s1", "milk"), "price", version(1, "truck-1.e2f3a4b5"), version(2, "store-9.d2e3f4a5")
    )
    await console.opened(*ones, other)
    return [*ones, other]


async def page_of(anna: httpx.AsyncClient, query: str) -> dict[str, str]:
    """The form of a group's page, as a browser would send it."""
    text = (await anna.get(f"/inbox/group?{query}")).text
    return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', text))


async def decide(anna: httpx.AsyncClient, form: dict[str, str], choice: str, **more: str) -> httpx.Response:
    return await anna.post("/inbox/group", data=form | {"choice": choice} | more, headers=OURS)


async def price(agent: EdgeAgent, name: str) -> object:
    return (await agent.read("Stock", "s1", name)).value["price"]


def over(console: Console, answer: httpx.Response) -> bool:
    found = console.desk.groups.memory.get(answer.headers["location"].rpartition("/")[2])
    assert found is not None
    return found.state is State.DONE


async def test_groups_are_counted_by_cause_and_each_is_a_filter(console: Console, outage: Sequence[Conflict]) -> None:
    async with console.client() as anna:
        page = (await anna.get("/inbox/groups?by=device")).text
        counts = re.findall(r'data-open>([\w-]+)</a></td>\s*<td data-label="Conflicts">(\d+)</td>', page)
        assert dict(counts) == {"till-7": "3", "store-2": "3", "truck-1": "1", "store-9": "1"}
        address = page.split("data-open>till-7")[0].rpartition('href="')[2].rstrip('" ').replace("&amp;", "&")
        assert "3 conflicts together" in (await anna.get(address)).text
        actors = (await anna.get("/inbox/groups?by=actor")).text
        assert ("Anna" in actors, "Bob" in actors) == (True, True)
        assert "c-till-7.k3f7q2w7-1" in (await anna.get("/inbox/groups?by=command")).text
        assert (await anna.get("/inbox/groups?by=weather")).status_code == 422
        assert "start=1" in (await anna.get("/inbox/groups?by=device&limit=1")).text


async def test_a_window_of_time_is_the_logs(console: Console) -> None:
    ones = [
        conflict(DocumentId("Stock", "s1", f"n{n}"), detected_ms=THEN_MS + n * HOUR_MS // 2, opened_ms=THEN_MS)
        for n in range(4)
    ]
    await console.opened(*ones)
    async with console.client() as anna:
        page = (await anna.get("/inbox/groups?by=hour")).text
        hours = re.findall(r'data-open>([^<]+)</a></td>\s*<td data-label="Conflicts">(\d+)</td>', page)
        assert dict(hours) == {f"{iso(at)} to {iso(at + HOUR_MS)}": "2" for at in (THEN_MS, THEN_MS + HOUR_MS)}
        within = f"since={iso(THEN_MS + HOUR_MS // 2)}&until={iso(THEN_MS + HOUR_MS)}"
        assert "1 conflict with" in (await anna.get(f"/inbox?{within}")).text
        narrowed = (await anna.get(f"/inbox/groups?by=hour&{within}")).text
        address = narrowed.split(" data-open>")[0].rpartition('href="')[2].strip('"').replace("&amp;", "&")
        assert "1 conflict together" in (await anna.get(address)).text
        wrong = await anna.get("/inbox?since=yesterday")
        assert (wrong.status_code, "since" in wrong.text) == (422, True)


async def test_a_group_is_decided_and_each_has_its_outcome(
    console: Console, agent: EdgeAgent, outage: Sequence[Conflict]
) -> None:
    async with console.client("anna", Right.DECIDE) as anna:
        form = await page_of(anna, "scope=s1")
        assert (form["count"], form["scope"]) == ("4", "s1")
        answer = await decide(anna, form, f"{WRITTEN}store-2", reason="as on the shelf")
        assert answer.status_code == 303
        assert await price(agent, "tea") == 420, "nothing is decided while it can be undone"
        await until(lambda: over(console, answer))
        page = (await anna.get(answer.headers["location"])).text
        assert "3 of 4 decided" in page
        assert page.count("390, as Bob at store-2 set it") == 3
        assert "store-2 wrote none of its versions" in page
        refused = (await anna.get(answer.headers["location"] + "?refused=true")).text
        assert ("Stock milk" in refused, "Stock tea" in refused) == (True, False)
        assert "as on the shelf" in (await anna.get("/inbox/groups/decided")).text
    assert [await price(agent, name) for name in ("tea", "coffee", "cocoa", "milk")] == [390, 390, 390, 420]
    (made,) = console.desk.deciding.made(outage[0])
    line = agent.log.of(made.answer.command_id)
    assert line is not None and line.command.decision is not None
    assert (line.command.actor, line.command.decision.reason) == ("anna", "as on the shelf")


async def test_what_stands_is_kept_of_a_whole_group(
    console: Console, agent: EdgeAgent, outage: Sequence[Conflict]
) -> None:
    async with console.client("anna", Right.DECIDE) as anna:
        answer = await decide(anna, await page_of(anna, "device=till-7"), STANDING)
        await until(lambda: over(console, answer))
    assert [len(console.desk.deciding.made(one)) for one in outage] == [1, 1, 1, 0]


async def test_a_set_that_has_changed_is_told_and_not_decided(console: Console, outage: Sequence[Conflict]) -> None:
    async with console.client("anna", Right.DECIDE) as anna:
        for change in (
            conflict(DocumentId("Stock", "s1", "sugar")),
            replace(outage[0], versions=(*outage[0].versions, version(333, "store-3.c2d3e4f5", 9))),
            replace(outage[1], status=ConflictStatus.RECORDED),
        ):
            form = await page_of(anna, "scope=s1")
            await console.opened(change)
            answer = await decide(anna, form, STANDING)
            assert answer.status_code == 409
            assert f"they were {form['count']} when the page was made" in answer.text
            assert "take only those that are here now" in answer.text
        assert "None on this console" in (await anna.get("/inbox/groups/decided")).text
    assert not any(console.desk.deciding.made(one) for one in outage)


async def test_it_is_undone_without_a_trace_while_it_waits_and_not_afterwards(
    console: Console, agent: EdgeAgent, outage: Sequence[Conflict], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console.desk.groups, "_undo_seconds", 600.0)
    async with console.client("anna", Right.DECIDE) as anna, console.client("bob", Right.DECIDE, scopes=("s1",)) as bob:
        answer = await decide(anna, await page_of(anna, "device=till-7"), f"{WRITTEN}store-2")
        address = answer.headers["location"]
        assert "Undo: decide none of them" in (await anna.get(address)).text
        assert "Undo:" not in (await bob.get(address)).text
        assert (await bob.post(address, data={"do": "undo"}, headers=OURS)).status_code == 403
        assert (await anna.post(address, data={"do": "burn"}, headers=OURS)).status_code == 422
        assert (await anna.post(address, data={"do": "undo"}, headers=OURS)).status_code == 303
        assert "Undone: none of 3 was decided" in (await anna.get(address)).text
        assert (await anna.post(address, data={"do": "undo"}, headers=OURS)).status_code == 409
        monkeypatch.setattr(console.desk.groups, "_undo_seconds", 0.0)
        done = await decide(anna, await page_of(anna, "device=truck-1"), STANDING)
        await until(lambda: over(console, done))
        late = await anna.post(done.headers["location"], data={"do": "undo"}, headers=OURS)
        assert (late.status_code, "others may have seen it" in late.text) == (409, True)
    assert [len(console.desk.deciding.made(one)) for one in outage] == [0, 0, 0, 1]
    assert await price(agent, "tea") == 420


async def test_it_goes_on_where_it_was_when_the_console_ended(
    console: Console, agent: EdgeAgent, outage: Sequence[Conflict], tmp_path: Path
) -> None:
    desk = console.desk
    desk.people.add("anna", [Right.DECIDE])
    anna = desk.people.named("anna")
    assert anna is not None
    (tmp_path / "other").mkdir()
    memory, now = GroupMemory(tmp_path / "other"), outage[0].detected_ms
    name = memory.add("anna", "open", Filter(), STANDING, "", now, now, map(line_of, outage))
    assert memory.move(name, State.WAITING, State.RUNNING)
    await desk.deciding.keep(outage[0], anna, line_of(outage[0]).mark, 0)  # it ended before it could say so
    memory.close()

    again = GroupMemory(tmp_path / "other")
    groups = GroupDeciding(again, agent, desk.deciding, desk.people, 5.0, lambda: now, lambda: None)
    following = asyncio.create_task(groups.follow())
    await until(lambda: again.get(name).state is State.DONE)  # type: ignore[union-attr]  # it is there
    following.cancel()
    assert again.tally(name, None) == (4, 0, 0)
    again.close()
    assert [len(desk.deciding.made(one)) for one in outage] == [1, 1, 1, 1]


async def test_what_somebody_has_decided_meanwhile_is_left_alone(
    console: Console, agent: EdgeAgent, outage: Sequence[Conflict]
) -> None:
    async with console.client("anna", Right.DECIDE) as anna, console.client("bob", Right.DECIDE) as bob:
        answer = await decide(anna, await page_of(anna, "device=till-7"), f"{WRITTEN}store-2")
        one = outage[0]
        first = {"mark": line_of(one).mark, "times": "0", "choice": "write", "value": "7"}
        assert (await bob.post(f"/conflicts/{one.id}", data=first, headers=OURS)).status_code == 303
        await until(lambda: over(console, answer))
        page = (await anna.get(answer.headers["location"])).text
        assert ("2 of 3 decided" in page, "somebody has decided in the meantime" in page) == (True, True)
    assert [await price(agent, name) for name in ("tea", "coffee")] == [7, 390]


async def test_who_was_taken_off_the_list_decides_nothing_any_more(
    console: Console, outage: Sequence[Conflict]
) -> None:
    async with console.client("anna", Right.DECIDE) as anna, console.client("bob") as bob:
        answer = await decide(anna, await page_of(anna, "scope=s1"), STANDING)
        console.people.remove("anna")
        await until(lambda: over(console, answer))
        page = (await bob.get(answer.headers["location"])).text
        assert ("0 of 4 decided" in page, "anna may not decide there any more" in page) == (True, True)
    assert not any(console.desk.deciding.made(one) for one in outage)


async def test_another_scope_is_not_in_the_group_nor_in_what_became_of_it(
    console: Console, agent: EdgeAgent, outage: Sequence[Conflict]
) -> None:
    elsewhere = conflict(DocumentId("Stock", "s2", "elsewhere-tea"))
    await console.opened(elsewhere)
    async with (
        console.client("anna", Right.DECIDE) as anna,
        console.client("bob", Right.DECIDE, scopes=("s1",)) as bob,
        console.client("eve", scopes=("s3",)) as eve,
    ):
        assert (await page_of(bob, ""))["count"] == "4"
        for path in ("/inbox/groups?by=scope", "/inbox/group", "/inbox/export?which=open"):
            assert "elsewhere-tea" not in (await bob.get(path)).text, path
        answer = await decide(anna, await page_of(anna, ""), STANDING)
        await until(lambda: over(console, answer))
        address = answer.headers["location"]
        assert ("5 of 5" in (await anna.get(address)).text, "4 of 4" in (await bob.get(address)).text) == (True, True)
        assert (await eve.get(address)).status_code == 404
        assert "of 5" not in (await eve.get("/inbox/groups/decided")).text
        assert (await eve.post("/inbox/group", data={}, headers=OURS)).status_code == 403


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"choice": "device:nobody"}, 422),
        ({"choice": ""}, 422),
        ({"which": "all"}, 422),
        ({"count": "x"}, 422),
        ({"since": "soon"}, 422),
        ({"scope": "none"}, 409),
    ],
)
async def test_a_form_that_makes_no_sense_decides_nothing(
    console: Console, outage: Sequence[Conflict], changes: dict[str, str], status: int
) -> None:
    async with console.client("anna", Right.DECIDE) as anna:
        form = await page_of(anna, "scope=s1") | {"choice": STANDING} | changes
        answer = await anna.post("/inbox/group", data=form, headers=OURS)
        assert answer.status_code == status
    assert console.desk.groups.memory.last(1) == []


async def test_what_is_under_way_and_what_is_in_one_group_is_bounded(
    console: Console, outage: Sequence[Conflict], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with console.client("anna", Right.DECIDE) as anna:
        for name, most in (("MOST", 2), ("MOST_OPEN", 0)):
            with monkeypatch.context() as bound:
                bound.setattr(f"driftlog_console.group_deciding.{name}", most)
                answer = await decide(anna, await page_of(anna, "scope=s1"), STANDING)
                assert answer.status_code == 503
                assert "Nothing was decided" in answer.text
    assert console.desk.groups.memory.last(1) == []


def test_the_oldest_that_are_over_go(tmp_path: Path) -> None:
    memory = GroupMemory(tmp_path)
    kept = memory.add("anna", "open", Filter(), STANDING, "", 0, 0, [line_of(conflict())])
    for at in range(1, KEPT + 5):
        name = memory.add("anna", "open", Filter(), STANDING, "", at, at, [])
        memory.move(name, State.WAITING, State.UNDONE)
    found = memory.last(2 * KEPT)
    assert len(found) == KEPT + 1
    assert (found[-1].id, memory.tally(kept, None).all) == (kept, 1)
    memory.close()


def test_a_memory_that_cannot_be_read_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "groups.sqlite").write_bytes(b"no database at all" * 100)
    with pytest.raises(GroupsProblem, match=r"groups\.sqlite") as refused:
        GroupMemory(tmp_path)
    assert "remove the file" in refused.value.remedy


async def test_a_list_is_exported_as_it_is_shown(console: Console, outage: Sequence[Conflict]) -> None:
    by: dict[str, Any] = {"actor": "=Eve", "how": "page", "reason": '+1, "said"\nshe'}
    await console.opened(
        replace(outage[0], status=ConflictStatus.RESOLVED, decided_by=version(390, "store-1.abcdefgh", 9, **by)),
        replace(outage[1], status=ConflictStatus.RECORDED),
        replace(outage[2], status=ConflictStatus.SETTLED, decided_by=version(420, "cloud.x", 9, how="deadline")),
    )
    async with console.client() as anna:
        answer = await anna.get("/inbox/export")
        assert answer.headers["content-type"].startswith("text/csv")
        (row,) = csv.DictReader(answer.text.splitlines(keepends=True))
        assert (row["document"], row["value"], row["how"], row["device"]) == ("tea", "390", "page", "store-1")
        assert (row["actor"], row["reason"]) == ("'=Eve", '\'+1, "said"\nshe'), "no formula"
        assert row["stood"] == "420 by Anna at till-7"
        lines = (await anna.get("/inbox/export?which=settled&format=jsonl")).text.splitlines()
        assert {(one["document"], one["how"]) for one in map(json.loads, lines)} == {
            ("coffee", "rule"),
            ("cocoa", "deadline"),
        }
        large = version({"a": [2**60 + 1, 2**53 - 1], "b": True}), version(-(2**53), "b.b2c3d4e5")
        await console.opened(conflict(DocumentId("Stock", "s1", "gold"), "", *large))
        (gold,) = [
            told
            for told in map(json.loads, (await anna.get("/inbox/export?which=open&format=jsonl")).text.splitlines())
            if told["document"] == "gold"
        ]
        assert [one["value"] for one in gold["versions"]] == [
            {"a": [str(2**60 + 1), 2**53 - 1], "b": True},
            str(-(2**53)),
        ]
        few = (await anna.get("/inbox/export?which=settled&format=jsonl&device=nobody")).text
        assert few == ""
        assert (await anna.get("/inbox/export?format=xml")).status_code == 422
        assert (await anna.get("/inbox/export?since=x")).status_code == 422
