"""The agent's core on a real store, driven by hand: no loop, no threads, nothing happens unless a test says so."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from driftlog_edge.asking.again import Again
from driftlog_edge.asking.executor import Executed, Executor
from driftlog_edge.errors import DiskFull
from driftlog_edge.incoming import puller as pullers
from driftlog_edge.incoming import unread
from driftlog_edge.incoming.pulled import Pulled
from driftlog_edge.outgoing.outbox import DEFAULT_LIMIT, DEFAULT_LIMIT_BYTES, Outbox
from driftlog_edge.outgoing.rebase import Rebase
from driftlog_edge.outgoing.renewal import Renewal
from driftlog_edge.outgoing.shipper import Shipper
from driftlog_edge.outgoing.taking_along import Rebased
from driftlog_edge.ports import Family, Record, Sealed, Writes
from driftlog_edge.store.command_log import Entry, entry_of
from driftlog_edge.store.going_up import GoingUp
from driftlog_edge.store.journal import Journal, merged
from driftlog_edge.store.letting_go import LettingGo
from driftlog_edge.store.lives import Lives, ensure_life
from driftlog_edge.store.rocks import RocksStore
from driftlog_edge.store.views import Views, present
from driftlog_schemas.batch_codec import BatchCodec
from driftlog_schemas.contract import AppContract
from driftlog_schemas.digests import Versions
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.record_codecs import RecordCodecs
from driftlog_schemas.registry import SchemaIds
from driftlog_schemas.signing import Identity
from driftlog_schemas.state_codec import codecs_of
from tests.unit.edge.shop import CONTRACT

T = TypeVar("T")

EPOCH_MS = 1_790_000_000_000
SCOPES = ("s1", "s2")
COLLECTIONS = {n: c for s in CONTRACT.spaces.values() for n, c in s.collections.items()}


class HandClock:
    """A device clock that is set by hand."""

    def __init__(self) -> None:
        self.ms = EPOCH_MS
        self.seconds = 1000.0
        self.started = "boot-1"

    def wall_ms(self) -> int:
        return self.ms

    def monotonic(self) -> float:
        return self.seconds

    def boot(self) -> str:
        return self.started

    def pass_seconds(self, seconds: float) -> None:
        self.ms += int(seconds * 1000)
        self.seconds += seconds


class FullDisk(RocksStore):
    """A real store whose disk can fill up."""

    full = False

    def write(self, writes: Writes, *, sync: bool) -> None:
        if self.full:
            raise DiskFull("no space left", "free some")
        super().write(writes, sync=sync)


class Replica:
    """One life of a replica in a folder."""

    def __init__(
        self,
        folder: Path,
        identity: Identity,
        ids: SchemaIds,
        *,
        limit: int = DEFAULT_LIMIT,
        limit_bytes: int = DEFAULT_LIMIT_BYTES,
        in_flight: int = 16,
        scopes: Sequence[str] = SCOPES,
        clock: HandClock | None = None,
        contract: AppContract = CONTRACT,
    ) -> None:
        self.identity = identity
        self.clock = clock or HandClock()
        self.store = FullDisk(folder)
        ensure_life(self.store, identity.device_id, self.clock.ms)
        self.journal = Journal(self.store)
        self.lives = Lives(self.journal)
        codecs = codecs_of({n: c for s in contract.spaces.values() for n, c in s.collections.items()}, ids)
        self.views = Views(contract, codecs, self.journal)
        self.outbox = Outbox(contract, identity, BatchCodec(ids), self.journal, self.lives, limit, limit_bytes)
        self.executor = Executor(contract, self.lives, self.views, self.outbox, self.journal, self.clock, scopes)
        self.shipper = Shipper(self.outbox, in_flight)
        records, batches, versions = RecordCodecs(ids), BatchCodec(ids), Versions(ids)
        rebase = Rebase(contract, self.views, self.outbox, self.journal)
        self.renewal = Renewal(
            rebase, self.views, self.outbox, self.shipper, self.journal, records, batches, self.clock
        )
        self.again = Again(self.executor, self.views, self.outbox, self.journal)
        for writes in unread.read_again(self.store, codecs, versions):
            self.store.write(writes, sync=False)
        self.going_up = GoingUp(self.clock, keep_ms=7 * 86_400_000)
        self.puller = pullers.assembled(
            scopes,
            codecs,
            versions,
            RecordCodecs(ids),
            self.views,
            self.outbox,
            self.journal,
            self.executor.stamps,
            self.clock,
            identity.device_id,
            self.going_up,
        )
        self.letting_go = LettingGo(codecs, self.journal, self.going_up, self.lives, self.clock)

    # -- writing

    def run(self, name: str, command_id: str = "", /, **arguments: Any) -> Executed:
        """Run a command and stage it; `commit` makes it durable."""
        executed = self.executor.run(name, arguments, command_id)
        if executed.writes is not None:
            self.journal.stage(executed.writes, sync=True)
        return executed

    def do(self, name: str, command_id: str = "", /, **arguments: Any) -> Executed:
        """Run a command to the end."""
        executed = self.run(name, command_id, **arguments)
        self.commit()
        return executed

    def commit(self) -> None:
        """One group commit of all that waits."""
        group = self.journal.take(limit=1 << 20)
        if not group:
            return
        writes, sync = merged(group)
        try:
            self.store.write(writes, sync=sync)
        except DiskFull as error:
            self.journal.failed(error)
            raise
        self.journal.written(group)

    # -- shipping and pulling

    def ship(self, limit: int = 1000) -> list[Sealed]:
        """The batches that go out now, sealed and on disk."""
        sent = []
        while len(sent) < limit and (found := self.shipper.next()):
            batch, writes = found
            self.journal.stage(writes, sync=True)
            self.commit()
            sent.append(batch)
        return sent

    def take(self, read: Callable[[], Pulled]) -> Pulled:
        """Apply what was pulled, durably."""
        pulled = read()
        self.journal.stage(pulled.writes, sync=False)
        self.puller.staged(pulled)
        self.commit()
        for answer in pulled.answered:
            for place in answer.closed:
                self.shipper.answered(place)
        return pulled

    def pull_states(self, records: Sequence[Record], partition: int, space: str = "retail") -> Pulled:
        return self.take(lambda: finished(self.puller.states(space, f"{space}.state", partition, records)))

    def pull_receipts(self, records: Sequence[Record], partition: int, space: str = "retail") -> Pulled:
        """All steps, as if they had been one."""
        steps = self.puller.receipts(f"{space}.receipts", partition, records)
        pulled = [self.take(lambda step=step: step) for step in steps]  # type: ignore[misc]
        return Pulled(
            {place: value for step in pulled for place, value in step.writes.items()},
            answered=tuple(answer for step in pulled for answer in step.answered),
            refused=pulled[-1].refused,
            unreadable=pulled[-1].unreadable,
        )

    def pull_conflicts(self, records: Sequence[Record], partition: int, space: str = "retail") -> Pulled:
        return self.take(lambda: self.puller.conflicts(f"{space}.conflicts", partition, records))

    def run_again(self, pulled: Pulled) -> list[str]:
        """What a refusal makes run again; the ids, in order."""
        for answer in pulled.answered:
            self.journal.stage(self.again.take_back(answer.space, answer.partition, answer.refused), sync=True)
        ran = []
        while (executed := self.again.next()) is not None:
            self.journal.stage(executed.writes or {}, sync=True)
            ran.append(executed.command_id)
        self.commit()
        return ran

    def end_the_old_life(self, partition: int, space: str = "retail") -> Sealed | None:
        """The batch by which the life of a partition that cannot go on is ended; None where it is over."""
        if begun := self.renewal.begin(space, partition):
            self.journal.stage(begun, sync=True)
            self.commit()
        found = self.renewal.succession(space, partition)
        return None if found is None else self.renewal.sealed(space, partition, found.body)

    def renew(self, log: Sequence[Record], space: str = "retail") -> None:
        """The new life of the one partition that needs it, `log` being its op topic."""
        self.take_along(self.begin(log, space), space)

    def begin(self, log: Sequence[Record], space: str = "retail") -> int:
        """It begins, and nothing has come along into it yet; in which partition."""
        ((_, partition),) = self.renewal.due
        assert self.renewal.over(space, partition)
        start, end = self.renewal.unknown(space, partition) or (0, 0)
        values = [record.value or b"" for record in log[start:end]]
        known = self.renewal.known(space, partition, values)
        for step in self.renewal.gathered(space, partition, known):
            self.renewed(partition, step, space)
        begun = finished(self.renewal.begun(space, partition, known))
        assert begun is not None
        self.renewed(partition, begun, space)
        return partition

    def renewed(self, partition: int, step: Rebased, space: str = "retail") -> None:
        """One step of a renewal, durably."""
        self.journal.stage(step.writes, sync=True)
        self.renewal.staged(step)
        self.commit()

    def next_taken_along(self, partition: int, space: str = "retail") -> Rebased | None:
        for _ in self.renewal.survey(space, partition):
            pass
        return finished(self.renewal.step(space, partition))

    def take_along(self, partition: int, space: str = "retail") -> None:
        """All that is left of a renewal whose new life has begun."""
        while (step := self.next_taken_along(partition, space)) is not None:
            self.renewed(partition, step, space)
        for step in self.renewal.ended(space, partition):
            self.renewed(partition, step, space)

    # -- looking

    def value(self, collection: str, scope: str, id: str) -> dict[str, Any]:
        return present(self.views.get(DocumentId(collection, scope, id)))

    def entry(self, command_id: str) -> Entry:
        found = entry_of(self.journal, command_id)
        assert found is not None
        return found

    def on_hand(self, sku: str, scope: str = "s1") -> int:
        return int(self.value("Stock", scope, sku)["on_hand"])

    def everything(self) -> dict[tuple[Family, bytes], bytes]:
        """All that is on disk."""
        return {(family, key): value for family in Family for key, value in self.store.scan(family, b"")}

    def close(self) -> None:
        self.store.close()


def finished(work: Generator[None, None, T]) -> T:
    """Work in slices, done without a pause."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: T = end.value
            return result
