"""What a pending command costs to take back, in queues of many lengths: the same for each, beside a queue a quarter as long.

An agent writes its commands offline, then goes online: they are sealed, merged by a worker on a real broker, and pulled until nothing is
pending. Time is measured from going online to the last command gone. What must hold is that a command costs the same however many wait, and
however many of them are on one document; so the baseline is the same drain of a quarter of the queue, in the same run.

The facts say what the folder takes for each command, while it waits and after it was merged and forgotten.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial

from benchmarks import cluster
from benchmarks.case import Case, Ground, Samples, Sides, ratio_at_most
from benchmarks.cluster import Cluster
from benchmarks.device import Device
from benchmarks.quiet import quiet
from tests.load.workers import WorkerProcess

PARTITIONS = 4
COMMANDS = (20_000, 40_000, 80_000)
PER_DOCUMENT = (10, 100, 1_000)
QUICK = 20
"""Divides the queue."""
WARM_UP = 100
"""Commands, before anything is measured."""
SHORTER = 4
"""The baseline's queue is so many times shorter."""
AIM = 1.3

shared = cluster.servers


def _drained(device: Device, commands: int, per_document: int) -> Samples:
    """Microseconds a command, from online to nothing pending."""
    device.fill(commands, max(1, commands // per_document))
    return [device.drain() / commands * 1e6]


@contextmanager
def _draining(commands: int, per_document: int, ground: Ground) -> Iterator[Sides]:
    quiet()
    servers: Cluster = ground.shared
    if ground.quick:
        commands //= QUICK
    space = servers.space(cluster.fresh_name("drain"), ground.folder, partitions=PARTITIONS, devices=2)
    worker = WorkerProcess(space.place, "0").start()
    try:
        with Device(space, 0) as long, Device(space, 1) as short:
            for device in (long, short):
                device.fill(WARM_UP, 1)
                device.drain()  # until worker and agents have met
            yield Sides(
                partial(_drained, long, commands, per_document),
                partial(_drained, short, commands // SHORTER, per_document),
                long.facts,
            )
    finally:
        worker.stop()


def _case(commands: int, per_document: int) -> Case:
    opened: Callable[[Ground], AbstractContextManager[Sides]] = partial(_draining, commands, per_document)
    name = f"{commands}/per-document={per_document}"
    return Case(name, "us a command", opened, f"1/{SHORTER} of the queue", ratio_at_most(AIM), rounds=1, warm_up=False)


CASES: Sequence[Case] = [_case(commands, each) for commands in COMMANDS for each in PER_DOCUMENT]
