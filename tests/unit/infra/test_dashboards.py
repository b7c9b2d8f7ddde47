"""Alert rules and the dashboard: every expression is PromQL, and asks for what workers and agents really tell, by the labels it really has."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from driftlog.cli.root import GROUPS
from driftlog_edge import EdgeAgent, EdgeConfig
from driftlog_edge.http_api import metrics
from driftlog_schemas.registry import FixedIds
from driftlog_schemas.signing import Identity
from driftlog_schemas.support import Floor
from driftlog_streams.projections.metrics import ProjectorMetrics
from driftlog_streams.telling.metrics import WorkerMetrics
from tests.unit.edge.cloud import Cloud, CloudRoute
from tests.unit.edge.replica import HandClock
from tests.unit.edge.shop import app
from tests.unit.edge.waiting import until

INFRA = Path(__file__).parents[3] / "infra"
ALERTS: list[dict[str, Any]] = [
    rule for group in yaml.safe_load((INFRA / "alerts.yml").read_text())["groups"] for rule in group["rules"]
]
BOARD: dict[str, Any] = json.loads((INFRA / "grafana/dashboards/driftlog.json").read_text())
PROMETHEUS_OWN = {"up": {"job", "instance"}}
TARGET = {"job", "instance"}
"""What Prometheus adds to every series."""
VARIABLES = {"$__rate_interval": "5m", "$space": "retail"}


def expressions() -> Iterator[tuple[str, str]]:
    for rule in ALERTS:
        yield rule["alert"], rule["expr"]
    for panel in BOARD["panels"]:
        for target in panel["targets"]:
            text = target["expr"]
            for name, value in VARIABLES.items():
                text = text.replace(name, value)
            yield f"{panel['title']} {target['refId']}", text


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """series -> its labels, of a worker, of a projector, and of an agent that has written, and was cut off."""

    async def edge() -> bytes:
        folder, ids, clock = tmp_path_factory.mktemp("edge"), FixedIds(), HandClock()
        Identity.create("store-1").save(folder / "identity.json")
        config = EdgeConfig(data_dir=folder / "data", identity=folder / "identity.json", scopes=["s1"])
        cloud = Cloud(ids)
        cloud.floor = Floor("1.4", cloud.now_ms + 1)
        async with EdgeAgent(app, config, route=CloudRoute(cloud), ids=ids, clock=clock) as agent:
            await until(lambda: agent.status()["scopes"]["s1"]["synced_at"])
            for _ in range(3):
                clock.pass_seconds(60)
                await agent.run("receive", store="s1", sku="tea", qty=1, wait="merged", seconds=20)
                agent.status()
            await agent.offline()
            await agent.run("receive", store="s1", sku="tea", qty=1)
            return metrics.render(agent)

    working = WorkerMetrics("retail")
    for gauge in (working.devices, working.support_ends, working.heard):
        gauge.set({"1.3": 1})
    working.rejections.add({"out_of_stock": 1})
    cloud = [generate_latest(registry) for registry in (working.registry, ProjectorMetrics("retail").registry)]
    found: dict[str, set[str]] = {}
    for text in (*map(bytes.decode, cloud), asyncio.run(edge()).decode()):
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                found.setdefault(sample.name, set()).update(sample.labels)
    return found | PROMETHEUS_OWN


@pytest.mark.parametrize(("place", "text"), list(expressions()), ids=[place for place, _ in expressions()])
def test_it_asks_for_what_is_told(place: str, text: str, told: dict[str, set[str]]) -> None:
    asked = _selectors(promql_parser.parse(text))
    assert asked, "an expression about nothing"
    for name, labels in asked:
        assert name in told, f"{place}: nobody tells {name}"
        assert labels <= told[name] | TARGET, f"{place}: {name} has no {labels - told[name]}"


def _selectors(node: Any) -> list[tuple[str, set[str]]]:
    """(series, labels it is selected by) of every selector below."""
    found: list[tuple[str, set[str]]] = []

    def look(part: Any) -> None:
        selector = part.vector_selector if isinstance(part, promql_parser.MatrixSelector) else part
        if isinstance(selector, promql_parser.VectorSelector):
            found.append((selector.name or "", {matcher.name for matcher in selector.matchers.matchers}))

    promql_parser.walk(node, look)
    return found


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule["alert"])
def test_an_alert_says_what_it_means_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}
    assert re.fullmatch(r"Driftlog[A-Z][A-Za-z]+", rule["alert"])
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert re.fullmatch(r"\d+[smhd]", rule.get("for", "0s"))
    annotations = rule["annotations"]
    assert annotations["summary"] and len(annotations["description"]) > 20
    for command in re.findall(r"`driftlog ([a-z]+)", annotations["description"]):
        assert command in GROUPS


def test_no_alert_has_the_name_of_another() -> None:
    names = [rule["alert"] for rule in ALERTS]
    assert len(set(names)) == len(names)


def test_the_panels_lie_beside_each_other_and_know_their_source() -> None:
    sources = yaml.safe_load((INFRA / "grafana/datasources.yml").read_text())["datasources"]
    known = {source["uid"] for source in sources}
    taken: set[tuple[int, int]] = set()
    for panel in BOARD["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert max(x for x, _ in cells) < 24 and not cells & taken, panel["title"]
        taken |= cells
        assert {panel["datasource"]["uid"], *(t["datasource"]["uid"] for t in panel["targets"])} <= known
    assert len({panel["id"] for panel in BOARD["panels"]}) == len(BOARD["panels"])


def test_every_number_that_is_told_is_on_the_dashboard(told: dict[str, set[str]]) -> None:
    shown = " ".join(target["expr"] for panel in BOARD["panels"] for target in panel["targets"])
    aside = {
        "driftlog_edge_unsent_commands",
        "driftlog_edge_unreadable_records",
        "driftlog_edge_outbox_commands_per_hour",
        "driftlog_projector_last_error_timestamp_seconds",
    }
    names = {re.sub(r"_(created|sum|count|bucket)$", "", name) for name in told if name.startswith("driftlog_")} - aside
    names = {name for name in names if not name.endswith("_created")}
    missing = {name for name in names if name.removesuffix("_total") not in shown}
    assert missing <= {"driftlog_worker_idle_spins_total", "driftlog_worker_idle_spins"}, missing
