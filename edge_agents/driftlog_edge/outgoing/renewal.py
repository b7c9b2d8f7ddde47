"""When a life is over: what must be known before its commands are taken into a new one.

A chain that cannot go on is marked in the store, so this survives a restart. Where commands of it are undecided, three steps follow:

1. a new life is drawn, and its first batch says that the old one is over (`store/succession`). From that record on the old chain takes
   nothing, from whomever, so what it holds is final;
2. the old life's last row, and from the op topic what others have sent in its name, say what that is;
3. the new life begins, and what the old chain does not hold is taken along in steps.

The link asks for what must be known (`link/renewing`); what it means is decided here. Meanwhile commands are taken as ever, under the old
name, and nothing is sealed. Where nothing is undecided a new life is all there is to it: the old one may be somebody else's by now.

Must never happen: a command taken along that the old chain holds, or may yet take.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import replace

from driftlog_edge.outgoing.lineage import NOTHING, Lineage, lineage
from driftlog_edge.outgoing.outbox import Outbox
from driftlog_edge.outgoing.rebase import Rebase
from driftlog_edge.outgoing.shipper import Shipper
from driftlog_edge.outgoing.taking_along import Rebased
from driftlog_edge.ports import Clock, Family, Place, Sealed
from driftlog_edge.store import keys
from driftlog_edge.store.generations import return_of
from driftlog_edge.store.journal import Journal
from driftlog_edge.store.left import left_in
from driftlog_edge.store.lives import MADE_ANEW, MOVED, OTHER_DEVICE
from driftlog_edge.store.moves import Move, move_of, written
from driftlog_edge.store.succession import FIRST, Succession, Successions
from driftlog_edge.store.views import Views
from driftlog_schemas.batch_codec import BatchCodec, encode_body
from driftlog_schemas.errors import ContractError
from driftlog_schemas.messages import Batch, ChainRow
from driftlog_schemas.record_codecs import RecordCodecs

_ITS_OWN = frozenset({OTHER_DEVICE, MADE_ANEW})
"""Why a life is over that a closed log does not make another reason of: what follows from these is more than what follows from that."""


class Renewal:
    """Gives partitions whose life is over a new one."""

    def __init__(
        self,
        rebase: Rebase,
        views: Views,
        outbox: Outbox,
        shipper: Shipper,
        journal: Journal,
        records: RecordCodecs,
        batches: BatchCodec,
        clock: Clock,
    ) -> None:
        self._rebase = rebase
        self._views = views
        self._outbox = outbox
        self._lives = outbox.lives
        self._successions = Successions(journal)
        self._shipper = shipper
        self._journal = journal
        self._records = records
        self._batches = batches
        self._clock = clock

    @property
    def due(self) -> list[tuple[str, int]]:
        """(space, partition) of every chain that cannot go on."""
        return sorted(self._lives.stuck)

    def ending(self, space: str, partition: int) -> str:
        """The life that cannot go on there; empty where none writes that cannot. One that has nothing undecided any more is simply followed by the
        newest, with the next command."""
        chain = self._lives.chain(space, partition)
        return chain.replica if chain.fork else ""

    def early(self, space: str, partition: int) -> bool:
        """Is the partition read again just now? What is taken along is taken onto what the cloud has after that."""
        return return_of(self._journal, space, partition) is not None

    def closed(self, space: str) -> bool:
        """Is the log of this space closed, and all that came of it here? Then all lives that wrote there are over, and none begins there."""
        return move_of(self._journal, space) is not None

    # -- the end of the old life

    def silent(self, space: str) -> bool:
        """Was nothing ever sealed there by the lives that write there? Then nothing that the log has is an answer to this folder."""
        return all(chain.number == 0 and not chain.fork for _, chain in self._lives.chains(space))

    def unanswered(self, space: str) -> str:
        """What of a closed log must come before it counts as read, in words; empty for nothing. What waited in it was given back when it was closed."""
        if any(place[0] == space for place in self._lives.handovers.under_way):
            return "what is undecided comes along into a new life first"
        for partition, chain in self._lives.chains(space):
            if chain.fork in _ITS_OWN:
                continue  # of what waited in another device's chain, or another cloud's, nothing comes any more
            if any(batch.number <= chain.settled for batch in self._outbox.sealed.of(space, partition)):
                return f"something waits in {space}/{partition} that was not given back yet"
            if next(left_in(self._journal, space, partition), None) is not None:
                return f"something of an earlier life waits in {space}/{partition} that was not given back yet"
        return ""

    def close(self, space: str, move: Move) -> dict[Place, bytes | None]:
        """The writes by which that is so: chains of before cannot go on, and what was to end one is not sent any more. Stage them at once."""
        writes = written(space, move)
        for key, _ in self._journal.scan(Family.META, keys.of_all(keys.SUCCESSIONS, space)):
            writes[Family.META, key] = None
        return writes | self.end_those_of_before(space)

    def end_those_of_before(self, space: str) -> dict[Place, bytes | None]:
        """The writes by which chains of a closed space cannot go on that are another life's than the newest; none where all that waits there waits under
        that one. Stage them at once."""
        writes: dict[Place, bytes | None] = {}
        for partition, chain in self._lives.chains(space):
            begun_there = chain.number == 0 and chain.replica == self._lives.replica
            if chain.fork in _ITS_OWN or (not chain.fork and begun_there and self.closed(space)):
                continue
            if chain.fork != MOVED:
                writes.update(self._lives.written(space, partition, replace(chain, fork=MOVED)))
        return writes

    def packed(self, space: str) -> bool:
        """Is nothing of a closed space under a life of before?"""
        under_way = any(place[0] == space for place in self._lives.stuck)
        return not under_way and not self.end_those_of_before(space)

    def begin(self, space: str, partition: int) -> dict[Place, bytes | None]:
        """The writes that begin the life which follows and seal its first batch; none where that is done or not needed."""
        if self.over(space, partition) or self._successions.get(space, partition) is not None:
            return {}
        chain = self._lives.chain(space, partition)
        life, writes = self._lives.following(chain, self._clock.wall_ms())
        batch = Batch(space, partition, life.replica, FIRST, (), floor=FIRST, ends=(chain.replica,))
        writes.update(self._successions.written(space, partition, Succession(life.replica, encode_body(batch))))
        return writes

    def succession(self, space: str, partition: int) -> Succession | None:
        """The life that is to follow, while the old one's end is not known to the cloud."""
        found = self._successions.get(space, partition)
        return None if found is None or found.taken else found

    def sealed(self, space: str, partition: int, body: bytes) -> Sealed:
        """The first batch of the life that is to follow, signed. May need the registry, from any thread."""
        return self._outbox.signed_alone(space, partition, FIRST, body)

    def in_vain(self, space: str, partition: int) -> bool:
        """Has the cloud taken nothing of the life that is over, but for the batch that ended the one before?"""
        return self._lives.chain(space, partition).settled <= FIRST

    def over(self, space: str, partition: int) -> bool:
        """Is it final what the old chain holds, or of no concern? The life that follows, if one is drawn, has begun then."""
        if self.closed(space):
            return True
        chain = self._lives.chain(space, partition)
        if chain.fork == OTHER_DEVICE or not self._rebase.undecided(space, partition):
            return self.succession(space, partition) is None
        row = self._row(space, partition)
        return row is not None and row.ended != "" and self.succession(space, partition) is None

    # -- what its chain holds

    def unknown(self, space: str, partition: int) -> tuple[int, int] | None:
        """From which offset to before which the op topic has what others wrote in our name; None where nothing is to be learnt."""
        row, chain = self._row(space, partition), self._lives.chain(space, partition)
        if (
            chain.fork == OTHER_DEVICE
            or row is None
            or row.head == chain.settled_head
            or not self._rebase.undecided(space, partition)
        ):
            return None
        return chain.offset + 1, row.offset + 1

    def known(self, space: str, partition: int, values: Sequence[bytes]) -> Lineage:
        """What the chain holds besides our own batches, from the records of the op topic."""
        row, chain = self._row(space, partition), self._lives.chain(space, partition)
        if chain.fork == OTHER_DEVICE:
            return Lineage({}, complete=False)  # the old device's rows are not for this one to read
        if row is None or row.head == chain.settled_head:
            return NOTHING
        return lineage(row, self._bodies(values), {chain.settled_head})

    def _bodies(self, values: Iterable[bytes]) -> Iterable[bytes]:
        for value in values:
            try:
                yield self._batches.open(value).body
            except ContractError:  # noise under our name
                continue

    # -- the new one

    def under_way(self, space: str, partition: int) -> bool:
        """Has the new life begun, and not all come along?"""
        return (space, partition) in self._lives.handovers.under_way

    def gathered(self, space: str, partition: int, known: Lineage) -> Iterator[Rebased]:
        """What is written before the new life begins, in steps. Tell `staged` of each before the next is asked for."""
        return self._rebase.gathered(space, partition, known)

    def begun(self, space: str, partition: int, known: Lineage) -> Generator[None, None, Rebased | None]:
        """The new life begins, if the old one is over when all is worked out; others may run until then. Stage it at once."""
        row, anew = self._row(space, partition), self._lives.chain(space, partition).fork == MADE_ANEW
        old = self.ending(space, partition)
        work = self._rebase.begun(
            space,
            partition,
            complete=known.complete,
            offset=-1 if row is None or anew else max(row.offset, *(entry.decided_at for entry in row.entries), -1),
            wall_ms=self._clock.wall_ms(),
            over=lambda: self.over(space, partition) and self.ending(space, partition) == old,
        )
        begun = yield from work
        if begun is not None:
            self._shipper.forget(space, partition)
        return begun

    def survey(self, space: str, partition: int) -> Iterator[None]:
        """Find out what has not come along, if that is not known, as after a start or a failed write; others may run between."""
        if (space, partition) not in self._lives.handovers.rest:
            yield from self._rebase.survey(space, partition)

    def step(self, space: str, partition: int) -> Generator[None, None, Rebased | None]:
        """Take some along; None when all have come. To be called straight after `survey`; others may run meanwhile. Stage it at once."""
        return self._rebase.step(space, partition)

    def ended(self, space: str, partition: int) -> Iterator[Rebased]:
        """What is written when all have come along, as `gathered`."""
        return self._rebase.ended(space, partition)

    def staged(self, rebased: Rebased) -> None:
        """The writes are staged: what is remembered of the old life goes."""
        for key in rebased.documents:
            self._views.forget(key)
        for lsn in rebased.done:
            self._views.backlog.dropped(lsn)

    def _row(self, space: str, partition: int) -> ChainRow | None:
        """That of the life that writes there. One that has followed another with nothing undecided may not have sent anything yet: then the row is the other's."""
        raw = self._journal.get(Family.META, keys.row_key(space, partition))
        row = None if raw is None else self._records.decode_chain_row(raw)
        return row if row is not None and row.replica == self._lives.chain(space, partition).replica else None
