"""Alive, ready, and how much: what a worker tells whoever runs it."""

from __future__ import annotations

import io
import json
import logging
import socket
import sys
from collections.abc import Iterator

import httpx
import pytest
import structlog

from driftlog_infra.ports import free_port
from driftlog_schemas.errors import BadSetting
from driftlog_streams.errors import SetupProblem
from driftlog_streams.process.supervisor import plans
from driftlog_streams.settings import WorkerSettings
from driftlog_streams.telling.health import SILENT_SECONDS, Health, serve
from driftlog_streams.telling.logs import configure_logs, library_logs
from driftlog_streams.telling.metrics import WorkerMetrics


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def health(clock: Clock) -> Health:
    return Health(clock)


@pytest.fixture
def api(health: Health) -> Iterator[httpx.Client]:
    port = free_port()
    metrics = WorkerMetrics("retail")
    metrics.batches.inc(3)
    serve(health, metrics.registry, ("127.0.0.1", port))
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        yield client


def test_a_loop_that_turns_is_alive_and_one_that_hangs_is_not(api: httpx.Client, health: Health, clock: Clock) -> None:
    health.beat()
    assert api.get("/healthz").status_code == 200
    clock.now += SILENT_SECONDS + 1
    assert api.get("/healthz").status_code == 503
    assert api.get("/healthz").json() == {"ok": False, "silent_seconds": SILENT_SECONDS + 1}
    health.beat()
    assert api.get("/healthz").json()["ok"] is True


def test_it_is_ready_while_its_partitions_are_known(api: httpx.Client, health: Health, clock: Clock) -> None:
    assert api.get("/readyz").status_code == 503
    health.owned = []
    assert api.get("/readyz").status_code == 200
    health.owned = [2, 5]
    assert api.get("/readyz").json() == {"ok": True, "partitions": [2, 5], "generation": None}
    health.generation = 2
    assert api.get("/readyz").json()["generation"] == 2
    clock.now += SILENT_SECONDS + 1
    assert api.get("/readyz").status_code == 503


def test_prometheus_is_answered_and_nothing_else_is(api: httpx.Client) -> None:
    assert 'driftlog_worker_batches_total{space="retail"} 3.0' in api.get("/metrics").text
    assert api.get("/").status_code == 404


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/"])
def test_a_head_is_answered_as_the_get_without_its_body(api: httpx.Client, path: str) -> None:
    asked, head = api.get(path), api.head(path)
    assert (head.status_code, head.content) == (asked.status_code, b"")
    assert head.headers["content-type"] == asked.headers["content-type"]
    assert abs(int(head.headers["content-length"]) - int(asked.headers["content-length"])) < 20


def test_whoever_would_change_something_is_told_that_there_is_nothing_to_change(api: httpx.Client) -> None:
    answer = api.post("/healthz")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")


def test_an_address_that_is_taken_is_told(health: Health) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        with pytest.raises(SetupProblem, match="cannot be listened on") as refused:
            serve(health, WorkerMetrics("retail").registry, other.getsockname())
    assert "--metrics-address" in refused.value.remedy


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("9464", ("127.0.0.1", 9464)),
        (":9464", ("127.0.0.1", 9464)),
        ("0.0.0.0:9464", ("0.0.0.0", 9464)),
        ("[::1]:9464", ("::1", 9464)),
        ("", None),
    ],
)
def test_an_address_is_on_loopback_unless_it_says_otherwise(
    given: str, address: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRIFTLOG_METRICS_ADDRESS", given)
    settings = WorkerSettings.load(app="shop:app")
    assert settings.metrics_address == address
    assert WorkerSettings.model_validate_json(settings.model_dump_json()).metrics_address == address


@pytest.mark.parametrize("given", ["many", "host:", "70000", "host:0"])
def test_what_is_no_address_is_told(given: str) -> None:
    with pytest.raises(BadSetting, match=r"metrics_address.*HOST:PORT"):
        WorkerSettings.load(app="shop:app", metrics_address=given)


def test_every_process_has_an_address_of_its_own() -> None:
    settings = WorkerSettings.load(app="shop:app", slot="a", metrics_address="9000")
    assert [plan.settings.metrics_address for plan in plans(settings, {"one": 2, "two": 2})] == [
        ("127.0.0.1", port) for port in (9000, 9001, 9002, 9003)
    ]


def test_what_is_not_read_at_a_terminal_is_json(monkeypatch: pytest.MonkeyPatch) -> None:
    said = io.StringIO()
    monkeypatch.setattr(sys, "stderr", said)
    before = structlog.get_config()
    try:
        configure_logs("info", space="retail", slot="a")
        structlog.get_logger().warning("partitions", found=[1, 2], what=object)
    finally:
        structlog.configure(**before)
    line = json.loads(said.getvalue())
    assert (line["event"], line["level"], line["space"], line["found"]) == ("partitions", "warning", "retail", [1, 2])

    formatter = library_logs()["formatters"]["lines"]["()"]()
    record = logging.LogRecord("aiokafka", logging.WARNING, "", 0, "lost %s", ("it",), None)
    line = json.loads(formatter.format(record))
    assert (line["event"], line["level"], line["logger"]) == ("lost it", "warning", "aiokafka")
