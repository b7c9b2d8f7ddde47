"""Who is started again, and when that is given up: never for what the surroundings do."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from aiokafka.errors import KafkaConnectionError, KafkaTimeoutError, UnknownMemberIdError
from confluent_kafka import KafkaError, KafkaException

from driftlog_infra.ports import free_port
from driftlog_schemas.errors import BadSetting, BrokerUnreachable, RegistryUnreachable, TopicProblem
from driftlog_streams.errors import (
    DeliveryFailed,
    DevicesUnknown,
    Exit,
    Frozen,
    GenerationOver,
    OrderBroken,
    RecoveryFailed,
    SetupProblem,
    TopicMadeAnew,
)
from driftlog_streams.faust_driver import sudden_end
from driftlog_streams.process import supervisor, surroundings
from driftlog_streams.process.cores import processes, usable_cores
from driftlog_streams.process.supervisor import MAX_FAILURES, ChildPlan, Supervisor, plans
from driftlog_streams.settings import AUTO, Workers, WorkerSettings


class Ended:
    """A process that ended at once."""

    def __init__(self, code: int = 70) -> None:
        self._code = code

    def poll(self) -> int:
        return self._code


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "BACKOFF_SECONDS", 0.0)
    monkeypatch.setattr(supervisor, "POLL_SECONDS", 0.0)


def starts(told: Callable[[int], str], code: Callable[[int], int] = lambda start: 70) -> int:
    """How often a worker that always fails is started; `told` says what is wrong at its n-th end, `code` how that ends."""
    count = 0

    def start(plan: ChildPlan) -> Any:
        nonlocal count
        count += 1
        return Ended(code(count))

    plan = ChildPlan("retail", "a", WorkerSettings.load(app="shop:app"))
    run = Supervisor([plan], start, lambda settings: told(count))
    assert run.run() == 1
    return count


def test_a_worker_that_always_fails_is_given_up() -> None:
    assert starts(lambda end: "") == MAX_FAILURES


def test_what_fails_during_an_outage_counts_nothing() -> None:
    assert starts(lambda end: "no broker answers" if end <= 100 else "") == 100 + MAX_FAILURES


@pytest.mark.parametrize("code", [Exit.OUTAGE, Exit.FROZEN, Exit.GENERATION])
def test_what_was_not_its_fault_counts_nothing_though_it_is_over_when_we_look(code: Exit) -> None:
    assert starts(lambda end: "", lambda start: code if start <= 100 else 70) == 100 + MAX_FAILURES


@pytest.mark.parametrize("code", [Exit.SETUP, Exit.LAW, -9, 3])
def test_any_other_end_counts(code: int) -> None:
    assert starts(lambda end: "", lambda start: code) == MAX_FAILURES


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (DeliveryFailed("a partition without leader"), Exit.OUTAGE),
        (DevicesUnknown("no answer"), Exit.OUTAGE),
        (RecoveryFailed("gives nothing"), Exit.OUTAGE),
        (RegistryUnreachable("answers 503"), Exit.OUTAGE),
        (BrokerUnreachable("no answer"), Exit.OUTAGE),
        (KafkaException(KafkaError(KafkaError._TRANSPORT)), Exit.OUTAGE),
        (KafkaException(KafkaError(KafkaError.LEADER_NOT_AVAILABLE)), Exit.OUTAGE),
        (KafkaConnectionError("Unable to bootstrap"), Exit.OUTAGE),
        (KafkaTimeoutError(), Exit.OUTAGE),
        (ConnectionResetError(), Exit.OUTAGE),
        (Frozen("stood still for 30 s"), Exit.FROZEN),
        (GenerationOver("generation 2 is in force"), Exit.GENERATION),
        (KafkaException(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED)), Exit.LAW),
        (UnknownMemberIdError(), Exit.LAW),
        (TopicMadeAnew("ends before the store"), Exit.SETUP),
        (TopicProblem("keeps its writers' times"), Exit.SETUP),
        (OrderBroken("ops are lost"), Exit.LAW),
        (KeyError("a defect"), Exit.LAW),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(int(value)),
)
def test_a_worker_says_by_its_exit_code_why_it_ends(
    monkeypatch: pytest.MonkeyPatch, error: Exception, code: int
) -> None:
    ends: list[int] = []
    monkeypatch.setattr(sudden_end, "_exit", ends.append)
    with structlog.testing.capture_logs() as lines:
        sudden_end.die(error)
    assert ends == [code]
    planned = code == Exit.GENERATION
    assert [line["log_level"] for line in lines] == ["info" if planned else "critical"], (
        "who moves a space is paged by nobody"
    )


def test_who_is_away_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surroundings, "PROBE_SECONDS", 0.2)
    settings = WorkerSettings.load(app="shop:app", data_dir=tmp_path, bootstrap=f"127.0.0.1:{free_port()}")
    assert surroundings.trouble(settings) == f"no broker answers at {settings.kafka.bootstrap}"
    monkeypatch.setattr(surroundings, "TopicsAdmin", lambda *_, **__: SimpleNamespace(partition_counts=dict))
    settings = settings.model_copy(
        update={"registry": settings.registry.model_copy(update={"url": f"http://127.0.0.1:{free_port()}/api"})}
    )
    assert surroundings.trouble(settings) == f"no registry answers at {settings.registry.url}"


def test_a_broker_that_takes_connections_and_says_nothing_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(surroundings, "PROBE_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        settings = WorkerSettings.load(
            app="shop:app", data_dir=tmp_path, bootstrap=f"127.0.0.1:{silent.getsockname()[1]}"
        )
        assert surroundings.trouble(settings) == f"no broker answers at {settings.kafka.bootstrap}"


def test_a_full_disk_is_told_before_a_worker_joins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surroundings.shutil, "disk_usage", lambda folder: SimpleNamespace(free=1000))
    settings = WorkerSettings.load(app="shop:app", data_dir=tmp_path)
    assert surroundings.trouble(settings) == f"the disk of {tmp_path} is full"
    with pytest.raises(SetupProblem, match="MiB are free") as refused:
        surroundings.require_room(tmp_path)
    assert "make room" in refused.value.remedy


# -- how many


def test_each_process_has_a_slot_of_its_own_and_the_first_keeps_its_stores() -> None:
    settings = WorkerSettings.load(app="shop:app", slot="a")
    assert [(plan.space, plan.slot) for plan in plans(settings, {"one": 1, "two": 3})] == [
        ("one", "a"),
        ("two", "a"),
        ("two", "a-1"),
        ("two", "a-2"),
    ]


@pytest.mark.parametrize(
    ("workers", "partitions", "cores", "counts"),
    [
        (3, {"one": 1}, 1, [3]),  # who says a number gets it: what has no partition waits for one
        (AUTO, {"one": 8}, 4, [4]),
        (AUTO, {"one": 2}, 4, [2]),
        (AUTO, {"one": 8, "two": 8}, 5, [3, 2]),
        (AUTO, {"one": 8, "two": 8, "three": 8}, 2, [1, 1, 1]),
    ],
)
def test_auto_shares_the_cores_among_the_spaces(
    workers: Workers, partitions: dict[str, int], cores: int, counts: list[int]
) -> None:
    assert list(processes(workers, partitions, cores).values()) == counts


@pytest.mark.parametrize(
    ("said", "cores"),
    [("max 100000", 6), ("250000 100000", 2), ("50000 100000", 1), ("900000 100000", 6), ("", 6), ("1 0", 6)],
)
def test_a_container_uses_no_more_than_its_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, cores: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(6)), raising=False)
    quota = tmp_path / "cpu.max"
    assert usable_cores(quota) == 6, "no such file"
    quota.write_text(f"{said}\n")
    assert usable_cores(quota) == cores


@pytest.mark.parametrize("given", ["many", "0", "257", "1.5", 0, True])
def test_a_number_of_workers_that_is_none_is_told(given: object) -> None:
    with pytest.raises(BadSetting, match=r"setting workers: .*from 1 to 256, or auto"):
        WorkerSettings.load(app="shop:app", workers=given)


@pytest.mark.parametrize(("given", "is_"), [("auto", AUTO), ("3", 3), (256, 256)])
def test_a_number_of_workers_goes_with_the_settings_to_each_process(given: object, is_: Workers) -> None:
    settings = WorkerSettings.load(app="shop:app", workers=given)
    assert WorkerSettings.model_validate_json(settings.model_dump_json()).workers == settings.workers == is_
