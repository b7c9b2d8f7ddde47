"""What a pending command costs to take back, in queues of many lengths: the same for each, beside a queue a quarter as long.

An agent writes its commands offline, then goes online: they are sealed, merged by a worker on a real broker, and pulled until nothing is
pending. Time is measured from going online to the last command gone. What must hold is that a command costs the same however many wait, and
however many of them are on one document; so the baseline is the same drain of a quarter of the queue, in the same run.

The facts say what the folder takes for each command, while it waits and after it was merged and forgotten.

`raw` and `double` count ops, ten to a command as a sale has lines. `raw`: from going online until the log has all of them, without a worker; the baseline
is a bare producer with the same settings that sends the very same records. `double`: the whole way, of twice as many.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import partial

from confluent_kafka import Producer

from benchmarks import cluster
from benchmarks.case import Case, Ground, Samples, Sides, ratio_at_least, ratio_at_most
from benchmarks.cluster import Cluster
from benchmarks.device import Device
from benchmarks.quiet import quiet
from driftlog_schemas import avro_files, topics
from tests.load.history import read_topic
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
OPS_A_COMMAND = 10
COMMANDS_A_DOCUMENT = 10
"""Commands on each document, where ops are counted."""
PRODUCING = {"enable.idempotence": True, "compression.type": "zstd", "linger.ms": 0, "log_level": 0}
"""As an agent does."""
PATIENCE_SECONDS = 600.0

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


def _shipped(device: Device, ops: int) -> Samples:
    """Ops a second."""
    device.fill(ops // OPS_A_COMMAND, max(1, ops // OPS_A_COMMAND // COMMANDS_A_DOCUMENT), OPS_A_COMMAND)
    return [ops / device.ship()]


def _produced(servers: Cluster, space: str, ops: int, facts: dict[str, object]) -> Samples:
    """Ops a second of a bare producer that sends what the agent has sent, when all of it is acknowledged."""
    records = read_topic(servers.bootstrap, topics.ops_topic(space))
    facts |= {"records": len(records), "bytes": sum(len(record.value or b"") for record in records)}
    topic = servers.topic(f"{space}-raw", PARTITIONS)
    producer = Producer({"bootstrap.servers": servers.bootstrap, **PRODUCING})
    begun = time.perf_counter()
    for record in records:
        while True:
            try:
                producer.produce(topic, record.value, record.key, record.partition)
                break
            except BufferError:
                producer.poll(0.1)
    if left := producer.flush(PATIENCE_SECONDS):
        raise TimeoutError(f"{left} of {len(records)} records were not acknowledged")
    return [ops / (time.perf_counter() - begun)]


@contextmanager
def _shipping(ground: Ground) -> Iterator[Sides]:
    quiet()
    servers: Cluster = ground.shared
    ops, facts = ground.size(1_000, 50_000, 1_000_000), {}
    space = servers.space(cluster.fresh_name("drain"), ground.folder, partitions=PARTITIONS, devices=1)
    space.ids.id_of(avro_files.text("signed_batch"))  # as a worker does when it starts
    with Device(space, 0) as device:
        yield Sides(partial(_shipped, device, ops), partial(_produced, servers, space.name, ops, facts), facts)


@contextmanager
def _doubled(ground: Ground) -> Iterator[Sides]:
    quiet()
    servers: Cluster = ground.shared
    ops = ground.size(1_000, 50_000, 1_000_000)
    space = servers.space(cluster.fresh_name("drain"), ground.folder, partitions=PARTITIONS, devices=2)

    def drained(device: Device, ops: int) -> Samples:
        commands = ops // OPS_A_COMMAND
        device.fill(commands, max(1, commands // COMMANDS_A_DOCUMENT), OPS_A_COMMAND)
        return [device.drain()]

    with WorkerProcess(space.place, "0"), Device(space, 0) as twice, Device(space, 1) as once:
        for device in (twice, once):
            device.fill(WARM_UP, 1)
            device.drain()
        yield Sides(partial(drained, twice, 2 * ops), partial(drained, once, ops), {"ops": ops})


def _case(commands: int, per_document: int) -> Case:
    opened: Callable[[Ground], AbstractContextManager[Sides]] = partial(_draining, commands, per_document)
    name = f"{commands}/per-document={per_document}"
    return Case(name, "us a command", opened, f"1/{SHORTER} of the queue", ratio_at_most(AIM), rounds=1, warm_up=False)


CASES: Sequence[Case] = [
    *(_case(commands, each) for commands in COMMANDS for each in PER_DOCUMENT),
    Case("raw", "ops/s", _shipping, "a bare producer", ratio_at_least(0.5), rounds=1, warm_up=False),
    Case("double", "s", _doubled, "half as many", ratio_at_most(2.2), rounds=1, warm_up=False),
]
