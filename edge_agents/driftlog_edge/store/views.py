"""Confirmed + pending = view.

A view is the merged state from the cloud with our own not yet merged ops applied. It is computed when first asked for, kept up to
date by commands, and dropped when the confirmed state moves; the cache is bounded and holds nothing that the store could not give again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from driftlog_crdt import DOCUMENT, AlgebraError, DocumentState, EverybodyBut, Op, Outcome, Vector, deletion, epoch_of
from driftlog_edge.errors import Deleted, Evicted, NotFound, NotReadable
from driftlog_edge.ports import Family, Source
from driftlog_edge.store import keys
from driftlog_edge.store.backlog import Backlog
from driftlog_edge.store.catalogue import documents_of
from driftlog_edge.store.evicted import marker_of
from driftlog_edge.store.generations import Generations
from driftlog_edge.store.going_up import go_on, known_of
from driftlog_edge.store.journal import Journal
from driftlog_edge.store.logged import logged
from driftlog_edge.store.pending import Fate, Mark, marks_of
from driftlog_edge.store.unseen import unseen_of
from driftlog_schemas import running
from driftlog_schemas.contract import AppContract, CollectionContract, Json, Undeclared
from driftlog_schemas.errors import ContractError
from driftlog_schemas.identity import DocumentId, document_key, parse_document_key
from driftlog_schemas.messages import Command
from driftlog_schemas.state_codec import StateCodec

CACHED_BYTES = 32 << 20
"""About how much the states of cached views take, encoded: half of it those of late, half those before."""
VIEW_BYTES = 512
"""About what a view costs besides."""
PENDING_BYTES = 64
"""About what it costs to remember one pending command."""


class View(running.View):
    """One document as this replica sees it."""

    __slots__ = ("pending",)

    def __init__(
        self, document: DocumentId, key: bytes, collection: CollectionContract, state: DocumentState, size: int
    ) -> None:
        super().__init__(document, key, collection, state, size)
        self.pending: list[int] = []
        """lsns of own commands that the confirmed state lacks"""


class Views:
    """Views by document, computed from the store."""

    def __init__(
        self, contract: AppContract, codecs: Mapping[str, StateCodec], journal: Journal, gathers: bool = False
    ) -> None:
        self._contract = contract
        self._codecs = codecs
        self._journal = journal
        self.generations = Generations(contract, gathers)
        self._young: dict[bytes, View] = {}
        self._old: dict[bytes, View] = {}
        self._young_bytes = 0
        self.backlog = Backlog(journal)
        """All documents' pending commands together"""
        journal.on_rollback(self.forget_all)

    def collection(self, name: str) -> CollectionContract:
        """Raises `Undeclared`."""
        return self._contract.collection(name)

    def get(self, document: DocumentId) -> View:
        """The view; of an empty document when there is none. Raises `Undeclared`, `NotReadable`, `Evicted`."""
        key = document_key(document)
        view = self._young.get(key)
        if view is not None:
            return view
        view = self._old.pop(key, None) or self._compute(document, key)
        self.put(view)
        return view

    def put(self, view: View) -> None:
        """Take a view that was made elsewhere; the oldest go when there is no room."""
        self._make_room()
        self._young[view.key] = view
        self._young_bytes += view.size + VIEW_BYTES + PENDING_BYTES * len(view.pending)

    def grew(self, view: View, size: int) -> None:
        """A cached view takes so many bytes more."""
        if view.key in self._young:
            self._young_bytes += size
            self._make_room()

    def _make_room(self) -> None:
        if self._young_bytes >= CACHED_BYTES // 2:
            self._old, self._young, self._young_bytes = self._young, {}, 0

    def documents(self, collection: str, scope: str) -> Iterator[DocumentId]:
        """Those of a scope, in id order, deleted ones too."""
        return documents_of(self._journal, self.generations, collection, scope)

    def forget(self, key: bytes) -> None:
        """The confirmed state moved, or a command failed half-way: compute it anew next time."""
        self._young.pop(key, None)
        self._old.pop(key, None)

    def forget_all(self) -> None:
        self._young.clear()
        self._old.clear()
        self._young_bytes = 0

    def confirmed(self, collection: CollectionContract, key: bytes) -> tuple[DocumentState, int]:
        """The merged state and its size in bytes; the empty state where the cloud has sent none. Raises `Evicted`."""
        row = self.generations.key(self._journal, parse_document_key(key))
        raw = self._journal.get(Family.CONFIRMED, row)
        if raw is None:
            if marker_of(self._journal, row) is not None:
                raise Evicted.of(parse_document_key(key))
            return _without_row(self._journal, collection, self.generations, parse_document_key(key)), 0
        return self._codecs[collection.name].decode(raw), len(raw)

    def confirmed_vector(self, document: DocumentId) -> Vector | None:
        """What the cloud has merged into a document; None where this release cannot read that."""
        try:
            row = self.generations.key(self._journal, document)
            raw = self._journal.get(Family.CONFIRMED, row)
            if self._journal.get(Family.UNREAD, row) is not None:
                return None
            if raw is None:
                marker = marker_of(self._journal, row)
                if marker is not None:
                    return marker.vector
                return _without_row(
                    self._journal, self.collection(document.collection), self.generations, document
                ).vector
            return _decoded(self._codecs[document.collection], document, raw).vector
        except (Undeclared, NotReadable):
            return None

    def command(self, lsn: int) -> Command:
        """A command of the op log."""
        return logged(self._journal, lsn).command

    def _compute(self, document: DocumentId, key: bytes) -> View:
        return compute(
            self._journal,
            self._contract.collection(document.collection),
            self._codecs,
            self.generations,
            document,
            key,
        )


