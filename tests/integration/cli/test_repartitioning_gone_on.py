"""A space is given another number of partitions by a command that is ended by SIGKILL in the middle of its writing, again and again: the last one writes only what is lacking,
and what is there is what one that nobody disturbs writes."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from confluent_kafka import Producer

from driftlog_infra import EmbeddedBroker
from driftlog_schemas import topics
from driftlog_schemas.moves import following_name
from driftlog_schemas.topics_admin import TopicsAdmin
from tests.integration.cli.shell import Shell
from tests.integration.cli.test_repartitioning import AFTER, has_followed, last_line, move, shell
from tests.integration.cli.test_repartitioning_cut_off import REGISTRY
from tests.integration.cli.test_two_operators import run
from tests.integration.conftest import LoadRun
from tests.integration.sales import PLACE
from tests.load.edges import EdgeProcess
from tests.load.history import read_topic
from tests.load.waiting import until
from tests.made_anew import end_of

__all__ = ["run", "shell"]

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.deep]

DELIVERY = "driftlog_streams.replaying.publication:Delivery.deliver"
IN_THE_MIDDLE = (3, 7, 1, 2)
"""After so many of its writes: while the op topic is numbered, and in three partitions of the read model."""
OTHERWISE = "what an earlier attempt has left is not gone on with"

Lying = dict[tuple[str, int], list[tuple[int, bytes, bytes | None, tuple[tuple[str, bytes], ...]]]]


def names(run: LoadRun) -> list[str]:
    return [topic.name for topic in topics.space_topics(following_name(run.space.name, 2), AFTER)]


def lying(run: LoadRun) -> Lying:
    """Every record where the space goes on, as it lies there."""
    found: Lying = {}
    for name in names(run):
        for record in read_topic(run.bootstrap, name):
            there = found.setdefault((name, record.partition), [])
            there.append((record.offset, record.key, record.value, tuple(record.headers)))
    return found


def counted(found: Lying) -> int:
    """Without the filling of the op topic."""
    return sum(record[1] != b"" for records in found.values() for record in records)


def hit(edge: EdgeProcess, **options: str) -> None:
    edge.do("hit", place=PLACE, item="tea", **options)


def test_killed_in_the_middle_of_its_writing_it_goes_on_there(run: LoadRun, shell: Shell, tmp_path: Path) -> None:
    admin, states = TopicsAdmin(run.bootstrap), topics.state_topic(following_name(run.space.name, 2))

    def documents() -> int:
        return sum(end_of(run.bootstrap, states, number) or 0 for number in range(AFTER))

    with run.worker("only", workers=2) as worker, run.edge(0, PLACE) as first, run.edge(1, PLACE) as second:
        with run.feeder(2_000, records_per_second=0):
            pass
        run.group.await_drained(90, worker.tail)
        for edge in (first, second):
            hit(edge, wait="merged")
        shell.killed(f"{REGISTRY}.move", "before", 1, *move("--yes"))
        undisturbed = lying(run)
        admin.remove(names(run))

        ids: list[str] = []
        written = 0
        for number in IN_THE_MIDDLE:
            shell.killed(DELIVERY, "after", number, *move("--yes"))
            found = lying(run)
            assert ids in ([], admin.topic_ids(names(run))), "they are the same topics"
            ids = admin.topic_ids(names(run))
            for place, records in found.items():
                if place[0] != topics.ops_topic(following_name(run.space.name, 2)):
                    assert records == undisturbed[place][: len(records)], place
            assert counted(found) >= written
            written = counted(found)
            hit(first)
        before, log = documents(), tmp_path / "torn.log"
        torn = shell.start(*move("--yes"), log=log)
        try:
            until(lambda: documents() > before, "it writes what is lacking", 120, log.read_text)
        finally:
            torn.send_signal(signal.SIGKILL)
            torn.wait()
        written = counted(lying(run))
        done = shell.run(*move("--yes"))
        done.assert_done()
        assert last_line(done)["written_before"] == written > 0
        assert lying(run) == undisturbed and admin.topic_ids(names(run)) == ids
        assert admin.partition_counts()[states] == AFTER
        for edge in (first, second):
            until(lambda edge=edge: has_followed(edge), "it follows", 120, edge.tail)  # type: ignore[misc]
            hit(edge, wait="merged")
        total = 4 + len(IN_THE_MIDDLE)
        for edge in (first, second):
            until(lambda edge=edge: edge.find(PLACE, "tea")["hits"] == total, f"{total}", 120, edge.tail)  # type: ignore[misc]


def test_what_is_otherwise_by_then_is_told_and_written_anew(run: LoadRun, shell: Shell) -> None:
    """A device was revoked: the rows of its lives say so."""
    admin = TopicsAdmin(run.bootstrap)
    with run.worker("only", workers=2), run.edge(0, PLACE) as first, run.edge(1, PLACE) as second:
        for edge in (first, second):
            hit(edge, wait="merged")
        shell.killed(f"{REGISTRY}.move", "before", 1, *move("--yes"))
        ids = admin.topic_ids(names(run))
        device = second.device.device_id
        shell.run("devices", "revoke", device).assert_done()
        done = shell.run(*move("--yes"))
        assert done.code == 0 and last_line(done)["written_before"] == 0
        told = [line for line in done.err.splitlines() if OTHERWISE in line]
        assert len(told) == 1 and "receipts[0]" in told[0] and device in told[0], done
        assert not {*ids} & {*admin.topic_ids(names(run))}
        until(lambda: has_followed(first), "it follows", 120, first.tail)
        hit(first, wait="merged")
        assert first.find(PLACE, "tea")["hits"] == 3  # type: ignore[index]


def test_what_somebody_else_has_put_behind_it_is_told_and_all_is_written_anew(
    run: LoadRun, shell: Shell, restartable_broker: EmbeddedBroker
) -> None:
    """The broker was away meanwhile: leaders of the topics that go have higher numbers than those of the new ones, and a client that knew them gets nothing of these."""
    states, last = topics.state_topic(following_name(run.space.name, 2)), AFTER - 1
    with run.worker("only", workers=2), run.edge(0, PLACE) as first:
        hit(first, wait="merged")
        shell.killed(f"{REGISTRY}.move", "before", 1, *move("--yes"))
        undisturbed = lying(run)
        restartable_broker.stop()
        restartable_broker.start()
        stranger = Producer({"bootstrap.servers": run.bootstrap, "log_level": 0})
        stranger.produce(states, b"a stranger's", b"a document", last)
        assert stranger.flush(30) == 0
        done = shell.run(*move("--yes"))
        assert done.code == 0, done
        told = [line for line in done.err.splitlines() if OTHERWISE in line]
        assert len(told) == 1 and f"{states}[{last}] ends at" in told[0], done
        assert lying(run) == undisturbed
        until(lambda: has_followed(first), "it follows", 120, first.tail)
        hit(first, wait="merged")
