"""What encryption at rest costs an edge agent: processor time of a command and of a read, and bytes on the disk, beside the same agent without it.

Both agents run in this process, by turns, and do the same; of the one, values pass through the cipher's place as they are. Nothing else differs.
The time is the whole process's: the loop, the committer's thread and RocksDB's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from unittest.mock import patch

from benchmarks.bench_durable import DOCUMENTS, Agent, Durability
from benchmarks.case import Case, Ground, Samples, Sides, ratio_at_most
from benchmarks.processor_time import took
from driftlog_edge.ports import Family

COMMANDS = 4_000
"""A round."""
QUICK_COMMANDS = 200
PAGE = 1_000


class _Through:
    """In the cipher's place: a value lies there as it is."""

    def __init__(self, keys: object) -> None: ...

    def seal(self, family: Family, key: bytes, value: bytes) -> bytes:
        return value

    def open(self, family: Family, key: bytes, sealed: bytes) -> bytes:
        return sealed


@contextmanager
def _both(ground: Ground, durability: Durability, callers: int) -> Iterator[tuple[Agent, Agent]]:
    with ExitStack() as opened:
        agents = []
        for name in ("sealed", "through"):
            (ground.folder / name).mkdir()
            with patch("driftlog_edge.store.key_file.Cipher", _Through) if name == "through" else ExitStack():
                agents.append(opened.enter_context(Agent(ground.folder / name, durability, callers)))
        yield agents[0], agents[1]


@contextmanager
def _writing(durability: Durability, callers: int, ground: Ground) -> Iterator[Sides]:
    commands = QUICK_COMMANDS if ground.quick else COMMANDS if callers > 1 else COMMANDS // 2
    with _both(ground, durability, callers) as (ours, without):
        yield Sides(
            ours=lambda: took(lambda: ours.rate(commands), commands),
            baseline=lambda: took(lambda: without.rate(commands), commands),
            facts={"callers": callers},
        )


@contextmanager
def _reading(ground: Ground) -> Iterator[Sides]:
    with _both(ground, "os", 64) as (ours, without):
        for agent in (ours, without):
            agent.rate(DOCUMENTS)
        times = 2 if ground.quick else 20
        yield Sides(
            ours=lambda: took(lambda: ours.read(PAGE, times), PAGE * times),
            baseline=lambda: took(lambda: without.read(PAGE, times), PAGE * times),
            facts={"documents": DOCUMENTS},
        )


@contextmanager
def _keeping(ground: Ground) -> Iterator[Sides]:
    commands = QUICK_COMMANDS if ground.quick else 5 * COMMANDS
    with _both(ground, "os", 64) as (ours, without):

        def taken(agent: Agent) -> Samples:
            before = agent.compacted_bytes()
            agent.rate(commands)
            return [(agent.compacted_bytes() - before) / commands]

        yield Sides(ours=lambda: taken(ours), baseline=lambda: taken(without))


def _case(
    name: str, unit: str, opened: Callable[[Ground], AbstractContextManager[Sides]], limit: float, rounds: int = 7
) -> Case:
    return Case(name, unit, opened, "values as they are", ratio_at_most(limit), rounds=rounds)


CASES: Sequence[Case] = [
    _case("disk/callers=1", "us", partial(_writing, "disk", 1), 1.1),
    _case("disk/callers=64", "us", partial(_writing, "disk", 64), 1.1),
    _case("os/callers=64", "us", partial(_writing, "os", 64), 1.1),
    _case("page", "us", _reading, 1.1),
    _case("bytes", "bytes", _keeping, 3.0, rounds=3),
]
