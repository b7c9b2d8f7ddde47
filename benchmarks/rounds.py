"""Takes the samples of a case: ours and the baseline by turns, so that both meet the same machine.

One turn of each comes first and does not count (but see `Case.warm_up`): it fills caches, imports modules, grows files. The collector of cyclic garbage
runs before every turn, so that neither side pays for what the other has left behind; inside a turn it is as in production.
"""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.case import Case, Ground, Samples
from benchmarks.row import Row, Spread, quantile

QUICK_ROUNDS = 2


def measure(
    name: str,
    case: Case,
    *,
    quick: bool = False,
    large: bool = False,
    say: Callable[[str], None] = lambda text: None,
    shared: Any = None,
) -> Row:
    """Run `case` and give its row under `name`. What the case raises is let through."""
    rounds = min(case.rounds, QUICK_ROUNDS if quick else 1 if large else case.rounds)
    with tempfile.TemporaryDirectory(prefix="driftlog-bench-") as folder:
        ground = Ground(quick, Path(folder), say, shared, large)
        with case.open(ground) as sides:
            if (sides.baseline is None) != (not case.baseline_name):
                raise ValueError(f"{name}: a baseline needs a name, and a name a baseline")
            ours: list[float] = []
            theirs: list[float] = []
            for number in range(0 if case.warm_up else 1, rounds + 1):
                say(f"{name}: round {number} of {rounds}" if number else f"{name}: warming up")
                ours.append(_turn(sides.ours, case.quantile))
                if sides.baseline is not None:
                    theirs.append(_turn(sides.baseline, case.quantile))
            facts = dict(sides.facts)
    if case.warm_up:
        del ours[:1], theirs[:1]
    return Row(
        name=name,
        unit=case.unit,
        ours=Spread.of(ours),
        baseline_name=case.baseline_name,
        baseline=Spread.of(theirs) if theirs else None,
        ratios=Spread.of([a / b for a, b in zip(ours, theirs, strict=True)]) if theirs and all(theirs) else None,
        rounds=rounds,
        facts=facts,
    )


def _turn(side: Callable[[], Samples], share: float) -> float:
    gc.collect()
    return quantile(side(), share)
