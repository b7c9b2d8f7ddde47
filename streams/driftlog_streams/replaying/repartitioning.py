"""A space goes on with another number of partitions: all the steps in their order.

1. Everything is read as a worker reads it that takes all partitions over, so that nothing is closed that could not be laid anew.
2. The operator's line says that it begins; then the log of each partition is closed by a record of its own (`core.closing`). From the first of them on there is no
   way back: what comes behind it waits at its device until the last step is done.
3. When the workers have confirmed all up to these, the rest is read.
4. The successor's topics are made, and its op topic counts on behind all old ones (`laying`).
5. Documents, lives and conflicts are written there (`spreading`, `predecessors`, `conflict_history`), read back and compared; and what reactions had called for (`calls_left`).
6. Its group is told where to begin, and the operator's line says that the space goes on there (`driftlog_schemas.moves`).

Cut off anywhere, the next attempt goes on: closed logs stay closed at the same record, and topics that no line tells of have what it would write there, up to where the one
before came (`continuation`). Where they do not, as when a device was revoked since, they are made again.

Of two attempts at once the one that has begun last goes on. Each begins with a line of its own, and says where the space goes on by the version after it; of two lines of a version
the first counts, so nobody does who has not begun last. The other one finds that out before it writes or deletes anything more.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from confluent_kafka import KafkaException

from driftlog_schemas.connection import KafkaSettings
from driftlog_schemas.contract import SpaceContract
from driftlog_schemas.devices import DeviceStatus
from driftlog_schemas.errors import BrokerUnreachable
from driftlog_schemas.identity import CLOSING_REPLICA, CLOUD
from driftlog_schemas.moves import MAX_PARTITIONS, Moved, following_name, number_of, present
from driftlog_schemas.registry import SchemaIds
from driftlog_schemas.signing import Identity
from driftlog_schemas.topics_admin import TopicsAdmin
from driftlog_streams.core.rules import SpaceRules
from driftlog_streams.errors import SetupProblem
from driftlog_streams.faust_driver.partition_store import PartitionStore, WorkerStore
from driftlog_streams.faust_driver.recovery import ChangelogRecovery
from driftlog_streams.reading.workers import WorkerReader
from driftlog_streams.registry.cloud_identity import KeyWatch
from driftlog_streams.registry.enrolment import Enrolment
from driftlog_streams.replaying.calls_left import Carried, calls_left
from driftlog_streams.replaying.closing_logs import close_logs, closing_identity, wait_confirmed
from driftlog_streams.replaying.commits import Commits
from driftlog_streams.replaying.laying import Laying, Stores, Told
from driftlog_streams.replaying.logs import Logs
from driftlog_streams.replaying.predecessors import Closed, gathered
from driftlog_streams.replaying.publication import Delivery
from driftlog_streams.replaying.renumbering import MOST
from driftlog_streams.replaying.scratch import scratch
from driftlog_streams.replaying.spreading import readable, spread
from driftlog_streams.replaying.switching import require_declared


@dataclass(frozen=True)
class Outlook:
    """What goes along when a space is given another number of partitions."""

    documents: int
    lives: int
    begins: int
    """The number of the successor's first op record, if nothing more comes."""
    closed: tuple[int, ...]
    """Partitions whose logs an attempt before has closed: there is no way back."""


@dataclass(frozen=True)
class Done:
    """Where the space goes on."""

    space: str
    moved: Moved
    documents: int
    calls: int
    """Of reactions, which came along."""
    written_before: int
    """How many records an attempt before had written that were gone on with."""


