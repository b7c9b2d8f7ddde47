"""An empty queue is not proof: rows that went wrong in an agent's folder are found, counted and mended, and `driftlog verify` says so."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from typing import Any

import pytest

from driftlog_edge.ports import Family
from driftlog_edge.store import keys
from driftlog_edge.store.rocks import RocksStore
from driftlog_schemas.identity import DocumentId, document_key
from driftlog_schemas.partitioning import partition_of
from tests.copies import ended
from tests.integration.conftest import LoadRun
from tests.load.app import COLLECTION, PARTITIONS
from tests.load.edges import EdgeProcess
from tests.load.waiting import until
from tests.load.workers import CHECKOUT

pytestmark = pytest.mark.broker

PLACE, OTHER = "market", "harbour"
ITEMS = [f"item-{n}" for n in range(8)]


def verified(run: LoadRun, edge: EdgeProcess, *options: str) -> tuple[int, dict[str, Any], str]:
    """Exit code, the line of each scope, and what was said of a failure."""
    words = ["verify", "--url", edge.url, "--bootstrap", run.bootstrap, "--registry", run.place.registry_url, "--json"]
    environment = {**os.environ, "DRIFTLOG_EDGE_TOKEN_FILE": str(edge.replica / "token")}
    done = ended([*words, *options], CHECKOUT, environment)
    assert done.stdout, done.stderr
    return done.returncode, {line["scope"]: line for line in json.loads(done.stdout)}, done.stderr


def damaged(run: LoadRun, edge: EdgeProcess) -> None:
    """In the folder of an agent that is stopped one row is lost, and one is another document's."""
    store = RocksStore(edge.replica)
    rows = keys.confirmed_prefix(run.space.name, partition_of(PLACE, PARTITIONS), 0)
    lost, wrong, other = (rows + document_key(DocumentId(COLLECTION, PLACE, item)) for item in ITEMS[:3])
    assert store.get(Family.CONFIRMED, lost) is not None
    store.write(
        {(Family.CONFIRMED, lost): None, (Family.CONFIRMED, wrong): store.get(Family.CONFIRMED, other)}, sync=True
    )
    store.close()


def test_rows_that_went_wrong_are_found_and_mended(on_broker: Callable[..., LoadRun]) -> None:
    run = on_broker()
    with run.worker("a"), run.edge(0, PLACE, OTHER) as edge:
        for number, item in enumerate(ITEMS):
            edge.do("hit", place=PLACE, item=item, times=number + 1)
            edge.do("hit", place=OTHER, item=item, times=1)
        edge.await_quiet()
        code, lines, said = verified(run, edge)
        assert code == 0, f"{lines} {said}"
        assert {line["verdict"] for line in lines.values()} == {"same"} and lines[PLACE]["documents"] == len(ITEMS)

        writing = threading.Event()

        def write() -> None:
            while not writing.is_set():
                edge.do("hit", place=OTHER, item="busy", times=1)

        writer = threading.Thread(target=write)
        writer.start()
        try:
            code, lines, said = verified(run, edge)
        finally:
            writing.set()
            writer.join()
        assert code == 0, f"while writes go on: {lines} {said}"
        edge.await_quiet()

        edge.go_offline(True)  # over the restart, so that nothing is mended before it was looked at
        assert edge.stop() == 0
        damaged(run, edge)
        edge.start()
        until(lambda: edge.status()["scopes"][PLACE]["differs"], "its rows are counted", 60, edge.tail)
        code, lines, said = verified(run, edge)
        assert code == 1 and f"{PLACE} in" in said and "different" in said, said
        assert (lines[PLACE]["verdict"], lines[OTHER]["verdict"]) == ("different", "same")
        assert edge.find(PLACE, ITEMS[0]) is None

        edge.go_offline(False)
        until(lambda: edge.status()["mismatches"] == 1, "it is counted", 90, edge.tail)
        until(lambda: not edge.status()["scopes"][PLACE]["differs"], "it is mended", 60, edge.tail)
        assert [edge.find(PLACE, item) or {} for item in ITEMS] == [
            {"place": PLACE, "item": item, **(edge.find(PLACE, item) or {}), "hits": number + 1}
            for number, item in enumerate(ITEMS)
        ]
        assert "driftlog_edge_digest_mismatches 1.0" in edge.client().get("/metrics").text
        assert edge.status()["differing"] == []
        code, lines, said = verified(run, edge)
        assert code == 0, f"{lines} {said}"
