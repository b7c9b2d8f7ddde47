"""What else goes on at a cluster while a space moves, and after it has: another member of its group, an operator's key that is rotated, a worker of an older release."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition

from driftlog_infra import EmbeddedBroker
from driftlog_schemas.moves import Moved
from driftlog_schemas.registry import CachedRegistry
from driftlog_schemas.topics import SpaceTopics
from driftlog_streams.errors import SetupProblem
from driftlog_streams.registry.enrolment import Enrolment
from driftlog_streams.registry.operator_folder import OperatorFolder
from tests.integration.cli.shell import MODULE, Shell
from tests.integration.cli.test_devices import apart
from tests.load.waiting import until

__all__ = ["apart"]

pytestmark = [pytest.mark.broker, pytest.mark.slow]

SPACE = SpaceTopics("apart")
APP = ("--app", f"{MODULE}:app")
MOVE = ("topics", "repartition", *APP, "--partitions", "3", "--yes")


@contextmanager
def old_worker(bootstrap: str) -> Iterator[None]:
    """A member of the group that is called as its library calls all."""
    member = Consumer({"bootstrap.servers": bootstrap, "group.id": SPACE.group, "log_level": 0})
    try:
        member.subscribe([SPACE.ops])

        def owns() -> bool:
            member.poll(0.1)
            return bool(member.assignment())

        until(owns, "it is a member", 60)
        yield
    finally:
        member.close()


@contextmanager
def registry(broker: EmbeddedBroker, registry_url: str, folder: Path) -> Iterator[Enrolment]:
    """The operator's side of it."""
    key = OperatorFolder(folder / "keys").operator()
    with Enrolment(broker.bootstrap, CachedRegistry(registry_url, folder / "schema-cache"), key) as enrolment:
        yield enrolment


def said(shell: Shell, what: str) -> list[str]:
    """By the doctor."""
    return [one["fact"] for one in json.loads(shell.run("doctor", *APP, "--json").out) if one["what"] == what]


def records(broker: EmbeddedBroker) -> int:
    """Of the op topic."""
    reader = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "ends", "log_level": 0})
    try:
        return sum(reader.get_watermark_offsets(TopicPartition(SPACE.ops, n), timeout=15)[1] for n in range(2))
    finally:
        reader.close()


def test_while_another_member_is_in_the_group_nothing_is_closed(apart: Shell, empty_broker: EmbeddedBroker) -> None:
    assert apart.run("operator", "init").code == 0
    with old_worker(empty_broker.bootstrap):
        refused = apart.run(*MOVE)
        refused.assert_failed(1, "workers of apart are of a release that does not know of the end of a log")
    assert records(empty_broker) == 0
    assert said(apart, "space apart") == []


def test_while_a_space_moves_the_operators_key_is_rotated_only_where_that_is_meant(
    apart: Shell, tmp_path: Path, empty_broker: EmbeddedBroker, registry_url: str
) -> None:
    assert apart.run("operator", "init").code == 0
    with registry(empty_broker, registry_url, tmp_path) as moving:
        begun = moving.announce("apart", 3)
        refused = apart.run("operator", "rotate")
        refused.assert_one_line(1, "apart is being given 3 partitions", "--yes")
        moving.require_announced("apart", begun)
        assert apart.run("operator", "show", "--json").data["generation"] == 1

        assert apart.run("operator", "rotate", "--yes", "--json").data["generation"] == 2
        with pytest.raises(SetupProblem, match="the operator's key was rotated"):
            moving.require_announced("apart", begun)
    with registry(empty_broker, registry_url, tmp_path) as again:
        again.announce("apart", None)
    assert apart.run("operator", "rotate", "--json").data["generation"] == 3


def test_a_worker_of_before_that_merges_where_the_space_was_is_named(
    apart: Shell, tmp_path: Path, empty_broker: EmbeddedBroker, registry_url: str
) -> None:
    assert apart.run("operator", "init").code == 0
    with registry(empty_broker, registry_url, tmp_path) as moving:
        moving.move("apart", Moved(2, 3, 1, (0, 0)), moving.announce("apart", 3))
    assert said(apart, "workers of apart") == []
    with old_worker(empty_broker.bootstrap):
        (fact,) = said(apart, "workers of apart")
        assert "has moved to apart.p2" in fact and " on 127.0.0.1" in fact
    assert said(apart, "workers of apart") == []