class Repartitioning:
    """Of one space, as it is now. A context manager: what is read lies in a folder that goes with it."""

    def __init__(
        self,
        contract: SpaceContract,
        ids: SchemaIds,
        kafka: KafkaSettings,
        enrolment: Enrolment,
        wait_seconds: float,
        told: Told = lambda what, done, total: None,
        cloud: Identity | None = None,
    ) -> None:
        """`enrolment` has the operator's key; `wait_seconds` is how long the workers may take to confirm what was closed; `cloud` is the workers' identity,
        in whose name calls of reactions come along."""
        self._contract, self._ids, self._kafka, self._enrolment = contract, ids, kafka, enrolment
        self._wait, self._told, self._cloud = wait_seconds, told, cloud
        self._admin = TopicsAdmin(kafka)
        self._commits = Commits(kafka, contract.partitions)
        self._opened = ExitStack()
        self._announced_in = 0
        """Version of the operator's line by which this attempt has begun."""

    def __enter__(self) -> Self:
        """Raises `SetupProblem` where the space cannot move as it is now."""
        now, _ = self._enrolment.generations(self._contract.name)
        if now.merged != now.read:
            raise SetupProblem(
                f"the switch of {self._contract.name} from generation {now.read} to {now.merged} is not finished",
                f"finish it with `driftlog replay --to-generation {now.merged}`",
            )
        self._rules = SpaceRules(self._contract, self._ids, generation=now.read)
        self._recovery = ChangelogRecovery(self._kafka, self._rules)
        self._folder = self._opened.enter_context(scratch("repartition"))
        self._stores = self._opened.enter_context(closing(WorkerStore(self._folder / "states")))
        self._logs = self._opened.enter_context(closing(Logs(self._kafka)))
        self._looking_back = self._opened.enter_context(closing(Logs(self._kafka)))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.close()

    def outlook(self, partitions: int) -> Outlook:
        """Read all there is; nothing is changed.

        Raises:
            SetupProblem: the space cannot go on with so many.
            TopicProblem, BrokerUnreachable, RecoveryFailed
        """
        name, count = self._contract.name, self._contract.partitions
        if not 0 < partitions <= MAX_PARTITIONS or partitions == count:
            raise SetupProblem(
                f"{name} has {count} partitions, and cannot be given {partitions}",
                f"give another number, from 1 to {MAX_PARTITIONS}",
            )
        if self._contract.reactions:
            self._require_cloud()
        require_declared(self._admin, self._rules.topics, count)
        begins = self._begins()
        if begins > MOST:
            raise SetupProblem(
                f"a log of {name} has {begins:,} records, and a successor counts on behind it: that is done up to {MOST:,}",
                "another partition count takes a space with another name",
            )
        stores = self._recovered()
        documents = sum(readable(self._rules, store) for store in stores)
        known = gathered(self._rules, [Closed(store, begins - 1) for store in stores])
        return Outlook(documents, len(known.lives), begins, self._closed_already(stores))

    def _require_cloud(self) -> Identity:
        if self._cloud is None:
            raise SetupProblem(
                f"what reactions of {self._contract.name} have called for comes along in the workers' name",
                "give their identity with --cloud-identity (`driftlog devices enrol-cloud` makes it); where logs are closed already, the same command goes on",
            )
        KeyWatch(self._cloud, reacting=True).require(self._enrolment.view.find(CLOUD))
        return self._cloud

    def take_back(self) -> None:
        """The space stays as it is after all. Raises `SetupProblem` where a log of it is closed already, `RecoveryFailed`."""
        closed = self._closed_already(self._recovered())
        if closed:
            raise SetupProblem(
                f"the logs of partitions {', '.join(map(str, closed))} of {self._contract.name} are closed: there is no way back",
                "give it another number of partitions, which goes on",
            )
        self._enrolment.announce(self._contract.name, None)

    @staticmethod
    def _closed_already(stores: Sequence[PartitionStore]) -> tuple[int, ...]:
        return tuple(number for number, store in enumerate(stores) if store.row(CLOSING_REPLICA) is not None)

    def carry_out(self, partitions: int, now_ms: int) -> Done:
        """Do it, or go on with an attempt that was cut off.

        Raises:
            SetupProblem: see `outlook`; or the workers do not confirm what was closed.
            TopicProblem, BrokerUnreachable, RecoveryFailed, DeliveryFailed
        """
        closed = self.outlook(partitions).closed
        left = [number for number in range(self._contract.partitions) if number not in closed]
        delivery = Delivery(self._kafka)
        self._require_knowing()
        self._announced_in = self._enrolment.announce(self._contract.name, partitions)
        if left:
            close_logs(self._rules, left, closing_identity(self._enrolment, self._folder, now_ms), delivery)
        wait_confirmed(self._rules, self._commits, self._logs, self._wait, self._behind)
        return self._move(partitions, now_ms)

    def _move(self, partitions: int, now_ms: int) -> Done:
        before = [self._closed(number, store) for number, store in enumerate(self._recovered())]
        known = gathered(self._rules, before)
        self._enrolment.view.catch_up()
        left = calls_left(self._rules, self._logs, self._enrolment.view, before)
        name, first = self._contract.name, self._contract.partitions
        number = number_of(name) + 1
        # behind all that was merged, and behind the numbers of failed calls that are set aside once more
        least = max(2 + max(one.ended_at for one in before), len(left.failed))
        laying = self._laying()
        begins = laying.begun_at(following_name(name, number), partitions, least) or max(self._begins(), least)
        moved = Moved(number, partitions, begins, known.since)
        after = SpaceRules(present(self._contract, lambda one: moved if one == name else None), self._ids)
        calls = Carried(after, self._require_cloud(), left) if left else None
        targets = [self._stores.partition(first + number) for number in range(partitions)]
        documents = spread(after, before, targets, known, begins, lambda device: self._active(device, now_ms))
        if calls is not None:
            calls.write_open(targets)
        spare = iter(range(first + partitions, first + 3 * partitions))  # laid anew it is read back twice
        laid = laying.lay(after, begins, Stores(targets, lambda: self._stores.partition(next(spare)), calls))
        self._require_mine()
        Commits(self._kafka, partitions).begin(after.topics, laid.starts)
        laying.require_here(laid, name)
        self._require_knowing()
        self._enrolment.move(name, moved, self._announced_in)
        return Done(after.name, moved, documents, len(left.waiting) + len(left.again), laid.written_before)

    def _laying(self) -> Laying:
        return Laying(
            self._kafka, self._rules, self._admin, self._logs, self._looking_back, self._require_mine, self._told
        )

    def _recovered(self) -> list[PartitionStore]:
        """What a worker has that takes all partitions over."""
        self._told("reading", 0, 0)
        stores = {number: self._stores.partition(number) for number in range(self._contract.partitions)}
        self._recovery.recover(stores)
        self._recovery.without_false_ends(stores, self._enrolment.view, self._enrolment.view.catch_up)
        return list(stores.values())

    def _closed(self, number: int, store: PartitionStore) -> Closed:
        row = store.row(CLOSING_REPLICA)
        if row is None:
            raise SetupProblem(
                f"the workers have confirmed the end of {self._rules.topics.ops}[{number}], and have not taken it for one",
                "let all workers be of a release that knows of it; see in their logs whether it was refused, as where this machine's clock is wrong;"
                " then run the command again",
            )
        return Closed(store, self._rules.records.decode_chain_row(row).offset)

    def _begins(self) -> int:
        """A number that is higher than all that were given out, and than the one that all is numbered with that is laid anew."""
        ops = self._rules.topics.ops
        return 1 + max(self._logs.extent(ops, number).stop for number in range(self._contract.partitions))

    def _require_mine(self) -> None:
        """Raise `SetupProblem` where another attempt has begun since, of whomever: the one that has begun last goes on."""
        self._enrolment.require_announced(self._contract.name, self._announced_in)

    def _require_knowing(self) -> None:
        """Raise `SetupProblem` where a worker of the group would merge behind the end of a log what is laid nowhere else, `BrokerUnreachable`."""
        name = self._contract.name
        try:
            workers = WorkerReader(self._kafka, lambda _: self._rules.topics.generation).look(name)
        except KafkaException as error:
            raise BrokerUnreachable(
                f"who merges space {name} cannot be told: {error}", "see the broker's log, then run the command again"
            ) from error
        if others := [f"{worker.name} on {worker.host}" for worker in workers if not worker.knows_ends]:
            raise SetupProblem(
                f"workers of {name} are of a release that does not know of the end of a log, and would go on behind it: {', '.join(others)}",
                "let all workers be of this release, then run the command again",
            )

    def _active(self, device_id: str, now_ms: int) -> bool:
        """May a device still write?"""
        device = self._enrolment.view.find(device_id)
        return device is not None and device.latest.status is DeviceStatus.ACTIVE and not device.latest.ended_at(now_ms)

    def _behind(self, records: int) -> None:
        self._told(f"the workers are {records} op records before the end", 0, 0)
