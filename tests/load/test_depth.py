"""The tests of a run: without the deep ones, those alone, or all; and what is left out is told, by several processes too."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.depth import ALL, DEEP, USUAL, Depth


class Item:
    """A test that may be marked."""

    def __init__(self, name: str, *marks: str) -> None:
        self.name = name
        self._marks = marks

    def get_closest_marker(self, name: str) -> str | None:
        return name if name in self._marks else None


TESTS = (Item("short"), Item("long", "slow", "deep"), Item("slow", "slow"), Item("both", "deepens"))


class Run:
    """pytest's own end of a run: what it is told."""

    def __init__(self) -> None:
        self.deselected: list[str] = []
        self.hook = SimpleNamespace(pytest_deselected=lambda items: self.deselected.extend(i.name for i in items))
        self.workeroutput: dict[str, object] = {}
        self.lines: list[str] = []

    def write_line(self, line: str) -> None:
        self.lines.append(line)


def collected(depth: Depth, run: Any) -> list[str]:
    items: list[Any] = list(TESTS)
    depth.pytest_collection_modifyitems(run, items)
    return [item.name for item in items]


def told(depth: Depth) -> list[str]:
    run: Any = Run()
    depth.pytest_terminal_summary(run)
    return list(run.lines)


@pytest.mark.parametrize(
    ("chosen", "taken", "others"),
    [
        (USUAL, ["short", "slow", "both"], ["long"]),
        (DEEP, ["long", "both"], ["short", "slow"]),
        (ALL, ["short", "long", "slow", "both"], []),
    ],
)
def test_a_depth_takes_its_tests(chosen: str, taken: list[str], others: list[str]) -> None:
    run = Run()
    assert collected(Depth(chosen), run) == taken
    assert run.deselected == others


@pytest.mark.parametrize(("chosen", "lines"), [(USUAL, 1), (DEEP, 0), (ALL, 0)])
def test_what_is_left_out_is_told_with_the_command_that_runs_it(chosen: str, lines: int) -> None:
    depth = Depth(chosen)
    collected(depth, Run())
    assert told(depth) == ["1 deep tests were left out; `make deeper` runs them."][:lines]


def test_several_processes_collect_the_same_and_one_tells() -> None:
    tells = Depth(USUAL)
    for _ in range(3):
        process: Any = Run()
        depth = Depth(USUAL)
        collected(depth, process)
        depth.pytest_sessionfinish(SimpleNamespace(config=process))  # type: ignore[arg-type]  # a session as far as it is asked
        tells.pytest_testnodedown(process, None)
    tells.pytest_testnodedown(SimpleNamespace(), "crashed")
    assert told(tells) == ["1 deep tests were left out; `make deeper` runs them."]
