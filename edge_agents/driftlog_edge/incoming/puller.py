"""From the cloud's topics into the replica, each with its cursor in the same write; who follows the replica is told.

States come by groups (`states`), or into a fresh generation while a partition is read again (`returning`). Rows give commands their
final status (`receipts`); they may come before or after the state. Conflicts are kept as they are published (`disputes`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence

from driftlog_edge.incoming.agreement import Agreement
from driftlog_edge.incoming.disputes import Disputes
from driftlog_edge.incoming.landmarks import Landmarks
from driftlog_edge.incoming.pulled import Pulled
from driftlog_edge.incoming.receipts import Receipts
from driftlog_edge.incoming.returning import Returns
from driftlog_edge.incoming.states import States, behind
from driftlog_edge.incoming.verdicts import Verdicts
from driftlog_edge.outgoing.outbox import Outbox
from driftlog_edge.ports import Clock, Record
from driftlog_edge.store.cursors import cursor_of, moved
from driftlog_edge.store.generations import serving
from driftlog_edge.store.going_up import GoingUp
from driftlog_edge.store.journal import Journal
from driftlog_edge.store.stamps import Stamps
from driftlog_edge.store.supported import announced
from driftlog_edge.store.views import Views
from driftlog_schemas.digests import Versions
from driftlog_schemas.identity import document_key
from driftlog_schemas.record_codecs import RecordCodecs
from driftlog_schemas.state_codec import StateCodec


class Puller:
    """Applies pulled records to the store of one replica."""

    def __init__(
        self,
        states: States,
        returns: Returns,
        agreement: Agreement,
        receipts: Receipts,
        disputes: Disputes,
        views: Views,
        journal: Journal,
        clock: Clock,
    ) -> None:
        self._states = states
        self.returns = returns
        self.agreement = agreement
        self.landmarks = Landmarks(returns, disputes, journal)
        self._receipts = receipts
        self._disputes = disputes
        self._views = views
        self._journal = journal
        self._clock = clock
        self._on_staged: list[Callable[[Pulled], None]] = []

    def states(
        self, space: str, topic: str, partition: int, records: Sequence[Record], *, at_end: bool = False
    ) -> Generator[None, None, Pulled]:
        """One or more whole groups, as one write; `at_end` says that the topic has no more.

        It stops after every few records, so that others may run; what they do is in what it returns. Stage that at once.
        """
        pulled = yield from self._read(space, topic, partition, records, at_end=at_end)
        pulled.writes.update(announced(self._journal, space, partition, records))
        return pulled

    def _read(
        self, space: str, topic: str, partition: int, records: Sequence[Record], *, at_end: bool
    ) -> Generator[None, None, Pulled]:
        wall_ms = self._clock.wall_ms()
        under_way = self.returns.of(space, partition)
        if under_way is not None:
            return (yield from self.returns.step(space, partition, under_way, records, wall_ms, at_end=at_end))
        generation = serving(self._journal, space, partition)
        pulled = yield from self._states.read(space, topic, partition, records, generation)
        if records:
            cursor = behind(cursor_of(self._journal, topic, partition), records, wall_ms)
            pulled.writes.update(moved(topic, partition, cursor))
        return pulled

    def receipts(self, topic: str, partition: int, records: Sequence[Record]) -> Iterator[Pulled]:
        """Rows of this replica's chain in this partition, and refusals, in steps: stage each before the next is asked for."""
        return self._receipts.read(topic, partition, records)

    def conflicts(self, topic: str, partition: int, records: Sequence[Record]) -> Pulled:
        """Conflicts of held scopes."""
        return self._disputes.read(topic, partition, records)

    def on_staged(self, follow: Callable[[Pulled], None]) -> None:
        """Call `follow` whenever pulled writes can be read; if they are given up later, the journal says so."""
        self._on_staged.append(follow)

    def staged(self, pulled: Pulled) -> None:
        """The writes are staged: views of the changed documents are computed anew when asked for."""
        if pulled.anew:
            self._views.forget_all()
        for document in pulled.changed:
            self._views.forget(document_key(document))
        lsns = [*pulled.dropped]
        for answer in pulled.answered:
            for key in answer.documents:
                self._views.forget(key)
            lsns += answer.dropped
        for lsn in lsns:
            self._views.backlog.dropped(lsn)
        for follow in self._on_staged:
            follow(pulled)


def assembled(
    scopes: Collection[str],
    codecs: Mapping[str, StateCodec],
    versions: Versions,
    records: RecordCodecs,
    views: Views,
    outbox: Outbox,
    journal: Journal,
    stamps: Stamps,
    clock: Clock,
    device_id: str,
    going_up: GoingUp,
    traces: Callable[[], bool] = bool,
) -> Puller:
    """The parts of the incoming side, each given what it needs. `traces`: see `States`."""
    lives = outbox.lives
    states = States(views.generations, scopes, codecs, versions, journal, lives, stamps, going_up, traces)
    returns = Returns(states, journal, lives)
    puller = Puller(
        states,
        returns,
        Agreement(journal, returns, scopes),
        Receipts(records, Verdicts(journal, outbox, views.backlog), journal, stamps, device_id),
        Disputes(views.generations, scopes, records, journal),
        views,
        journal,
        clock,
    )
    puller.on_staged(puller.agreement.pulled)
    return puller
