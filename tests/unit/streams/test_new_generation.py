"""The steps to a new generation, in their order: whatever one of them ends in, nothing is in force that is not whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from driftlog_schemas.connection import KafkaSettings
from driftlog_schemas.generations import InForce
from driftlog_schemas.registry import FixedIds
from driftlog_schemas.topics import SpaceTopics
from driftlog_streams.errors import SetupProblem
from driftlog_streams.replaying import new_generation
from driftlog_streams.replaying.new_generation import NewGeneration, Reached, Refused
from driftlog_streams.replaying.publication import Written
from driftlog_streams.replaying.replay import PartitionReport
from driftlog_streams.replaying.switching import Way
from tests.unit.projections.topic import SPACE


class Cut(Exception):
    """It ends here."""


class World:
    """Every part that touches a broker, and in which order they were asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.steps: list[str] = []
        self.compared = False
        self.cut_at = ""
        self.differing = 0
        self.now, self.ever = InForce(), {1}
        self.began: dict[int, int] = {}
        for name, stand_in in {
            "TopicsAdmin": lambda kafka: None,
            "Logs": lambda kafka: SimpleNamespace(close=lambda: None),
            "Commits": lambda kafka, partitions: self,
            "Replay": lambda *_: self,
            "Delivery": lambda kafka: SimpleNamespace(deliver=None),
            "require_declared": self._declared,
            "lay_topics": self._step("topics"),
            "publish": self._step("written", Written(3, 2)),
            "require_written": self._step("read back"),
            "require_leading_on": self._step("leads on"),
            "follow_over": self._step("workers follow"),
        }.items():
            monkeypatch.setattr(new_generation, name, stand_in)
        monkeypatch.setattr(new_generation.open_calls, "take_over", self._step("open calls"))

    def _step(self, name: str, result: Any = None) -> Callable[..., Any]:
        def done(*_: Any) -> Any:
            assert self.compared, "first of all the partition counts are compared"
            if name == self.cut_at:
                raise Cut
            self.steps.append(name)
            return result

        return done

    def _declared(self, admin: None, running: SpaceTopics, partitions: int) -> None:
        assert (running, partitions) == (SpaceTopics("retail", self.now.read), SPACE.partitions)
        self.compared = True

    # -- as commits, as a replay, as the registry

    def read(self, topics: SpaceTopics) -> dict[int, int]:
        return {0: 7, 1: 0}

    def begin(self, topics: SpaceTopics, offsets: dict[int, int]) -> None:
        self._step(f"group {topics.group} begins")()
        self.began = offsets

    def require_whole(self) -> None:
        self._step("whole")()

    def rebuilt(self, number: int) -> None:
        return None

    def replay(self, number: int, *_: Any, committed: int, **__: Any) -> PartitionReport:
        self._step("rebuilt")()
        assert committed == self.read(SpaceTopics("retail"))[number]
        return PartitionReport(number, merged_to=committed - 1, differing=self.differing)

    view = None

    def generations(self, space: str) -> tuple[InForce, frozenset[int]]:
        return self.now, frozenset(self.ever)

    def switch(self, space: str, to: InForce) -> None:
        self._step(f"merge {to.merged}, read {to.read}")()
        self.now = to
        self.ever |= {*to}

    def reach(self, wanted: int, *, sure: bool = False) -> Reached | Refused:
        self.steps.clear()
        self.compared = False
        work = NewGeneration(SPACE, FixedIds(), KafkaSettings(), self, 10, 1)  # type: ignore[arg-type]
        return work.reach(wanted, sure=sure)


MADE = ["whole", *["rebuilt"] * 2, "topics", *["open calls", "written", "read back"] * 2]
SWITCHED = ["merge 2, read 1", "workers follow", "merge 2, read 2"]
BEGUN = "group driftlog-merge-retail.g2 begins"


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    yield World(monkeypatch)


def test_it_is_in_force_when_it_is_whole_and_its_workers_know_where_to_begin(world: World) -> None:
    found = world.reach(2)
    assert world.steps == [*MADE, BEGUN, *SWITCHED]
    assert world.began == {0: 7, 1: 0}
    assert isinstance(found, Reached) and found.way is Way.MAKE
    assert found.written == [Written(3, 2)] * 2 and found.before == InForce(1, 1)
    assert isinstance(world.reach(2), Reached) and world.steps == []


@pytest.mark.parametrize(
    "cut_at", ["whole", "rebuilt", "topics", "open calls", "written", "read back", BEGUN, SWITCHED[0]]
)
def test_cut_off_before_the_operators_word_nothing_has_changed(world: World, cut_at: str) -> None:
    world.cut_at = cut_at
    with pytest.raises(Cut):
        world.reach(2)
    assert world.now == InForce()
    world.cut_at = ""
    world.reach(2)
    assert world.steps == [*MADE, BEGUN, *SWITCHED], "it is made anew"


@pytest.mark.parametrize("cut_at", SWITCHED[1:])
def test_cut_off_while_workers_go_over_it_goes_on_there_or_back(world: World, cut_at: str) -> None:
    world.cut_at = cut_at
    with pytest.raises(Cut):
        world.reach(2)
    assert world.now == InForce(2, 1)
    world.cut_at = ""
    with pytest.raises(SetupProblem, match="is not finished"):
        world.reach(3)
    assert world.steps == []
    world.reach(2)
    assert world.steps == SWITCHED[1:] or world.steps == SWITCHED
    assert world.now == InForce(2, 2)


def test_half_way_it_is_taken_back_without_a_question(world: World) -> None:
    world.now, world.ever = InForce(2, 1), {1, 2}
    world.reach(1)
    assert world.steps == ["leads on", "merge 1, read 1", "workers follow", "merge 1, read 1"]
    assert world.now == InForce(1, 1)


def test_what_differs_is_put_in_force_where_that_is_meant_and_only_then(world: World) -> None:
    world.differing = 4
    found = world.reach(2)
    assert isinstance(found, Refused) and [one.differing for one in found.reports] == [4, 4]
    assert world.steps == ["whole", "rebuilt", "rebuilt"] and world.now == InForce()
    assert isinstance(world.reach(2, sure=True), Reached)
    assert world.now == InForce(2, 2)


def test_an_earlier_one_is_put_in_force_as_it_was_left_where_that_is_meant(world: World) -> None:
    world.now, world.ever = InForce(2, 2), {1, 2}
    with pytest.raises(SetupProblem, match="was in force before 2") as refused:
        world.reach(1)
    assert "--yes" in refused.value.remedy and world.now == InForce(2, 2)
    world.reach(1, sure=True)
    assert world.steps == ["leads on", "merge 1, read 2", "workers follow", "merge 1, read 1"]
