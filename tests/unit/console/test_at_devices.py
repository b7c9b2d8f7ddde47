"""What waits for a person at devices, in one list with the conflicts: in which order, in pages, for whom, and as old as it is."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from typing import Any

from driftlog_console.fleet import Seen
from driftlog_console.people import Right
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.messages import WaitingCommand
from driftlog_streams.reading.fleet import Member
from tests.unit.console.conftest import DAY_MS, Console, conflict
from tests.unit.console.test_pages import NOW_MS, member, seen

REVIEW = WaitingCommand("review", "c-1", "sell", "Anna", "Stock", "s1", "milk", 1, "gone", "it is gone", NOW_MS)
REJECTED = WaitingCommand("rejected", "c-2", "", "", "Price", "s1", "tea", 2, "forbidden", "<b>may not</b>", NOW_MS)


def says(name: str, *commands: WaitingCommand, **more: Any) -> Member:
    counts = {kind: sum(one.kind == kind for one in commands) for kind in ("review", "rejected")}
    return member(name, waiting=commands, **(counts | more))


def rows(page: str) -> list[str]:
    """What the rows are about, in order."""
    return re.findall(r"data-open>([^<]+)<", page.split("<main")[1])


async def test_what_waits_at_devices_stands_among_the_conflicts(console: Console) -> None:
    soon = conflict(DocumentId("Stock", "s1", "soon"), deadline_ms=NOW_MS + DAY_MS // 2)
    later = conflict(DocumentId("Stock", "s1", "later"), deadline_ms=NOW_MS + 2 * DAY_MS)
    never = conflict(DocumentId("Stock", "s1", "never"), deadline_ms=0)
    await console.opened(soon, later, never)
    console.fleet.seen = seen(says("till-7", REVIEW), says("truck-1", REJECTED))
    async with console.client("anna", Right.DECIDE) as anna:
        page = (await anna.get("/inbox")).text
        assert rows(page) == ["Stock soon", "Stock milk", "Stock later", "Stock never", "Price tea and 1 more"]
        assert "(5) To decide" in page and ">All 5</a>" in page and ">Conflicts 3</a>" in page
        assert "decide all 3 together" in page and page.count('type="checkbox" name="id"') == 3
        main = re.sub(r"<[^>]+>|\s+", " ", page.split("<main")[1])
        assert "till-7 has answered it, and it has no effect: it waits for a person" in re.sub(" +", " ", main)
        for typed in ("review apply c-1", "review drop c-1", "rejected seen c-2"):
            assert f"<code>driftlog edge {typed}</code>" in page
        assert "<b>may not</b>" not in page and "&lt;b&gt;may not" in page

        for query, there in (
            ("kind=conflict", ["Stock soon", "Stock later", "Stock never"]),
            ("kind=review", ["Stock milk"]),
            ("kind=rejected", ["Price tea and 1 more"]),
            ("device=truck-1", ["Price tea and 1 more"]),
            ("actor=Anna&kind=review", ["Stock milk"]),
            ("collection=Price", ["Price tea and 1 more"]),
            ("field=price", ["Stock soon", "Stock later", "Stock never"]),
            ("who=me", []),
        ):
            assert rows((await anna.get(f"/inbox?{query}")).text) == there, query
        for choice in ("truck-1", "Price"):
            assert f'<option value="{choice}">{choice}</option>' in page, "a filter can ask for it"
        assert "what truck-1 wrote" not in page and "what till-7 wrote" in page, "it wrote none of the versions"
        assert "None that devices have named" in (await anna.get("/inbox?kind=review&device=truck-1")).text
        assert rows((await anna.get("/inbox?which=decided&kind=review")).text) == []
        assert (await anna.get("/inbox?kind=other")).status_code == 422


async def test_the_list_comes_in_pages_that_go_on_where_the_last_one_ended(console: Console) -> None:
    console.fleet.seen = seen(
        *(says(f"till-{n}", REVIEW._replace(document=f"sku-{n}", at_ms=NOW_MS + n), REJECTED) for n in range(4))
    )
    await console.opened(conflict(deadline_ms=0))
    async with console.client() as anna:
        found: list[str] = []
        path: str | None = "/inbox?limit=2&scope=s1"
        while path is not None:
            page = (await anna.get(path)).text
            found += rows(page)
            following = re.search(r'href="([^"]+)">Next page', page)
            path = following.group(1).replace("&amp;", "&") if following else None
            if len(found) == 4:  # what the next page goes on after is done meanwhile
                console.fleet.seen = seen(
                    *(m for m in console.fleet.seen.members or () if m.device.device_id != "till-3")
                )
        assert found == [*(f"Stock sku-{n}" for n in range(4)), "Stock tea", *["Price tea and 1 more"] * 3]
        assert rows((await anna.get("/inbox?after=nonsense")).text)[0] == "Stock sku-0"


async def test_each_command_has_its_address(console: Console) -> None:
    odd = REVIEW._replace(command_id="a/b c")
    console.fleet.seen = seen(says("till-7", odd, REJECTED))
    async with console.client() as anna, console.client("carl", scopes=("s2",)) as carl:
        path = re.findall(r'href="(/inbox/devices/[^"]+)"', (await anna.get("/inbox")).text)[0]
        assert path == "/inbox/devices/till-7/a%2Fb%20c"
        page = (await anna.get(path)).text
        assert "sell: Stock milk" in page and "it is gone" in page and 'href="/fleet/till-7"' in page
        assert "driftlog edge review apply &#39;a/b c&#39;" in page
        assert 'href="/inbox/devices/till-7/c-2"' in page, "what else waits there"
        assert (await carl.get(path)).status_code == 404
        assert (
            rows((await carl.get("/inbox")).text) == []
            and "(" not in (await carl.get("/inbox")).text.split("<title>")[1][:3]
        )
        gone = await anna.get("/inbox/devices/till-7/c-9")
        assert gone.status_code == 404 and "or not any more" in gone.text
        console.fleet.seen = seen(says("till-7"))
        assert (await anna.get(path)).status_code == 404, "it was applied, and the device has said so"


async def test_what_is_not_known_is_not_told_as_nothing(console: Console) -> None:
    async with console.client() as anna:
        assert "not read yet: that is not the same as nothing" in (await anna.get("/inbox")).text
        console.fleet.seen = replace(seen(says("till-7")), problem="no broker")
        page = (await anna.get("/inbox")).text
        assert "cannot be read at the moment: no broker" in page and "Nothing waits here" in page
        console.fleet.seen = seen(says("old", review=3), says("till-7", REVIEW, review=12))
        page = (await anna.get("/inbox")).text
        assert "has 3 more on its review list" in page and "has 11 more on its review list" in page
        assert "has 3 more" not in (await anna.get("/inbox?device=till-7")).text
        assert "has 11 more" not in (await anna.get("/inbox?kind=rejected")).text
        assert "has 11 more" not in (await anna.get("/inbox?scope=s1")).text


async def test_a_device_that_tells_nothing_new_is_worked_out_once(console: Console) -> None:
    console.fleet.seen = seen(says("till-7", REVIEW))
    first = console.desk.at_devices.now()
    assert console.desk.at_devices.now() is first
    console.fleet.seen = Seen(())
    assert console.desk.at_devices.now().entries == ()


async def test_all_that_waits_is_exported_with_the_filter_that_is_shown(console: Console) -> None:
    one = conflict(deadline_ms=NOW_MS + 2 * DAY_MS)
    await console.opened(one)
    formula = REJECTED._replace(reason='=cmd|"x"')
    console.fleet.seen = seen(says("till-7", REVIEW, review=3), says("truck-1", formula))
    async with console.client() as anna, console.client("carl", scopes=("s2",)) as carl:
        page = (await anna.get("/inbox?device=till-7")).text
        path = re.findall(r'href="(/inbox/export[^"]+jsonl[^"]*)"', page)[0].replace("&amp;", "&")
        told = [json.loads(text) for text in (await anna.get(path)).text.splitlines()]
        assert [(t["kind"], t.get("command_id"), t.get("count")) for t in told] == [
            ("review", "c-1", 1),
            ("conflict", None, None),
            ("review", None, 2),
        ]
        assert (told[0]["device_id"], told[0]["actor"], told[0]["code"], told[0]["reason"]) == (
            "till-7",
            "Anna",
            "gone",
            "it is gone",
        )
        assert told[0]["acts"] == ["driftlog edge review apply c-1", "driftlog edge review drop c-1"]
        answer = await anna.get("/inbox/export?which=open&kind=rejected")
        (row,) = csv.DictReader(answer.text.splitlines())
        assert (row["kind"], row["device"], row["document"], row["code"]) == ("rejected", "truck-1", "tea", "forbidden")
        assert (row["reason"], row["status"], row["how"], row["stood"]) == ('\'=cmd|"x"', "waits", "", "")
        rows = list(csv.DictReader((await anna.get("/inbox/export?which=open")).text.splitlines()))
        assert [(row["kind"], row["count"]) for row in rows] == [
            ("review", "1"),
            ("conflict", "1"),
            ("rejected", "1"),
            ("review", "2"),
        ]
        assert (await anna.get("/inbox/export?which=open&who=me&format=jsonl")).text == ""
        assert "c-1" not in (await carl.get("/inbox/export?which=open&format=jsonl")).text
