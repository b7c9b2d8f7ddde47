"""The read model of a closed space, laid anew by another number of partitions: each document once, in the partition that its scope has now.

A document's state is the same bytes there, for nothing in it names a partition, and so is the digest of a scope, which lies wholly in one partition before and after. All
has the number of the record before the successor's first one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from driftlog_schemas.identity import parse_document_key
from driftlog_schemas.partitioning import partition_of
from driftlog_streams.core.rules import SpaceRules
from driftlog_streams.core.stored_states import StoredStates
from driftlog_streams.errors import SetupProblem
from driftlog_streams.faust_driver.partition_store import PartitionStore
from driftlog_streams.replaying.predecessors import Closed, Predecessors

AT_ONCE, AT_ONCE_BYTES = 500, 8 << 20
"""So many documents, or so many bytes of them, are one write."""


class _Pages:
    """The documents that a partition of the successor takes, written some at a time."""

    def __init__(self, store: PartitionStore, number: int) -> None:
        self._store, self._mark = store, store.mark._replace(group=number)
        self._states: dict[bytes, bytes] = {}
        self._digests: dict[str, int | None] = {}
        self._size = 0
        self.some = False
        """Has it any?"""

    def take(self, key: bytes, value: bytes) -> None:
        self._states[key] = value
        self.some = True
        self._size += len(value)
        if len(self._states) >= AT_ONCE or self._size >= AT_ONCE_BYTES:
            self.write()

    def digest(self, scope: str, digest: int | None) -> None:
        self._digests[scope] = digest

    def write(self) -> None:
        self._store.write(self._states.items(), self._mark, digests=self._digests)
        self._states, self._digests, self._size = {}, {}, 0


def readable(rules: SpaceRules, store: PartitionStore) -> int:
    """How many documents a store has.

    Raises `SetupProblem` where one is of a collection, or in a form, that these rules cannot read: it could not be published.
    """
    states, count = StoredStates(rules), 0
    for key, value in store.documents():
        if states.decoded(key, value) is None:
            raise SetupProblem(
                f"{key.decode(errors='replace')} cannot be read by this release of the app, so it could not come along",
                "declare its collection as it was, or delete the document, and begin again",
            )
        count += 1
    return count


def spread(
    rules: SpaceRules,
    before: Sequence[Closed],
    targets: Sequence[PartitionStore],
    known: Predecessors,
    begins: int,
    active: Callable[[str], bool],
) -> int:
    """Fill the empty `targets`, one for each partition of the successor that `rules` are of; how many documents there are.

    Raises `SetupProblem` as `readable` does.
    """
    pages = [_Pages(store, begins - 1) for store in targets]
    documents = 0
    for store, _ in before:
        scope: str | None = None
        readable(rules, store)
        for key, value in store.documents():
            document = parse_document_key(key)
            page = pages[partition_of(document.scope, rules.partitions)]
            if document.scope != scope:
                scope = document.scope
                page.digest(scope, store.digest(scope))
            page.take(key, value)
            documents += 1
    for number, (store, page) in enumerate(zip(targets, pages, strict=True)):
        page.write()
        rows = known.rows(rules.name, number, begins, active, documents=page.some)
        store.write((), store.mark, [(replica, rules.records.encode_chain_row(row)) for replica, row in rows])
    return documents
