"""Two releases of one app at once, under load: workers and edges are changed and taken back in mixed order, and nothing is lost.

What is acknowledged counts once in the end, at all edges and in the state topic, whichever release took it, sent it or merged it. What a worker of the
other release cannot take is deferred, and taken when one comes that can; what an edge of the other release cannot read it keeps until it can.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import pytest

from driftlog_schemas.contract import CollectionContract
from driftlog_schemas.identity import DocumentId, document_key
from driftlog_schemas.state_codec import StateCodec
from tests.integration.conftest import LoadRun
from tests.load import app as this_release
from tests.load import next_release
from tests.load.app import COLLECTION
from tests.load.checker import latest_by_key
from tests.load.edges import EdgeProcess
from tests.load.next_release import TALLY
from tests.load.till import ITEMS, NAMED, NAMELESS, PLACE, TAGGED, Said, Till
from tests.load.waiting import until
from tests.load.workers import WorkerProcess

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.timeout(1800), pytest.mark.deep]

OLD, NEW = "tests.load.app:app", "tests.load.next_release:app"
PATIENCE = 500.0
"""What was deferred is tried again after pauses that double."""


def test_two_releases_at_once_lose_nothing(on_broker: Callable[..., LoadRun]) -> None:
    run = on_broker()
    with ExitStack() as ends:

        def worker(slot: str, release: str) -> WorkerProcess:
            return ends.enter_context(WorkerProcess(replace(run.place, app=release), slot))

        def till(number: int) -> Till:
            def made(release: str) -> EdgeProcess:
                return EdgeProcess(replace(run.place, app=release), run.edges[number], [PLACE])

            found = Till(f"till-{number}", made, OLD, NEW)
            ends.callback(found.close)
            found.start()
            return found

        def goes_on() -> None:
            for till in tills:
                till.goes_on()

        def change_worker(slot: str, release: str) -> None:
            workers[slot].stop()
            workers[slot] = worker(slot, release)
            goes_on()

        def change_till(number: int, release: str) -> None:
            tills[number].change(release)
            goes_on()

        workers = {slot: worker(slot, OLD) for slot in ("a", "b")}
        tills = [till(0), till(1)]
        goes_on()
        change_till(0, NEW)  # an edge before any worker
        change_worker("a", NEW)
        change_till(1, NEW)
        change_till(0, OLD)  # and back: what it has of the newer release it keeps, unread or unsent
        change_worker("a", OLD)  # the same in the cloud
        change_worker("b", NEW)
        change_till(0, NEW)
        change_worker("b", OLD)
        for one in tills:  # nobody tags any more: what was tagged is taken before the last who knows tags goes
            until(lambda: not one.undecided("tag"), "the tags are taken", PATIENCE, one.edge.tail)  # noqa: B023
        change_worker("a", NEW)
        change_worker("b", NEW)
        for one in tills:
            one.stop()

        for one in tills:
            one.edge.await_quiet(PATIENCE)
            assert not one.undecided()
        run.group.await_drained(60)
        said = tills[0].said + tills[1].said
        assert {one.what for one in said} == {"hit", "miss", "name", "unname", "tag"}
        assert_counted(run, tills, said)
        tills[0].change(OLD)  # what the newer release does not declare was carried along
        assert_tagged(run, tills[0].edge, said)


def assert_counted(run: LoadRun, tills: list[Till], said: list[Said]) -> None:
    """Every edge and the state topic say what was acknowledged, and the same of what several have written."""
    times = Counter((one.what, one.item) for one in said)
    misses = sum(count for (what, _), count in times.items() if what == "miss")
    wanted: dict[tuple[str, str], dict[str, object]] = {
        (COLLECTION, item): {"hits": times["hit", item], "misses": times["miss", item]} for item in ITEMS
    }
    wanted[TALLY, "today"] = {"count": misses}
    wanted[COLLECTION, NAMED] = {"label": topic_row(run, next_release, COLLECTION, NAMED)["label"]}
    assert wanted[COLLECTION, NAMED]["label"] in {one.value for one in said if one.what == "name"}
    wanted[COLLECTION, NAMELESS] = {"label": None}
    for (collection, id), fields in wanted.items():
        assert topic_row(run, next_release, collection, id).items() >= fields.items()
    for till in tills:
        for (collection, id), fields in wanted.items():
            until(
                lambda: value(till.edge, collection, id).items() >= fields.items(),  # noqa: B023
                f"{collection}/{id} says {fields}",
                60,
                lambda: f"{value(till.edge, collection, id)}{till.edge.tail()}",  # noqa: B023
            )
        status = till.edge.status()
        assert (status["problem"], status["scopes"][PLACE]["not_readable"]) == ("", 0)


def assert_tagged(run: LoadRun, edge: EdgeProcess, said: list[Said]) -> None:
    tags = {one.value for one in said if one.what == "tag"}
    until(lambda: set(value(edge, COLLECTION, TAGGED)["tags"]) == tags, "all tags are there", 60, edge.tail)
    contract = this_release.declare(run.space.name).contract.spaces[run.space.name].collections[COLLECTION]
    state = StateCodec(contract, run.ids).decode(topic_value(run, COLLECTION, TAGGED))
    assert set(contract.document.field_value(state, "tags")) == tags


def value(edge: EdgeProcess, collection: str, id: str) -> dict[str, Any]:
    """What an edge says of a document; nothing while it cannot."""
    answer = edge.client().get(f"/v1/documents/{collection}/{PLACE}/{id}")
    return dict(answer.json()["value"]) if answer.is_success else {}


def topic_row(run: LoadRun, release: Any, collection: str, id: str) -> dict[str, object]:
    """A document as any Kafka tool sees it, by a release's schema."""
    contract: CollectionContract = (
        release.declare(run.space.name).contract.spaces[run.space.name].collections[collection]
    )
    return StateCodec(contract, run.ids).decode_row(topic_value(run, collection, id))


def topic_value(run: LoadRun, collection: str, id: str) -> bytes:
    found = latest_by_key(run.history().state)[document_key(DocumentId(collection, PLACE, id))]
    assert found.value is not None
    return found.value
