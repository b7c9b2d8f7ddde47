"""A space is given another number of partitions, and all that can go wrong does: the command is ended by SIGKILL at each of its steps with workers and agents,
folders are copied, who was away comes back after more than one move. In the end each command counts once."""

from __future__ import annotations

import shutil

import pytest

from driftlog_schemas import topics
from driftlog_schemas.identity import parse_document_key
from driftlog_schemas.moves import following_name
from driftlog_schemas.state_codec import StateCodec
from driftlog_schemas.topics_admin import TopicsAdmin
from tests.integration.cli.shell import Shell
from tests.integration.cli.test_repartitioning import FOLLOWED, findings, has_followed, last_line, move, run, shell
from tests.integration.conftest import LoadRun
from tests.integration.sales import PLACE, require_known_everywhere, selling, sold
from tests.load.app import COLLECTION, COUNTER
from tests.load.checker import latest_by_key
from tests.load.edges import EdgeProcess
from tests.load.history import read_topic
from tests.load.waiting import Group, until

__all__ = ["run", "shell"]

pytestmark = [pytest.mark.broker, pytest.mark.slow, pytest.mark.deep]

STEPS = "driftlog_streams.replaying.repartitioning"
LAYING = "driftlog_streams.replaying.laying"
REGISTRY = "driftlog_streams.registry.enrolment:Enrolment"
BEFORE_THERE_IS_NO_WAY_BACK = ((f"{REGISTRY}.announce", "after", 1), (f"{STEPS}:closing_identity", "after", 1))
BEFORE_IT_GOES_ON_THERE = (
    (f"{STEPS}:close_logs", "after", 1),
    (f"{STEPS}:wait_confirmed", "after", 1),
    (f"{STEPS}:TopicsAdmin.apply", "after", 1),
    (f"{LAYING}:fill_up", "after", 1),
    (f"{LAYING}:copy_conflicts", "after", 1),
    (f"{LAYING}:publish", "after", 2),
    (f"{LAYING}:require_written", "after", 7),
    (f"{REGISTRY}.move", "before", 1),
)


def hits_in(run: LoadRun, number: int) -> dict[tuple[str, str], int]:
    """What the read model says in the topics of this number."""
    latest = latest_by_key(read_topic(run.bootstrap, topics.state_topic(following_name(run.space.name, number))))
    codec = StateCodec(run.space.collections[COLLECTION], run.ids)
    rows = {parse_document_key(key): codec.decode_row(record.value or b"") for key, record in latest.items()}
    return {(document.scope, document.id): row[COUNTER] for document, row in rows.items()}


def test_cut_off_at_each_step_it_comes_to_its_end(run: LoadRun, shell: Shell) -> None:
    admin, lines = TopicsAdmin(run.bootstrap), [f"space {run.space.name}"]
    with run.worker("only", workers=2) as worker, selling(run) as sales:
        for one in sales:
            one.more()
        for step in BEFORE_THERE_IS_NO_WAY_BACK:
            shell.killed(*step, *move("--yes"))
            assert [one["what"] for one in findings(shell) if one["what"] in lines] == lines
            shell.run(*move("--yes", to=run.space.partitions)).assert_done()
            for one in sales:
                one.more()
                one.edge.do("hit", place=PLACE, item="salt", wait="merged")
            assert not [one for one in findings(shell) if one["what"] in lines], "it was taken back"
        for number, step in enumerate(BEFORE_IT_GOES_ON_THERE):
            shell.killed(*step, *move("--yes"))
            if number == 0:
                shell.run(*move("--yes", to=run.space.partitions)).assert_failed(1, "are closed: there is no way back")
            else:
                worker.kill(number % 2)
            for one in sales:
                one.more(1)
                one.edge.do("hit", place=PLACE, item="salt")
                assert run.space.name in one.edge.status()["generations"], step
        assert topics.state_topic(following_name(run.space.name, 2)) in admin.partition_counts(), "it was left there"
        shell.killed(f"{REGISTRY}.move", "after", 1, *move("--yes"))
        again = shell.run(*move("--yes"))
        again.assert_done()
        assert last_line(again)["topics"] == following_name(run.space.name, 2), "it had come to its end"
        for one in sales:
            until(lambda one=one: has_followed(one.edge), "it follows", 120, one.edge.tail)  # type: ignore[misc]
            one.more()
        rounds = len(BEFORE_THERE_IS_NO_WAY_BACK) + len(BEFORE_IT_GOES_ON_THERE)
        counts = {**sold(sales, 120), "salt": rounds * len(sales)}
        require_known_everywhere(sales, counts)
        assert admin.topic_ids([topics.ops_topic(following_name(run.space.name, 3))]) == [""], "it went there once"
    assert hits_in(run, 2) == {(PLACE, item): count for item, count in counts.items()}


