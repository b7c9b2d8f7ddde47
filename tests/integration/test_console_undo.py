"""Decisions that a console holds so that they can be undone, on a real broker: what becomes of them when it is stopped, is killed, and has no room."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from driftlog_console.people import People, Right
from tests.integration.conftest import LoadRun
from tests.integration.test_edges import PLACE, await_equal
from tests.load.console import ConsoleProcess
from tests.load.edges import EdgeProcess
from tests.load.waiting import until
from tests.small_disk import fill, small_disk

__all__ = ["small_disk"]

pytestmark = [pytest.mark.broker, pytest.mark.slow]

UNDO_SECONDS = "DRIFTLOG_UNDO_SECONDS"
LOST = "was not sent: the console ended"


class Dispute(NamedTuple):
    """Two names for one item."""

    item: str
    address: str
    stands: str
    other: str


def disputed(store: EdgeProcess, office: EdgeProcess, *items: str) -> list[Dispute]:
    """Each item named by both, neither having seen the other."""
    for item in items:
        store.do("hit", place=PLACE, item=item, wait="merged")
    until(lambda: all(office.find(PLACE, item) for item in items), "the other one knows the items", 60)
    store.go_offline(True)
    for item in items:
        store.do("name", place=PLACE, item=item, label="green")
        office.do("name", place=PLACE, item=item, label="white", wait="merged")
    store.go_offline(False)
    store.await_quiet()
    until(lambda: len(store.conflicts()) == len(office.conflicts()) == len(items), "both know of the disputes", 90)
    found = {one["document_id"]: one for one in store.conflicts()}
    return [_dispute(item, found[item]) for item in items]


def _dispute(item: str, told: dict[str, object]) -> Dispute:
    versions = told["versions"]
    assert isinstance(versions, list)
    stands, other = (str(version["value"]) for version in versions)
    return Dispute(item, f"/conflicts/{told['id']}", stands, other)


def take(console: ConsoleProcess, dispute: Dispute, token: str = "") -> httpx.Response:
    """Click on the button of the version that does not stand."""
    page = console.page(dispute.address, token)
    mark, times = (re.findall(rf'name="{name}" value="([^"]+)"', page)[0] for name in ("mark", "times"))
    choice = re.findall(r'name="choice" value="([^"]+)" data-version="2"', page)[0]
    return console.send(dispute.address, token, mark=mark, times=times, choice=choice)


def hold(console: ConsoleProcess, dispute: Dispute, token: str = "") -> str:
    """Take the other version; the name under which the page says that it is held."""
    answer = take(console, dispute, token)
    assert answer.status_code == 303, answer.text
    return re.findall(r'name="asked" value="([^"]+)"', console.page(dispute.address, token))[0]


def given(console: ConsoleProcess, dispute: Dispute) -> bool:
    """Was what was held decided as the console stopped, or does its page say that it was not? The store's log may have room on a full disk."""
    said = (f"<h2>Decided: {dispute.other}</h2>", "operator had decided")
    page = ""

    def told() -> bool:
        nonlocal page
        page = console.page(dispute.address)
        return any(word in page for word in said)

    until(told, f"the page of {dispute.item} says what became of it", 60, console.tail)
    assert ("was not sent" in page) == (said[1] in page)
    return said[1] not in page


def shows(console: ConsoleProcess, dispute: Dispute, text: str) -> None:
    """Wait until its page says this."""
    until(lambda: text in console.page(dispute.address), f"the page of {dispute.item} says: {text}", 60, console.tail)


def test_what_is_held_is_sent_at_a_stop_and_said_to_be_unsent_after_a_kill(on_broker: Callable[..., LoadRun]) -> None:
    run = on_broker()
    with run.worker("only") as worker, run.edge(0, PLACE) as store, run.edge(1, PLACE) as office:
        tea, rice, salt = disputed(store, office, "tea", "rice", "salt")
        console = ConsoleProcess(run.place, run.edges[2], [PLACE])
        console.environment[UNDO_SECONDS] = "600"
        with console:
            until(lambda: "Item salt" in console.page("/inbox?which=settled"), "the disputes are known", 60)
            bob = People(console.data).add("bob", [Right.DECIDE])
            page = console.page(tea.address)
            hold(console, tea)
            late = {name: re.findall(rf'name="{name}" value="([^"]+)"', page)[0] for name in ("mark", "times")}
            second = console.send(tea.address, bob, choice="write", value="black", **late)
            assert (second.status_code, "operator has decided it already" in second.text) == (409, True)
            hold(console, rice, bob)
            name = hold(console, salt)
            assert console.send(f"{salt.address}/undo", do="undo", asked=name).status_code == 303
            assert {
                edge.read(PLACE, one.item)["value"]["label"] for edge in (store, office) for one in (tea, rice)
            } == {
                tea.stands,
                rice.stands,
            }, "nobody has got anything of it"
            stream = httpx.Client(trust_env=False, headers={"authorization": f"Bearer {bob}"})
            with stream, stream.stream("GET", f"{console.url}/live", timeout=60) as live:
                assert live.status_code == 200
                assert console.stop() == 0

            console.start()
            await_equal(store, office, item="tea", label=tea.other)
            await_equal(store, office, item="rice", label=rice.other)
            await_equal(store, office, item="salt", label=salt.stands)
            for one, who in ((tea, "operator"), (rice, "bob")):
                shows(console, one, f"By {who} at ")
                assert LOST not in console.page(one.address)
            assert "operator had decided, and operator has undone it" in console.page(salt.address)

            hold(console, salt)
            console.kill()
            for _ in range(2):  # it is not forgotten by the next one either
                console.start()
                shows(console, salt, LOST)
                assert console.stop() == 0
            assert store.read(PLACE, "salt")["value"]["label"] == salt.stands
            console.environment[UNDO_SECONDS] = "0.2"
            console.start()
            assert take(console, salt).status_code == 303
            await_equal(store, office, item="salt", label=salt.other)
            shows(console, salt, "By operator at ")
            assert LOST not in console.page(salt.address)
            assert console.stop() == 0
        run.group.await_drained(60)
        assert worker.stop() == 0
    found = run.judge(others=12)
    assert found.good, found


@pytest.mark.deep
def test_on_a_full_disk_nothing_is_held_and_what_was_is_decided_or_said_to_be_unsent(
    on_broker: Callable[..., LoadRun], small_disk: Path, tmp_path: Path
) -> None:
    run = on_broker()
    with run.worker("only") as worker, run.edge(0, PLACE) as store, run.edge(1, PLACE) as office:
        tea, rice = disputed(store, office, "tea", "rice")
        console = ConsoleProcess(replace(run.place, folder=small_disk), run.edges[2], [PLACE])
        console.log = tmp_path / "console.log"
        console.environment[UNDO_SECONDS] = "600"
        with console:
            until(lambda: "Item rice" in console.page("/inbox?which=settled"), "the disputes are known", 60)
            hold(console, tea)
            fill(small_disk / "others")
            refused = take(console, rice)
            assert (refused.status_code, "give the disk room" in refused.text) == (503, True), refused.text
            assert "Undo:" not in console.page(rice.address), "it is not held"
            assert console.stop() == 0, console.tail()
            (small_disk / "others").unlink()
            console.start()
            if not given(console, tea):
                hold(console, tea)
            hold(console, rice)
            assert console.stop() == 0
            console.start()
            await_equal(store, office, item="tea", label=tea.other)
            await_equal(store, office, item="rice", label=rice.other)
            assert console.stop() == 0
        assert worker.stop() == 0
