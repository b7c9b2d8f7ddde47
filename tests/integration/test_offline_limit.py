"""A device comes back after longer than a collection allows: what it wrote there waits for a person, on a real broker."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from typer.testing import CliRunner

from driftlog.cli.edge import app as cli
from tests.integration.conftest import LoadRun
from tests.load.waiting import until

pytestmark = pytest.mark.broker

PLACE = "market"


def test_it_waits_until_somebody_applies_it(on_broker: Callable[..., LoadRun], monkeypatch: pytest.MonkeyPatch) -> None:
    run = on_broker()
    with run.worker("only"), run.edge(0, PLACE) as edge:
        edge.do("hit", place=PLACE, item="tea", wait="merged")  # in step before anything must not wait for it
        edge.do("offer", place=PLACE, offer="tea", price=1, wait="merged")
        edge.go_offline(True)
        left = edge.status()["snapshot"]
        assert 29 * 86_400 < left["needed_in_seconds"] <= 30 * 86_400 and left["warning"] == "", "as the topic says"
        edge.do("offer", place=PLACE, offer="tea", price=2, key="old-price")
        edge.do("offer", place=PLACE, offer="milk", price=3, key="not-wanted")
        edge.do("hit", place=PLACE, item="tea", times=5, key="no-limit")
        assert edge.command("no-limit")["waiting_for"] == "network"
        until(lambda: edge.status()["scopes"][PLACE]["age_seconds"] > 20.5, "it is away for too long", 60)
        edge.kill()
        edge.start()
        edge.go_offline(False)
        edge.await_quiet()

        assert edge.command("no-limit")["status"] == "merged"
        for key in ("old-price", "not-wanted"):
            told = edge.command(key)
            assert (told["status"], told["code"]) == ("review", "offline_too_long")
            assert told["waiting_for"] == "review"
        assert edge.offer(PLACE, "tea")["price"] == 1, "what the cloud has"
        monkeypatch.setenv("DRIFTLOG_EDGE_TOKEN_FILE", str(edge.replica / "token"))
        listed = CliRunner().invoke(cli, ["review", "list", "--url", edge.url])
        assert "old-price" in listed.output, listed.output
        edge.review("old-price", apply=True)
        edge.review("not-wanted", drop=True)
        until(lambda: edge.command("old-price")["status"] == "merged", "the applied one is merged", 60, edge.tail)
        assert edge.command("not-wanted")["code"] == "dropped"
        assert edge.offer(PLACE, "tea")["price"] == 2
