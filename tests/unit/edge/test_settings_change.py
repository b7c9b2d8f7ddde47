"""Settings that change while the agent runs: as a whole or not at all, and whoever goes by them does so at once."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest
import structlog
from typer.testing import CliRunner

from driftlog.cli.root import app as cli
from driftlog_edge import EdgeAgent, EdgeConfig
from driftlog_edge.http_api.access import Access
from driftlog_schemas.contract import InvalidInput
from driftlog_schemas.registry import FixedIds
from tests.unit.edge.cloud import CloudRoute
from tests.unit.edge.conftest import served
from tests.unit.edge.shop import app
from tests.unit.edge.waiting import until


@pytest.fixture(autouse=True)
def logs() -> Iterator[None]:
    before = structlog.get_config()
    yield
    structlog.configure(**before)


async def test_what_is_not_named_stays_and_what_is_named_counts_at_once(
    agent: EdgeAgent, http: httpx.AsyncClient
) -> None:
    before = (await http.get("/v1/settings")).json()
    assert before["sync"]["Stock"] == "now"
    change = {
        "power": {"low_battery_percent": 50},
        "link": {"bytes_per_second": 20_000},
        "sync": {"Stock": "1h"},
        "log_level": "warning",
    }
    after = (await http.put("/v1/settings", json=change)).json()
    assert after == {
        **before,
        "power": {**before["power"], "low_battery_percent": 50},
        "link": {**before["link"], "bytes_per_second": 20_000},
        "sync": {**before["sync"], "Stock": "1h"},
        "log_level": "warning",
    }
    assert (await http.get("/v1/settings")).json() == after
    assert agent.status()["link"]["limit"] == 20_000
    await http.put("/v1/power", json={"mains": False, "battery_percent": 40})
    assert agent.status()["power"]["saving"] is True
    await http.put("/v1/power", json={})

    sold = (await http.post("/v1/commands/receive", json={"store": "s1", "sku": "tea", "qty": 1})).json()
    assert (await http.get(f"/v1/commands/{sold['command_id']}")).json()["waiting_for"] == "1h"
    await http.put("/v1/settings", json={"sync": {"Stock": None}})
    await until(lambda: agent.command(sold["command_id"]).status == "merged")


@pytest.mark.parametrize(
    ("given", "field", "told"),
    [
        ({"colour": "red"}, "colour", "no setting"),
        ({"data_dir": "/tmp/x"}, "data_dir", "does not change while the agent runs"),
        ({"link": {"bytes": 5}}, "link.bytes", "not permitted"),
        ({"link": {"bytes_per_second": -1}}, "link.bytes_per_second", "greater than or equal to 0"),
        ({"link": 5}, "link", "is a table"),
        ({"power": {"source": "file"}}, "power.source", "does not change while the agent runs"),
        ({"power": {"command": "rm -r /"}}, "power.command", "does not change while the agent runs"),
        ({"power": {"every_seconds": 0}}, "power.every_seconds", "greater than 0"),
        ({"sync": {"Stock": "often"}}, "sync.Stock", "no rhythm"),
        ({"sync": {"Stok": "5m"}}, "sync.Stok", "no such collection"),
        ({"sync": {"Stock": 5}}, "sync.Stock", "string"),
        ({"log_level": "loud"}, "log_level", "debug"),
    ],
)
async def test_what_does_not_fit_is_named_and_nothing_of_it_counts(
    http: httpx.AsyncClient, given: dict[str, object], field: str, told: str
) -> None:
    before = (await http.get("/v1/settings")).json()
    answer = await http.put("/v1/settings", json={"log_level": "error", "link": {"bytes_per_second": 7}, **given})
    problem = answer.json()
    assert (answer.status_code, problem["code"], problem["field"]) == (422, "invalid", field)
    assert told in problem["detail"]
    assert (await http.get("/v1/settings")).json() == before


async def test_a_rhythm_in_the_file_is_for_a_collection_of_the_app(
    config: EdgeConfig, route: CloudRoute, ids: FixedIds
) -> None:
    wrong = config.model_copy(update={"sync": {"Stok": "5m"}})
    with pytest.raises(InvalidInput, match="Stock"):
        async with EdgeAgent(app, wrong, route=route, ids=ids):
            pass
    right = config.model_copy(update={"sync": {"Stock": "5m"}})
    async with EdgeAgent(app, right, route=route, ids=ids) as agent:
        assert agent.settings()["sync"]["Stock"] == "5m"
        written = await agent.run("receive", store="s1", sku="tea", qty=1)
        assert agent.command(written.command_id).waiting_for == "5m"


def test_from_the_command_line(tmp_path_factory: pytest.TempPathFactory) -> None:
    run = CliRunner().invoke
    with served(tmp_path_factory.mktemp("edge"), Access()) as url:
        changed = run(
            cli, ["edge", "settings", "set", "link.bytes_per_second=9000", "sync.Stock=5m", "--url", url, "--json"]
        )
        assert changed.exit_code == 0, changed.output
        assert json.loads(changed.stdout)["link"] == {"bytes_per_second": 9000}
        shown = run(cli, ["edge", "settings", "get", "--url", url])
        assert "sync.Stock" in shown.stdout
        power = run(cli, ["edge", "power", "--battery", "12", "--unplugged", "--url", url, "--json"])
        assert json.loads(power.stdout)["saving"] is True
        kept = run(cli, ["edge", "power", "--unmetered", "--url", url, "--json"])
        assert json.loads(kept.stdout)["told"] == {"mains": False, "battery_percent": 12, "metered": False}
        room = run(cli, ["edge", "settings", "set", "disk_budget=64MiB", "--url", url, "--json"])
        assert json.loads(room.stdout)["disk_budget"] == 64 << 20
        for wrong in (
            "link.bytes=1",
            "link.bytes_per_second=fast",
            "disk_budget=5",
            "sync.Stok=5m",
            "power.low_battery_percent=NaN",
        ):
            refused = run(cli, ["edge", "settings", "set", wrong, "--url", url])
            assert refused.exit_code == 1
            assert f"invalid: {wrong.partition('=')[0]}: " in refused.stderr, "which one it is"
        assert run(cli, ["edge", "settings", "set", "link", "--url", url]).exit_code == 2
        assert run(cli, ["edge", "settings", "set", "log_level=info", "log_level.x=1", "--url", url]).exit_code == 2
