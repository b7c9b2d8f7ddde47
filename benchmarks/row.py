"""One measured line: a figure of ours beside the same figure of the baseline, taken in the same run.

Absolute figures of a shared machine mean little; a ratio to something measured a moment before or after, on the same
data, means much. So a row without a baseline is the exception, and says so by leaving it empty.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias


@dataclass(frozen=True, slots=True)
class Row:
    """`name` is unique within a run, for example `merge/batch=100/keys=5000`. `baseline_name` is empty for none."""

    name: str
    value: float
    unit: str
    baseline_name: str = ""
    baseline_value: float = 0.0

    @property
    def ratio(self) -> float | None:
        """Ours divided by the baseline's; None without one. Whether more is better, the unit says."""
        return self.value / self.baseline_value if self.baseline_name and self.baseline_value else None

    def as_json(self) -> dict[str, Any]:
        """The row as `driftlog bench --json` prints it."""
        return {**asdict(self), "ratio": self.ratio}


Benchmark: TypeAlias = Callable[[bool], list[Row]]
"""`run(quick)` of a module `bench_*.py`: measure, print nothing, leave nothing running."""
