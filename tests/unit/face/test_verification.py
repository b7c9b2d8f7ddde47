"""An agent and the state topic are compared at one position, however much is written meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from driftlog.verification import Line, verify
from driftlog_schemas.digests import text_of


class Topic:
    """Counts to the offset itself, so that each position has its own digest; `missing` are positions that compaction has spoilt."""

    def __init__(self, end: int, missing: frozenset[int] = frozenset()) -> None:
        self.position = 0
        self.last = end
        self.missing = missing

    def end(self) -> int:
        return self.last

    def read_to(self, offset: int) -> None:
        assert self.position <= offset <= self.last
        self.position = offset

    def of(self, scope: str) -> tuple[int, int]:
        return (0 if self.position in self.missing else self.position), 3


def compared(topic: Topic, *answers: tuple[int, int]) -> Line:
    """What becomes of an agent that answers (offset, digest), the last one for ever."""
    told, now = iter(answers), [0.0]
    last = answers[-1]

    def status() -> Mapping[str, Any]:
        offset, digest = next(told, last)
        return {"scopes": {"s1": {"digests": {"retail/0": {"offset": offset, "digest": text_of(digest)}}}}}

    def pause(seconds: float) -> None:
        now[0] += seconds

    (line,) = verify(status, lambda place: topic, 5.0, lambda: now[0], pause)
    return line


@pytest.fixture(params=[9, 7], ids=["at the end", "behind it"])
def offset(request: pytest.FixtureRequest) -> Iterator[int]:
    yield request.param


def test_what_is_the_same_is_the_same_wherever_the_agent_stands(offset: int) -> None:
    line = compared(Topic(9), (offset, offset))
    assert (line.verdict, line.documents, line.offset) == ("same", 3, offset)


def test_a_difference_at_the_end_is_one(offset: int) -> None:
    line = compared(Topic(9), (offset, 1), (9, 2))
    assert line.verdict == "different" and line.edge != line.cloud


def test_a_difference_that_later_positions_have_too_is_one_while_writes_go_on() -> None:
    assert compared(Topic(9), (5, 1), (6, 1)).verdict == "different"


def test_what_compaction_took_before_the_end_is_no_difference() -> None:
    topic = Topic(9, frozenset({5}))
    assert compared(topic, (5, 5), (6, 6)).verdict == "same"
    assert compared(Topic(9, frozenset({5})), (5, 5)).verdict == "not in step", "once is not enough"


def test_an_agent_that_is_elsewhere_is_not_in_step() -> None:
    assert compared(Topic(9), (12, 1)).verdict == "not in step", "of a topic that was made anew, say"
