"""What makes partitions forget, from the command line: the workers' identity, and for how long a space remembers."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from driftlog.testing.servers import RunningBroker
from driftlog_schemas import topics
from driftlog_schemas.identity import CLOUD
from driftlog_schemas.registry import CachedRegistry
from driftlog_schemas.signing import Identity
from driftlog_schemas.topics_admin import TopicsAdmin
from driftlog_streams.core.rights import FORGET
from tests.integration.cli.shell import Shell
from tests.load.fleet import cloud, cloud_line
from tests.load.ground import enrol
from tests.load.waiting import until

# -- without any server


@pytest.fixture
def stocked(alone: Shell) -> Shell:
    """A folder with an app, and identities that are not the workers'."""
    alone.declare("retail", module="shop")
    Identity.create("store-1").save(alone.folder / "store-1.json")
    (alone.folder / "foreign.json").write_text("{}")
    (alone.folder / "foreign.json").chmod(0o600)
    Identity.create(CLOUD).save(alone.folder / "open.json")
    (alone.folder / "open.json").chmod(0o644)
    return alone


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("nothing.json", "nothing.json"),
        ("store-1.json", "the identity of 'store-1'"),
        ("foreign.json", "foreign.json"),
        ("open.json", "open.json"),
    ],
)
@pytest.mark.parametrize("by", ["option", "environment"])
def test_a_file_that_is_not_the_workers_identity_stops_a_worker_before_anything_starts(
    stocked: Shell, name: str, told: str, by: str
) -> None:
    words = ("worker", "--app", "shop:app", "--wait", "0s")
    ended = (
        stocked.run(*words, "--cloud-identity", name) if by == "option" else stocked.run(*words, cloud_identity=name)
    )
    ended.assert_one_line(1, "--cloud-identity", told)
    assert not (stocked.folder / "driftlog-worker").exists()


def test_an_app_with_reactions_needs_the_workers_identity(alone: Shell) -> None:
    example = Path(__file__).parents[3] / "examples" / "retail" / "transfers.py"
    (alone.folder / "transfers.py").write_text(example.read_text())
    ended = alone.run("worker", "--app", "transfers:app", "--wait", "0s")
    ended.assert_one_line(1, "--cloud-identity", "declares reactions", "enrol-cloud")
    assert not (alone.folder / "driftlog-worker").exists()


@pytest.mark.parametrize("text", ["soon", "30", "-1d", "0d"])
@pytest.mark.parametrize("command", ["plan", "apply"])
def test_a_retention_that_is_no_duration_is_told(stocked: Shell, command: str, text: str) -> None:
    ended = stocked.run("topics", command, "--app", "shop:app", f"--retention={text}")
    ended.assert_one_line(2, "'--retention'", repr(text), "365d")


def test_the_workers_name_is_no_devices(stocked: Shell) -> None:
    stocked.run("devices", "enrol", CLOUD).assert_one_line(1, "the workers' own", "devices enrol-cloud")


def test_without_a_broker_no_identity_is_left(stocked: Shell) -> None:
    before = stocked.contents()
    stocked.run("devices", "enrol-cloud").assert_failed(1, "127.0.0.1:1")
    assert stocked.contents().keys() == before.keys()


# -- on a broker


@pytest.fixture
def applied(shell: Shell, app: str, broker: RunningBroker, registry_url: str, tmp_path: Path) -> str:
    """The app's topics are there, and the workers' device of all tests is enrolled."""
    shell.run("topics", "apply", "--app", app).assert_done()
    enrol(broker.bootstrap, [cloud_line()], CachedRegistry(registry_url, tmp_path / "ids", register=True))
    return app


@pytest.mark.broker
@pytest.mark.usefixtures("applied")
def test_the_workers_identity_may_let_forget_and_nothing_else(shell: Shell) -> None:
    made = shell.run("devices", "enrol-cloud", "--keep-keys", "--json").data
    path = shell.folder / "cloud.json"
    assert (made["device_id"], made["scopes"], made["permissions"]) == (CLOUD, [], [FORGET])
    assert made["identity"] == path.name
    identity = Identity.load(path)
    assert identity.device_id == CLOUD
    assert {identity.key_id, cloud().key_id} <= set(made["keys"]), "the key of before goes on counting"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = shell.run("devices", "enrol-cloud", "--keep-keys", "--out", "deep/down.json")
    again.assert_done()
    assert "--cloud-identity" in again.out
    assert "deep/down.json" in again.out


@pytest.mark.broker
def test_how_long_a_space_remembers_is_said_once_and_kept(shell: Shell, app: str, broker: RunningBroker) -> None:
    planned = shell.run("topics", "plan", "--app", app, "--retention", "12h", "--json").data
    (state,) = (made for made in planned["create"] if made["topic"].endswith(".state"))
    assert state["settings"][topics.RETENTION] == str(12 * 3600 * 1000)

    def kept() -> str:
        return TopicsAdmin(broker.bootstrap).existing([state["topic"]])[state["topic"]].settings[topics.RETENTION]

    shell.run("topics", "apply", "--app", app, "--retention", "12h").assert_done()
    assert kept() == str(12 * 3600 * 1000)
    assert shell.run("topics", "apply", "--app", app, "--json").data["alter"] == [], "left out, it is as it was"
    assert kept() == str(12 * 3600 * 1000)
    done = shell.run("topics", "apply", "--app", app, "--json", retention="2d").data
    assert done["alter"] == [
        {"topic": state["topic"], "settings": {topics.RETENTION: [str(12 * 3600 * 1000), str(2 * topics.DAY_MS)]}}
    ]
    assert kept() == str(2 * topics.DAY_MS)


@pytest.mark.broker
def test_a_worker_without_the_identity_says_that_nothing_is_forgotten_and_one_with_it_does_not(
    shell: Shell, applied: str, fresh_name: Callable[[str], str], tmp_path: Path
) -> None:
    cloud().save(tmp_path / "cloud.json")
    for name, more in (("without", ()), ("with", ("--cloud-identity", str(tmp_path / "cloud.json")))):
        log = tmp_path / f"{name}.log"
        worker = shell.start("worker", "--app", applied, "--data-dir", name, *more, log=log)
        try:
            until(lambda log=log: "devices known" in log.read_text(), "it has begun", 60)
        finally:
            worker.terminate()
            assert worker.wait(60) == 0, (
                "stopped in the middle of its start it ends by itself: its supervisor need not kill it"
            )
        events = [json.loads(line)["event"] for line in log.read_text().splitlines() if line.startswith("{")]
        assert any("nothing is forgotten" in event for event in events) == (name == "without"), events
