"""A small chart of the numbers of a table: bars in the order of its rows. What is not known has no bar, and is marked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

WIDTH, HEIGHT = 480, 64


class Bar(NamedTuple):
    """One of them, in units of the chart."""

    x: float
    y: float
    width: float
    height: float
    known: bool


class Chart(NamedTuple):
    """All of it. `most` is what the highest bar stands for."""

    bars: Sequence[Bar]
    most: float
    width: int = WIDTH
    height: int = HEIGHT


def chart_of(numbers: Sequence[float | None]) -> Chart:
    """A bar for each; a number above 0 can always be seen."""
    most = max((number for number in numbers if number is not None), default=0.0)
    step = WIDTH / max(1, len(numbers))
    bars = []
    for at, number in enumerate(numbers):
        if number is None:
            bars.append(Bar(round(at * step, 1), HEIGHT - 4, round(step - 2, 1), 4, known=False))
            continue
        height = max(2.0, number / most * (HEIGHT - 4)) if number > 0 else 0.0
        bars.append(
            Bar(round(at * step, 1), round(HEIGHT - height, 1), round(step - 2, 1), round(height, 1), known=True)
        )
    return Chart(bars, most)
