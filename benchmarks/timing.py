"""Microseconds of one call among many: the shape of a case that measures a function, not a system.

The clock is the thread's processor time: what a call costs does not depend on who else wants the machine just now, except
for caches and turbo. That is fair only to work that stays in its thread and waits for nothing; anything else takes the wall's time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from time import thread_time_ns
from typing import TypeVar

S = TypeVar("S")
T = TypeVar("T")


class Nothing:
    """A method that does nothing, called as ours are: the unit of what a call costs in this Python on this machine."""

    __slots__ = ()

    def call(self, state: object, op: object) -> None:
        """Nothing."""


EMPTY_CALL = "empty method call"


def per_call(function: Callable[[S, T], object], state: S, items: Sequence[T]) -> float:
    """Processor microseconds of one `function(state, item)`, the loop included, for each of `items` once."""
    begun = thread_time_ns()
    for item in items:
        function(state, item)
    return (thread_time_ns() - begun) / 1000 / len(items)


def per_batch(function: Callable[[S, T], object], states: Iterable[S], items: Sequence[T]) -> list[float]:
    """A sample of `per_call` for each of `states`; making the next state is not measured."""
    return [per_call(function, state, items) for state in states]


def empty_calls(count: int, batches: int) -> list[float]:
    """The baseline of both."""
    nothing = Nothing()
    return per_batch(nothing.call, [None] * batches, [None] * count)
