"""The table of exit codes says what programs end with, for restart policies are written by it."""

from __future__ import annotations

import json
import re
from concurrent.futures import Future
from pathlib import Path
from types import SimpleNamespace

import pytest
import structlog
from confluent_kafka import KafkaError, KafkaException
from typer.testing import CliRunner

from driftlog.cli.worker import app
from driftlog_edge.errors import Wiped
from driftlog_infra.ports import free_port
from driftlog_schemas import topics_admin
from driftlog_schemas.errors import BrokerUnreachable, TopicProblem
from driftlog_streams.errors import Exit
from driftlog_streams.faust_driver import sudden_end
from driftlog_streams.process import worker
from driftlog_streams.settings import WorkerSettings
from driftlog_streams.telling.logs import configure_logs

TEXT = (Path(__file__).parents[3] / "docs" / "exit_codes.md").read_text()


def table(heading: str) -> list[list[str]]:
    """The rows of the section's table, cell by cell."""
    (section,) = re.findall(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", TEXT, re.DOTALL | re.MULTILINE)
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def test_each_end_of_a_worker_process_is_told_with_what_it_counts() -> None:
    told = {(int(code), why.strip("`"), counts) for code, why, _, counts in table("Worker processes")}
    assert told == {(end.value, end.name.lower(), "yes" if end.counts else "no") for end in Exit}


def test_the_supervisors_and_the_agents_codes_are_those_that_are_told() -> None:
    worker = {int(code): again for code, _, again in table("`driftlog worker`")}
    assert worker.keys() == {Exit.STOPPED, Exit.SETUP, 2, Exit.OUTAGE}
    agent = {int(code): again for code, _, again in table("`driftlog edge run`")}
    assert agent.keys() == {0, 1, 2, Wiped.exit_code}
    for codes in (worker, agent):
        assert {code for code, again in codes.items() if again.startswith("no")} <= {0, 2, Wiped.exit_code}


def test_a_broker_that_does_not_answer_at_the_start_is_no_wrong_setting(tmp_path: Path) -> None:
    address, folder = f"127.0.0.1:{free_port()}", str(tmp_path)
    words = ["--app", "tests.load.app:app", "--bootstrap", address, "--data-dir", folder, "--wait", "0.1s"]
    ended = CliRunner().invoke(app, words)
    assert (ended.exit_code, address in ended.output) == (Exit.OUTAGE, True), ended.output


def test_what_nobody_foresaw_is_told_with_its_traceback_and_not_by_the_code_of_a_wrong_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise LookupError("nobody thought of this")

    def end(code: int) -> None:
        raise SystemExit(code)

    monkeypatch.setattr(worker, "run_worker", fail)
    monkeypatch.setattr(sudden_end, "_exit", end)
    settings = structlog.get_config()
    configure_logs("info")
    try:
        with pytest.raises(SystemExit) as ended:
            worker.work(WorkerSettings.load(app="shop:app", data_dir=tmp_path), "retail", "a")
    finally:
        structlog.configure(**settings)
    line = json.loads(capfd.readouterr().err.splitlines()[-1])
    assert (ended.value.code, line["exit_code"], line["reason"]) == (70, 70, "LookupError: nobody thought of this")
    assert "in fail" in line["exception"]


@pytest.mark.parametrize(
    ("code", "raised"),
    [(KafkaError._TRANSPORT, BrokerUnreachable), (KafkaError.TOPIC_AUTHORIZATION_FAILED, TopicProblem)],
)
def test_a_broker_that_goes_away_after_it_has_said_which_topics_there_are_has_refused_nothing(
    monkeypatch: pytest.MonkeyPatch, code: int, raised: type[Exception]
) -> None:
    answer: Future[object] = Future()
    answer.set_exception(KafkaException(KafkaError(code)))
    there = SimpleNamespace(topics={"retail.ops": SimpleNamespace(error=None, partitions={})})
    told = SimpleNamespace(
        list_topics=lambda timeout: there, describe_configs=lambda asked: dict.fromkeys(asked, answer)
    )
    monkeypatch.setattr(topics_admin, "AdminClient", lambda settings: told)
    with pytest.raises(raised):
        topics_admin.TopicsAdmin("127.0.0.1:1").require_times(["retail.ops"])
