"""How long an agent's loop is held up by one step, while it does what is long: nobody is answered meanwhile.

An agent in this process works against a worker and a broker of their own. Every callback of its loop is looked at, and the longest counts, by
its processor time (the wall's is among the facts). The baseline is the longest of the same agent with nothing to do. The aim is the
design's bound, on any machine: no step over 50 ms. What a first read takes is measured in `replica/step`.

- `drain`: 40,000 pending commands on 1,000 documents are sent, decided and taken back.
- `renew`: 10,000 of them, and the life under which they were given is over when the agent comes online. The cloud remembers 12,000 such commands of a
  life; what is more goes to a person.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial

from benchmarks import cluster
from benchmarks.case import Case, Ground, Samples, Sides, at_most
from benchmarks.cluster import Cluster
from benchmarks.device import Device
from benchmarks.longest import longest_step
from benchmarks.quiet import quiet
from driftlog_edge.collector import spare
from tests.load.workers import WorkerProcess

PARTITIONS = 4
DRAINED = 40_000
RENEWED = 10_000
DOCUMENTS = 1_000
QUICK = 20
"""Divides both."""
IDLE_SECONDS = 5.0
MOST_MS = 50.0

shared = cluster.servers


@contextmanager
def _working(forked: bool, ground: Ground) -> Iterator[Sides]:
    quiet()
    spare()  # as in an agent's own process
    servers: Cluster = ground.shared
    size = QUICK if ground.quick else 1
    space = servers.space(cluster.fresh_name("loop"), ground.folder, partitions=PARTITIONS, devices=1)
    worker = WorkerProcess(space.place, "0").start()
    facts: dict[str, object] = {}

    def ours() -> Samples:
        device.fill((RENEWED if forked else DRAINED) // size, DOCUMENTS // size)
        if forked:
            device.fork()
        with longest_step() as longest:
            device.drain()
        facts.update(longest.told())
        return [longest.processor]

    def idle() -> Samples:
        with longest_step() as longest:
            device.wait(IDLE_SECONDS / size)
        return [longest.processor]

    try:
        with Device(space, 0) as device:
            device.fill(1, 1)
            device.drain()  # until worker and agent have met
            yield Sides(ours, idle, facts)
    finally:
        worker.stop()


def _case(name: str, *, forked: bool) -> Case:
    opened: Callable[[Ground], AbstractContextManager[Sides]] = partial(_working, forked)
    return Case(name, "ms", opened, "an idle loop", at_most(MOST_MS, "ms"), rounds=1, warm_up=False)


CASES: Sequence[Case] = [_case("drain", forked=False), _case("renew", forked=True)]
