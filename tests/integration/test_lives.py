"""Whatever is done to a folder, no dot is used twice and every command that was answered counts exactly once.

Counts are powers of ten, so that a total shows what is missing and what came twice.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from confluent_kafka import Producer

from driftlog_crdt import Op
from driftlog_infra.ports import free_port
from driftlog_schemas import topics
from driftlog_schemas.batch_codec import BatchCodec, encode_body
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.messages import Batch, Command, DocumentOp
from driftlog_schemas.partitioning import partition_of
from tests.integration.conftest import LoadRun
from tests.load.app import COLLECTION, PARTITIONS
from tests.load.edges import EdgeProcess
from tests.load.waiting import until

pytestmark = pytest.mark.broker

PLACE, ITEM = "market", "tea"


def hit(edge: EdgeProcess, times: int, **options: str) -> dict[str, Any]:
    return edge.do("hit", place=PLACE, item=ITEM, times=times, **options)


def hits(edge: EdgeProcess) -> int:
    value = edge.find(PLACE, ITEM)
    return 0 if value is None else int(value["hits"])


def replica(edge: EdgeProcess) -> str:
    return str(edge.status()["replica"])


def await_total(run: LoadRun, total: int, *edges: EdgeProcess) -> None:
    """All edges and the read model agree, and nothing waits anywhere."""
    for edge in edges:
        edge.await_quiet()
        name = edge.replica.parent.name
        until(lambda: hits(edge) == total, f"{name} counts {total}", 60, lambda: f"{hits(edge)}{edge.tail()}")  # noqa: B023
    run.group.await_drained(60)
    assert run.row(PLACE, ITEM)["hits"] == total


def copied(run: LoadRun, number: int, source: EdgeProcess, name: str) -> EdgeProcess:
    """Another agent of the device, in a copy of the folder as it is on disk now. The source must not run."""
    copy = run.edge(number, PLACE, folder=name)
    shutil.rmtree(copy.replica, ignore_errors=True)
    shutil.copytree(source.replica, copy.replica)
    return copy


def test_a_folder_emptied_online_and_offline(on_broker: Callable[..., LoadRun]) -> None:
    run = on_broker()
    with run.worker("only"), run.edge(0, PLACE) as edge:
        hit(edge, 1, wait="merged")
        first = replica(edge)
        assert edge.stop() == 0
        shutil.rmtree(edge.replica)
        edge.start()
        hit(edge, 10, wait="merged")
        second = replica(edge)
        assert edge.stop() == 0

        shutil.rmtree(edge.replica)
        cut_off = replace(run.place, bootstrap=f"127.0.0.1:{free_port()}")
        with EdgeProcess(cut_off, edge.device, [PLACE]) as offline:
            answer = hit(offline, 100)
            assert (answer["status"], hits(offline)) == ("pending", 100)
            third = replica(offline)
            assert offline.stop() == 0
        with run.edge(0, PLACE) as back:
            await_total(run, 111, back)
            assert replica(back) == third
        assert len({first, second, third}) == 3


def test_an_older_copy_is_restored(on_broker: Callable[..., LoadRun]) -> None:
    run = on_broker()
    with run.worker("only"), run.edge(0, PLACE) as edge:
        hit(edge, 1, wait="merged")
        edge.go_offline(True)
        hit(edge, 10, key="waits-in-the-backup")
        assert edge.stop() == 0
        shutil.copytree(edge.replica, edge.replica.with_name("backup"))

        edge.start()
        edge.go_offline(False)
        hit(edge, 100, wait="merged")
        old_life = replica(edge)
        await_total(run, 111, edge)
        assert edge.stop() == 0

        shutil.rmtree(edge.replica)
        edge.replica.with_name("backup").rename(edge.replica)
        edge.start()
        hit(edge, 1000, key="made-before-it-knows")
        edge.go_offline(False)
        until(lambda: replica(edge) != old_life, "it has a new life", 60, edge.tail)
        await_total(run, 1111, edge)
        hit(edge, 10_000, wait="merged")
        await_total(run, 11_111, edge)

        status = edge.status()
        assert [life["why"] != "" for life in status["lives"]] == [False, True], "the operator is told, once"
        assert status["problem"] == ""
        for key, times in (("waits-in-the-backup", 10), ("made-before-it-knows", 1000)):
            assert hit(edge, times, key=key)["status"] == "merged", "and asked again it is not done again"
        await_total(run, 11_111, edge)


@pytest.mark.deep
def test_a_copy_on_a_second_machine_runs_beside_the_first(on_broker: Callable[..., LoadRun]) -> None:
    run = on_broker()
    with run.worker("only"), run.edge(0, PLACE) as one:
        hit(one, 1, wait="merged")
        one.go_offline(True)
        hit(one, 10)
        assert one.stop() == 0
        with copied(run, 0, one, "second-machine") as other:
            one.start()
            hit(one, 100)
            hit(other, 1000)
            for edge in (one, other):
                edge.go_offline(False)
            await_total(run, 1111, one, other)
            for edge, times in ((one, 10_000), (other, 100_000)):
                hit(edge, times, wait="merged")
            await_total(run, 111_111, one, other)
            assert replica(one) != replica(other)
            assert [len(edge.status()["lives"]) for edge in (one, other)] == [2, 2], "the shared life is over for both"


@pytest.mark.deep
def test_two_copies_with_hundreds_of_unsent_commands_run_at_once(on_broker: Callable[..., LoadRun]) -> None:
    """Each of 300 items got four commands offline, worth 1, 10, 100 and 1000; both copies hold all of them unsent, in more than two
    batches, and a third has spoken in their name: so both take all of them along, at the same time."""
    run = on_broker()
    shared = [{"item": f"i{n}", "times": 10**power} for power in range(4) for n in range(300)]
    with run.worker("only"), run.edge(0, PLACE) as one, ThreadPoolExecutor(8) as pool:
        hit(one, 1, wait="merged")
        shared_life = replica(one)
        one.go_offline(True)
        assert one.stop() == 0
        with copied(run, 0, one, "third-machine") as third:
            third.go_offline(False)
            hit(third, 100_000_000, wait="merged")
            assert third.stop() == 0
        one.start()
        list(pool.map(lambda wanted: one.do("hit", place=PLACE, **wanted), shared))
        assert one.stop() == 0
        with copied(run, 0, one, "second-machine") as other:
            one.start()
            both = (one, other)
            writers = [
                pool.submit(lambda e=edge, t=times: [hit(e, t) for _ in range(200)])
                for edge, times in zip(both, (10, 10_000), strict=True)
            ]
            for switched in [pool.submit(edge.go_offline, False) for edge in both]:
                switched.result()
            for writer in writers:
                writer.result()
            await_total(run, 100_000_001 + 200 * 10 + 200 * 10_000, *both)

            latest = run.rows(PLACE)
            assert {latest[wanted["item"]]["hits"] for wanted in shared} == {1111}
            assert {edge.find(PLACE, f"i{n}")["hits"] for edge in both for n in range(300)} == {1111}  # type: ignore[index]
            assert len({shared_life, replica(one), replica(other)}) == 3
            assert [edge.status()["problem"] for edge in both] == ["", ""]


def test_one_identity_file_is_given_to_two_agents(on_broker: Callable[..., LoadRun]) -> None:
    run = on_broker()
    with run.worker("only"), run.edge(0, PLACE) as one, run.edge(0, PLACE, folder="twin") as other:
        for power, edge in enumerate((one, other, one, other)):
            hit(edge, 10**power)
        await_total(run, 1111, one, other)
        assert replica(one) != replica(other)
        assert [len(edge.status()["lives"]) for edge in (one, other)] == [1, 1]


@pytest.mark.deep
def test_a_batch_of_the_old_life_arrives_late_by_another_road(on_broker: Callable[..., LoadRun]) -> None:
    run = on_broker()
    with run.worker("only"), run.edge(0, PLACE) as one:
        hit(one, 1, wait="merged")
        old_life = replica(one)
        assert one.stop() == 0
        with copied(run, 0, one, "copy") as other:
            one.start()
            hit(one, 10, wait="merged")
            hit(other, 100, key="twice")
            await_total(run, 111, one, other)
            assert replica(other) != old_life

            # What the copy had sent as the old life, held up by a relay until now: what is known under its new life, and what nobody knows.
            relay = Producer({"bootstrap.servers": run.bootstrap, "log_level": 0})
            document = DocumentId(COLLECTION, PLACE, ITEM)
            partition = partition_of(PLACE, PARTITIONS)
            for number, command_id, times in ((2, "twice", 100), (3, "late", 100_000)):
                op = DocumentOp(document, Op(old_life, number, 1 << 40, "hits", "increment", times))
                command = Command(command_id, "hit", PLACE, 1 << 40, (op,))
                batch = Batch(run.space.name, partition, old_life, number, (command,), prev=b"\x01" * 16, floor=number)
                value = BatchCodec(run.ids).seal(encode_body(batch), one.device)
                relay.produce(topics.ops_topic(run.space.name), value, one.device.device_id.encode(), partition)
            assert relay.flush(30) == 0
            hit(one, 1000, wait="merged")
            hit(other, 10_000, wait="merged")
            await_total(run, 11_111, one, other)
