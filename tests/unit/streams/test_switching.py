"""Which generation may be put in force, what is done to have its topics, and when readers may follow the workers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import pytest

from driftlog_schemas.errors import TopicProblem
from driftlog_schemas.generations import InForce
from driftlog_schemas.topics import LAG, MIN_INSYNC, RETENTION, Plan, SpaceTopics, Topic
from driftlog_streams.errors import SetupProblem
from driftlog_streams.replaying.switching import (
    SETTLED_SECONDS,
    Way,
    follow_over,
    lay_topics,
    require_declared,
    require_leading_on,
    way_to,
)

FIRST, SECOND = SpaceTopics("retail"), SpaceTopics("retail", 2)


@pytest.mark.parametrize(
    ("wanted", "now", "ever", "way"),
    [
        (1, (1, 1), {1}, Way.NOTHING),
        (2, (1, 1), {1}, Way.MAKE),
        (2, (2, 1), {1, 2}, Way.FINISH),
        (1, (2, 1), {1, 2}, Way.RETURN),
        (2, (1, 1), {1, 2}, Way.RETURN),
        (1, (2, 2), {1, 2}, Way.RETURN),
        (3, (2, 2), {1, 2}, Way.MAKE),
        (3, (1, 1), {1, 2}, Way.MAKE),
        (2, (2, 2), {1, 2}, Way.NOTHING),
    ],
)
def test_the_way_to_a_generation(wanted: int, now: tuple[int, int], ever: set[int], way: Way) -> None:
    assert way_to(wanted, InForce(*now), ever) is way


@pytest.mark.parametrize(
    ("wanted", "now", "ever", "fact", "remedy"),
    [
        (3, (1, 1), {1}, "the next one is 2", "--to-generation 2"),
        (4, (2, 2), {1, 2}, "the next one is 3", "in force before: 1, 2"),
        (3, (2, 1), {1, 2}, "from generation 1 to 2 is not finished", "take it back with --to-generation 1"),
        (2, (3, 1), {1, 2, 3}, "from generation 1 to 3 is not finished", "finish it with --to-generation 3"),
    ],
)
def test_no_other_way(wanted: int, now: tuple[int, int], ever: set[int], fact: str, remedy: str) -> None:
    with pytest.raises(SetupProblem, match=fact) as refused:
        way_to(wanted, InForce(*now), ever)
    assert remedy in refused.value.remedy


class Cluster:
    """`TopicsAdmin` and `Logs` over dicts."""

    def __init__(self) -> None:
        settings = {LAG: "7", RETENTION: "99", MIN_INSYNC: "2", "segment.bytes": "1"}
        self.topics = {name: Topic(name, 2, settings, 3) for name in (FIRST.state, FIRST.receipts, FIRST.ops)}
        self.removed: list[str] = []
        self.begins = 0
        self.filled: Sequence[str] = ()

    def partition_counts(self) -> dict[str, int]:
        return {name: topic.partitions for name, topic in self.topics.items()}

    def existing(self, names: Sequence[str]) -> dict[str, Topic]:
        return {name: self.topics[name] for name in names if name in self.topics}

    def remove(self, names: Sequence[str]) -> None:
        self.removed += names
        for name in names:
            self.topics.pop(name, None)

    def apply(self, plan: Plan) -> None:
        self.topics |= {topic.name: topic for topic in plan.create}

    def require(self, wanted: Sequence[Topic]) -> None:
        for topic in wanted:
            if topic.name not in self.topics:
                raise TopicProblem(f"topic {topic.name} does not exist", "")
            if self.topics[topic.name].partitions != topic.partitions:
                raise TopicProblem(f"topic {topic.name} has another partition count", "")

    def extent(self, topic: str, partition: int) -> range:
        return range(self.begins, 10) if topic == FIRST.ops or topic in self.filled else range(0)


def laid(cluster: Cluster, wanted: int = 2) -> SpaceTopics:
    return lay_topics(cluster, cluster, FIRST, wanted, 2)  # type: ignore[arg-type]


@pytest.mark.parametrize("topic", [FIRST.ops, FIRST.state, FIRST.receipts])
def test_nothing_is_rebuilt_by_another_count_than_that_of_what_runs(topic: str) -> None:
    cluster = Cluster()
    require_declared(cluster, FIRST, 2)  # type: ignore[arg-type]
    cluster.topics[topic] = replace(cluster.topics[topic], partitions=3)
    with pytest.raises(TopicProblem, match=f"{topic} has another partition count"):
        require_declared(cluster, FIRST, 2)  # type: ignore[arg-type]


def test_its_topics_are_made_as_those_that_run() -> None:
    cluster = Cluster()
    assert laid(cluster) == SECOND
    state, receipts = cluster.topics[SECOND.state], cluster.topics[SECOND.receipts]
    assert (state.partitions, state.replication) == (receipts.partitions, receipts.replication) == (2, 3)
    assert state.settings[RETENTION] == "99" and state.settings[MIN_INSYNC] == receipts.settings[MIN_INSYNC] == "2"
    assert RETENTION not in receipts.settings and "segment.bytes" not in state.settings
    assert cluster.removed == []


def test_what_an_attempt_before_has_left_is_made_anew_and_nothing_else() -> None:
    cluster = Cluster()
    laid(cluster)
    del cluster.topics[SECOND.receipts]
    cluster.topics[SpaceTopics("retail", 7).state] = cluster.topics[FIRST.state]
    laid(cluster)
    assert set(cluster.removed) == {SECOND.state, SECOND.receipts}
    assert {FIRST.state, SECOND.state, SECOND.receipts, "retail.state.g7"} <= cluster.topics.keys()


def test_two_who_make_it_at_once_do_not_write_into_each_others_topics() -> None:
    cluster = Cluster()
    cluster.filled = (SECOND.receipts,)
    with pytest.raises(SetupProblem, match="is not empty"):
        laid(cluster)


def test_one_goes_back_while_the_log_has_what_follows() -> None:
    cluster = Cluster()
    commits = {0: 4, 1: 0}
    require_leading_on(cluster, cluster, FIRST, 2, commits)  # type: ignore[arg-type]
    cluster.begins = 3
    with pytest.raises(SetupProblem, match=r"retail\.ops\[1\], and the log begins at 3") as refused:
        require_leading_on(cluster, cluster, FIRST, 2, commits)  # type: ignore[arg-type]
    assert "stay with the one that is in force" in refused.value.remedy, "none can be made of what is left of the log"
    with pytest.raises(TopicProblem, match=r"retail\.state\.g2 does not exist"):
        require_leading_on(cluster, cluster, SECOND, 2, commits)  # type: ignore[arg-type]


class Groups:
    """`Commits`: what the two groups say at each look, and the time, which passes while nobody looks."""

    def __init__(self, old: Callable[[float], int], new: Callable[[float], int]) -> None:
        self._old, self._new = old, new
        self.now = 0.0
        self.behind: list[int] = []

    def read(self, topics: SpaceTopics) -> Mapping[int, int]:
        return {0: (self._old if topics == FIRST else self._new)(self.now), 1: 5}

    def pause(self, seconds: float) -> None:
        self.now += seconds

    def follow(self) -> float:
        follow_over(self, FIRST, SECOND, 60, self.behind.append, lambda: self.now, self.pause)  # type: ignore[arg-type]
        return self.now


def test_readers_follow_when_the_new_workers_are_as_far_and_the_old_ones_rest() -> None:
    groups = Groups(lambda now: min(int(now), 4), lambda now: 0 if now < 20 else 4)
    assert groups.follow() >= 20
    assert groups.behind[0] == 0 and max(groups.behind) == 4
    busy = Groups(lambda now: min(int(now), 30), int)
    assert busy.follow() >= 30 + SETTLED_SECONDS, "the old ones still merge, so they have not heard of it"


def test_where_no_worker_follows_readers_stay_where_they_are() -> None:
    with pytest.raises(SetupProblem, match="are 3 op records behind") as refused:
        Groups(lambda now: 9, lambda now: 6).follow()
    assert "--to-generation 2 once more" in refused.value.remedy
