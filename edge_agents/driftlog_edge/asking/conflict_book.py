"""The conflicts that this replica knows, and which of them are about a document.

Every read says which conflicts its document is in, so they are not looked up in the store each time: an index is read once and
follows what is pulled. It holds those only that are not over, and is read anew after a rollback.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from driftlog_edge.asking.pages import check_limit, page_of
from driftlog_edge.errors import NotFound
from driftlog_edge.ports import Family, Writes
from driftlog_edge.store.journal import Journal
from driftlog_edge.turns import in_turns
from driftlog_schemas.bounds import MAX_ID
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.messages import Conflict
from driftlog_schemas.record_codecs import RecordCodecs
from driftlog_schemas.running import check_name


class ConflictBook:
    """Conflicts by id and by document."""

    def __init__(self, journal: Journal, records: RecordCodecs) -> None:
        self._journal = journal
        self._records = records
        self._documents: dict[str, DocumentId] | None = None
        self._ids: dict[DocumentId, dict[str, None]] = {}
        self._told: list[Callable[[Conflict], None]] = []
        journal.on_rollback(self._forget)

    def all(self, *, everything: bool = False) -> list[Conflict]:
        """Those that are not over, or all that are known."""
        return [c for c in self._stored() if everything or not c.status.over]

    async def page(self, limit: int, after: str, *, everything: bool = False) -> tuple[list[Conflict], bool]:
        """Some of `all`, by id from after `after`; are there more?"""
        check_limit(limit)
        if after:
            check_name("after", after, MAX_ID)

        def scan(after: bytes) -> Iterator[tuple[bytes, bytes]]:
            return self._journal.scan(Family.CONFLICTS, b"", after)

        def read(key: bytes, value: bytes) -> tuple[Conflict, int] | None:
            conflict = self._records.decode_conflict(value)
            wanted = everything or not conflict.status.over
            return (conflict, len(value)) if wanted else None

        return await in_turns(page_of(scan, read, limit, after.encode()))

    def get(self, conflict_id: str) -> Conflict:
        """Raises `NotFound`."""
        raw = self._journal.get(Family.CONFLICTS, conflict_id.encode())
        if raw is None:
            raise NotFound(f"no conflict {conflict_id!r} is known here")
        return self._records.decode_conflict(raw)

    def of(self, document: DocumentId) -> tuple[str, ...]:
        """The ids of a document's unresolved conflicts."""
        self._index()
        return tuple(self._ids.get(document, ()))

    def __len__(self) -> int:
        return len(self._index())

    def on_pulled(self, told: Callable[[Conflict], None]) -> None:
        """Call this with each conflict that is pulled, also one that is over when it is first met: before the change of its document is told."""
        self._told.append(told)

    def pulled(self, writes: Writes) -> None:
        """These writes are staged; conflicts among them are taken into the index, or out of it."""
        if self._documents is None and not self._told:
            return
        for (family, key), value in writes.items():
            if family is Family.CONFLICTS:
                conflict = None if value is None else self._records.decode_conflict(value)
                if self._documents is not None:
                    self._take(key.decode(), conflict)
                if conflict is not None:
                    for told in self._told:
                        told(conflict)

    def _index(self) -> Mapping[str, DocumentId]:
        if self._documents is None:
            self._documents, self._ids = {}, {}
            for conflict in self._stored():
                self._take(conflict.id, conflict)
        return self._documents

    def _take(self, conflict_id: str, conflict: Conflict | None) -> None:
        assert self._documents is not None, "the index was read before"
        known = self._documents.pop(conflict_id, None)
        if known is not None:
            del self._ids[known][conflict_id]
            if not self._ids[known]:
                del self._ids[known]
        if conflict is not None and not conflict.status.over:
            self._documents[conflict_id] = conflict.document
            self._ids.setdefault(conflict.document, {})[conflict_id] = None

    def _stored(self) -> Iterator[Conflict]:
        return (self._records.decode_conflict(value) for _, value in self._journal.scan(Family.CONFLICTS, b""))

    def _forget(self) -> None:
        self._documents, self._ids = None, {}
