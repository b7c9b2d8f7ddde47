"""What leaves of 1,000 increments of one document that wait for the network: of a collapsed collection, beside one that keeps its history.

Two agents write the same commands offline, each on a document of its own, and go online by turns: they are sealed, merged by a worker on a real broker, and
pulled until nothing is pending. Both run the same app, of which one declares the collection `history="full"`. What each has sent is read back from the log.

- `ops`, `bytes`: what the log has of them, as values of records.
- `drain`: from going online to the last command gone. Both have the same answers to write down; the difference is in what is sealed, sent, merged
  and read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from functools import partial

from benchmarks import cluster
from benchmarks.case import Aim, Case, Ground, Samples, Sides, ratio_at_most
from benchmarks.cluster import BenchSpace, Cluster
from benchmarks.device import Device
from benchmarks.quiet import quiet
from driftlog_schemas import topics
from driftlog_schemas.batch_codec import BatchCodec, decode_body
from driftlog_schemas.contract import AppContract
from tests.load.history import read_topic
from tests.load.workers import WorkerProcess

PARTITIONS = 4
COMMANDS = 1_000
ROUNDS = 5
WARM_UP = 100
"""Commands, before anything is measured."""
COLLAPSED, FULL = range(2)
"""The devices."""

shared = cluster.servers


class Sender:
    """A device that gathers increments of one document, drains them, and what the log has of it."""

    def __init__(self, space: BenchSpace, number: int, device: Device) -> None:
        self._space, self._device = space, device
        self._id = space.fleet.members[number].device_id
        self._read = self._sent()

    def seconds(self, commands: int = COMMANDS) -> Samples:
        """Milliseconds from online to nothing pending."""
        self._device.fill(commands, 1)
        return [self._device.drain() * 1e3]

    def ops(self) -> Samples:
        """How many a drain brings into the log."""
        return [self._brought()[0]]

    def bytes(self) -> Samples:
        """How many a drain brings into the log."""
        return [self._brought()[1]]

    def _brought(self) -> tuple[int, int]:
        self.seconds()
        before, self._read = self._read, self._sent()
        return self._read[0] - before[0], self._read[1] - before[1]

    def _sent(self) -> tuple[int, int]:
        """Ops and bytes of all that it has ever sent."""
        codec, place = BatchCodec(self._space.ids), self._space.place
        records = read_topic(place.bootstrap, topics.ops_topic(self._space.name))
        values = [record.value for record in records if record.key == self._id.encode() and record.value is not None]
        batches = [decode_body(codec.open(value).body) for value in values]
        ops = sum(len(command.ops) for batch in batches for command in batch.commands)
        return ops, sum(map(len, values))


@contextmanager
def _draining(measured: Callable[[Sender], Samples], ground: Ground) -> Iterator[Sides]:
    quiet()
    servers: Cluster = ground.shared
    space = servers.space(cluster.fresh_name("collapsed"), ground.folder, partitions=PARTITIONS, devices=2)
    with ExitStack() as stack:
        worker = WorkerProcess(space.place, "0").start()
        stack.callback(worker.stop)
        senders = []
        for number, declared in ((COLLAPSED, space), (FULL, replace(space, contract=_full(space.contract)))):
            device = stack.enter_context(Device(declared, number, "turn", "meter"))
            senders.append(Sender(space, number, device))
            senders[-1].seconds(WARM_UP)  # until worker and agent have met
        for sender in senders:
            measured(sender)  # what the warm-up has sent counts for nobody
        yield Sides(partial(measured, senders[COLLAPSED]), partial(measured, senders[FULL]))


def _full(contract: AppContract) -> AppContract:
    """The same app, which keeps the history of every collection."""
    return replace(
        contract,
        spaces={
            name: replace(space, collections={n: replace(c, history="full") for n, c in space.collections.items()})
            for name, space in contract.spaces.items()
        },
    )


def _case(name: str, unit: str, measured: Callable[[Sender], Samples], aim: Aim) -> Case:
    opened: Callable[[Ground], AbstractContextManager[Sides]] = partial(_draining, measured)
    return Case(f"{name}/{COMMANDS}", unit, opened, "history full", aim, rounds=ROUNDS, warm_up=False)


CASES: Sequence[Case] = [
    _case("ops", "ops", Sender.ops, ratio_at_most(1 / COMMANDS)),
    _case("bytes", "bytes", Sender.bytes, ratio_at_most(0.2)),
    _case("drain", "ms", Sender.seconds, ratio_at_most(1)),
]
