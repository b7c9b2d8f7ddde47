"""Two operators give one space another number of partitions at the same moment, on a broker of their own: what the later one writes over stays in the log, and every
command that reads the registry after it says so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from driftlog_infra import EmbeddedBroker
from driftlog_schemas import topics
from driftlog_schemas.moves import Moved, following_name
from driftlog_schemas.topics_admin import TopicsAdmin
from driftlog_streams.errors import SetupProblem
from driftlog_streams.registry.enrolment import Enrolment
from tests.integration.cli.shell import Shell
from tests.integration.cli.test_repartitioning import BEFORE, has_followed, move, shell
from tests.integration.cli.test_repartitioning_cut_off import hits_in
from tests.integration.conftest import LoadRun
from tests.integration.sales import PLACE, require_known_everywhere, selling, sold
from tests.load.fleet import operator
from tests.load.waiting import until

__all__ = ["shell"]

pytestmark = [pytest.mark.broker, pytest.mark.slow]


@pytest.fixture
def run(restartable_broker: EmbeddedBroker, load_run: Callable[..., LoadRun]) -> LoadRun:
    """As other tests of moves have it, beside nobody."""
    made = load_run(restartable_broker.bootstrap, partitions=BEFORE, ops_per_batch=5, keys=300)
    made.edges = tuple(replace(one, root=operator().certificate.root) for one in made.edges)
    return made


def test_of_two_operators_the_one_that_has_begun_last_says_where_a_space_goes_on(
    run: LoadRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    space, to = run.space.name, Moved(2, 7, 9, (0,) * run.space.partitions)
    with (
        Enrolment(run.bootstrap, run.ids, operator()) as one,
        Enrolment(run.bootstrap, run.ids, operator()) as other,
    ):
        before = other._line_of(space)
        first = one.announce(space, 5)
        with monkeypatch.context() as at_the_same_moment:
            at_the_same_moment.setattr(other, "_line_of", lambda space: before)
            with pytest.raises(SetupProblem, match="somebody else changed it meanwhile"):
                other.announce(space, 7)
        one.require_announced(space, first)
        second = other.announce(space, 7)
        with pytest.raises(SetupProblem, match="somebody else has begun"):
            one.require_announced(space, first)
        with pytest.raises(SetupProblem, match="somebody else has begun"):
            one.move(space, to, first)
        other.require_announced(space, second)
        other.move(space, to, second)
        with pytest.raises(SetupProblem, match="has moved to 7 partitions"):
            one.require_announced(space, first)


@pytest.mark.deep
def test_of_two_that_run_it_at_once_one_comes_to_its_end(run: LoadRun, shell: Shell, tmp_path: Path) -> None:
    """Two operators, each with a number of his own. What is in force is whole, by the number of one of them."""
    admin, space, counts = TopicsAdmin(run.bootstrap), run.space.name, (5, 7)
    with run.worker("only", workers=2), selling(run) as sales:
        for one in sales:
            one.more()
        logs = [tmp_path / f"to-{count}.log" for count in counts]
        both = [shell.start(*move("--yes", to=count), log=log) for count, log in zip(counts, logs, strict=True)]
        ended = [one.wait(180) for one in both]
        assert 0 in ended, [log.read_text() for log in logs]
        number = 1 + ended.count(0)  # where the second begins when the first is done
        there = admin.partition_counts()[topics.ops_topic(following_name(space, number))]
        assert there in [count for count, code in zip(counts, ended, strict=True) if code == 0]
        for one in sales:
            until(lambda one=one: has_followed(one.edge), "it follows", 120, one.edge.tail)  # type: ignore[misc]
            one.more()
        wanted = sold(sales, 120)
        require_known_everywhere(sales, wanted)
    assert hits_in(run, number) == {(PLACE, item): count for item, count in wanted.items()}
