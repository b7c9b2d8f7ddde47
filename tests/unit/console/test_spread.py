"""The story after the click: decided, sent, merged, seen by which devices, and who is still missing."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from driftlog_console.landings import Landing, Landings
from driftlog_console.people import Right
from driftlog_console.spread import Spread, spread_of
from driftlog_edge import EdgeAgent
from driftlog_schemas.devices import DeviceStatus, Terms
from driftlog_schemas.messages import Conflict, ConflictStatus
from driftlog_streams.core.changelog_record import UNTIMED
from driftlog_streams.reading.fleet import Heard, Member
from tests.unit.console.conftest import DAY_MS, OURS, Console, conflict, version
from tests.unit.console.test_deciding import sent
from tests.unit.console.test_pages import NOW_MS, member, seen
from tests.unit.edge.cloud import partition_of_space
from tests.unit.edge.waiting import until

PLACE = f"retail/{partition_of_space('retail', 's1')}"


@pytest.fixture
async def decided(console: Console, agent: EdgeAgent) -> Conflict:
    """A price that Anna has decided on this console, and that the cloud has merged."""
    await agent.run("reprice", store="s1", sku="tea", price=420, wait="merged", seconds=20)
    one = conflict()
    await console.opened(one)
    async with console.client("anna", Right.DECIDE) as anna:
        await anna.post(f"/conflicts/{one.id}", data=sent(one, "write", value="405"), headers=OURS)
    await until(lambda: console.desk.deciding.made(one)[0].answer.status == "merged")
    (_, replica, seq) = console.desk.deciding.made(one)[0].answer.dots[0]
    over = replace(one, status=ConflictStatus.RESOLVED, decided_by=version(405, replica, seq, actor="anna", how="page"))
    await console.opened(over)
    return over


def at(name: str, position: int | None, **word: object) -> Member:
    """A device that has read so far."""
    return member(name, applied={} if position is None else {PLACE: position}, **word)


async def test_a_page_says_who_has_seen_a_decision_and_who_is_missing(console: Console, decided: Conflict) -> None:
    landing = console.desk.landings.of(decided)
    assert landing is not None and landing.place == PLACE
    console.fleet.seen = seen(
        at("till-1", landing.position),
        at("till-2", landing.position + 7),
        at("truck-1", landing.position - 1, connection="OFFLINE"),
        at("elsewhere", None),
        member("new-one", heard=False),
    )
    async with console.client() as bob:
        page = (await bob.get(f"/conflicts/{decided.id}")).text
        assert "Seen by 2 of 3 devices that follow this part of the data" in page
        missing = page.split("Still missing")[1].split("</ul>")[0]
        assert ("truck-1" in missing, "OFFLINE" in missing, "till-1" in missing) == (True, True, False)
        assert "1 more may write here and was never heard of" in page
        assert ("new-one" in page, "elsewhere" in page) == (True, False)
        console.fleet.seen = seen(at("till-1", landing.position))
        page = (await bob.get(f"/conflicts/{decided.id}")).text
        assert ("Seen by all 1 device" in page, "Still missing" in page) == (True, False)


async def test_what_nobody_can_tell_yet_is_not_told_as_nobody(console: Console, decided: Conflict) -> None:
    async with console.client() as bob:
        assert "Seen by which devices: not known yet" in (await bob.get(f"/conflicts/{decided.id}")).text
        console.fleet.seen = seen()
        assert "none is known to follow this part" in (await bob.get(f"/conflicts/{decided.id}")).text


async def test_before_it_is_merged_here_nobody_is_said_to_have_seen_it(console: Console, agent: EdgeAgent) -> None:
    await agent.run("reprice", store="s1", sku="tea", price=420, wait="merged", seconds=20)
    one = conflict()
    ahead = replace(one, status=ConflictStatus.RESOLVED, decided_by=version(1, "store-9.zzzzzzzz", 4, actor="Zoe"))
    await console.opened(one)
    await console.opened(ahead)  # told before the state that has it
    assert console.desk.landings.of(ahead) is None
    console.fleet.seen = seen(at("till-1", 10_000))
    async with console.client() as bob:
        assert "Seen by which devices: not known yet" in (await bob.get(f"/conflicts/{ahead.id}")).text
    settled = replace(ahead, status=ConflictStatus.SETTLED)
    assert console.desk.landings.of(settled) is None


async def test_the_steps_of_a_decision_that_is_on_its_way(console: Console, agent: EdgeAgent) -> None:
    await agent.run("reprice", store="s1", sku="tea", price=420, wait="merged", seconds=20)
    one = conflict()
    await console.opened(one)
    await agent.offline()
    async with console.client("anna", Right.DECIDE) as anna:
        await anna.post(f"/conflicts/{one.id}", data=sent(one, "write", value="405"), headers=OURS)
        steps = (await anna.get(f"/conflicts/{one.id}")).text.split('class="steps"')[1].split("</ol>")[0]
        assert (steps.count('class="done"'), "To be sent" in steps) == (1, True)
        await agent.online()
        await until(lambda: console.desk.deciding.made(one)[0].answer.status == "merged")
        steps = (await anna.get(f"/conflicts/{one.id}")).text.split('class="steps"')[1].split("</ol>")[0]
        assert (steps.count('class="done"'), "To be seen by the devices" in steps) == (3, True)


async def test_where_it_landed_outlives_the_console(
    console: Console, agent: EdgeAgent, decided: Conflict, tmp_path: Path
) -> None:
    landing = console.desk.landings.of(decided)
    await agent.run("reprice", store="s1", sku="milk", price=1, wait="merged", seconds=20)
    again = Landings(console.desk.agent.config.data_dir, agent)
    assert again.of(decided) == landing
    lost = Landings(tmp_path / "lost", agent)
    further = lost.of(decided)
    assert landing is not None and further is not None and further.position > landing.position
    lost.note([decided])
    await agent.run("reprice", store="s1", sku="milk", price=2, wait="merged", seconds=20)
    assert lost.of(decided) == further
    lost.close()
    again.close()


async def test_a_topic_that_was_made_anew_counts_anew(console: Console, agent: EdgeAgent, decided: Conflict) -> None:
    landing = console.desk.landings.of(decided)
    folder = agent.config.data_dir
    with sqlite3.connect(folder / "landings.sqlite") as other:
        other.execute("UPDATE landing SET topic_id = 'another', position = 1000000")
    other.close()
    assert landing is not None and console.desk.landings.of(decided) == landing


async def test_a_file_that_cannot_be_used_costs_the_past_only(
    agent: EdgeAgent, console: Console, decided: Conflict, tmp_path: Path
) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "landings.sqlite").write_bytes(b"no database at all" * 100)
    found = Landings(tmp_path / "bad", agent)
    found.note([decided])
    assert found.of(decided) is not None
    found.close()


async def test_so_many_are_remembered(
    console: Console, agent: EdgeAgent, decided: Conflict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("driftlog_console.landings.MOST", 2)
    found = Landings(tmp_path / "few", agent)
    for number in range(5):
        found.note([replace(decided, id=f"c{number}")])
    with sqlite3.connect(tmp_path / "few" / "landings.sqlite") as other:
        assert other.execute("SELECT conflict FROM landing ORDER BY number").fetchall() == [("c3",), ("c4",)]
    other.close()
    found.close()


def test_only_those_that_are_active_and_follow_it_are_counted() -> None:
    landing = Landing(PLACE, 10)
    gone = at("gone", 3)
    revoked = Member(
        replace(gone.device, terms=(Terms(NOW_MS - DAY_MS, DeviceStatus.REVOKED, ("*",), ("*",)),)), gone.heard
    )
    other = member("other", heard=False)
    foreign = Member(replace(other.device, terms=(Terms(0, DeviceStatus.ACTIVE, ("s2",), ("*",)),)))
    late, untimed = at("late", 1), at("untimed", 2)
    assert late.heard is not None and untimed.heard is not None
    late = Member(late.device, Heard(late.heard.word, NOW_MS - 90_000))
    untimed = Member(untimed.device, Heard(untimed.heard.word, UNTIMED))
    found = spread_of(landing, "s1", [at("b", 10), at("a", 11), revoked, foreign, untimed, late], NOW_MS)
    assert (found.seen, [one.device for one in found.missing], found.unheard) == (("a", "b"), ["late", "untimed"], ())
    assert [one.heard_seconds for one in found.missing] == [90.0, None]
    assert found.followers == 4
    assert spread_of(landing, "s1", [], NOW_MS) == Spread((), (), ())
