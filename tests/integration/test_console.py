"""The console on a real broker: a real conflict of two agents, decided by keyboard in a real browser, and seen on both."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import expect, sync_playwright

from tests.integration.conftest import LoadRun
from tests.integration.test_edges import PLACE, await_equal
from tests.load.console import ConsoleProcess
from tests.load.edges import EdgeProcess
from tests.load.waiting import until
from tests.unit.console.test_browser import CHROMIUM, QUIET

pytestmark = pytest.mark.broker


def disputed(store: EdgeProcess, office: EdgeProcess) -> str:
    """Two names for one item, neither writer having seen the other; the one that stands."""
    store.do("hit", place=PLACE, item="tea", wait="merged")
    until(lambda: office.find(PLACE, "tea") is not None, "the other one knows the item", 60)
    store.go_offline(True)
    store.do("name", place=PLACE, item="tea", label="green")
    office.do("name", place=PLACE, item="tea", label="white", wait="merged")
    store.go_offline(False)
    store.await_quiet()
    until(lambda: len(store.conflicts()) == len(office.conflicts()) == 1, "both know of the dispute", 90)
    return str(office.read(PLACE, "tea")["value"]["label"])


def by_keyboard(console: ConsoleProcess) -> None:
    """Sign in, open the conflict, take the other version."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        page = browser.new_page()
        page.set_default_timeout(60_000)
        page.goto(f"{console.url}/inbox?which=settled")
        expect(page.get_by_label("Your token")).to_be_focused(timeout=60_000)
        page.keyboard.type(console.token)
        page.keyboard.press("Enter")
        page.wait_for_url("**/inbox?which=settled")
        expect(page.get_by_label("Single-key shortcuts")).to_be_checked(timeout=60_000)
        expect(page.get_by_role("link", name="Item tea")).to_be_visible(timeout=60_000)
        page.keyboard.press("j")
        page.keyboard.press("Enter")
        page.wait_for_url("**/conflicts/*")
        expect(page.get_by_label("Single-key shortcuts")).to_be_checked(timeout=60_000)
        page.keyboard.press("2")
        page.keyboard.press("Enter")
        # The story does not end at the click: the page follows it until the cloud has told of the end, and says who it was.
        expect(page.get_by_role("heading", name=re.compile("^Decided: "))).to_be_visible(timeout=90_000)
        expect(page.get_by_text("By operator at ")).to_be_visible(timeout=60_000)
        browser.close()


def moments(console: ConsoleProcess) -> list[str]:
    """The moments of the item's history by their addresses, the newest first."""
    return re.findall(r"\?at=(\d+)#value", console.page(f"/documents/Item/{PLACE}/tea"))


def listed(console: ConsoleProcess, edge: EdgeProcess, offset: str) -> bool:
    """Does the device's page have the command that was logged there, and a receipt of its life?"""
    name = edge.device.device_id
    page = console.page(f"/fleet/{name}")
    there = f"/documents/Item/{PLACE}/tea?at={offset}#value" in page
    return there and 'data-label="Became">accepted' in page and f'data-label="Life">{name}.' in page


def claimed(first: ConsoleProcess, second: ConsoleProcess, conflict_id: str) -> None:
    """Say on one console who looks after it: the other one knows, and the first when it has started again."""
    address, told = f"/conflicts/{conflict_id}", "<b>operator</b> looks after it until"
    answer = first.send(f"{address}/claim", do="claim", hours="4", note="at the shelf")
    assert answer.status_code == 303, answer.text
    until(lambda: told in second.page(address), "the other console knows", 60, second.tail)
    assert first.stop() == 0
    first.start()
    until(lambda: told in first.page(address), "it outlived the console", 60, first.tail)
    assert second.send(f"{address}/claim", do="release").status_code == 303
    until(lambda: "Nobody has said so" in first.page(address), "who let go of it is told too", 60, first.tail)


@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine: apt install chromium")
def test_a_real_conflict_is_decided_by_keyboard_and_seen_on_both_agents(on_broker: Callable[..., LoadRun]) -> None:
    run = on_broker()
    with run.worker("only") as worker, run.edge(0, PLACE) as store, run.edge(1, PLACE) as office:
        stands = disputed(store, office)
        other = {"green": "white", "white": "green"}[stands]
        with ConsoleProcess(run.place, run.edges[2]) as console:  # it finds the scope by itself
            with ConsoleProcess(run.place, run.edges[3], [PLACE], "second") as second:
                claimed(console, second, store.conflicts()[0]["id"])
                assert second.stop() == 0
            by_keyboard(console)
            await_equal(store, office, item="tea", label=other)
            until(lambda: not store.conflicts() and not office.conflicts(), "the dispute is over", 90)
            for edge in (store, office):  # of many: this broker is the session's
                name = edge.device.device_id
                assert f'href="/fleet/{name}"' in console.page(f"/fleet?name={name}")
            assert "Item tea" in console.page("/inbox?which=decided")
            assert "operator" in console.page("/inbox?which=decided")
            until(lambda: len(moments(console)) == 4, "all four changes are in the history", 60)
            newest, *_, oldest = moments(console)
            until(lambda: ">only " in console.page("/fleet"), "the fleet has the worker", 60, console.tail)
            assert "No worker has" not in console.page("/fleet")
            until(lambda: listed(console, store, oldest), "the device's page has what it sent, and its receipt", 60)
            assert f"{other}</b>" in console.page(f"/documents/Item/{PLACE}/tea?at={newest}")
            assert "<dt>label</dt><dd>(empty text)" in console.page(f"/documents/Item/{PLACE}/tea?at={oldest}")
            run.group.await_drained(60)
            assert worker.stop() == 0
            until(lambda: "No worker has partitions 0" in console.page("/fleet"), "that nobody merges is said", 60)
            assert console.stop() == 0
        with ConsoleProcess(run.place, run.edges[2]) as again:  # what it has read it still knows
            assert moments(again)[-1] == oldest
            assert again.stop() == 0
    found = run.judge(others=4)
    assert found.good, found


def test_a_console_without_anything_to_show_says_what_to_do(on_broker: Callable[..., LoadRun]) -> None:
    run = on_broker()
    console = ConsoleProcess(run.place, run.edges[2])
    with pytest.raises(RuntimeError, match="no scope has a document yet; name those to show with --scope"):
        console.start()
    with ConsoleProcess(run.place, run.edges[2], [PLACE]) as told:
        assert "Nothing waits here" in told.page("/inbox")
        assert told.stop() == 0
