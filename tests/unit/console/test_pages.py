"""What the pages show: in which order, as of when, and that what is not known is not told as nothing."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import replace
from typing import Any

import pytest

from driftlog_console.app import build
from driftlog_console.fleet import Seen
from driftlog_console.gate import Gate
from driftlog_console.history.kept import Moment
from driftlog_console.pages.fleet import PAGE
from driftlog_console.people import Right
from driftlog_console.signals import Signals
from driftlog_console.words import moment
from driftlog_edge import EdgeAgent
from driftlog_schemas.devices import NOTICE_MS, Device, DeviceKey, DeviceStatus, Terms, with_key
from driftlog_schemas.identity import CLOUD, DocumentId
from driftlog_schemas.messages import ConflictStatus, Heartbeat
from driftlog_schemas.signing import Identity
from driftlog_streams.core.net import ONE_COMMAND
from driftlog_streams.reading.fleet import Heard, Member
from driftlog_streams.reading.set_aside import PARKED, QUARANTINED, SetAside
from driftlog_streams.replaying.retelling import Change, Step
from tests.unit.console.conftest import DAY_MS, OURS, TEA, Console, conflict, version
from tests.unit.console.op_log import priced
from tests.unit.console.test_history import PLACE
from tests.unit.edge.cloud import Cloud, partition_of_space
from tests.unit.edge.waiting import until
from tests.unit.streams.cloud import NOW_MS as NOW_MS_OF_LOG
from tests.unit.streams.cloud import command, count, stock
from tests.unit.streams.cloud import device as device_of

NOW_MS = time.time_ns() // 1_000_000


def member(name: str, *, heard: bool = True, **word: Any) -> Member:
    """A device of the fleet that was heard just now."""
    line = Device(
        name, 1, (DeviceKey("k", b"x" * 32, 0),), (Terms(NOW_MS - DAY_MS, DeviceStatus.ACTIVE, ("*",), ("*",)),)
    )
    if not heard:
        return Member(line)
    facts: dict[str, Any] = {
        "device_id": name,
        "replica": f"{name}.abcdefgh",
        "sent_ms": NOW_MS,
        "connection": "ONLINE",
        "pending": 0,
        "oldest_pending_ms": 0,
        "disk_bytes": 1_234_567,
        "clock_skew_ms": 0,
        "versions": {"driftlog": "0.1.0"},
    }
    return Member(line, Heard(Heartbeat(**(facts | word)), NOW_MS))


def seen(*members: Member, set_aside: tuple[SetAside, ...] = ()) -> Seen:
    """As a look just now found it."""
    return Seen(members, set_aside, {"members": time.time(), "set aside": time.time()})


def quarantined(**more: Any) -> SetAside:
    facts: dict[str, Any] = {
        "id": "0:17",
        "what": QUARANTINED,
        "space": "retail",
        "partition": 0,
        "offset": 17,
        "append_ms": NOW_MS,
        "device_id": "till-7",
        "replica": "till-7.abcdefgh",
        "code": "unforeseen",
        "reason": "<script>",
    }
    return SetAside(**(facts | more))


async def test_the_inbox_is_ordered_by_deadline_and_comes_in_pages(console: Console) -> None:
    names = [f"sku-{number:02d}" for number in range(25)]
    ones = [
        conflict(DocumentId("Stock", "s1", name), deadline_ms=0 if number == 24 else NOW_MS + (50 - number) * DAY_MS)
        for number, name in enumerate(names)
    ]
    await console.opened(*ones)
    async with console.client() as anna:
        found: list[str] = []
        path = "/inbox?limit=10"
        for _ in range(5):
            page = (await anna.get(path)).text
            found += [
                name for name in sorted(names, key=lambda n: page.find(f">Stock {n}<")) if f">Stock {name}<" in page
            ]
            if "Next page" not in page:
                break
            path = page.split('">Next page')[0].rpartition('href="')[2].replace("&amp;", "&")
    assert found == [*reversed(names[:24]), names[24]]
    assert "(25) To decide" in page


async def test_a_filter_shows_what_it_says(console: Console) -> None:
    other = conflict(
        DocumentId("Stock", "s2", "milk"), "price", version(1, "truck-1.abcdefgh"), version(2, "store-9.abcdefgh")
    )
    await console.opened(conflict(), other)
    async with console.client() as anna:
        for query, there in (
            ("", {"tea", "milk"}),
            ("?scope=s2", {"milk"}),
            ("?device=till-7", {"tea"}),
            ("?device=till-7&scope=s2", set()),
            ("?field=name", set()),
        ):
            page = (await anna.get(f"/inbox{query}")).text
            assert {name for name in ("tea", "milk") if f">Stock {name}<" in page} == there, query
        assert "None of the conflicts is of this kind" in page
        assert (await anna.get("/inbox?which=all")).status_code == 422
        assert (await anna.get("/inbox?limit=0")).status_code == 422


async def test_a_filter_of_many_devices_is_typed_and_the_page_stays_small(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("driftlog_console.pages.inbox.MOST_CHOICES", 4)
    ones = [
        conflict(DocumentId("Stock", "s1", f"sku-{n}"), "price", version(1, f"till-{n}.a2b3c4d5"), version(2), deadline_ms=NOW_MS + n)
        for n in range(5)
    ]  # fmt: skip
    await console.opened(*ones)
    async with console.client("anna", Right.DECIDE) as anna:
        page = (await anna.get("/inbox?limit=2&device=till-7")).text
        assert '<input name="device" value="till-7" placeholder="one of 6">' in page and '<select name="scope">' in page
        assert [name for name in ("till-0", "till-1", "till-2", "till-7") if f"what {name} wrote" in page] == [
            "till-0",
            "till-1",
            "till-7",
        ], "of the rows that are on the page"


async def test_a_conflict_moves_from_list_to_list(console: Console, cloud: Cloud) -> None:
    one = conflict()
    await console.opened(one)
    settled = replace(one, status=ConflictStatus.RECORDED)
    await console.opened(settled)
    async with console.client() as anna:
        assert "tea" not in (await anna.get("/inbox")).text
        assert "Stock tea" in (await anna.get("/inbox?which=settled")).text
        cloud.publish("retail.conflicts", cloud_partition(), one.id.encode(), None)
        await until(lambda: not list(console.desk.inbox))
        assert (await anna.get(f"/conflicts/{one.id}")).status_code == 404


async def test_a_conflict_that_is_decided_when_it_is_first_met_is_listed_at_once(console: Console) -> None:
    by = version(390, "store-1.abcdefgh", 9, actor="Zoe")
    await console.opened(conflict(status=ConflictStatus.RESOLVED, decided_by=by))
    await console.opened(conflict(TEA, "name", status=ConflictStatus.RECORDED))
    async with console.client() as anna:
        decided, settled = [(await anna.get(f"/inbox?which={which}")).text for which in ("decided", "settled")]
    assert "Stock tea" in decided and "Zoe" in decided
    assert "Stock tea" in settled


def cloud_partition() -> int:
    return partition_of_space("retail", TEA.scope)


async def test_a_page_of_a_conflict_names_people_and_what_they_had_not_seen(console: Console) -> None:
    one = conflict()
    await console.opened(one, conflict(DocumentId("Stock", "s1", "milk")))
    async with console.client("anna", Right.DECIDE) as anna:
        page = (await anna.get(f"/conflicts/{one.id}")).text
    assert "Keep 420, as Anna at till-7 set it" in page
    assert "Take 390, as Bob at store-2 set it" in page
    assert "390, as Bob at store-2 set it" in page.split("Had not seen")[1].split("</dd>")[0]
    assert "1 day 23 hours left" in page
    assert "Next conflict" in page


async def test_values_are_text_and_never_a_page(console: Console) -> None:
    evil = conflict(TEA, "name", version("<script>alert(1)</script>", actor="<b>x"), version("y", "b.abcdefgh"))
    await console.opened(evil)
    async with console.client() as anna:
        for path in ("/inbox", f"/conflicts/{evil.id}"):
            page = (await anna.get(path)).text
            assert "<script>alert" not in page
            assert "<b>x" not in page
            assert "&lt;script&gt;" in page


async def test_old_data_looks_old(console: Console, agent: EdgeAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    async with console.client() as anna:
        assert "As of" in (await anna.get("/inbox")).text
        monkeypatch.setattr("driftlog_console.desk.OLD_SECONDS", -1.0)
        page = (await anna.get("/inbox")).text
        assert "<strong>Old.</strong>" in page


async def test_what_was_not_read_yet_is_not_nothing(console: Console) -> None:
    async with console.client() as anna:
        assert "that is not the same as none" in (await anna.get("/fleet")).text
        assert "Not read yet" in (await anna.get("/waiting")).text
        assert (await anna.get("/readyz")).status_code == 503
        console.fleet.seen = seen()
        assert "0 devices" in (await anna.get("/fleet")).text
        assert (await anna.get("/readyz")).text == "ready"
        console.fleet.seen = Seen(problem="the broker is away")
        assert "the broker is away" in (await anna.get("/fleet")).text


async def test_the_fleet_shows_first_what_needs_a_person(console: Console) -> None:
    console.fleet.seen = seen(
        member("a-fine"),
        member("b-review", review=2),
        member("c-never", heard=False),
        member("d-off", connection="OFFLINE"),
    )
    async with console.client() as anna:
        page = (await anna.get("/fleet")).text
        order = sorted(("a-fine", "b-review", "c-never", "d-off"), key=page.index)
        assert order == ["b-review", "c-never", "a-fine", "d-off"]
        assert "4 devices, 2 of them need a person" in page
        few = (await anna.get("/fleet?needs=true&name=REV")).text
        assert ("b-review" in few, "c-never" in few) == (True, False)
        assert "d-off" in (await anna.get("/fleet?connection=OFFLINE")).text
        paged = (await anna.get("/fleet?limit=3")).text
        assert "start=3" in paged
        never = (await anna.get("/fleet/c-never")).text
        assert "<dd>never</dd>" in never
        assert "1,234,567 bytes" in (await anna.get("/fleet/a-fine")).text
        assert (await anna.get("/fleet/nobody")).status_code == 404


async def test_a_backlog_says_where_it_goes(console: Console) -> None:
    def then(pending: int, seconds: int, **more: Any) -> Heartbeat:
        heard = member("x", pending=pending, replica="a.abcdefgh", sent_ms=NOW_MS - seconds * 1000, **more).heard
        assert heard is not None
        return heard.word

    def told(name: str, pending: int, before: Heartbeat) -> Member:
        return replace(member(name, pending=pending, replica="a.abcdefgh"), before=before)

    console.fleet.seen = seen(
        told("falls", 30, then(90, 120)),
        told("grows", 90, then(30, 120)),
        told("stays", 30, then(30, 120)),
        told("too-near", 30, then(90, 1)),
        told("set-back", 30, then(90, -120)),
        replace(member("another-life", pending=30), before=then(90, 120)),
        told("empty", 0, then(90, 120)),
        member("new", pending=30),
    )
    async with console.client() as anna:
        page = (await anna.get("/fleet")).text
        rows = dict(re.findall(r'data-open>([^<]+)<.*?data-label="Not confirmed">(.*?)</td>', page, re.S))
        words = {name: re.sub(r"<[^>]+>", "", text) for name, text in rows.items()}
        assert words == {
            "falls": "30; at this pace none is left in 1 minute",
            "grows": "90; grows by 1800 an hour",
            "stays": "30; does not fall",
            "empty": "0",
            **dict.fromkeys(("too-near", "set-back", "another-life", "new"), "30"),
        }
        assert "none is left in 1 minute" in (await anna.get("/fleet/falls")).text


async def test_of_the_fleet_somebody_sees_the_devices_of_their_scopes(console: Console) -> None:
    def of(name: str, *scopes: str, **word: Any) -> Member:
        found = member(name, **word)
        return replace(found, device=replace(found.device, terms=(found.device.latest._replace(scopes=scopes),)))

    differing = ("retail/0/s1", "retail/0/s2")
    both = of("both", "s1", "s2", differing=differing, mismatches=2)
    console.fleet.seen = seen(of("ours", "s1"), of("theirs", "s2", review=3), both, of("all", "*"))
    async with console.client("bob", scopes=("s1",)) as bob, console.client("boss") as boss:
        page = (await bob.get("/fleet")).text
        assert re.findall(r"data-open>([^<]+)<", page) == ["both", "all", "ours"]
        assert "3 devices, 1 of them needs a person" in page and "s2" not in page
        page = (await bob.get("/fleet/both")).text
        assert "retail/0/s1" in page and "s2" not in page and "and 1 scope that you do not see" in page
        hidden, nothing = await bob.get("/fleet/theirs"), await bob.get("/fleet/nobody")
        assert (hidden.status_code, hidden.text.replace("theirs", "nobody")) == (404, nothing.text)
        for path in ("/waiting", "/inbox", "/inbox/export?which=open"):
            assert "theirs" not in (await bob.get(path)).text, path
            assert "theirs" in (await boss.get(path)).text, path
        assert "retail/0/s2" in (await boss.get("/fleet/both")).text
        assert re.findall(r"data-open>([^<]+)<", (await boss.get("/fleet")).text) == ["both", "theirs", "all", "ours"]


async def test_a_device_has_its_conflicts_the_open_ones_first(console: Console) -> None:
    console.fleet.seen = seen(member("till-7"), member("truck-1"))
    decided = [
        conflict(DocumentId("Stock", "s1", f"old-{number}"), status=ConflictStatus.RESOLVED) for number in range(PAGE)
    ]
    await console.opened(*decided, conflict())
    async with console.client() as anna:
        page = (await anna.get("/fleet/till-7")).text
        assert f"{PAGE + 1} in all" in page and page.index("Stock tea") < page.index("Stock old-")
        assert "Stock tea" not in (await anna.get("/fleet/truck-1")).text


async def test_what_workers_would_refuse_for_its_key_is_not_given_back(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would be quarantined once more, and nobody told why."""
    done: list[str] = []
    monkeypatch.setattr("driftlog_console.pages.waiting.send_again", lambda kafka, one: done.append(one.id))
    workers, workers_now, till = Identity.create(CLOUD), Identity.create(CLOUD), Identity.create("till-7")
    ended = with_key(device_of(workers), device_of(workers_now).keys[0], NOW_MS - 2 * NOTICE_MS)
    line = with_key(device_of(till), device_of(Identity.create("till-7")).keys[0], NOW_MS - 2 * NOTICE_MS)
    sealed = {"0:1": workers, "0:2": workers_now, "0:3": till}
    ones = [
        quarantined(id=id, device_id=who.device_id, record=console.desk.batches.seal(b"a batch", who))
        for id, who in sealed.items()
    ]
    console.fleet.seen = replace(seen(Member(line), set_aside=tuple(ones)), workers=ended)
    async with console.client("anna", Right.OPERATE) as anna:
        answers = [
            await anna.post("/waiting", data={"do": "retry", "id": id, "space": "retail"}, headers=OURS)
            for id in sealed
        ]
    assert [answer.status_code for answer in answers] == [409, 303, 409]
    assert "signs it anew" in answers[0].text and "sends it again under its new key" in answers[2].text
    assert done == ["0:2"]


