"""Whatever a stranger writes into the topics that the command line reads: what is good is listed, one line says what was passed over, and nothing
that he wrote drives the terminal.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import replace
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs
from typer.testing import CliRunner

from driftlog.cli import conflict_topics, devices, doctor, fleet, parked, verify
from driftlog.cli.root import app
from driftlog.cli.texts import MOST_IN_A_LINE, printable
from driftlog_schemas.digests import Versions, text_of
from driftlog_streams.reading.state_digests import StateDigests
from tests.fake_kafka.broker import Broker
from tests.few import few
from tests.fuzz.topic_stranger import STATES, WAITS, Cluster, Stranger, Topics, cluster_on, heartbeat
from tests.unit.streams.cloud import IDS, SPACE

ROUNDS, AT_ONCE = 2, 60
LISTINGS = (
    "devices list",
    "devices show store-1",
    "fleet list",
    "fleet versions",
    "conflicts list --app x",
    "conflicts export --app x --which open",
    "conflicts rules --app x",
    "parked list --app x",
)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    made = cluster_on(Broker(), monkeypatch)
    modules: list[ModuleType] = [conflict_topics, devices, doctor, fleet, parked, verify]
    for module in modules:
        monkeypatch.setattr(module, "CachedRegistry", lambda *place, **options: IDS)
        if hasattr(module, "trusted_root"):
            monkeypatch.setattr(module, "trusted_root", lambda settings: made.operator.certificate.root)
        for name in ("load_contract", "present_contract"):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, lambda *_: SimpleNamespace(spaces={"retail": SPACE}))
    monkeypatch.setattr(doctor, "TopicsAdmin", Topics)
    return made


def said_by(words: str) -> tuple[str, list[dict[str, Any]], int]:
    """What a command prints, what it logs, and its exit code."""
    with capture_logs() as lines:
        result = CliRunner().invoke(app, words.split())
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output, [dict(line) for line in lines], result.exit_code


def _causes(line: Mapping[str, Any]) -> Any:
    """Which records of the registry a line is about: what came later has causes of its own, each said once."""
    return (line["device"], line["offset"]) if line["event"].endswith("registry are not believed") else None


def listed(words: str) -> Any:
    output, _, code = said_by(f"{words} --json")
    assert code == 0, output
    return json.loads(output)


@pytest.mark.parametrize("seed", few(range(4), 1))
def test_what_is_good_is_listed_and_what_is_passed_over_is_said_once(cluster: Cluster, seed: int) -> None:
    stranger = Stranger(cluster, seed)
    for _ in range(ROUNDS):
        stranger.write(AT_ONCE)
        for words in LISTINGS:
            output, lines, code = said_by(words)
            assert code == 0 and "\x1b[2J" not in output and len(output) < 300_000, words
            told = [(line["event"], line.get("topic"), _causes(line)) for line in lines]
            assert len(told) == len(set(told)), told
        cluster.say_all()
        assert [line["device_id"] for line in listed("devices list")] == ["store-1", "store-2"]
        assert listed("devices show store-1")["version"] == 1
        assert {line["device_id"]: line["replica"] for line in listed("fleet list")}["store-1"] == "store-1.1"
        assert ("agent", "0.1.0") in {(line["component"], line["version"]) for line in listed("fleet versions")}
        disputes = {one.id for one in cluster.cloud.conflicts()}
        assert disputes <= {line["id"] for line in listed("conflicts list --app x")}
        assert {WAITS, "0:5"} <= {line["id"] for line in listed("parked list --app x")}


@pytest.mark.parametrize("seed", range(3))
def test_the_doctor_and_the_digests_say_what_is_so(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    Stranger(cluster, seed).write(AT_ONCE)
    cluster.say_all()
    output, _, code = said_by("doctor --json")
    found = json.loads(output)
    assert code in (0, 1) and all(finding["fact"] and finding["remedy"] for finding in found)
    counted = StateDigests("nowhere", Versions(IDS), STATES, 0)
    counted.read_to(counted.end())
    digest = {"digest": text_of(counted.of("s1")[0]), "offset": counted.position}
    status = {"scopes": {"s1": {"digests": {"retail/0": digest}}}}
    monkeypatch.setattr(verify, "call", lambda *request: status)
    assert [line["verdict"] for line in listed("verify")] == ["same"]


def test_a_device_that_says_too_much_of_itself_is_not_listed_by_it(cluster: Cluster) -> None:
    for said in (
        {"versions": {"agent": "x" * 1_000_000}},
        {"pending": -1},
        {"sent_ms": 1 << 62},
        {"connection": "?" * 9_999},
    ):
        value = cluster.codecs.encode_heartbeat(heartbeat(device_id="store-2", replica="store-2.1", **said))
        cluster.broker.append("driftlog.heartbeats", 0, b"store-2", value)
    output, lines, _ = said_by("fleet list --json")
    heard = {line["device_id"]: line["replica"] for line in json.loads(output)}
    assert heard == {"store-1": "store-1.1", "store-2": None}
    (told,) = [line for line in lines if line.get("topic") == "driftlog.heartbeats"]
    assert told["why"] == {"not readable": 4}


def test_what_a_device_says_of_itself_is_shown_and_drives_no_terminal(cluster: Cluster) -> None:
    word = heartbeat(device_id="store-2", replica="store-2.1", connection="\x1b[2Jgone")
    cluster.broker.append("driftlog.heartbeats", 0, b"store-2", cluster.codecs.encode_heartbeat(word))
    output, _, _ = said_by("fleet list")
    assert r"\x1b[2J" in output and "\x1b" not in output


def test_a_conflict_of_one_version_is_none(cluster: Cluster) -> None:
    (one,) = cluster.cloud.conflicts()
    for versions in ((), one.versions[:1]):
        value = cluster.codecs.encode_conflict(replace(one, versions=versions))
        cluster.broker.append("retail.conflicts", 0, one.id.encode(), value)
        output, lines, code = said_by("conflicts list --app x")
        assert code == 0 and one.id not in output
        assert [line["why"] for line in lines] == [{"not readable": len(versions) + 1}]


def test_what_anybody_wrote_does_not_drive_a_terminal() -> None:
    assert printable("\x1b[2Jgone\u202e") == "\\x1b[2Jgone\\u202e"
    assert printable("two\nlines, of caf\u00e9") == "two\nlines, of caf\u00e9"
    assert len(printable("x" * 10_000)) == MOST_IN_A_LINE


def test_what_is_exported_is_what_a_filter_takes(cluster: Cluster) -> None:
    (one,) = cluster.cloud.conflicts()
    words = "conflicts export --app x --which open"
    output, _, code = said_by(f"{words} --format jsonl")
    assert (code, [json.loads(line)["id"] for line in output.splitlines()]) == (0, [one.id])
    output, _, _ = said_by(f"{words} --scope {one.document.scope} --field {one.field}")
    head, row = csv.DictReader(output.splitlines()).fieldnames, next(csv.DictReader(output.splitlines()))
    assert head is not None and head[:4] == ["id", "collection", "scope", "document"]
    assert (row["id"], row["status"], row["how"]) == (one.id, "open", "")
    for nothing in ("--scope nowhere", "--until 1970-01-01", "--device nobody"):
        output, _, code = said_by(f"{words} {nothing}")
        assert (code, len(output.splitlines())) == (0, 1), nothing
    output, _, code = said_by(f"{words} --since soon")
    assert (code, "since: 'soon' is no time" in output) == (1, True)
