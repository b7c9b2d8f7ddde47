"""An agent and its network: what may wait waits and what is urgent does not; a link that comes and goes is used, and not stormed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from driftlog_schemas import topics
from tests.integration.conftest import LoadRun
from tests.load.app import COLLECTION
from tests.load.edges import EdgeProcess
from tests.load.link import Link, Moment
from tests.load.waiting import until

pytestmark = pytest.mark.broker

PLACE = "market"
FLAP_SECONDS = 1.0
CLIENTS = 3
"""Of an agent: one sends, one reads, one asks. Each has a connection to a broker it was told and one to a broker that named itself."""
ATTEMPTS = 2
"""Of each in a second in which the link lets through: a pause of half a second at least lies between two."""
CUTS = 2, 40
"""On a batch's way, and at full depth."""
COMMANDS_CUT = 25
"""Written while the batch of the first of them is on its way."""


def status_of(edge: EdgeProcess, answer: dict[str, object]) -> tuple[object, object]:
    found = edge.command(str(answer["command_id"]))
    return found["status"], found["waiting_for"]


def test_what_may_wait_waits_for_its_moment_or_for_power_and_what_is_urgent_does_not(
    on_broker: Callable[..., LoadRun],
) -> None:
    run = on_broker()
    with run.worker("only"), run.edge(0, PLACE) as edge:
        edge.do("hit", place=PLACE, item="tea", wait="merged")
        edge.set("settings", sync={COLLECTION: "1h"})
        waits = edge.do("hit", place=PLACE, item="tea")
        other = edge.do("hit", place=PLACE, item="coffee")
        assert status_of(edge, waits) == ("pending", "1h")
        edge.do("hit_first", place=PLACE, item="tea", wait="merged")  # and takes along what was written before it
        assert status_of(edge, waits) == ("merged", None)
        assert status_of(edge, other) == ("pending", "1h")
        assert [one["for"] for one in edge.status()["waiting"]] == ["1h"]

        edge.set("settings", sync={COLLECTION: "1s"})
        short = edge.do("hit", place=PLACE, item="milk")
        until(
            lambda: status_of(edge, short)[0] == status_of(edge, other)[0] == "merged", "both have left", 60, edge.tail
        )
        edge.set("settings", sync={COLLECTION: None})

        edge.set("power", mains=False, battery_percent=5)
        until(lambda: status_of(edge, edge.do("hit", place=PLACE, item="tea"))[1] == "power", "it saves", 60, edge.tail)
        low = edge.do("hit", place=PLACE, item="milk")
        edge.do("hit_first", place=PLACE, item="coffee", wait="merged")
        assert status_of(edge, low) == ("pending", "power")
        edge.set("power", metered=False, mains=False, battery_percent=5)
        edge.await_quiet()
        assert edge.status()["link"]["bytes_per_second"] > 0


def test_who_was_told_to_stay_off_the_network_is_off_it(on_broker: Callable[..., LoadRun]) -> None:
    """No client stays connected, or goes on trying: where a network costs something or must not be used, that counts."""
    run = on_broker()
    with Link(run.bootstrap) as link, run.worker("only"):
        with EdgeProcess(replace(run.place, bootstrap=link.bootstrap), run.edges[0], (PLACE,)) as edge:
            edge.do("hit", place=PLACE, item="tea", wait="merged")
            edge.go_offline(True)
            until(lambda: not link.open, "it has left", 60, edge.tail)
            before = link.connections
            edge.do("hit", place=PLACE, item="tea")
            assert edge.status()["connection"] == "OFFLINE"
            assert link.connections == before
            edge.go_offline(False)
            edge.await_quiet()


