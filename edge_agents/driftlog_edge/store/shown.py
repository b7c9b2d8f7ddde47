"""What readers see: only what is durable.

Commands run on views with everything that was decided, also what still waits for the disk: the next command builds on it. A reader must
not, for the disk may yet refuse it, and then it never was. So a document with waiting writes is shown as the store has it. Such a
view is made once and follows what is written while it is asked for; a document without waiting writes has one view for both.
"""

from __future__ import annotations

from collections.abc import Mapping

from driftlog_edge.ports import Family, Store, Writes
from driftlog_edge.store import keys
from driftlog_edge.store.journal import Journal
from driftlog_edge.store.logged import decode_logged
from driftlog_edge.store.views import View, Views, apply_own, compute
from driftlog_schemas.contract import AppContract
from driftlog_schemas.identity import DocumentId, document_key
from driftlog_schemas.state_codec import StateCodec

_PENDING, _META = Family.PENDING, Family.META


class Shown:
    """Durable views by document."""

    def __init__(
        self, contract: AppContract, codecs: Mapping[str, StateCodec], store: Store, journal: Journal, views: Views
    ) -> None:
        self._contract = contract
        self._codecs = codecs
        self._store = store
        self._views = views
        self._waiting: dict[bytes, int] = {}
        """document -> how many waiting write sets touch it"""
        self._swaps = 0
        """How many waiting write sets give a partition another generation of rows: that touches all its documents."""
        self._made: dict[bytes, View] = {}
        """views of documents with waiting writes, as the store has them"""
        journal.on_staged(self._staged)
        journal.on_written(self._written)
        journal.on_rollback(self._forget)

    def get(self, document: DocumentId) -> View:
        """The view to show. Raises `Undeclared`."""
        key = document_key(document)
        if key not in self._waiting and not self._swaps:
            return self._views.get(document)
        view = self._made.get(key)
        if view is None:
            collection = self._contract.collection(document.collection)
            view = compute(self._store, collection, self._codecs, self._views.generations, document, key)
            if key in self._waiting:
                self._made[key] = view
        return view

    def _staged(self, writes: Writes) -> None:
        documents, swaps = _touched(writes)
        self._swaps += swaps
        for key in documents:
            self._waiting[key] = self._waiting.get(key, 0) + 1

    def _written(self, writes: Writes) -> None:
        documents, swaps = _touched(writes)
        if swaps:
            self._swaps -= 1
            self._made.clear()
        for key in documents:
            self._waiting[key] -= 1
            if not self._waiting[key]:
                del self._waiting[key]
                self._made.pop(key, None)
            elif key in self._made and not _follow(self._made[key], writes):
                del self._made[key]

    def _forget(self) -> None:
        self._waiting.clear()
        self._swaps = 0
        self._made.clear()


def _touched(writes: Writes) -> tuple[set[bytes], bool]:
    """Whose view these writes change; and whether they give a partition another generation of rows."""
    found, swaps = set(), False
    for family, key in writes:
        if family is _PENDING:
            found.add(keys.document_of_pending(key))
        elif family is _META:
            swaps = swaps or key.startswith(keys.GENERATIONS)
            if key.startswith(keys.EVICTED):
                found.add(keys.document_of_confirmed(key[len(keys.EVICTED) :]))
        elif family is Family.CONFIRMED or family is Family.UNREAD:
            found.add(keys.document_of_confirmed(key))
    return found, swaps


def _follow(view: View, writes: Writes) -> bool:
    """Bring a view up to a command that was written; False when it was something else, and the view has to be made anew."""
    for family, key in writes:
        if family in (Family.CONFIRMED, Family.UNREAD) and keys.document_of_confirmed(key) == view.key:
            return False
        if family is _META and key.startswith(keys.EVICTED) and key.endswith(view.key):
            return False
        if family is Family.PENDING and keys.document_of_pending(key) == view.key:
            lsn = keys.parse_lsn(key)
            logged = writes.get((Family.OPLOG, keys.lsn_key(lsn)))
            if logged is None or (view.pending and lsn <= view.pending[-1]):
                return False
            view.pending.append(lsn)
            for document, op in decode_logged(logged).command.ops:
                if document == view.document:
                    apply_own(view, op)
    return True
