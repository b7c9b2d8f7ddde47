"""What waits for the network: by class, then partition, then in order; whole commands only; bounded.

Order within a document always holds. A command of an urgent class takes the earlier unsent commands of its documents along
into its class, and theirs in turn, so that within a class the order of lsns is an order that every document agrees with. What the
cloud has deferred is held back for a while in a class of its own (`outgoing/held`), with all that comes behind it on its documents; the rest goes on.

A batch is sealed under the next number of its partition's chain. It says of the lives in which its commands were first written that they
are over: the cloud counts such a command once only if it knows that, and what it knew may be lost. Spaces and partitions stand in every key by name, so that a
release which declares more of them finds its queue as it was.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice

from driftlog_edge.errors import OutboxFull
from driftlog_edge.outgoing.held import Held
from driftlog_edge.ports import Family, Place, Sealed, Writes
from driftlog_edge.store import keys
from driftlog_edge.store.command_log import decode_logged, logged
from driftlog_edge.store.journal import Journal
from driftlog_edge.store.lives import Lives
from driftlog_edge.store.pending import marks_of
from driftlog_edge.store.sealed import Open, SealedBatches
from driftlog_schemas import topics
from driftlog_schemas.batch_codec import (
    MAX_COMMAND_BYTES,
    MAX_ENDS,
    BatchCodec,
    batch_digest,
    encode_body,
)
from driftlog_schemas.contract import AppContract
from driftlog_schemas.identity import document_key
from driftlog_schemas.messages import Batch, Command
from driftlog_schemas.partitioning import partition_of
from driftlog_schemas.signing import Identity

DEFAULT_LIMIT = 1_000_000
DEFAULT_LIMIT_BYTES = 1 << 30
SEALED_OPS = 250
"""Ops in a batch, unless one command alone has more: sealing and settling it each hold up the loop, half of what the wire would allow."""
NO_PARTITION = -1
_NORMAL = keys.CLASSES.index("normal")


class Outbox:
    """The queue of commands that the cloud has not taken."""

    def __init__(
        self,
        contract: AppContract,
        identity: Identity,
        codec: BatchCodec,
        journal: Journal,
        lives: Lives,
        limit: int = DEFAULT_LIMIT,
        limit_bytes: int = DEFAULT_LIMIT_BYTES,
    ) -> None:
        self._spaces = sorted(contract.spaces)
        self._partitions = {name: space.partitions for name, space in contract.spaces.items()}
        self._identity = identity
        self._codec = codec
        self._journal = journal
        self._limit = limit
        self._limit_bytes = limit_bytes
        self.lives = lives
        self.sealed = SealedBatches(journal)
        self._waiting: list[int] = []
        """How many commands wait in each class."""
        self.held = Held()
        """Those of the last class."""
        self._bytes = 0
        """What they take in the op log."""
        self._moved: dict[tuple[int, bytes], int] = {}
        """(class, document) -> up to which lsn its commands are in that class or a more urgent one, so that none is looked at twice."""
        self.passing = False
        """Did the last look for something to seal only pass by what waits behind deferred commands? Then the next one may find more."""
        self._served = (self._spaces[0], NO_PARTITION)
        """Whose commands were sealed last: the next partition is next, so that none starves another."""
        self.count()
        journal.on_given_up(self._given_up)

    def sign_with(self, identity: Identity) -> None:
        """The device has another key; what was sealed goes out signed with it."""
        self._identity = identity

    def count(self) -> None:
        """As the store has it."""
        self._waiting = [0] * keys.HELD
        self._bytes = 0
        self._moved.clear()
        self.held.forget()
        for key, value in self._journal.scan(Family.OUTBOX, b""):
            self._counted(key, value, 1, {})

    def _counted(self, key: bytes, value: bytes, sign: int, given_up: Writes) -> None:
        space, urgency, partition, lsn = keys.parse_outbox(key)
        self._bytes += sign * keys.unpack_number(value)
        if urgency == keys.HELD:
            raw = given_up.get((Family.OPLOG, keys.lsn_key(lsn)))
            found = logged(self._journal, lsn) if raw is None else decode_logged(raw)
            self.held.count((space, partition), lsn, _documents(found.command), sign)
        else:
            self._waiting[urgency] += sign

    def _given_up(self, writes: Writes) -> None:
        for (family, key), value in writes.items():
            if family is Family.OUTBOX:
                for found, sign in ((value, -1), (self._journal.get(family, key), 1)):
                    if found is not None:
                        self._counted(key, found, sign, writes)
        self._moved.clear()

    @property
    def waiting(self) -> bool:
        """Is there something that could be sealed now, if no chain is stuck?"""
        return any(self._waiting) or bool(self.held.rounds)

    @property
    def unsealed(self) -> int:
        """Commands that are in no batch, the held ones among them."""
        return sum(self._waiting) + len(self.held)

    def require_room(self) -> None:
        """Raise `OutboxFull` if no further command may wait; those that were sent and have no verdict wait too."""
        commands, size = self.unsealed + self.sealed.commands, self._bytes + self.sealed.bytes
        for name, waiting, most in (("outbox_limit", commands, self._limit), ("outbox_bytes", size, self._limit_bytes)):
            if waiting >= most:
                raise OutboxFull(
                    f"{commands} commands of {size} bytes have no verdict of the cloud yet; {name} is {most}",
                    f"connect the device, see that a worker runs, or raise {name}",
                )

    def place(self, space: str, scope: str) -> tuple[str, int]:
        """(space, partition) of a scope."""
        return space, partition_of(scope, self._partitions[space])

    # -- in

    def entry(
        self, space: str, scope: str, priority: str, lsn: int, size: int, documents: Sequence[bytes]
    ) -> Mapping[Place, bytes | None]:
        """The writes that put a new command into the outbox, earlier ones of its documents moved along.

        `size` is what it takes in the op log.
        """
        _, partition = self.place(space, scope)
        urgency = keys.CLASSES.index(priority)
        writes: dict[Place, bytes | None] = {}
        if self.held.behind((space, partition), documents):
            urgency = keys.HELD
            self.held.count((space, partition), lsn, documents)
        else:
            if any(self._waiting[urgency + 1 :]):
                self._move(writes, space, partition, urgency, documents, range(urgency + 1, keys.HELD))
            self._waiting[urgency] += 1
        writes[Family.OUTBOX, keys.outbox_key(space, urgency, partition, lsn)] = keys.pack_number(size)
        self._bytes += size
        return writes

    def defer(self, space: str, partition: int, lsns: Iterable[int]) -> dict[Place, bytes | None]:
        """The writes that put sealed commands back, to be sealed again later, and hold what is behind them."""
        writes: dict[Place, bytes | None] = {}
        documents: set[bytes] = set()
        for lsn in lsns:
            command, size, _, _ = logged(self._journal, lsn)
            writes[Family.OUTBOX, keys.outbox_key(space, keys.HELD, partition, lsn)] = keys.pack_number(size)
            self._bytes += size
            own = _documents(command)
            self.held.count((space, partition), lsn, own)
            documents |= own
        self.held.blocked((space, partition), documents)
        self._move(writes, space, partition, keys.HELD, sorted(documents), range(keys.HELD))
        return writes

    def withdraw(self, space: str, partition: int, lsn: int) -> dict[Place, bytes | None]:
        """The writes that take an unsealed command out."""
        for urgency in range(keys.HELD + 1):
            key = keys.outbox_key(space, urgency, partition, lsn)
            value = self._journal.get(Family.OUTBOX, key)
            if value is not None:
                self._counted(key, value, -1, {})
                return {(Family.OUTBOX, key): None}
        return {}

    def keys_of(self, space: str, partition: int) -> Iterator[bytes]:
        """The entries of one partition, of all classes; looked up some at a time, so that others may run between."""
        for urgency in range(keys.HELD + 1):
            prefix, last = keys.outbox_prefix(space, urgency, partition), b""
            while some := [key for key, _ in islice(self._journal.scan(Family.OUTBOX, prefix, last), SEALED_OPS)]:
                yield from some
                last = some[-1]

    def some(self, space: str, partition: int) -> bool:
        """Is there an entry of this partition?"""
        return next(self.keys_of(space, partition), None) is not None

    def unsealed_again(self, batch: Open) -> dict[Place, bytes | None]:
        """The writes that put a batch back which will never be taken. Its chain is over: nothing is sealed on it any more."""
        writes = self.sealed.settling(batch, ())
        for lsn in batch.lsns:
            key = keys.outbox_key(batch.space, _NORMAL, batch.partition, lsn)
            value = keys.pack_number(logged(self._journal, lsn).size)
            writes[Family.OUTBOX, key] = value
            self._counted(key, value, 1, {})
        return writes

    def moved_along(
        self,
        space: str,
        partition: int,
        waiting: Mapping[int, bytes],
        sizes: Mapping[int, int],
        documents: Iterable[bytes],
    ) -> dict[Place, bytes | None]:
        """The writes by which of these entries (lsn -> key) those of `sizes` wait on, all in one class and so in order, and the others leave.
        `documents` are all that they change, and nothing else here changes one of those."""
        writes: dict[Place, bytes | None] = {}
        for key in waiting.values():
            writes[Family.OUTBOX, key] = None
            self._counted(key, self._journal.get(Family.OUTBOX, key) or b"", -1, {})
        for lsn, size in sizes.items():
            key = keys.outbox_key(space, _NORMAL, partition, lsn)
            value = writes[Family.OUTBOX, key] = keys.pack_number(size)
            self._counted(key, value, 1, {})
        for document in documents:
            for urgency in range(keys.HELD + 1):
                self._moved.pop((urgency, document), None)
        return writes

    def _move(
        self,
        writes: dict[Place, bytes | None],
        space: str,
        partition: int,
        urgency: int,
        documents: Sequence[bytes],
        classes: Iterable[int],
    ) -> None:
        """Unsealed commands of these documents go from `classes` to `urgency`, and those of their documents in turn."""
        todo, met = list(documents), set(documents)
        while todo:
            document = todo.pop()
            for mark in marks_of(self._journal, document, self._moved.get((urgency, document), 0)):
                self._moved[urgency, document] = mark.lsn
                for other in classes:
                    place = (Family.OUTBOX, keys.outbox_key(space, other, partition, mark.lsn))
                    value = None if place in writes else self._journal.get(*place)
                    if value is None:
                        continue
                    writes[place] = None
                    writes[Family.OUTBOX, keys.outbox_key(space, urgency, partition, mark.lsn)] = value
                    self._waiting[other] -= 1
                    own = _documents(logged(self._journal, mark.lsn).command)
                    if urgency == keys.HELD:
                        self.held.count((space, partition), mark.lsn, own)
                    else:
                        self._waiting[urgency] += 1
                    todo += own - met
                    met |= own

    # -- out

    def seal(self, apart_from: Collection[tuple[str, int]] = ()) -> tuple[Sealed, dict[Place, bytes | None]] | None:
        """The next batch and the writes that seal it; None when nothing can be, or nothing yet (`passing`). The most urgent class goes first.

        Partitions of `apart_from` have no turn.
        """
        self.passing = False
        first = self._first(self.lives.stuck.union(apart_from))
        if first is None:
            return None
        space, _, partition, _ = keys.parse_outbox(first)
        commands: list[Command] = []
        taken: list[bytes] = []
        roots: set[str] = set()
        release = ""
        size = ops = read = tried = 0
        for key in self._of_partition(space, partition):
            lsn = keys.parse_lsn(key)
            command, length, seen, written_by = logged(self._journal, lsn)
            held = keys.urgency_of(key) == keys.HELD
            if held and self.held.rounds[space, partition].passes(_documents(command)):
                tried = lsn
                continue
            roots |= {command.root} - {""}
            over = ops + len(command.ops) > SEALED_OPS or size + length > MAX_COMMAND_BYTES or len(roots) > MAX_ENDS
            if commands and (over or written_by != release):
                break
            tried = lsn if held else tried
            release = written_by
            commands.append(command)
            read = min(read, seen) if len(commands) > 1 else seen
            size += length
            ops += len(command.ops)
            taken.append(key)
        found = self._sealed(space, partition, commands, taken, size, read, release) if commands else None
        if tried:
            self._tried(space, partition, tried)
        self.passing = not commands
        return found

    def _tried(self, space: str, partition: int, lsn: int) -> None:
        """The round has come to this lsn; unless all that was held has left with it."""
        if (space, partition) in self.held.rounds:
            self.held.rounds[space, partition].tried = lsn

    def _sealed(
        self,
        space: str,
        partition: int,
        commands: Sequence[Command],
        taken: Sequence[bytes],
        size: int,
        read: int,
        release: str,
    ) -> tuple[Sealed, dict[Place, bytes | None]]:
        chain = self.lives.chain(space, partition)
        number = chain.number + 1
        floor = self.sealed.floor(space, partition, number)
        ends = tuple(sorted({command.root for command in commands} - {""}))
        body = encode_body(
            Batch(
                space,
                partition,
                chain.replica,
                number,
                tuple(commands),
                release,
                prev=chain.head,
                floor=floor,
                ends=ends,
                read=read,
            )
        )
        lsns = [keys.parse_lsn(key) for key in taken]
        batch = Open(space, partition, number, batch_digest(body), tuple(lsns))
        sealed = self._signed(batch, body)  # may need the registry, and fail
        writes: dict[Place, bytes | None] = {(Family.OUTBOX, key): None for key in taken}
        writes.update(self.sealed.opening(batch, body))
        writes.update(self.lives.written(space, partition, replace(chain, number=number, head=batch.digest)))
        self._served = (space, partition)
        self._bytes -= size
        for key, command in zip(taken, commands, strict=True):
            if keys.urgency_of(key) == keys.HELD:
                self.held.count((space, partition), keys.parse_lsn(key), _documents(command), -1)
            else:
                self._waiting[keys.urgency_of(key)] -= 1
        if not self.unsealed:
            self._moved.clear()
        return sealed, writes

    def _first(self, stuck: Collection[tuple[str, int]]) -> bytes | None:
        """The first entry of the most urgent class, of the next partition in turn whose chain can go on."""
        for urgency, waiting in enumerate(self._waiting):
            for space, after in self._turns() if waiting else ():
                key = self._of_space(space, urgency, after, stuck)
                if key is not None:
                    return key
        return next(
            (key for place in sorted(self.held.rounds.keys() - set(stuck)) for key in self._of_round(*place)), None
        )

    def _turns(self) -> Iterator[tuple[str, int]]:
        """(space, partition after which to look): once round, from the partition that was served last."""
        last_space, last_partition = self._served
        at = self._spaces.index(last_space)
        yield last_space, last_partition
        for space in (*self._spaces[at + 1 :], *self._spaces[: at + 1]):
            yield space, NO_PARTITION

    def _of_space(self, space: str, urgency: int, after: int, stuck: Collection[tuple[str, int]]) -> bytes | None:
        while True:
            start = b"" if after == NO_PARTITION else keys.outbox_end(space, urgency, after)
            found = self._journal.scan(Family.OUTBOX, keys.outbox_prefix(space, urgency), start)
            key = next((key for key, _ in found), None)
            if key is None:
                return None
            _, _, after, _ = keys.parse_outbox(key)
            if (space, after) not in stuck:
                return key

    def _of_round(self, space: str, partition: int) -> list[bytes]:
        """What a round under way tries next, in order; with nothing left it is over."""
        now = self.held.rounds[space, partition]
        prefix = keys.outbox_prefix(space, keys.HELD, partition)
        after = keys.outbox_key(space, keys.HELD, partition, now.tried) if now.tried else b""
        entries = islice(self._journal.scan(Family.OUTBOX, prefix, after), SEALED_OPS)
        found = [key for key, _ in entries if keys.parse_lsn(key) <= now.end]
        if not found:
            self.held.over((space, partition))
        return found

    def _of_partition(self, space: str, partition: int) -> Iterator[bytes]:
        """What may go into the next batch, in order. What was held goes first: it has waited longest."""
        if (space, partition) in self.held.rounds:
            yield from self._of_round(space, partition)
        for urgency in (urgency for urgency, waiting in enumerate(self._waiting) if waiting):
            prefix = keys.outbox_prefix(space, urgency, partition)
            yield from [k for k, _ in islice(self._journal.scan(Family.OUTBOX, prefix), SEALED_OPS)]

    def reseal(self, batch: Open) -> Sealed:
        """The same batch again, byte for byte; signed with the key that the device has now."""
        return self._signed(batch, self.sealed.body(batch))

    def holds(self, lsn: int, place: tuple[str, int]) -> bool:
        """Does this command still wait to be sealed? `place` is its (space, partition)."""
        return any(
            self._journal.get(Family.OUTBOX, keys.outbox_key(place[0], urgency, place[1], lsn)) is not None
            for urgency in range(keys.HELD + 1)
        )

    def signed_alone(self, space: str, partition: int, number: int, body: bytes) -> Sealed:
        """A batch without commands, which waits in no queue. May need the registry, from any thread."""
        return self._signed(Open(space, partition, number, batch_digest(body), ()), body)

    def _signed(self, batch: Open, body: bytes) -> Sealed:
        value = self._codec.seal(body, self._identity)
        key = self._identity.device_id.encode()
        topic = topics.ops_topic(batch.space)
        return Sealed(topic, batch.partition, batch.number, key, value, batch.lsns, batch.digest)


def _documents(command: Command) -> set[bytes]:
    return {document_key(document) for document, _ in command.ops}