ITEM = "tea"


def hit(edge: EdgeProcess, times: int, **options: str) -> None:
    edge.do("hit", place=PLACE, item=ITEM, times=times, **options)


def hits(edge: EdgeProcess) -> int:
    """As it shows them."""
    value = edge.find(PLACE, ITEM)
    return 0 if value is None else int(value["hits"])


def await_followed(edge: EdgeProcess, name: str) -> None:
    """Wait until it has gone on to the topics that are called so, and nothing of its own is pending."""

    def there() -> bool:
        return f'"space": "{name}"' in edge.log.read_text(errors="replace") and has_followed(edge)

    until(there, f"{edge.device.device_id} follows to {name}", 120, edge.tail)
    edge.await_quiet(120)


def await_hits(edge: EdgeProcess, total: int) -> None:
    """Wait until it shows so many, and see that nothing was left to a person."""
    until(lambda: hits(edge) == total, f"{total}", 120, lambda: f"{hits(edge)}{edge.tail()}")
    assert edge._json("GET", "/v1/review")["commands"] == []


def test_copies_and_who_was_away_over_two_moves_count_once(run: LoadRun, shell: Shell) -> None:
    """First to more partitions, then to fewer than there are worker processes. Counts are powers of ten, so that a total shows what is missing and what came twice."""
    second, third = (following_name(run.space.name, number) for number in (2, 3))
    late = run.worker("late")
    with late, run.edge(0, PLACE) as first, run.edge(1, PLACE) as away:
        hit(first, 1, wait="merged")
        away.go_offline(True)
        hit(away, 1_000_000)
        away.kill()
        first.go_offline(True)
        hit(first, 10, key="in both copies")
        assert first.stop() == 0
        copy = run.edge(0, PLACE, folder="copy")
        shutil.copytree(first.replica, copy.replica)
        first.start()
        first.go_offline(False)
        hit(first, 100, wait="merged")
        assert late.stop() == 0, "it was there before the first move, and is again after the second"

        with copy:
            with run.worker("only", workers=2) as worker:
                hit(copy, 1_000, key="offline, in the copy")
                shell.run(*move("--yes")).assert_done()
                copy.go_offline(False)
                for edge in (first, copy):
                    await_followed(edge, second)
                hit(first, 10_000)
                copy.kill()
                shell.run(*move("--yes", to=1)).assert_done()
                copy.start()
                hit(copy, 100_000)
                away.start()
                away.go_offline(False)
                for edge in (first, copy, away):
                    await_followed(edge, third)
                assert away.log.read_text().count(FOLLOWED) == 2
                assert worker.stop() == 0, worker.tail()
            with late:
                hit(away, 10_000_000, wait="merged")
                total = 11_111_111
                for edge in (first, copy, away):
                    await_hits(edge, total)
                group = Group(run.bootstrap, topics.SpaceTopics(third).group, topics.ops_topic(third), 1)
                group.await_drained(90, explain=late.tail)
                group.close()
    assert hits_in(run, 3) == {(PLACE, ITEM): total}