def test_within_a_budget_of_the_link_what_the_cloud_has_comes_in(on_broker: Callable[..., LoadRun]) -> None:
    run = on_broker()
    with run.worker("only"), run.edge(0, PLACE) as writes:
        writes.do("hit", place=PLACE, item="tea", wait="merged")
        reads = run.edge(1, PLACE)
        reads.environment["DRIFTLOG_LINK__BYTES_PER_SECOND"] = "10000"
        with reads:
            until(lambda: reads.status()["catching_up"] == {}, "it has what was there before", 90, reads.tail)
            assert reads.read(PLACE, "tea")["value"]["hits"] == 1
            reads.do("hit", place=PLACE, item="tea", wait="merged")
            assert reads.status()["link"]["limit"] == 10_000


def test_a_link_that_flaps_is_used_and_not_stormed(on_broker: Callable[..., LoadRun], full: bool) -> None:
    run = on_broker()
    flaps, merged = 30 if full else 5, []
    with Link(run.bootstrap) as link, run.worker("only"):
        with EdgeProcess(replace(run.place, bootstrap=link.bootstrap), run.edges[0], (PLACE,)) as edge:
            edge.do("hit", place=PLACE, item="tea", wait="merged")
            before = link.connections
            for _ in range(flaps):
                time.sleep(FLAP_SECONDS)
                link.cut()
                edge.do("hit", place=PLACE, item="tea")
                time.sleep(FLAP_SECONDS)
                link.mend()
                merged.append(edge.read(PLACE, "tea")["version"])
            came = link.connections - before
            edge.await_quiet()
            assert edge.read(PLACE, "tea")["value"]["hits"] == 1 + flaps
        assert came <= flaps * CLIENTS * 2 * ATTEMPTS
        assert merged[0] != merged[-1], "no progress while it flapped"


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("moment", [Moment.BEFORE_ITS_ACK, pytest.param(Moment.IN_THE_MIDDLE, marks=pytest.mark.deep)])
def test_a_link_cut_on_a_batchs_way_makes_nothing_twice(
    on_broker: Callable[..., LoadRun], full: bool, moment: Moment
) -> None:
    """Each batch is cut off by itself; every other time the agent is killed before it can try again, so it no longer knows that it tried."""
    run = on_broker()
    ops, cuts = topics.ops_topic(run.space.name), CUTS[full]
    with Link(run.bootstrap) as link, run.worker("only") as worker:
        with EdgeProcess(replace(run.place, bootstrap=link.bootstrap), run.edges[0], (PLACE,)) as edge:
            edge.do("hit", place=PLACE, item="tea", wait="merged")
            for number in range(cuts):
                cut = link.cut_at(moment, ops)
                for _ in range(COMMANDS_CUT):
                    edge.do("hit", place=PLACE, item="tea")
                assert cut.wait(60), f"no batch was sent: {edge.tail()}"
                if number % 2:
                    edge.kill()
                link.mend()
                if number % 2:
                    edge.start()
                edge.await_quiet()
        run.group.await_drained(explain=worker.tail)
        assert worker.stop() == 0
    made = 1 + cuts * COMMANDS_CUT
    assert run.row(PLACE, "tea")["hits"] == made
    found = run.judge(others=made)
    assert found.good, found


def test_a_batch_whose_ack_was_cut_off_with_the_agent_goes_out_twice_and_counts_once(
    on_broker: Callable[..., LoadRun],
) -> None:
    """No worker says that it has come, so the next life of the agent can only send it again."""
    run = on_broker()
    with Link(run.bootstrap) as link:
        with EdgeProcess(replace(run.place, bootstrap=link.bootstrap), run.edges[0], (PLACE,)) as edge:
            cut = link.cut_at(Moment.BEFORE_ITS_ACK, topics.ops_topic(run.space.name))
            edge.do("hit", place=PLACE, item="tea")
            assert cut.wait(60), f"no batch was sent: {edge.tail()}"
            edge.kill()
            link.mend()
            edge.start()
            until(lambda: len(run.history().ops) == 2, "it has gone out twice", 60, edge.tail)
            with run.worker("only") as worker:
                edge.await_quiet()
                run.group.await_drained(explain=worker.tail)
                assert worker.stop() == 0
    assert run.row(PLACE, "tea")["hits"] == 1
    found = run.judge(others=1)
    assert found.good, found
    assert found.repeated_records == 1
