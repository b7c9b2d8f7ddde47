"""A report of two hundred pages through edges and cloud, up to the bound of a document, which keeps its record under a mebibyte."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from driftlog_crdt import Text
from driftlog_schemas.state_codec import StateCodec
from tests.integration.conftest import LoadRun
from tests.load import pages
from tests.load.app import COLLECTION
from tests.load.checker import latest_by_key
from tests.load.edges import EdgeProcess
from tests.load.pages import PAGES
from tests.load.waiting import until

pytestmark = pytest.mark.broker

PLACE, REPORT = "market", "report"
PAGE = 2_000
BOUND = Text.max_bytes
RECORD = 1 << 20


def page(number: int) -> str:
    """So many characters that say which page it is."""
    return f"[{number:03}]".ljust(PAGE, "abcdefgh"[number % 8])


def text(edge: EdgeProcess) -> str:
    value = edge.find(PLACE, REPORT)
    return "" if value is None else str(value[PAGES])


def put(edge: EdgeProcess, position: int, what: str) -> dict[str, Any]:
    return edge.write(PLACE, REPORT, PAGES, "insert", position, what)


def await_same(*edges: EdgeProcess) -> str:
    """Wait until nothing is pending and all show the same; what they show."""
    for edge in edges:
        edge.await_quiet(180)
    until(lambda: len({text(edge) for edge in edges}) == 1, "all edges show the same", 90)
    return text(edges[0])


def test_a_report_of_two_hundred_pages_is_written_together_up_to_its_bound(on_broker: Callable[..., LoadRun]) -> None:
    run = on_broker()
    run.place = replace(run.place, app="tests.load.pages:app")
    with run.worker("only") as worker, run.edge(0, PLACE) as writer, run.edge(1, PLACE) as reviewer:
        for number in range(150):
            put(writer, number * PAGE, page(number))
        await_same(writer, reviewer)

        reviewer.go_offline(True)
        put(reviewer, 7 * PAGE + 5, "<seven>")
        reviewer.write(PLACE, REPORT, PAGES, "delete", 100 * PAGE + 7, PAGE)
        put(reviewer, 0, "<title>")
        for number in range(150, 200):
            put(writer, number * PAGE, page(number))
        writer.write(PLACE, REPORT, PAGES, "delete", 3 * PAGE, PAGE)
        reviewer.go_offline(False)
        whole = [page(number) for number in range(200) if number not in (3, 100)]
        whole[6] = whole[6][:5] + "<seven>" + whole[6][5:]
        assert await_same(writer, reviewer) == "<title>" + "".join(whole)

        # Two go to the bound, neither of them over it: together they would be.
        room = BOUND - len(text(writer))
        reviewer.go_offline(True)
        writer.go_offline(True)
        ours, theirs = put(writer, 0, "w" * (room * 2 // 3)), put(reviewer, 0, "r" * (room * 2 // 3))
        before = text(writer)
        with pytest.raises(AssertionError) as refused:
            put(writer, 0, "x" * (room * 2 // 3))
        for word in ("413", "no room for this", f"at most {BOUND} are declared", f'"{PAGES}"'):
            assert word in str(refused.value)
        assert text(writer) == before
        writer.go_offline(False)
        writer.await_quiet(180)
        reviewer.go_offline(False)
        assert await_same(writer, reviewer) == before
        assert _status(writer, ours)["status"] == "merged"
        told = _status(reviewer, theirs)
        assert told["status"] == "rejected"
        assert f"would be over {BOUND} bytes with this in {PAGES}" in str(told)
        put(reviewer, 0, "short")
        writer.write(PLACE, REPORT, "hits", "increment", 1)
        assert await_same(writer, reviewer) == "short" + before
        run.group.await_drained(60)
        assert worker.stop() == 0
    records = latest_by_key(run.history().state)
    (record,) = [r for key, r in records.items() if REPORT in key.decode()]
    assert record.value is not None and BOUND < len(record.value) < RECORD
    declared = pages.declare(run.space.name).contract.spaces[run.space.name]
    row = StateCodec(declared.collections[COLLECTION], run.ids).decode_row(record.value)
    assert (row[PAGES], row["hits"]) == ("short" + before, 1)


def _status(edge: EdgeProcess, answer: dict[str, Any]) -> dict[str, Any]:
    return dict(edge._json("GET", f"/v1/commands/{answer['command_id']}"))
