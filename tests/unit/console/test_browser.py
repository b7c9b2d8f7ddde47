"""The pages in a real browser: by keyboard alone, live, on a phone, without scripts, and with axe-core's rules for WCAG 2.2 AA."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import uvicorn
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, BrowserContext, Page, Route, async_playwright, expect

from driftlog_console.desk import now_ms
from driftlog_console.group_deciding import STANDING
from driftlog_console.people import Person, Right
from driftlog_edge import EdgeAgent
from driftlog_edge.http_api.connections import BoundedProtocol
from driftlog_infra.ports import free_port
from driftlog_schemas.claims import ClaimKind
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.messages import ConflictStatus
from driftlog_streams.reading.claims import Held
from driftlog_streams.reading.conflict_lists import Filter, mark, mark_of_all
from driftlog_streams.reading.merge_lag import Lag
from driftlog_streams.reading.workers import Worker
from tests.unit.console.conftest import Console, conflict, version
from tests.unit.console.op_log import TEA, priced
from tests.unit.console.test_at_devices import REJECTED, REVIEW, says
from tests.unit.console.test_pages import member, quarantined, seen
from tests.unit.console.test_rules import nearly_always_the_larger
from tests.unit.edge.waiting import until
from tests.unit.streams.cloud import NOW_MS, command, count

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PATIENCE_MS = 60_000
expect.set_options(timeout=PATIENCE_MS)
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SCREENS_VARIABLE = "DRIFTLOG_SCREENS"
SCREENS = os.environ.get(SCREENS_VARIABLE)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine: apt install chromium"),
]
RULES = {
    "runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]},
    "resultTypes": ["violations", "incomplete"],  # of each rule that a page keeps one place, not all of them
}


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        running = await playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        yield running
        await running.close()


@pytest.fixture
async def url(console: Console) -> AsyncIterator[str]:
    """The console on a port."""
    port = free_port()
    server = uvicorn.Server(
        uvicorn.Config(
            console.app, port=port, http=BoundedProtocol, ws="none", log_config=None, timeout_graceful_shutdown=1
        )
    )
    serving = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    yield f"http://127.0.0.1:{port}"
    console.desk.signals.close()
    server.should_exit = True
    await serving


async def signed_in(context: BrowserContext, url: str, token: str) -> Page:
    """A tab of somebody who has signed in by keyboard. Whatever goes wrong in it fails the test."""
    page = await context.new_page()
    page.on("pageerror", lambda error: pytest.fail(f"a script failed: {error}"))
    page.set_default_timeout(PATIENCE_MS)
    await page.goto(url)
    await expect(page.get_by_label("Your token")).to_be_focused()
    await page.keyboard.type(token)
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/inbox")
    await expect(page.get_by_label("Single-key shortcuts")).to_be_checked()  # the script has run
    return page


async def focused(page: Page) -> str:
    return str(await page.evaluate("document.activeElement.innerText"))


async def test_a_conflict_is_decided_by_keyboard_alone_and_others_see_it(
    console: Console, agent: EdgeAgent, browser: Browser, url: str
) -> None:
    await agent.run("reprice", store="s1", sku="tea", price=420)
    one, other = conflict(), conflict(DocumentId("Stock", "s1", "milk"), deadline_ms=0)
    await console.opened(one, other)
    token = console.people.add("anna", [Right.DECIDE])
    context = await browser.new_context()
    page, second = await signed_in(context, url, token), await signed_in(await browser.new_context(), url, token)
    assert await page.title() == "(2) To decide · Driftlog"

    await page.keyboard.press("j")
    assert await focused(page) == "Stock tea"
    await page.keyboard.press("Enter")
    await page.wait_for_url(f"**/conflicts/{one.id}")
    await page.keyboard.press("2")
    assert await focused(page) == "Take 390, as Bob at store-2 set it"
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="anna has decided: 390")).to_be_visible()

    await expect(second.get_by_role("link", name="Stock tea")).to_be_visible()
    await console.opened(
        replace(one, status=ConflictStatus.RESOLVED, decided_by=version(390, "store-1.abcdefgh", 9, actor="anna"))
    )
    await expect(second.get_by_role("link", name="Stock tea")).to_have_count(0)
    await expect(second.get_by_role("link", name="Stock milk")).to_be_visible()
    await expect(page.get_by_role("heading", name=re.compile("^Decided: 390"))).to_be_visible()
    await page.keyboard.press("n")
    await page.wait_for_url(f"**/conflicts/{other.id}")


async def test_a_decision_is_undone_by_keyboard_while_it_is_held_and_sent_when_that_is_over(
    console: Console, agent: EdgeAgent, browser: Browser, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    holding = console.desk.holding
    monkeypatch.setattr(holding, "_undo_seconds", 600.0)
    await agent.run("reprice", store="s1", sku="tea", price=420)
    one = conflict()
    await console.opened(one)
    page = await signed_in(await browser.new_context(), url, console.people.add("anna", [Right.DECIDE]))

    async def taken() -> None:
        await expect(page.get_by_label("Single-key shortcuts")).to_be_checked()
        await page.keyboard.press("2")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("heading", name="anna wants 390 to stand")).to_be_visible()
        await expect(page.get_by_label("Single-key shortcuts")).to_be_checked()

    await page.goto(f"{url}/conflicts/{one.id}")
    await taken()
    found = (await Axe().run(page, options=RULES)).response
    assert (found["violations"], found["incomplete"]) == ([], [])
    await page.keyboard.press("u")
    assert await focused(page) == "Undo: keep asking about price"
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="anna had decided, and anna has undone it")).to_be_visible()
    assert console.desk.deciding.made(one) == []

    await taken()
    later = now_ms() + 601_000
    monkeypatch.setattr(holding, "_now_ms", lambda: later)
    holding._moved.set()
    await expect(page.get_by_role("heading", name="anna has decided: 390")).to_be_visible()  # told, not asked for
    await expect(page.get_by_role("button", name="Undo: keep asking about price")).to_have_count(0)


async def test_what_waits_at_a_device_is_reached_by_keyboard_and_goes_when_it_is_dealt_with(
    console: Console, browser: Browser, url: str
) -> None:
    await console.opened(conflict())
    console.fleet.seen = seen(says("till-7", REVIEW, REJECTED))
    page = await signed_in(await browser.new_context(), url, console.people.add("anna", [Right.DECIDE]))
    assert await page.title() == "(3) To decide · Driftlog"
    await page.get_by_role("link", name="On review lists 1").press("Enter")
    await expect(page.get_by_role("link", name="Stock tea")).to_have_count(0)
    await expect(page.get_by_label("Single-key shortcuts")).to_be_checked()
    await page.keyboard.press("j")
    assert await focused(page) == "Stock milk"
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/inbox/devices/till-7/c-1")
    await expect(page.get_by_text("driftlog edge review apply c-1")).to_be_visible()
    await expect(page.get_by_label("Single-key shortcuts")).to_be_checked()
    await page.keyboard.press("i")
    await expect(page.get_by_role("link", name="Stock milk")).to_be_visible()
    console.fleet.seen = seen(says("till-7", REJECTED))
    console.desk.signals.tell("devices")
    await expect(page.get_by_role("link", name="Stock milk")).to_have_count(0)
    await expect(page.get_by_role("link", name="Price tea and 1 more")).to_be_visible()


async def test_the_chosen_ones_are_decided_together_by_keyboard_and_undone(
    console: Console, browser: Browser, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console.desk.groups, "_undo_seconds", 600.0)
    ones = [conflict(DocumentId("Stock", "s1", name)) for name in ("tea", "milk", "rice")]
    await console.opened(*ones)
    page = await signed_in(await browser.new_context(), url, console.people.add("anna", [Right.DECIDE]))
    for name in ("tea", "rice"):
        await page.get_by_label(f"Choose {name}, price").press("Space")
    await page.get_by_label("What is to stand").select_option(label="what store-2 wrote")
    await page.get_by_role("button", name="Decide the chosen ones").press("Enter")
    await expect(page.get_by_text("Nothing is decided yet")).to_be_visible()
    await expect(page.get_by_role("link", name="Stock milk")).to_have_count(0)
    await expect(page.get_by_label("Single-key shortcuts")).to_be_checked()
    await page.keyboard.press("u")
    assert await focused(page) == "Undo: decide none of them"
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Undone: none of 2 was decided")).to_be_visible()
    assert not any(console.desk.deciding.made(one) for one in ones)


async def test_a_rule_is_found_tried_and_left_by_keyboard_alone(console: Console, browser: Browser, url: str) -> None:
    await console.opened(*nearly_always_the_larger("tea", count=40))
    page = await signed_in(await browser.new_context(), url, console.people.add("anna"))

    async def by_keys(*keys: str) -> None:
        await expect(page.get_by_label("Single-key shortcuts")).to_be_checked()
        for key in keys:
            await page.keyboard.press(key)

    await page.get_by_role("link", name="Decided", exact=True).press("Enter")
    await page.get_by_role("link", name="What people always pick").press("Enter")
    await page.wait_for_url("**/inbox/rules")
    await by_keys("j")
    assert await focused(page) == "The larger number stands"
    await by_keys("Enter")
    await page.wait_for_url("**/inbox/rule?*")
    await by_keys("j", "Enter")  # the first exception
    await page.wait_for_url("**/conflicts/*")
    await page.go_back()
    await by_keys("i")
    await page.wait_for_url("**/inbox")


async def test_a_devices_last_commands_lead_to_the_document_as_it_was_by_keyboard_alone(
    console: Console, browser: Browser, url: str
) -> None:
    told(console)
    console.fleet.seen = seen(member("store-1"))
    page = await signed_in(await browser.new_context(), url, console.people.add("anna"))

    async def first_row() -> None:
        await expect(page.get_by_label("Single-key shortcuts")).to_be_checked()
        await page.keyboard.press("j")
        await page.keyboard.press("Enter")

    await page.get_by_role("link", name="Fleet").press("Enter")
    await page.wait_for_url("**/fleet")
    await first_row()
    await page.wait_for_url("**/fleet/store-1")
    await first_row()
    await page.wait_for_url("**/documents/Stock/s1/tea?at=*#value")


async def test_who_looks_after_it_is_told_to_open_pages(console: Console, browser: Browser, url: str) -> None:
    one, token = conflict(), console.people.add("anna", [Right.DECIDE])
    await console.opened(one)
    page = await signed_in(await browser.new_context(), url, token)
    other = await signed_in(await browser.new_context(), url, token)
    for tab in (page, other):
        await tab.goto(f"{url}/conflicts/{one.id}")
        await expect(tab.get_by_label("Single-key shortcuts")).to_be_checked()
    await other.locator("#value").fill("405")  # somebody writes there
    await page.get_by_role("button", name="Let them look after it").press("Enter")
    for tab in (page, other):
        await expect(tab.get_by_text("anna looks after it until")).to_be_visible()
    await expect(other.locator("#value")).to_have_value("405")


async def test_shortcuts_can_be_switched_off_and_stay_off(console: Console, browser: Browser, url: str) -> None:
    await console.opened(conflict())
    page = await signed_in(await browser.new_context(), url, console.people.add("anna"))
    box = page.get_by_label("Single-key shortcuts")
    await expect(box).to_be_checked()
    await box.focus()
    await page.keyboard.press("Space")
    await page.reload()
    await expect(box).not_to_be_checked()
    await page.keyboard.press("j")
    assert await page.evaluate("document.activeElement.tagName") == "BODY"
    await box.check()
    await page.keyboard.press("j")
    assert await focused(page) == "Stock tea"


async def test_what_somebody_is_choosing_is_not_swapped_away(console: Console, browser: Browser, url: str) -> None:
    await console.opened(conflict())
    page = await signed_in(await browser.new_context(), url, console.people.add("anna", [Right.DECIDE]))
    await page.get_by_label("Choose tea, price").check()
    await console.opened(conflict(DocumentId("Stock", "s1", "milk")))
    await expect(page.get_by_role("status")).to_contain_text("Something has changed")
    assert await page.get_by_label("Choose tea, price").is_checked()
    await expect(page.get_by_role("link", name="Stock milk")).to_have_count(0)
    await page.get_by_label("Choose tea, price").uncheck()
    console.desk.signals.tell("conflicts")
    await expect(page.get_by_role("link", name="Stock milk")).to_be_visible()


async def test_what_somebody_has_typed_is_not_swapped_away(console: Console, browser: Browser, url: str) -> None:
    one = conflict()
    await console.opened(one)
    page = await signed_in(await browser.new_context(), url, console.people.add("anna", [Right.DECIDE]))
    await page.goto(f"{url}/conflicts/{one.id}")
    await expect(page.get_by_label("Single-key shortcuts")).to_be_checked()
    reason = page.get_by_label("Why, if you want to say").first
    await reason.fill("as on the shelf")
    await page.keyboard.press("Tab")  # on to the button
    button = await focused(page)
    await console.opened(replace(one, versions=(*one.versions, version(333, "store-3.c2d3e4f5", 9))))
    await expect(page.get_by_role("status")).to_contain_text("Something has changed")
    await expect(reason).to_have_value("as on the shelf")
    assert await focused(page) == button
    await expect(page.locator("article.card")).to_have_count(2)
    await reason.fill("")
    await reason.blur()
    console.desk.signals.tell("conflicts")
    await expect(page.locator("article.card")).to_have_count(3)


async def test_a_broken_stream_is_seen_and_what_was_missed_is_read(
    console: Console, browser: Browser, url: str
) -> None:
    context = await browser.new_context()
    page = await signed_in(context, url, console.people.add("anna"))
    await expect(page.locator("#stream")).to_be_hidden()

    async def away(route: Route) -> None:
        await route.fulfill(status=503, body="as a proxy says it while the console starts")

    await page.route("**/live*", away)
    await page.reload()
    await expect(page.locator("#stream")).to_be_visible()
    await console.opened(conflict())
    await page.unroute("**/live*", away)
    await expect(page.get_by_role("link", name="Stock tea")).to_be_visible()
    await expect(page.locator("#stream")).to_be_hidden()

    await context.set_offline(True)
    console.desk.signals.close()  # the server ends the stream
    await expect(page.locator("#stream")).to_be_visible()


async def test_without_scripts_everything_can_be_read_and_decided(
    console: Console, agent: EdgeAgent, browser: Browser, url: str
) -> None:
    await agent.run("reprice", store="s1", sku="tea", price=420)
    one = conflict()
    await console.opened(one)
    context = await browser.new_context(java_script_enabled=False)
    page = await context.new_page()
    await page.goto(f"{url}/conflicts/{one.id}")
    await page.get_by_label("Your token").fill(console.people.add("anna", [Right.DECIDE]))
    await page.get_by_role("button", name="Sign in").click()
    await page.get_by_label("price").fill("405")
    await page.get_by_role("button", name="Let this stand, as anna set it").click()
    await expect(page.get_by_role("heading", name="anna has decided: 405")).to_be_visible()
    assert (await agent.read("Stock", "s1", "tea")).value["price"] == 405


def told(console: Console) -> None:
    """A history of tea with all there is in one."""
    log, hour = console.log, 3_600_000
    start_ms = now_ms() - 32 * hour
    first = command("1", count(TEA, 12, 1), priced(380, 2), declared_as="receive")._replace(actor="Anna")
    log.append(first, at_ms=start_ms)
    log.append(
        command("2", priced(400, 3, store_1__1=2), declared_as="reprice")._replace(actor="Anna"), at_ms=start_ms + hour
    )
    log.append(
        command("3", priced(420, 1, "store-2.1", NOW_MS + 9, store_1__1=3), declared_as="reprice")._replace(
            actor="Bob"
        ),
        replica="store-2.1",
        at_ms=start_ms + 30 * hour,
    )
    log.append(command("4", count(TEA, -90, 4), declared_as="sell"), at_ms=start_ms + 31 * hour)
    log.append(
        command("5", priced(410, 5, store_1__1=3, ms=NOW_MS + 12), declared_as="reprice"),
        at_ms=start_ms + 31 * hour + 1,
    )
    log.append(command("7", count(TEA, 1, 3, "store-2.1")), replica="store-2.1", at_ms=start_ms + 31 * hour + 2)
    console.history.look()
    console.lags.lag = Lag(6, 2, now_ms() - 95_000)
    console.workers.found = [Worker("cellar-1", "10.0.0.7", (0, 2)), Worker("cellar-2", "10.0.0.8", (1,))]
    console.desk.flow.try_look()


async def shown(console: Console, agent: EdgeAgent) -> list[str]:
    """A console with something on every page; their addresses."""
    await agent.run("reprice", store="s1", sku="tea", price=420)
    record = conflict(
        DocumentId("Stock", "s1", "a" * 90),
        "",
        version({"a": 1, "b": "x" * 200}),
        version({"a": 2, "b": "y"}, "b.abcdefgh"),
    )
    one = conflict(deadline_ms=time.time_ns() // 1_000_000 - 3_600_000)
    told(console)
    await console.opened(one, record, conflict(DocumentId("Stock", "s1", "milk"), status=ConflictStatus.RECORDED))
    console.fleet.seen = seen(
        member("till-7", review=2, clock_skew_ms=90_000),
        member("truck-1", heard=False),
        says("kiosk-3", REVIEW, REJECTED, review=2),
        member("store-1"),
        set_aside=(quarantined(),),
    )
    console.people.add("carol", [Right.DECIDE])
    carol = console.people.named("carol")
    assert carol is not None
    claim = console.desk.claims.made(one, ClaimKind.CLAIMED, carol, "bob", 4, "he knows the shelf")
    console.fleet.claims = {one.id: Held(claim, claim.until_ms)}
    group, spread = await decided_together(console), await seen_by_some(console, agent)
    await console.opened(*nearly_always_the_larger("sugar", count=40))
    held, undone = await held_back(console)
    return [
        "/inbox", "/inbox?which=settled", "/inbox?which=decided", f"/conflicts/{one.id}", f"/conflicts/{record.id}",
        "/inbox/devices/kiosk-3/c-1", "/inbox/groups", "/inbox/group?device=till-7", group, "/inbox/groups/decided", spread, "/inbox/rules",
        "/inbox/rule?collection=Stock&field=price&rule=larger", "/waiting",
        "/waiting/retail/0%3A17", "/fleet", "/fleet/till-7", "/fleet/store-1",
        "/documents", "/documents/Stock/s1", "/documents/Stock/s1/tea", "/documents/Stock/s1/tea?at=2", "/flow",
        "/flow/retail/0?hours=6", "/notices", "/nothing", held, undone,
        "/sign-in",
    ]  # fmt: skip


async def held_back(console: Console) -> tuple[str, str]:
    """The page of a decision that is held, and of one that was undone."""
    anna, holding = Person("anna", "", (Right.DECIDE,)), console.desk.holding
    ones = [conflict(DocumentId("Stock", "s1", name)) for name in ("honey", "jam")]
    await console.opened(*ones)
    holding._undo_seconds = 600.0
    for one in ones:
        await holding.decide(one, 405, anna, mark(one), 0, "as on the shelf")
    undone = holding.of(ones[1])
    assert undone is not None
    holding.undo(ones[1].id, undone.id, anna)
    return f"/conflicts/{ones[0].id}", f"/conflicts/{ones[1].id}"


async def decided_together(console: Console) -> str:
    """The page of a group that somebody has decided."""
    console.people.add("bob", [Right.DECIDE])
    bob, wanted = console.people.named("bob"), Filter(scope="s1")
    assert bob is not None
    lines = console.desk.inbox.matching("settled", wanted, bob.sees)
    reason, groups = "as on the shelf", console.desk.groups
    name = groups.ask(bob, "settled", wanted, lines, mark_of_all(lines), STANDING, reason)
    await until(lambda: groups.memory.tally(name, None).decided == 1)
    return f"/inbox/groups/decided/{name}"


async def seen_by_some(console: Console, agent: EdgeAgent) -> str:
    """The page of a decision that two devices have seen, and one not yet."""
    answer = await agent.run("reprice", store="s1", sku="rice", price=405, wait="merged", seconds=20)
    (_, replica, seq), one = answer.dots[0], conflict(DocumentId("Stock", "s1", "rice"))
    await console.opened(one)
    by = version(405, replica, seq, actor="anna", how="page", reason="as on the shelf")
    over = replace(one, status=ConflictStatus.RESOLVED, decided_by=by)
    await console.opened(over)
    landing = console.desk.landings.of(over)
    assert landing is not None
    devices = {"till-7": landing.position, "office": landing.position, "truck-2": 0}
    told = [member(name, applied={landing.place: position}) for name, position in devices.items()]
    others = [one for one in console.fleet.seen.members or () if one.device.device_id not in devices]
    console.fleet.seen = replace(console.fleet.seen, members=(*others, *told))
    return f"/conflicts/{one.id}"


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_page_keeps_axe_cores_rules_and_fits_a_phone(
    console: Console, agent: EdgeAgent, browser: Browser, url: str, scheme: Any
) -> None:
    paths = await shown(console, agent)
    context = await browser.new_context(color_scheme=scheme, viewport={"width": 360, "height": 740})
    page = await signed_in(context, url, console.people.add("anna", list(Right)))
    axe, faults = Axe(), []
    for path in paths:
        await page.goto(url + path)
        found = (await axe.run(page, options=RULES)).response
        for kind in ("violations", "incomplete"):
            for rule in found[kind]:
                for node in rule["nodes"]:
                    faults.append((path, kind, rule["id"], node["html"][:120], node.get("failureSummary", "")[:200]))
        wide = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{path} is wider than a phone by {wide}"
    assert faults == []


@pytest.mark.skipif(SCREENS is None, reason=f"to take pictures of each page, name a folder in {SCREENS_VARIABLE}")
async def test_pictures_of_each_page(console: Console, agent: EdgeAgent, browser: Browser, url: str) -> None:
    paths = await shown(console, agent)
    await console.opened(*(conflict(DocumentId("Stock", "s1", name)) for name in ("coffee", "cocoa", "sugar")))
    context = await browser.new_context(viewport={"width": 1100, "height": 640})
    page = await signed_in(context, url, console.people.add("anna", list(Right)))
    names = (
        "inbox settled decided conflict record waiting-command groups group group-decided groups-decided decision rules rule set-aside thing fleet device device-lately "
        "documents collection document moment flow partition notices problem held undone sign-in"
    )
    for path, name in zip(paths, names.split(), strict=True):
        await page.goto(url + path)
        assert SCREENS is not None, "or this is skipped"
        await page.screenshot(path=f"{SCREENS}/{name}.png", full_page=True)


async def test_a_group_is_decided_by_keyboard_and_undone(
    console: Console, agent: EdgeAgent, browser: Browser, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(console.desk.groups, "_undo_seconds", 600.0)
    names = [f"sku-{number}" for number in range(4)]
    ones = [conflict(DocumentId("Stock", "s1", name)) for name in names]
    await console.opened(*ones)
    page = await signed_in(await browser.new_context(), url, console.people.add("anna", [Right.DECIDE]))
    await page.goto(f"{url}/inbox/groups")
    await expect(page.get_by_label("Single-key shortcuts")).to_be_checked()
    await page.keyboard.press("j")
    assert await focused(page) == "store-2"
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/inbox/group?*")
    await page.get_by_label("What is to stand").select_option(label="what store-2 wrote (in 4 of 4)")
    await page.get_by_role("button", name="Decide all 4, as anna").press("Enter")
    await expect(page.get_by_text("Nothing is decided yet")).to_be_visible()
    await page.get_by_role("button", name="Undo: decide none of them").press("Enter")
    await expect(page.get_by_role("heading", name="Undone: none of 4 was decided")).to_be_visible()
    assert not any(console.desk.deciding.made(one) for one in ones)

    monkeypatch.setattr(console.desk.groups, "_undo_seconds", 0.0)
    await page.go_back()
    await page.goto(f"{url}/inbox/group?scope=s1")
    await page.get_by_role("button", name="Decide all 4, as anna").press("Enter")
    await expect(page.get_by_role("heading", name="4 of 4 decided")).to_be_visible()  # told as it goes, not asked for


async def test_a_document_is_followed_through_time_by_keyboard_and_without_scripts(
    console: Console, agent: EdgeAgent, browser: Browser, url: str
) -> None:
    told(console)
    context = await browser.new_context(java_script_enabled=False)
    page = await context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    await page.goto(f"{url}/documents/Stock/s1/tea")
    await page.get_by_label("Your token").fill(console.people.add("anna"))
    await page.get_by_role("button", name="Sign in").click()
    slider = page.get_by_role("slider")
    await slider.focus()
    for _ in range(4):
        await page.keyboard.press("ArrowLeft")
    await page.get_by_role("button", name="Show what it was then").click()
    await expect(page).to_have_url(f"{url}/documents/Stock/s1/tea?at=1#value")
    await expect(page.locator(".then")).to_contain_text("400")
    await expect(page.locator(".later")).to_have_count(8)
    assert await slider.input_value() == "2"
    node = page.locator("#n2-0")
    await node.focus()
    await page.keyboard.press("Enter")
    await expect(page).to_have_url(f"{url}/documents/Stock/s1/tea?at=1#s2-0")
    await expect(page.locator("#s2-0")).to_contain_text("Bob at store-2")
    await page.locator("#s2-0").get_by_role("link", name=re.compile("in the picture")).click()
    await expect(page).to_have_url(f"{url}/documents/Stock/s1/tea?at=1#n2-0")
