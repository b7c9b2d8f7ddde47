"""What waits for a person at real agents is told to the fleet: the console's inbox and the command line list it, until somebody has dealt with it."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from driftlog_schemas.devices import with_terms
from tests.integration.cli.shell import Shell
from tests.integration.conftest import LoadRun
from tests.load.console import ConsoleProcess
from tests.load.edges import EdgeProcess
from tests.load.fleet import registered
from tests.load.ground import enrol
from tests.load.waiting import until

pytestmark = pytest.mark.broker

PLACE = "market"


def away_for_too_long(edge: EdgeProcess) -> None:
    """It has answered a command that nobody may apply without a person."""
    edge.do("hit", place=PLACE, item="tea", wait="merged")  # it is in step from now on
    edge.go_offline(True)
    edge.do("offer", place=PLACE, offer="tea", price=2, key="old-price")
    until(lambda: edge.status()["scopes"][PLACE]["age_seconds"] > 20.5, "it is away for too long", 60, edge.tail)
    edge.go_offline(False)
    until(lambda: edge.command("old-price")["status"] == "review", "a person is asked", 60, edge.tail)


def rejected(run: LoadRun, edge: EdgeProcess) -> str:
    """The operator takes the device's rights; the id of a command that it had answered by then."""
    line = registered(edge.device)
    terms = line.latest._replace(permissions=(), from_ms=time.time_ns() // 1_000_000)
    enrol(run.bootstrap, [with_terms(line, terms)], run.ids)
    tried: list[str] = []

    def refused() -> bool:
        tried.append(f"late-{len(tried)}")
        answer = edge.do("hit", place=PLACE, item="tea", key=tried[-1], wait="merged")
        return bool(answer["status"] == "rejected")

    until(refused, "the worker knows that it may write no more", 90, edge.tail)
    return tried[-1]


def test_it_is_listed_until_it_is_dealt_with(shell: Shell, on_broker: Callable[..., LoadRun]) -> None:
    run = on_broker()
    with run.worker("only"), run.edge(0, PLACE) as store, run.edge(1, PLACE) as office:
        names = {store.device.device_id, office.device.device_id}

        def listed() -> set[tuple[str, str, str]]:
            commands = shell.run("fleet", "waiting", "--json").data["commands"]
            return {(c["device_id"], c["kind"], c["command_id"]) for c in commands if c["device_id"] in names}

        with ConsoleProcess(run.place, run.edges[2], [PLACE]) as console:

            def shows(edge: EdgeProcess, command_id: str) -> bool:
                name = edge.device.device_id
                return f"/inbox/devices/{name}/{command_id}" in console.page(f"/inbox?device={name}")

            away_for_too_long(store)
            late = rejected(run, office)
            until(lambda: shows(store, "old-price"), "the console lists what is to be applied", 90, store.tail)
            until(lambda: shows(office, late), "the console lists what was rejected", 90, office.tail)
            page = console.page(f"/inbox/devices/{store.device.device_id}/old-price")
            assert "offline_too_long" in page and "driftlog edge review apply old-price" in page
            assert listed() == {
                (store.device.device_id, "review", "old-price"),
                (office.device.device_id, "rejected", late),
            }
            ended = shell.run("fleet", "waiting", "--device", store.device.device_id)
            assert ended.code == 0 and "1 command waits for a person" in ended.out

            store.review(
                "old-price", drop=True
            )  # applied, it would be too late again on a slow machine: the limit is 3 s
            office._json("POST", f"/v1/rejected/{late}", json={"seen": True})
            until(lambda: not shows(store, "old-price"), "what was dropped is gone", 90, store.tail)
            until(lambda: not shows(office, late), "what was seen is gone", 90, office.tail)
            assert console.stop() == 0
        assert listed() == set()
        assert office.command(late)["status"] == "rejected", "to be looked at changes no answer"
        assert store.command("old-price")["code"] == "dropped"
