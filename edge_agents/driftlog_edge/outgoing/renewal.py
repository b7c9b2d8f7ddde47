"""When a life is over: what must be known before its commands are taken into a new one.

A chain that cannot go on is marked in the store, so this survives a restart. Then three things must be known: the newest row of the
old life; that no batch of ours can still enter its chain; and which commands others have sent in our name, which the op topic tells. The
link asks for them (`link/renewing`); what they mean is decided here. Meanwhile commands are taken as ever, and nothing is sealed.

Must never happen: a command taken along that the old chain holds, or may yet take.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from driftlog_edge.outgoing.lineage import NOTHING, Lineage, lineage
from driftlog_edge.outgoing.outbox import Outbox
from driftlog_edge.outgoing.rebase import Rebase, Rebased
from driftlog_edge.outgoing.shipper import Shipper
from driftlog_edge.ports import Clock, Family
from driftlog_edge.store import keys
from driftlog_edge.store.journal import Journal
from driftlog_edge.store.lives import FOREIGN_DOT, OTHER_DEVICE
from driftlog_edge.store.views import Views
from driftlog_schemas.batch_codec import BatchCodec
from driftlog_schemas.errors import ContractError
from driftlog_schemas.messages import ChainRow
from driftlog_schemas.record_codecs import RecordCodecs


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
        self._shipper = shipper
        self._journal = journal
        self._records = records
        self._batches = batches
        self._clock = clock

    @property
    def due(self) -> list[tuple[str, int]]:
        """(space, partition) of every chain that cannot go on."""
        return sorted(self._lives.stuck)

    def ready(self, space: str, partition: int) -> bool:
        """Can no batch of ours enter the old chain any more? Only the one that follows its head could."""
        row, chain = self._row(space, partition), self._lives.chain(space, partition)
        waiting = [batch for batch in self._outbox.sealed.of(space, partition) if batch.number > chain.settled]
        if chain.fork == OTHER_DEVICE or (row is not None and row.ended):
            return True
        if row is None:
            return not waiting
        following = next((batch for batch in waiting if batch.number == row.last + 1), None)
        body = None if following is None else self._outbox.sealed.batch(following)
        return body is None or body.prev != row.head

    def explained(self, space: str, partition: int) -> bool:
        """Does the row that we have show why this life is over? A state may come a moment before it."""
        row, chain = self._row(space, partition), self._lives.chain(space, partition)
        return chain.fork != FOREIGN_DOT or (row is not None and row.last > chain.settled)

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

    def renew(self, space: str, partition: int, known: Lineage) -> Rebased:
        """The write set of the new life; stage it at once, then tell `staged`."""
        chain = self._lives.chain(space, partition)
        return self._rebase.into_new_life(space, partition, chain, known, self._clock.wall_ms())

    def staged(self, space: str, partition: int, rebased: Rebased) -> None:
        """The writes are staged: what is remembered of the old life goes."""
        for key in rebased.documents:
            self._views.forget(key)
        for lsn in rebased.done:
            self._views.backlog.dropped(lsn)
        self._outbox.count()
        self._shipper.forget(space, partition)

    def _row(self, space: str, partition: int) -> ChainRow | None:
        raw = self._journal.get(Family.META, keys.row_key(space, partition))
        return None if raw is None else self._records.decode_chain_row(raw)
