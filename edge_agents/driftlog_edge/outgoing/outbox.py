"""From what waits for the network to signed batches; bounded in commands and in bytes.

A batch is sealed under the next number of its partition's chain, from the commands whose turn it is (`outgoing/queue`). It says of the lives in
which its commands were first written that they are over: the cloud counts such a command once only if it knows that, and what it knew may be
lost. It names the one release that wrote its commands, and what that writer had read of the partition.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import islice

from driftlog_edge.errors import OutboxFull
from driftlog_edge.outgoing.entries import AT_ONCE
from driftlog_edge.outgoing.filling import Filling
from driftlog_edge.outgoing.forecast import Load
from driftlog_edge.outgoing.moments import class_of
from driftlog_edge.outgoing.queue import Queue
from driftlog_edge.ports import Place, Sealed
from driftlog_edge.store import keys
from driftlog_edge.store.command_log import entry_of
from driftlog_edge.store.journal import Journal
from driftlog_edge.store.lives import Lives
from driftlog_edge.store.logged import logged, to_seal
from driftlog_edge.store.sealed import Open, SealedBatches
from driftlog_schemas import topics
from driftlog_schemas.batch_codec import (
    MAX_COMMAND_BYTES,
    BatchCodec,
    batch_digest,
    encode_columns,
)
from driftlog_schemas.contract import AppContract
from driftlog_schemas.errors import TooBig
from driftlog_schemas.identity import DocumentId, document_key, parse_document_key
from driftlog_schemas.messages import Batch, Command
from driftlog_schemas.partitioning import partition_of
from driftlog_schemas.rhythm import NOW
from driftlog_schemas.signing import Identity
from driftlog_schemas.support import named

DEFAULT_LIMIT = 1_000_000
DEFAULT_LIMIT_BYTES = 1 << 30
SEALED_OPS = AT_ONCE
"""Ops in a batch, unless one command alone has more: sealing and settling it each hold up the loop, half of what the wire would allow."""
LOW_SPARES = 10
"""What is low leaves the last one in so many places, and bytes, of the outbox to other classes."""
LOOK_AT = 20
"""Held commands of a partition of which one was deferred, and does not merely stand behind such."""


class Outbox:
    """All that the cloud has not decided: what waits to be sealed, and the sealed batches without a verdict."""

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
        self._contract = contract
        self._partitions = {name: space.partitions for name, space in contract.spaces.items()}
        self._spaces = {name: space.name for space in contract.spaces.values() for name in space.collections}
        self._declared = {name: one.rhythm for s in contract.spaces.values() for name, one in s.collections.items()}
        self._rhythms = self._declared
        """When what was written in a collection leaves."""
        self._identity = identity
        self._codec = codec
        self._journal = journal
        self._limit = limit
        self._limit_bytes = limit_bytes
        self.lives = lives
        self.dropped = 0
        """Commands of the class low that were not taken because there was no room for them, since the start."""
        self.queue = Queue(sorted(contract.spaces), journal, self.class_of)
        self.sealed = SealedBatches(journal)
        self.passing = False
        """Did the last look for something to seal only pass by what waits behind deferred commands? Then the next one may find more."""

    @property
    def spaces(self) -> Collection[str]:
        """Those of the app."""
        return self._partitions.keys()

    def sign_with(self, identity: Identity) -> None:
        """The device has another key; what was sealed goes out signed with it."""
        self._identity = identity

    def load(self) -> Load:
        """What waits; that which was sent and has no verdict waits too."""
        commands, size = len(self.queue) + self.sealed.commands, self.queue.bytes + self.sealed.bytes
        return Load(commands, size, self._limit, self._limit_bytes)

    def require_room(self, priority: str = "", *, answered: bool = False) -> None:
        """Raise `OutboxFull` if no further command of this class may wait. What is low is dropped then, and counted, but for what was `answered`
        before: that waits until there is room.
        """
        low = priority == "low" and not answered
        commands, size, limit, limit_bytes = self.load()
        for name, waiting, most in (("outbox_limit", commands, limit), ("outbox_bytes", size, limit_bytes)):
            if low and waiting >= most - most // LOW_SPARES:
                self.dropped += 1
                raise OutboxFull(
                    f"dropped, for its class is low: {commands} commands of {size} bytes have no verdict of the cloud yet, and what is left of "
                    f"{name} = {most} is for other classes",
                    f"connect the device, see that a worker runs, raise {name}, or give it another class",
                )
            if waiting >= most:
                raise OutboxFull(
                    f"{commands} commands of {size} bytes have no verdict of the cloud yet; {name} is {most}",
                    f"connect the device, see that a worker runs, or raise {name}",
                )

    def why_held(self) -> str:
        """Why the cloud has deferred the first of what is held, as the command log has it."""
        for place in self.queue.held.partitions:
            for lsn in islice(self.queue.entries.held_lsns(*place), LOOK_AT):
                entry = entry_of(self._journal, logged(self._journal, lsn).command.id)
                if entry is not None and entry.code:
                    return f"{entry.code}: {entry.reason}"
        return ""

    def place(self, space: str, scope: str) -> tuple[str, int]:
        """(space, partition) of a scope."""
        return space, partition_of(scope, self._partitions[space])

    def place_of(self, document: DocumentId) -> tuple[str, int] | None:
        """(space, partition) of a document; None for a collection that this release does not declare."""
        space = self._spaces.get(document.collection)
        return None if space is None else self.place(space, document.scope)

    def entry(
        self, space: str, scope: str, priority: str, lsn: int, size: int, documents: Sequence[bytes]
    ) -> Mapping[Place, bytes | None]:
        """The writes that put a new command into the queue; `size` is what it takes in the op log."""
        place, rhythm = self.place(space, scope), self._rhythm(documents)
        return self.queue.put(*place, priority, lsn, size, documents, rhythm)

    def _rhythm(self, documents: Iterable[bytes]) -> int:
        """The most urgent of the collections of these documents."""
        if not any(self._rhythms.values()):
            return NOW
        return min(self._rhythms.get(parse_document_key(key).collection, NOW) for key in documents)

    def class_of(self, command: Command) -> int:
        """Where a command waits by what is declared, and by what was set since; one of a release that had more declared is like any other."""
        document = command.ops[0].document
        space = self._contract.spaces.get(self._spaces.get(document.collection, ""))
        priority = "normal"
        if space is not None and not command.name:
            priority = space.collections[document.collection].priority
        elif space is not None and command.name in space.commands:
            priority = space.commands[command.name].priority
        return class_of(priority, self._rhythm({document_key(changed) for changed, _ in command.ops}))

    def set_rhythms(self, given: Mapping[str, int]) -> None:
        """What was written in these collections leaves in these rhythms from now on, in others as is declared. Whoever waits for one
        that nobody has any more waits no longer."""
        self._rhythms = {**self._declared, **given}
        self.queue.moments.at_once(apart_from=self._rhythms.values())
        self.queue.held.wake()

    def unsealed_again(self, batch: Open) -> dict[Place, bytes | None]:
        """The writes that put a batch back which will never be taken. Its chain is over: nothing is sealed on it any more."""
        found = {lsn: logged(self._journal, lsn) for lsn in batch.lsns}
        commands, sizes = {n: one.command for n, one in found.items()}, {n: one.size for n, one in found.items()}
        return {**self.sealed.settling(batch, ()), **self.queue.put_back(batch.space, batch.partition, commands, sizes)}

    def seal(
        self, apart_from: Collection[tuple[str, int]] = (), most_bytes: int = MAX_COMMAND_BYTES
    ) -> tuple[Sealed, dict[Place, bytes | None]] | None:
        """The next batch and the writes that seal it; None when nothing can be, or nothing yet (`passing`).

        Partitions of `apart_from` have no turn. It is no larger than `most_bytes` unless one command alone is.
        """
        self.passing = False
        place = self.queue.schedule.next(self.lives.stuck.union(apart_from))
        if place is None:
            return None
        found, tried = self._sealed_of(place, min(most_bytes, MAX_COMMAND_BYTES))
        self.queue.held.tried(place, tried)
        self.passing = found is None
        return found

    def _sealed_of(
        self, place: tuple[str, int], most_bytes: int
    ) -> tuple[tuple[Sealed, dict[Place, bytes | None]] | None, int]:
        """A batch of what may go next; and to which lsn of the held ones it has come. May need the registry, and fail."""
        most, join = SEALED_OPS, True
        while True:
            filling = Filling(self._contract, SEALED_OPS, most_bytes, join)
            tried = self._fill(filling, place, most)
            try:
                return self._sealed(*place, filling) if filling.given else None, tried
            except TooBig:  # their sizes are those of the log, and these take more on the wire
                if join:
                    join = False
                    continue
                most = filling.count // 2
                if not most:
                    raise

    def _fill(self, filling: Filling, place: tuple[str, int], most: int) -> int:
        """Put in what goes next, `most` commands as they are sent; to which lsn of the held ones it has come."""
        tried = 0
        for key in self.queue.schedule.of_partition(*place):
            lsn = keys.parse_lsn(key)
            found = to_seal(self._journal, lsn)
            held = keys.urgency_of(key) == keys.HELD
            passed = held and self.queue.schedule.passes(place, lsn, found.command)
            if not passed and (filling.count == most or not filling.put(key, found)):
                break
            tried = lsn if held else tried
        return tried

    def _sealed(self, space: str, partition: int, filling: Filling) -> tuple[Sealed, dict[Place, bytes | None]]:
        chain = self.lives.chain(space, partition)
        number = chain.number + 1
        assert filling.replica == chain.replica, "a partition goes on under the life whose commands wait in it"
        head = Batch(
            space,
            partition,
            chain.replica,
            number,
            (),
            named(filling.release, self._contract.spaces[space].version),
            prev=chain.head,
            floor=self.sealed.floor(space, partition, number),
            ends=tuple(sorted(filling.roots)),
            read=filling.read,
        )
        body = encode_columns(head, filling.commands())
        lsns = tuple(keys.parse_lsn(key) for key in filling.given)
        batch = Open(space, partition, number, batch_digest(body), lsns, tuple(filling.speakers()))
        sealed = self._signed(batch, body)._replace(urgency=self._urgency(filling))
        writes = self.queue.taken(space, partition, filling.given, filling.logged_bytes)
        writes.update(self.sealed.opening(batch, body))
        writes.update(self.lives.written(space, partition, replace(chain, number=number, head=batch.digest)))
        return sealed, writes

    def _urgency(self, filling: Filling) -> int:
        """The most urgent class of what goes in; of what was held by what is declared."""
        classes = {keys.urgency_of(key) for key in filling.given}
        if keys.HELD in classes:
            held = (found for key, found in filling.given.items() if keys.urgency_of(key) == keys.HELD)
            classes = classes - {keys.HELD} | {self.class_of(found.command) for found in held}
        return min(classes)

    def reseal(self, batch: Open) -> Sealed:
        """The same batch again, byte for byte; signed with the key that the device has now."""
        return self._signed(batch, self.sealed.body(batch))

    def signed_alone(self, space: str, partition: int, number: int, body: bytes) -> Sealed:
        """A batch without commands, which waits in no queue. May need the registry, from any thread."""
        return self._signed(Open(space, partition, number, batch_digest(body), ()), body)

    def _signed(self, batch: Open, body: bytes) -> Sealed:
        value = self._codec.seal(body, self._identity)
        key = self._identity.device_id.encode()
        topic = topics.ops_topic(batch.space)
        return Sealed(topic, batch.partition, batch.number, key, value, batch.lsns, batch.digest)
