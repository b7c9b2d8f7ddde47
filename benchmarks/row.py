"""One measured line: a figure of ours beside the same figure of the baseline, taken in the same run.

Absolute figures of a shared machine mean little; a ratio to something measured a moment before or after, on the same
data, means much. So the ratio is taken round by round, each of ours by the baseline's next to it, and the median of these
counts: a machine that is slow for a second is slow for both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from statistics import median
from typing import Any


@dataclass(frozen=True, slots=True)
class Spread:
    """The figures of several rounds."""

    low: float
    median: float
    high: float

    @classmethod
    def of(cls, figures: Sequence[float]) -> Spread:
        """Of one figure or more."""
        return cls(min(figures), median(figures), max(figures))

    def as_json(self) -> dict[str, float]:
        return {"low": self.low, "median": self.median, "high": self.high}


@dataclass(frozen=True, slots=True)
class Row:
    """What a case measured. `baseline` and `ratios` are None where it has no baseline."""

    name: str
    unit: str
    ours: Spread
    baseline_name: str = ""
    baseline: Spread | None = None
    ratios: Spread | None = None
    rounds: int = 1
    facts: Mapping[str, object] = field(default_factory=dict)

    @property
    def ratio(self) -> float | None:
        """Ours divided by the baseline's, the median of all rounds. Whether more is better, the unit says."""
        return None if self.ratios is None else self.ratios.median

    def as_json(self) -> dict[str, Any]:
        """The row as `driftlog bench --json` prints it, less its aim."""
        return {
            "case": self.name,
            "unit": self.unit,
            "ours": self.ours.as_json(),
            "baseline_name": self.baseline_name,
            "baseline": self.baseline and self.baseline.as_json(),
            "ratio": self.ratios and self.ratios.as_json(),
            "rounds": self.rounds,
            "facts": dict(self.facts),
        }


def quantile(samples: Sequence[float], share: float) -> float:
    """The sample below or at which `share` of them lie (nearest rank); the median for 0.5."""
    if not samples:
        raise ValueError("a round took no samples")
    if share == 0.5:
        return median(samples)
    ordered = sorted(samples)
    return ordered[max(0, ceil(share * len(ordered)) - 1)]
