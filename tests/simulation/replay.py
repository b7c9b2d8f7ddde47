"""One seed again, with its story: `python -m tests.simulation.replay 42 [--quiet] [--planted "dedupe by offset"]`.

Prints what happened, by simulated seconds, then what the judge says; exits 1 if a law was broken.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Sequence

import structlog

from tests.simulation.case import Case, Meaningless
from tests.simulation.coverage import covered
from tests.simulation.judge import Violation, broken, judge
from tests.simulation.scheduler import EPOCH_MS
from tests.simulation.variant import HONEST, PLANTED, Variant
from tests.simulation.world import simulate

_CRITICAL = 50


def lived(seed: int) -> tuple[list[Violation], Counter[str]]:
    """The laws that the world of this seed breaks, and what it covered."""
    try:
        case = Case(simulate(seed))
    except Meaningless as error:
        return [Violation("the log has one meaning", str(error))], Counter()
    return broken(case), covered(case)


def verdict(seed: int, variant: Variant = HONEST) -> list[Violation]:
    """The laws that the world of this seed breaks."""
    return judge(simulate(seed, variant))


def quiet_logs() -> None:
    """Refusals and torn groups are daily bread here; only what is critical is logged."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(_CRITICAL))


def explain(seed: int, violations: Sequence[Violation]) -> str:
    """What a failing test says: the laws, and the way to see the same run again."""
    facts = "\n".join(f"  {violation}" for violation in violations)
    return f"seed {seed} breaks {len(violations)} laws; see it again with: python -m tests.simulation.replay {seed}\n{facts}"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.simulation.replay", description="Replay one simulated world."
    )
    parser.add_argument("seed", type=int)
    parser.add_argument("--quiet", action="store_true", help="only the judgement")
    parser.add_argument("--planted", choices=[v.name for v in PLANTED], help="with this bug planted")
    given = parser.parse_args(arguments)
    variant = next((v for v in PLANTED if v.name == given.planted), HONEST)
    quiet_logs()

    def tell(now_ms: int, text: str) -> None:
        sys.stdout.write(f"{(now_ms - EPOCH_MS) / 1000:12.3f}  {text}\n")

    history = simulate(given.seed, variant, None if given.quiet else tell)
    violations = judge(history)
    said = explain(given.seed, violations) if violations else "lawful"
    counts = f"{history.events} events, {len(history.answers)} answers, trace {history.trace_hash}"
    sys.stdout.write(f"seed {given.seed}: {counts}\n{said}\n")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