def compute(
    source: Source,
    collection: CollectionContract,
    codecs: Mapping[str, StateCodec],
    generations: Generations,
    document: DocumentId,
    key: bytes,
) -> View:
    """The view of a document as `source` has it. Raises `NotReadable`, `Evicted`.

    The pending index is read first: what is confirmed while this looks is then applied once more, which changes nothing, and never
    missed.
    """
    marks = list(marks_of(source, key))
    row = generations.key(source, document)
    if source.get(Family.UNREAD, row) is not None:
        raise _not_readable(document)
    raw = source.get(Family.CONFIRMED, row)
    if raw is None and marker_of(source, row) is not None:
        raise Evicted.of(document)
    if raw is None:
        state = _without_row(source, collection, generations, document)
    else:
        state = _decoded(codecs[collection.name], document, raw)
    view = View(document, key, collection, state, 0 if raw is None else len(raw))
    for replica, dots in unseen_of(source, *generations.place(*document[:2]), key).items():
        view.unseen[replica] = dots.last
        view.known[replica] = max(view.known.get(replica, 0), dots.last)
    for mark in marks:
        view.pending.append(mark.lsn)
        add(view, mark, logged(source, mark.lsn).command, lambda: source.get(Family.META, keys.SALVAGED) is not None)
        if mark.fate is not Fate.UNKNOWN and view.known.get(mark.replica, 0) < mark.seq:
            view.known[mark.replica] = mark.seq
    return view


def _without_row(
    source: Source, collection: CollectionContract, generations: Generations, document: DocumentId
) -> DocumentState:
    """A document that the cloud has not sent; or of which, as it only goes up, the row has been let go."""
    state = collection.document.new()
    if collection.direction == "up":
        go_on(state, known_of(source, generations, document))
    return state


def _decoded(codec: StateCodec, document: DocumentId, raw: bytes) -> DocumentState:
    try:
        return codec.decode(raw)
    except (ContractError, AlgebraError) as error:  # a newer release wrote it here before this one was started again
        raise _not_readable(document, str(error)) from error


def _not_readable(document: DocumentId, reason: str = "") -> NotReadable:
    told = f"{'/'.join(document)} was last written by a release that this one cannot read"
    return NotReadable(f"{told}: {reason}" if reason else told, "upgrade this agent's app")


def _whole() -> bool:
    return False


def add(view: View, mark: Mark, command: Command, torn: Callable[[], bool] = _whole) -> None:
    """Bring a view up to a pending command. `torn`: may earlier ones be lost?"""
    rules, state = view.collection.document, view.state
    for document, op in command.ops:
        if document != view.document:
            continue
        view.stamp = max(view.stamp, op.hlc)
        if mark.fate is Fate.REFUSED:  # it has no effect, and its dot stays taken
            running.pass_over(view, op.replica, op.before)
            if state.vector.get(op.replica, 0) < op.seq:
                rules.see(state, op)
            continue
        apply_own(view, op, torn)


def apply_own(view: View, op: Op, torn: Callable[[], bool] = _whole) -> None:
    """Apply an op of this replica. One on a field that the release no longer declares is counted and shown nowhere, and so is one on a
    document that was purged meanwhile: the cloud will say that it came too late.
    """
    rules = view.collection.document
    running.pass_over(view, op.replica, op.before)
    if op.field != DOCUMENT and op.field not in rules.fields:
        view.state.vector[op.replica] = max(view.state.vector.get(op.replica, 0), op.seq)
        return
    # Whom the op names and the cloud has forgotten by name since, this device had seen.
    applied = rules.apply(view.state, op, EverybodyBut(op.replica))
    if applied.outcome is Outcome.GAP:
        forgotten = rules.blank(view.state) or epoch_of(view.state.vector)
        assert forgotten or torn(), f"own op over a gap in {view.document}: {op}"
        if torn():  # what is before it is lost, it is not
            deletion.without_effect(view.state, op.replica, op.seq - 1)
            rules.apply(view.state, op, EverybodyBut(op.replica))
        else:
            deletion.without_effect(view.state, op.replica, op.seq)


def present(view: View) -> dict[str, Json]:
    """What a reader gets. Raises `NotFound`, `Deleted`."""
    document, rules = view.document, view.collection.document
    if rules.deleted(view.state):
        raise Deleted(f"{'/'.join(document)} was deleted")
    if not rules.exists(view.state):
        raise NotFound(f"there is no {'/'.join(document)} here")
    return view.collection.present(document.scope, document.id, view.state)
