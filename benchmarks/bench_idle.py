"""What `driftlog edge run` takes before it has anything to do: memory, and processor time until it serves.

An agent runs for months on a small device, and a restart keeps an application waiting. Both are mostly a matter of what is imported, so
the baseline is an interpreter that has imported asyncio and nothing else.

- `rss`: what is mapped into the process, pages of libraries' files among it;
- `own`: of that what no file has, and the system cannot do without;
- `start`: processor time until it serves.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from operator import attrgetter

from benchmarks.agent_process import BARE, PROC, Taken, edge_run, taken
from benchmarks.case import Case, Ground, Samples, Sides, Skipped, at_most
from driftlog_schemas.signing import Identity


@contextmanager
def _idle(look: Callable[[Taken], float], ground: Ground) -> Iterator[Sides]:
    if not PROC.exists():
        raise Skipped("memory and processor time are read from /proc")
    identity, cache = ground.folder / "identity.json", ground.folder / "cache"
    Identity.create("store-1").save(identity)

    def measured(arguments: Sequence[str]) -> Samples:
        return [look(taken(arguments, cache))]

    yield Sides(partial(measured, edge_run(ground.folder / "replica", identity, "place-1")), partial(measured, BARE))


CASES: Sequence[Case] = [
    Case(
        "rss",
        "MiB",
        partial(_idle, attrgetter("rss")),
        "an interpreter with asyncio",
        at_most(64, "MiB"),
        rounds=3,
        warm_up=False,
    ),
    Case(
        "own",
        "MiB",
        partial(_idle, attrgetter("own")),
        "an interpreter with asyncio",
        at_most(56, "MiB"),
        rounds=3,
        warm_up=False,
    ),
    Case(
        "start",
        "s",
        partial(_idle, attrgetter("seconds")),
        "an interpreter with asyncio",
        None,
        rounds=5,
        warm_up=False,
    ),
]
