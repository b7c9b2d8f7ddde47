"""A command that waits for what never comes is given up from the command line, on a real broker with a real worker."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from driftlog_schemas.identity import CLOUD, DocumentId
from driftlog_schemas.messages import Verdict
from driftlog_schemas.signing import Identity
from driftlog_streams.core import chain
from tests.integration.cli.shell import Shell
from tests.integration.conftest import LoadRun
from tests.integration.sender import Sender
from tests.load.app import COLLECTION, COUNTER
from tests.load.fleet import cloud, cloud_line, identity, registered
from tests.load.ground import enrol
from tests.load.waiting import until

pytestmark = pytest.mark.broker

PLACE = "waiting"
STOCK = DocumentId(COLLECTION, PLACE, "tea")
APP = ("--app", "tests.load.app:app")


@pytest.fixture
def run(on_broker: Callable[..., LoadRun]) -> LoadRun:
    return on_broker()


@pytest.fixture
def shell(run: LoadRun, registry_url: str, tmp_path: Path) -> Shell:
    (tmp_path / "shell").mkdir()
    return Shell(
        tmp_path / "shell",
        bootstrap=run.bootstrap,
        registry=registry_url,
        schema_cache=str(tmp_path / "schema-cache"),
        load_space=run.space.name,
        load_partitions=str(run.space.partitions),
    )


def test_what_waits_is_given_up_and_its_device_is_told(run: LoadRun, shell: Shell, tmp_path: Path) -> None:
    device = identity(f"{run.space.name}-gap", 0, seed=13)
    enrol(run.bootstrap, [registered(device), cloud_line()], run.ids)
    cloud().save(tmp_path / "cloud.json")
    device.save(tmp_path / "store.json")
    sender = Sender(run, device, PLACE)
    sender.send(STOCK, 2)
    sender.send(STOCK, 3)

    def waiting() -> list[Any]:
        return list(shell.run("parked", "list", *APP, "--json").data)

    with run.worker("only"):
        until(lambda: len(waiting()) == 2, "both wait", 60)
        name = waiting()[0]["id"]
        drop = ("parked", "drop", name, *APP)
        shell.run(*drop).assert_one_line(1, "in the workers' name", "--cloud-identity")
        shell.run(*drop, "--cloud-identity", str(tmp_path / "store.json")).assert_one_line(1, "enrol-cloud")
        shell.run(*drop, "--cloud-identity", str(tmp_path / "nothing.json")).assert_one_line(1, "nothing.json")
        done = shell.run(*drop, "--json", cloud_identity=str(tmp_path / "cloud.json"))
        assert done.data == {"id": name, "space": run.space.name, "verdict": "rejected", "code": "dropped"}
        assert len(waiting()) == 1, "the other one waits on"
        shell.run(*drop, cloud_identity=str(tmp_path / "cloud.json")).assert_one_line(1, "nothing of id")

        sender.send(STOCK, 1)
        until(lambda: "tea" in run.rows(PLACE), "the first change came", 90)
        until(lambda: waiting() == [], "nobody waits", 90)
        assert run.row(PLACE, "tea")[COUNTER] == 2, "one of the three has no effect, for ever"
        row = sender.row()
        assert row is not None
        told = [chain.verdict_of(entry, f"{sender.replica}-{entry.number}") for entry in row.entries]
        assert [(one.verdict, one.code) for one in told] == [
            (Verdict.REJECTED, "dropped"),
            (Verdict.ACCEPTED, ""),
            (Verdict.ACCEPTED, ""),
        ]


def test_an_identity_that_the_workers_do_not_take_is_told(run: LoadRun, shell: Shell, tmp_path: Path) -> None:
    """It is the cloud's of another cluster, or of before its key was changed."""
    device = identity(f"{run.space.name}-gap", 0, seed=13)
    enrol(run.bootstrap, [registered(device), cloud_line()], run.ids)
    Sender(run, device, PLACE).send(STOCK, 2)
    Identity.create(CLOUD).save(tmp_path / "old.json")
    with run.worker("only"):
        until(lambda: len(shell.run("parked", "list", *APP, "--json").data) == 1, "it waits", 60)
        (name,) = (one["id"] for one in shell.run("parked", "list", *APP, "--json").data)
        drop = ("parked", "drop", name, *APP, "--cloud-identity")
        shell.run(*drop, str(tmp_path / "old.json")).assert_one_line(1, "do not take this identity", "enrol-cloud")
