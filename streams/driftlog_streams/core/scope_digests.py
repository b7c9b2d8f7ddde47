"""The digests of the scopes of one partition, kept beside the merge: what an edge that has read the partition must come to as well.

A digest stands for the read model: it follows the states as flights are sealed, document by document, and is written to the store with them. So it is
unaffected by what is replayed, and by what is taken back before it left. The last record that a group has of a scope carries it
(`groups.DIGEST`), and as that is the newest record of the scope, compaction keeps it.

Except where the newest record goes because its document is purged: then an older record would be the last of the scope, with an older digest. So
a group that purges of a scope without publishing anything of it publishes one of the scope's documents once more (`anchors`).

A digest may be unknown: a record of the scope is there whose version nobody can tell. Then nothing is said of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from driftlog_schemas import groups
from driftlog_schemas.digests import document_digest
from driftlog_schemas.identity import scope_prefix
from driftlog_schemas.tuples import maker
from driftlog_streams.core.state_cache import Entry

ANCHORS_TRIED = 16
"""So many documents of a collection are looked at for one that can be published again."""


class SealedState(NamedTuple):
    """A document as it leaves: without a value where it was purged."""

    key: bytes
    entry: Entry
    value: bytes | None
    version: bytes
    """See `state_codec`."""
    deleted: bool


sealed_state = maker(SealedState)


class Digested(NamedTuple):
    """What a group means for the digests."""

    documents: Sequence[int]
    """What each document of the group adds to its scope now, in the group's order."""
    scopes: dict[str, int | None]
    marks: dict[int, tuple[str, bytes]]
    """What the record at this place of the group says of its scope."""


class ScopeDigests:
    """`load` gives what the store has of a scope, `keys` the documents in it whose key begins so."""

    def __init__(self, load: Callable[[str], int | None], keys: Callable[[bytes], Iterator[bytes]]) -> None:
        self._load = load
        self.keys = keys
        """The documents that are stored, by how their key begins."""
        self._flying: dict[str, list[int | None]] = {}
        """Of each scope that is in unfinished flights its digest in them, in their order."""

    def of(self, scope: str) -> int | None:
        """As the last sealed flight has it."""
        flying = self._flying.get(scope)
        return flying[-1] if flying else self._load(scope)

    def after(self, states: Iterable[SealedState]) -> Digested:
        """What a group of these means, in this order; nothing is changed yet."""
        documents: list[int] = []
        changes: dict[str, int] = {}
        last: dict[str, int] = {}
        for place, (key, entry, value, version, deleted) in enumerate(states):
            counts = value is not None and not deleted and entry.collection.counted
            digest = document_digest(key, version) if counts else 0
            documents.append(digest)
            scope = entry.document[1]
            changes[scope] = changes.get(scope, 0) ^ digest ^ entry.digest
            last[scope] = place
        scopes = {scope: _changed(self.of(scope), change) for scope, change in changes.items()}
        marks = {place: groups.digest(known) for scope, place in last.items() if (known := scopes[scope]) is not None}
        return Digested(documents, scopes, marks)

    def left(self, scopes: Mapping[str, int | None]) -> None:
        """A flight was sealed with these."""
        for scope, digest in scopes.items():
            self._flying.setdefault(scope, []).append(digest)

    def landed(self, scopes: Iterable[str]) -> None:
        """The oldest flight with these is stored."""
        for scope in scopes:
            flying = self._flying[scope]
            del flying[0]
            if not flying:
                del self._flying[scope]

    def anchors(self, scope: str, collections: Iterable[str]) -> Iterator[bytes]:
        """Documents of a scope, some of each collection, as the store has them."""
        for name in collections:
            yield from islice(self.keys(scope_prefix(name, scope)), ANCHORS_TRIED)


def _changed(digest: int | None, change: int) -> int | None:
    return None if digest is None else digest ^ change
