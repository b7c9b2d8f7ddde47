"""What a benchmark declares: cases, each of them two things to measure against one another.

A module `benchmarks/bench_NAME.py` has a sequence `CASES`. A case opens its ground once and hands back `Sides`: how to take
samples of ours and of the baseline. The runner (see `rounds`) then takes turns, ours, baseline, ours, baseline, so that what
the machine does meanwhile meets both. The ratio of the two is the result; an absolute figure describes one machine on one day.

    @contextmanager
    def one_by_one(ground: Ground) -> Iterator[Sides]:
        with Store(ground.folder) as store:
            yield Sides(ours=lambda: [seconds(store.put)], baseline=lambda: [seconds(store.raw_put)])

    CASES = [Case("put", "s", one_by_one, baseline_name="raw put", aim=ratio_at_most(2.0))]

Must never happen: a figure that is estimated; a baseline measured on other data, at another time or with another guarantee;
a thread, process or file that outlives its case.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from benchmarks.row import Row

Samples: TypeAlias = Sequence[float]
"""What one round measured, in the case's unit: one figure, or many (then their quantile counts)."""


class Skipped(Exception):
    """Raised while a case opens: it cannot run here, and why. Shown, and not an error."""


@dataclass(frozen=True, slots=True)
class Ground:
    """What a case gets when it opens."""

    quick: bool
    """Measure little: the figures will say nothing, but all of the code has run."""
    folder: Path
    """An empty folder, removed afterwards."""
    say: Callable[[str], None]
    """Progress, for a person who waits."""
    shared: Any = None
    """What the module's `shared` has opened; None where it has none."""
    large: bool = False
    """Measure at the sizes that the aims name, where those take many minutes; otherwise at some that show the same."""

    def size(self, quick: int, usual: int, large: int) -> int:
        """How much to measure."""
        return quick if self.quick else large if self.large else usual


@dataclass(frozen=True, slots=True)
class Sides:
    """How to measure. Each is called once a round, and does the whole of a round's work."""

    ours: Callable[[], Samples]
    baseline: Callable[[], Samples] | None = None
    facts: Mapping[str, object] = field(default_factory=dict)
    """What else there is to know (bytes, keys, counts); read after the last round, so it may be filled on the way."""


@dataclass(frozen=True, slots=True)
class Aim:
    """What a row should reach. A missed aim is shown, and is a failure only with `--check`."""

    text: str
    met: Callable[[Row], bool]


@dataclass(frozen=True, slots=True)
class Case:
    """One line of the result."""

    name: str
    """Unique in its module; the runner puts the module's name before it: `algebra/apply/counter`."""
    unit: str
    """Of the samples: us, ms, ops/s, bytes, ..."""
    open: Callable[[Ground], AbstractContextManager[Sides]]
    baseline_name: str = ""
    """Empty for a case without a baseline, such as a size."""
    aim: Aim | None = None
    quantile: float = 0.5
    """Which of a round's samples counts: 0.5 their median, 0.99 for a p99."""
    rounds: int = 7
    """How often each side is measured; with `--quick`, twice at most, with `--large` once."""
    warm_up: bool = True
    """One round of each first, which does not count. False where a round is long and starts from nothing anyway."""


class Benchmark(Protocol):
    """A module `bench_*.py`. Its docstring's first line is what `--list` says of it.

    It may also have `shared(ground) -> AbstractContextManager[Any]`: what all its cases need (a broker), opened before the
    first of those that run, closed after the last, and found in `ground.shared`.
    """

    CASES: Sequence[Case]


def ratio_at_most(limit: float) -> Aim:
    """Ours / baseline, where less is better (time, bytes)."""
    return Aim(f"ratio <= {limit:g}", lambda row: row.ratio is not None and row.ratio <= limit)


def ratio_at_least(limit: float) -> Aim:
    """Ours / baseline, where more is better (operations a second)."""
    return Aim(f"ratio >= {limit:g}", lambda row: row.ratio is not None and row.ratio >= limit)


def at_most(limit: float, unit: str) -> Aim:
    """An absolute aim, which holds for this machine only. `unit` is the case's, for the text."""
    return Aim(f"<= {limit:g} {unit}", lambda row: row.ours.median <= limit)


def at_least(limit: float, unit: str) -> Aim:
    """An absolute aim, which holds for this machine only. `unit` is the case's, for the text."""
    return Aim(f">= {limit:g} {unit}", lambda row: row.ours.median >= limit)
