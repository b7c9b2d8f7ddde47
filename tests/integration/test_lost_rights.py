"""A device loses its rights while its writes wait, and is given them back: nothing waits for what was refused, and what comes later gets in."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from driftlog_schemas.devices import Device, with_terms
from tests.integration.conftest import LoadRun
from tests.load.edges import EdgeProcess
from tests.load.fleet import registered
from tests.load.ground import enrol
from tests.load.waiting import until

pytestmark = pytest.mark.broker

PLACE = "shelf"


def hit(edge: EdgeProcess, item: str, times: int, **options: str) -> dict[str, Any]:
    return edge.do("hit", place=PLACE, item=item, times=times, **options)


def says(run: LoadRun, line: Device, permissions: tuple[str, ...]) -> Device:
    """The operator lets the device do only this, from now on."""
    line = with_terms(line, line.latest._replace(permissions=permissions, from_ms=time.time_ns() // 1_000_000))
    enrol(run.bootstrap, [line], run.ids)
    return line


def test_refused_while_it_had_no_right_and_merged_when_it_has_it_again(on_broker: Callable[..., LoadRun]) -> None:
    run = on_broker()
    with run.edge(0, PLACE) as edge:
        with run.worker("before") as worker:
            hit(edge, "tea", 5, wait="merged")
            edge.await_quiet()
            edge.go_offline(True)
            hit(edge, "tea", 100, key="known")
            hit(edge, "new", 100, key="made")
            assert worker.stop() == 0
        line = says(run, registered(edge.device), ())

        with run.worker("after"):
            edge.go_offline(False)
            edge.await_quiet()
            for key in ("known", "made"):
                told = edge.command(key)
                assert (told["status"], told["code"]) == ("rejected", "forbidden")
            life = edge.status()["replica"]
            assert edge.find(PLACE, "tea")["hits"] == 5  # type: ignore[index]  # it is there
            assert edge.find(PLACE, "new") is None

            edge.kill()
            edge.start()
            assert edge.status()["pending"] == 0
            assert edge.read(PLACE, "tea")["value"]["hits"] == 5
            assert edge.read(PLACE, "tea")["pending"] == 0
            assert edge.status()["replica"] == life, "to be refused costs no life"

            says(run, line, ("*",))
            keys = iter(range(100))
            tried: list[str] = []

            def merged() -> bool:
                tried.append(f"back-{next(keys)}")
                return bool(hit(edge, "tea", 1, key=tried[-1], wait="merged")["status"] == "merged")

            until(merged, "the worker knows that it may write again", 60, edge.tail)
            assert hit(edge, "new", 3, wait="merged")["status"] == "merged"
            edge.await_quiet()
            assert edge.read(PLACE, "tea")["value"]["hits"] == run.row(PLACE, "tea")["hits"] == 6
            assert edge.read(PLACE, "new")["value"]["hits"] == run.row(PLACE, "new")["hits"] == 3
            lives = [told["why"] for told in edge.status()["lives"]]
            assert lives[1:] == ["unseen"] * (len(lives) - 1), "as many as it takes"
            assert len(lives) <= 3, "one for each document at most"