async def test_what_is_set_aside_is_given_back_or_taken_off_by_an_operator(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[tuple[str, str]] = []
    monkeypatch.setattr("driftlog_console.pages.waiting.send_again", lambda kafka, one: done.append(("retry", one.id)))
    monkeypatch.setattr("driftlog_console.pages.waiting.drop", lambda kafka, one: done.append(("drop", one.id)))
    console.fleet.seen = seen(
        set_aside=(
            quarantined(),
            quarantined(id="0:18", code=ONE_COMMAND),
            quarantined(id="till-7.abcdefgh/3/c", what=PARKED, code="gap", reason="waits"),
        )
    )
    async with console.client("anna", Right.OPERATE) as anna:
        page = (await anna.get("/waiting")).text
        assert "<script>" not in page.split("<main")[1]
        assert page.count("Give it to the workers again") == 1
        assert page.count("Take it off the list") == 2

        async def do(what: str, id: str, space: str = "retail") -> int:
            return (await anna.post("/waiting", data={"do": what, "id": id, "space": space}, headers=OURS)).status_code

        assert await do("retry", "0:17") == 303
        assert await do("drop", "0:18") == 303
        assert await do("retry", "0:18") == 409
        assert await do("drop", "till-7.abcdefgh/3/c") == 409
        assert await do("drop", "0:99") == 409
        assert await do("burn", "0:17") == 422
    assert done == [("retry", "0:17"), ("drop", "0:18")]
    assert console.fleet.looked_again == 2
    async with console.client("bob", Right.OPERATE, scopes=("s1",)) as bob:
        assert "0:17" not in (await bob.get("/waiting")).text
        answer = await bob.post("/waiting", data={"do": "drop", "id": "0:17", "space": "retail"}, headers=OURS)
        assert answer.status_code == 403
    assert len(done) == 2


async def test_documents_and_what_is_in_them(console: Console, agent: EdgeAgent) -> None:
    await agent.run("receive", store="s1", sku="te/a 1", qty=2**53 + 1)
    await agent.run("receive", store="s1", sku="milk", qty=1)
    async with console.client() as anna:
        assert "/documents/Stock/s1" in (await anna.get("/documents")).text
        page = (await anna.get("/documents/Stock/s1?limit=1")).text
        assert ("milk" in page, "Next page" in page) == (True, True)
        page = (await anna.get("/documents/Stock/s1")).text
        address = page.split(">te/a 1<")[0].rpartition('href="')[2].rstrip('"')
        one = await anna.get(address)
        assert (one.status_code, str(2**53 + 1) in one.text) == (200, True)
        assert (await anna.get("/documents/Stock/s1/none")).status_code == 404
        assert (await anna.get("/documents/Nothing/s1")).status_code == 404
        assert (await anna.get("/documents/Stock/elsewhere")).status_code == 404


async def test_streams_tell_names_together_and_end() -> None:
    signals = Signals()
    told: list[frozenset[str]] = []

    async def follow() -> None:
        async for names in signals.changes():
            told.append(names)

    following = asyncio.create_task(follow())
    await until(lambda: signals.listening == 1)
    signals.tell("fleet"), signals.tell("conflicts"), signals.tell("fleet")
    await until(lambda: bool(told))
    assert told == [{"fleet", "conflicts"}]
    signals.close()
    await asyncio.wait_for(following, 5)


async def test_what_changes_between_a_page_and_its_stream_is_told_first(console: Console) -> None:
    async with console.client() as anna:
        page = (await anna.get("/inbox")).text
        since = page.split('data-since="')[1].split('"')[0]
        await console.opened(conflict())
        for mark, first in ((since, True), ("another-life-7", True), (console.desk.signals.mark, False), ("", False)):
            changes = console.desk.signals.changes(mark)
            told = asyncio.create_task(anext(changes))  # type: ignore[arg-type]  # a coroutine it is
            await asyncio.sleep(0.01)
            assert told.done() == first, mark
            assert not first or "conflicts" in told.result()
            told.cancel()


async def test_the_stream_of_a_page_tells_what_has_changed_and_ends_with_the_console(console: Console) -> None:
    seen_events: list[str] = []

    async def follow() -> None:
        async with console.client() as anna, anna.stream("GET", "/live") as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")
            async for line in stream.aiter_lines():
                seen_events.append(line)

    # httpx gives an answer of an application in this process only when it has ended.
    following = asyncio.create_task(follow())
    await until(lambda: console.desk.signals.listening == 1)
    await console.opened(conflict())
    console.desk.signals.close()
    await asyncio.wait_for(following, 10)
    assert "event: conflicts" in seen_events
    assert console.desk.signals.listening == 0


async def test_a_documents_past_comes_in_pages_with_an_address_for_each_moment(console: Console) -> None:
    for number in range(1, 41):
        console.log.append(command(f"c{number}", priced(number, number, store_1__1=number - 1)))
    console.history.look()
    path = "/documents/Stock/s1/tea"
    async with console.client() as anna:
        last = (await anna.get(path)).text
        assert 'id="s39-0"' in last and 'id="s10-0"' in last and 'id="s9-0"' not in last
        older = (await anna.get(f"{path}?before=10")).text
        assert 'id="s9-0"' in older and 'id="s0-0"' in older and 'id="s10-0"' not in older and "The last part" in older
        then = await anna.get(f"{path}?nth=3&before=10")
        assert (then.status_code, then.headers["location"]) == (303, f"{path}?before=10&at=2#value")
        third = (await anna.get(f"{path}?before=10&at=2")).text
        assert "<dt>price</dt><dd>3" in third and "not so now" in third
        assert (await anna.get(f"{path}?at=-1")).status_code == 422
        assert (await anna.get("/documents/Stock/s1/nothing")).status_code == 404
        assert (await anna.get("/documents/Stock/s1/nothing?at=3")).status_code == 404


async def test_the_past_of_a_scope_is_for_those_who_see_the_scope(console: Console) -> None:
    console.log.append(command("c1", priced(123_456, 1)))
    console.history.look()
    async with console.client("carl", scopes=("s2",)) as carl:
        for query in ("", "?at=0", "?nth=1", "?before=1"):
            answer = await carl.get(f"/documents/Stock/s1/tea{query}")
            assert answer.status_code == 403 and "123456" not in answer.text


async def test_what_is_not_known_of_the_past_is_said(console: Console) -> None:
    path = "/documents/Stock/s1/tea"
    for number in range(1, 4):
        console.log.append(command(f"c{number}", priced(number, number, store_1__1=number - 1)))
    async with console.client() as anna:
        before = await anna.get(path)
        assert before.status_code == 404
        console.log.first = 1
        console.history.look()
        page = (await anna.get(path)).text
        assert f"before {moment(NOW_MS_OF_LOG + 1)} is no longer kept in the log" in page
        assert "replica does not have it" in page
        then = (await anna.get(f"{path}?at=2")).text
        assert "The value then is not known: the beginning of the log is gone" in then
        console.log.again(b"more")
        console.history.progress = replace(console.history.progress, problem="no broker", ends={PLACE: 4})
        page = (await anna.get(path)).text
        assert (
            "cannot be read on at the moment: no broker" in page and "1 records of the log are still to be read" in page
        )


async def test_a_device_has_its_last_commands_and_receipts(console: Console) -> None:
    console.fleet.seen = seen(member("store-1"), member("store-2"))
    hostile = command("<b>id", count(stock("a/<i>b"), -9, 1), declared_as="<script>")._replace(actor="<u>Anna")
    async with console.client() as anna, console.client("carl", scopes=("s2",)) as carl:
        before = (await anna.get("/fleet/store-1")).text
        assert before.count("that is not the same as none") == 2
        console.log.append(command("c1", priced(1, 1)), hostile)
        console.history.look()
        page = (await anna.get("/fleet/store-1")).text
        last = page.split("<dt>Last error</dt>")[1].split("</dd>")[0]
        assert "&lt;script&gt; was not taken: recount" in last and "sold more than was there" in last
        assert "rejected: recount" in page and "sold more than was there" in page
        assert 'href="/documents/Stock/s1/a%2F%3Ci%3Eb?at=0#value"' in page
        assert (await anna.get("/documents/Stock/s1/a%2F%3Ci%3Eb?at=0")).status_code == 200
        assert not [text for text in ("<script>&", "<b>id", "<u>Anna", "<i>b") if text in page]
        assert "&lt;script&gt;" in page and 'data-label="Life">store-1.1<' in page
        assert page.count('<caption class="hidden">') == 2
        none = (await anna.get("/fleet/store-2")).text
        assert "none among what is listed here" in none
        assert '<p class="empty">None.</p>' in none and '<p class="empty">Nothing.</p>' in none
        other = (await carl.get("/fleet/store-1")).text
        assert "2 in scopes that you do not see" in other and "recount" not in other and "Stock" not in other
    console.app = Gate(build(replace(console.desk, history=None)), frozenset({"127.0.0.1"}))
    async with console.client("dora") as dora:
        assert "keeps no history, so it does not know them" in (await dora.get("/fleet/store-1")).text


async def test_numbers_of_any_size_are_written_by_the_server(console: Console) -> None:
    console.log.append(command("c1", priced(2**60 + 1, 1)))
    console.history.look()
    async with console.client() as anna:
        page = (await anna.get("/documents/Stock/s1/tea?at=0")).text
    assert page.count(str(2**60 + 1)) >= 2


async def test_a_console_without_a_history_says_so(console: Console, agent: EdgeAgent) -> None:
    await agent.run("reprice", store="s1", sku="tea", price=420)
    desk = replace(console.desk, history=None)
    console.app = Gate(build(desk), frozenset({"127.0.0.1"}))
    async with console.client() as anna:
        page = (await anna.get("/documents/Stock/s1/tea")).text
    assert "420" in page and "This console keeps no history" in page


async def test_each_thing_that_is_set_aside_has_its_address(console: Console) -> None:
    waits = quarantined(id="till-7.abcdefgh/12/0197", what=PARKED, code="gap", documents=("Stock/s1/tea",))
    console.fleet.seen = seen(set_aside=(quarantined(), waits))
    path = "/waiting/retail/till-7.abcdefgh%2F12%2F0197"
    async with console.client("olga", Right.OPERATE) as olga, console.client("carl", scopes=("s1",)) as carl:
        page = (await olga.get("/waiting")).text
        assert f'href="{path}"' in page and 'href="/waiting/retail/0%3A17"' in page
        parked, kept = (await olga.get(path)).text, (await olga.get("/waiting/retail/0%3A17")).text
        assert "driftlog parked drop till-7.abcdefgh/12/0197" in parked and 'value="drop"' not in parked
        assert "Stock/s1/tea" in parked and "partition 0" in parked
        assert 'value="drop"' in kept and 'value="retry"' in kept and "&lt;script&gt;" in kept
        assert (await carl.get(path)).status_code == 403
        assert (await olga.get("/waiting/audit/0%3A17")).status_code == 404


async def test_of_many_devices_a_document_names_some_and_says_how_many_there_are(console: Console) -> None:
    at = DocumentId("Ledger", "s1", "monday")
    for number in range(60):
        console.cloud.write(at, "sold", "increment", 1, f"till-{number:02d}.k3f7q2w7")
    console.cloud.write(at, "sold", "increment", 1, "till-59.k3f7q2w7")
    unseen = {f"unseen-{number:02d}": 1 for number in range(60)}
    step = Step(3, NOW_MS, "till-1", "till-1.x", "c", "", "", NOW_MS, (Change("sold", "increment", 1, 1),), unseen, "accepted", "", "")  # fmt: skip
    console.history.kept.take("retail", at, Moment(3, NOW_MS, (step,), {"sold": 1}))
    console.history.kept.flush()
    async with console.client() as anna:

        async def page() -> str:
            return (await anna.get("/documents/Ledger/s1/monday")).text

        async def all_are_there() -> bool:
            return "Of 60 devices these have made the most changes" in await page()

        await until(all_are_there)
        text = await page()
    assert text.count('href="/fleet/till-') == 50 and text.index("till-59") < text.index("till-00")
    assert text.count("1 change of unseen-") == 50 and "and changes of 10 more devices" in text


async def test_no_name_turns_the_words_beside_it_round_and_no_two_values_look_the_same(console: Console) -> None:
    """A person decides by what the page shows; what a form sends back is the value as it is."""
    names = version("te\u200ba", actor="b\u202eob <i>"), version("tea", "store-2.b2c3d4e5", 2, actor="Anna")
    one = conflict(TEA, "name", *names)
    await console.opened(one)
    async with console.client("anna", Right.DECIDE) as anna:
        page, inbox = [(await anna.get(path)).text for path in (f"/conflicts/{one.id}", "/inbox")]
        asked = (await anna.get("/inbox", params={"actor": "b\u202eob"})).text
    shown, _, rest = page.partition("<textarea")
    given, _, _ = rest.partition("</textarea>")
    assert "\u202e" not in page + inbox and "Keep te\\u200ba, as b\\u202eob &lt;i&gt; at till-7 set it" in shown
    assert given.endswith(">\nte\u200ba"), "to be edited as it is, and the first end of line is not of the value"
    assert 'name="actor" value="b\u202eob"' in asked


async def test_an_empty_value_is_not_given_to_be_edited_as_words_about_it(console: Console) -> None:
    one = conflict(TEA, "name", version("", actor="Anna"), version("tea", "store-2.b2c3d4e5", 2))
    await console.opened(one)
    async with console.client("anna", Right.DECIDE) as anna:
        page = (await anna.get(f"/conflicts/{one.id}")).text
    assert "(empty text)</textarea>" not in page and "Keep (empty text)" in page
