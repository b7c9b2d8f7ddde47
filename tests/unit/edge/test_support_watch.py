"""A device whose version of the app becomes too old says so in time; what it wrote after that goes out once it is updated."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import pytest
import structlog
from typer.testing import CliRunner

from driftlog.cli import edge_questions
from driftlog_edge import EdgeAgent, EdgeConfig
from driftlog_edge.http_api import metrics
from driftlog_edge.link.support_watch import SupportWatch
from driftlog_edge.ports import Record
from driftlog_edge.store.supported import announced, first_unmet, said
from driftlog_schemas import groups
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.messages import ChainRow
from driftlog_schemas.registry import FixedIds
from driftlog_schemas.support import Floor
from tests.unit.edge.cloud import Cloud, CloudRoute
from tests.unit.edge.replica import EPOCH_MS, HandClock, Replica
from tests.unit.edge.shop import CONTRACT
from tests.unit.edge.waiting import until

DAY = 86_400
TEA = {"store": "s1", "sku": "tea"}
TEA_DOCUMENT = DocumentId("Stock", "s1", "tea")


@pytest.fixture
def agents(config: EdgeConfig, route: CloudRoute, ids: FixedIds, clock: HandClock) -> Callable[[str], EdgeAgent]:
    """Starts of one agent, with the version of the app that is given."""

    def start(version: str) -> EdgeAgent:
        spaces = {name: replace(space, version=version) for name, space in CONTRACT.spaces.items()}
        contract = replace(CONTRACT, version=version, spaces=spaces)
        return EdgeAgent(contract, config, route=route, ids=ids, clock=clock)

    return start


async def test_it_warns_in_the_last_thirty_days_and_after_them_over_starts_until_it_is_updated(
    agents: Callable[[str], EdgeAgent], cloud: Cloud, clock: HandClock
) -> None:
    async with agents("1.3") as agent:
        await agent.run("receive", **TEA, qty=1, wait="merged")
        assert agent.status()["support"] == {
            "version": "1.3",
            "needs": None,
            "ends": None,
            "ends_in_seconds": None,
            "warning": "",
        }
        assert b"support_ends" not in metrics.render(agent)
        cloud.floor = Floor("1.4", EPOCH_MS + 40 * DAY * 1000)
        await agent.run("receive", **TEA, qty=1, wait="merged")
        await until(lambda: agent.status()["support"]["needs"] == "1.4")
        found = agent.status()["support"]
        assert (found["ends_in_seconds"], found["warning"]) == (40 * DAY, ""), "there is time"
        (ends,) = re.findall(rb"\ndriftlog_edge_support_ends_timestamp_seconds (\S+)", metrics.render(agent))
        assert float(ends) == cloud.floor.from_ms / 1000
        clock.pass_seconds(28 * DAY)
        wanted = "support for version 1.3 ends in 12.0 d, on 2026-10-31: update it to 1.4 or newer"
        assert agent.status()["support"]["warning"] == wanted
        await agent.offline()
    async with agents("1.3") as agent:
        assert agent.status()["support"]["warning"] == wanted, "it is known without a network"
        clock.pass_seconds(12 * DAY)
        assert (
            "support for version 1.3 ended on 2026-10-31: what is written here waits"
            in (agent.status()["support"]["warning"])
        )
    for version, warned in (("", True), ("1.4", False)):
        async with agents(version) as agent:
            assert bool(agent.status()["support"]["warning"]) is warned
            versions = agent.status()["versions"]
            assert versions.get("app shop", "") == version


async def test_a_device_that_only_reads_is_warned_as_well(agents: Callable[[str], EdgeAgent], cloud: Cloud) -> None:
    cloud.floor = Floor("1.4", EPOCH_MS + 12 * DAY * 1000)
    cloud.write(TEA_DOCUMENT, "on_hand", "increment", 1)
    wanted = "support for version 1.3 ends in 12.0 d, on 2026-10-03: update it to 1.4 or newer"
    async with agents("1.3") as agent:
        await until(lambda: agent.status()["support"]["warning"] == wanted)
        await agent.offline()
    async with agents("1.3") as agent:
        assert agent.status()["support"]["warning"] == wanted, "it is known without a network"
    async with agents("1.4") as agent:
        assert agent.status()["support"]["needs"] is None
    async with agents("1.3") as agent:
        await agent.online()
        cloud.floor = None
        cloud.write(TEA_DOCUMENT, "on_hand", "increment", 1)
        await until(lambda: agent.status()["support"]["needs"] is None)


def test_the_newest_group_that_has_ended_counts(lives: Callable[..., Replica]) -> None:
    journal = lives().journal
    ends = {
        version: [*groups.headers(7, last=True), *groups.support((Floor(version, 1),))] for version in ("1.4", "2.0")
    }

    def hear(*headers: list[tuple[str, bytes]]) -> str | None:
        records = [Record(at, b"k", b"v", tuple(one), 0) for at, one in enumerate(headers)]
        journal.stage(announced(journal, "retail", 0, records), sync=False)
        floor = first_unmet(journal, "1.0")
        return None if floor is None else floor.version

    assert hear(ends["2.0"], ends["1.4"]) == "1.4"
    assert hear(ends["2.0"], groups.headers(8, last=False)) == "2.0", "what follows has not ended"
    assert hear(groups.headers(8, last=False)) == "2.0"
    assert hear([("driftlog.support", b"3.0=1")]) == "2.0", "of no group, so no worker's"
    assert hear([*groups.headers(9, last=True), ("driftlog.support", b"\xff=1,4.0=x,5.0=2")]) == "5.0"
    assert hear(groups.headers(9, last=True)) is None, "the app supports all its versions"
    assert announced(journal, "retail", 0, [Record(9, b"k", b"v", tuple(groups.headers(9, last=True)), 0)]) == {}


async def test_what_is_refused_for_its_version_waits_and_leaves_once_the_app_is_updated(
    agents: Callable[[str], EdgeAgent], cloud: Cloud
) -> None:
    async with agents("1.3") as agent:
        await agent.run("receive", **TEA, qty=1, wait="merged")
        cloud.floor = Floor("1.4", cloud.now_ms)
        for number in range(3):
            await agent.run("receive", command_id=f"c{number}", **TEA, qty=10)
        await until(lambda: "version_unsupported" in agent.status()["problem"])
        assert (await agent.read("Stock", "s1", "tea")).value["on_hand"] == 31, "its own changes are seen here"
    async with agents("1.4") as agent:
        await until(lambda: {agent.command(f"c{number}").status for number in range(3)} == {"merged"})
        assert (await agent.read("Stock", "s1", "tea", consistency="strong")).value["on_hand"] == 31
        await until(lambda: (agent.status()["problem"], agent.status()["support"]["needs"]) == ("", None))
    async with agents("1.3") as agent:
        await agent.run("receive", command_id="back", **TEA, qty=100)
        await until(lambda: "version_unsupported" in agent.status()["problem"])
    async with agents("2.0") as agent:
        await until(lambda: agent.command("back").status == "merged")
        assert (await agent.read("Stock", "s1", "tea", consistency="strong")).value["on_hand"] == 131


def test_the_log_says_it_once_a_day_and_once_it_is_over(lives: Callable[..., Replica], clock: HandClock) -> None:
    journal = lives().journal
    row = ChainRow("store-1", "store-1.1", "retail", 0, 0, b"", 1, ())
    end_ms = clock.wall_ms() + 31 * DAY * 1000
    journal.stage(said(journal, replace(row, oldest_supported="1.4", support_ends_ms=end_ms)), sync=False)
    watch = SupportWatch("1.3", journal, clock.wall_ms)
    with structlog.testing.capture_logs() as logs:
        for _ in range(2 * 40):
            watch.tick()
            clock.pass_seconds(DAY / 2)
        told = [line["warning"] for line in logs if line["event"] == "this version of the app loses support"]
    assert len(told) == 30 + 1 + 1, "when 30 days are left, on each day of them, and when it is over"
    assert "ends in 30.0 d" in told[0] and "ended on" in told[-1]


@pytest.mark.parametrize(
    ("support", "shown"),
    [
        ({"version": "2.0", "ends": None, "warning": ""}, "2.0"),
        ({"version": "", "ends": None, "warning": ""}, "without a version"),
        ({"version": "1.3", "ends": EPOCH_MS, "warning": ""}, "1.3, until 2026-09-21"),
        ({"version": "1.3", "ends": EPOCH_MS, "warning": "support ends"}, "WARNING: support ends"),
    ],
)
def test_the_status_of_the_command_line_shows_it(
    support: dict[str, object], shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk, snapshot = {"budget_bytes": None, "warning": ""}, {"needed_in_seconds": None, "warning": ""}
    status = {"scopes": {}, "disk": disk, "disk_bytes": 1, "snapshot": snapshot, "support": support}
    monkeypatch.setattr(edge_questions, "call", lambda *_: status)
    assert shown in CliRunner().invoke(edge_questions.app, ["status"]).output
