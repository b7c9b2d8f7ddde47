"""Which scopes this replica holds, and what a change of that means for what was read already.

A partition carries many scopes and its cursor is one number: a scope that was not held and was passed over below it does not come again by
itself. So when a scope is added, the cursor goes back to the start and the partition counts as never read. One with commands that the cloud
has not confirmed is not left.

A scope that was left goes from the disk, whatever this release knows of its collections: rows are found by the scope in their keys. They are many,
so they go in many writes. That they are to go stands in the write that ends the holding of the scope, until the last of them is gone: what cuts
it off in between, the next change or the next start goes on with.

The settings name the scopes at first; a change by the API stands until the settings name others.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain
from typing import NamedTuple

import structlog

from driftlog_edge.errors import UNWRITABLE
from driftlog_edge.link.freshness import without
from driftlog_edge.ports import Family, Place, Source, Store
from driftlog_edge.store import keys
from driftlog_edge.store.journal import Journal
from driftlog_edge.store.logged import logged
from driftlog_schemas import topics
from driftlog_schemas.contract import AppContract
from driftlog_schemas.identity import parse_document_key
from driftlog_schemas.partitioning import partition_of
from driftlog_schemas.record_codecs import RecordCodecs

log = structlog.get_logger()

REMOVED_AT_ONCE = 5_000
"""Rows that one write removes."""
ROWS = (Family.CONFIRMED, Family.UNREAD)


class Held(NamedTuple):
    """What is kept of it."""

    configured: tuple[str, ...] = ()
    """What the settings named."""
    scopes: tuple[str, ...] = ()
    leaving: tuple[str, ...] = ()
    """Scopes that were left and may have rows on the disk."""

    def encode(self) -> bytes:
        return json.dumps(self._asdict()).encode()

    @classmethod
    def decode(cls, data: bytes) -> Held:
        return cls(**{name: tuple(scopes) for name, scopes in json.loads(data).items()})


class Change(NamedTuple):
    """What a new set of scopes means."""

    held: Held
    again: frozenset[tuple[str, int]]
    """state partitions to be read from their start"""
    writes: dict[Place, bytes | None]

    @property
    def scopes(self) -> tuple[str, ...]:
        return self.held.scopes

    @property
    def left(self) -> frozenset[str]:
        return frozenset(self.held.leaving)


class Holdings(Collection[str]):
    """The held scopes. `open` first."""

    def __init__(
        self, contract: AppContract, configured: Sequence[str], journal: Journal, records: RecordCodecs
    ) -> None:
        self._contract = contract
        self._configured = tuple(configured)
        self._source = journal
        self._records = records
        self._held = Held()
        self._reload()
        journal.on_rollback(self._reload)

    def _reload(self) -> None:
        raw = self._source.get(Family.META, keys.HOLDINGS)
        self._held = Held() if raw is None else Held.decode(raw)

    def __contains__(self, scope: object) -> bool:
        return scope in self._held.scopes

    def __iter__(self) -> Iterator[str]:
        return iter(self._held.scopes)

    def __len__(self) -> int:
        return len(self._held.scopes)

    @property
    def leaving(self) -> bool:
        """Before `open`: will scopes be gone after it that were held, or half gone?"""
        return bool(self._held.leaving or self._at_start().left)

    def open(self, store: Store) -> bool:
        """What the settings and the release of this start change, in the store at once. Were rows removed?"""
        try:
            removed = self._removed(store)  # what was cut off
            change = self._at_start()
            changed = {place: value for place, value in change.writes.items() if self._source.get(*place) != value}
            if changed:
                store.write(changed, sync=True)
            self.take(change)
            return self._removed(store) or removed
        except UNWRITABLE as error:
            log.warning("the scopes wait for room on the disk", reason=str(error))
            return False

    def _at_start(self) -> Change:
        known = self._held
        wanted = known.scopes if known.configured == self._configured else self._configured
        pending = self.pending_scopes()
        lingering = tuple(scope for scope in known.scopes if scope in pending and scope not in wanted)
        return self.change([*wanted, *lingering], () if lingering else self._configured)  # the next start looks again

    def _removed(self, store: Store) -> bool:
        some = False
        for writes in self.removals():
            store.write(writes, sync=False)
            some = True
        return some

    def change(self, scopes: Iterable[str], configured: Sequence[str] | None = None) -> Change:
        """What holding these means; nothing is changed yet. `configured` is what the next start takes for its settings."""
        wanted = tuple(dict.fromkeys(scopes))
        known = self._held.scopes
        again = frozenset(self._partitions(scope for scope in wanted if scope not in known))
        left = tuple(scope for scope in known if scope not in wanted)
        held = Held(self._configured if configured is None else tuple(configured), wanted, left)
        return Change(held, again, {(Family.META, keys.HOLDINGS): held.encode(), **self._read_again(again)})

    def take(self, change: Change) -> None:
        """The change is staged. Should it be given up, what is held is read again."""
        self._held = change.held

    def pending_scopes(self) -> set[str]:
        """Scopes with commands that the cloud has not confirmed, or that are to run again."""
        again = (keys.parse_lsn(key) for key, _ in self._source.scan(Family.META, keys.AGAIN))
        return {scope for scope, _ in _stretches(self._source, Family.PENDING, lambda key: b"")} | {
            logged(self._source, lsn).command.scope for lsn in again
        }

    def removals(self) -> Iterator[dict[Place, bytes | None]]:
        """The writes that take from the disk what scopes have left there, some rows at a time; write each before the next is asked for.
        To be called when all that came in for them is on the disk."""
        if not self._held.leaving:
            return
        left = frozenset(self._held.leaving)
        writes: dict[Place, bytes | None] = {}
        for place in chain(self._rows(left), self._digests(left), self._conflicts(left)):
            writes[place] = None
            if len(writes) >= REMOVED_AT_ONCE:
                yield writes
                writes = {}
        done = self._held._replace(leaving=())
        yield writes | {(Family.META, keys.HOLDINGS): done.encode()}
        self._held = done

    def _rows(self, left: Collection[str]) -> Iterator[Place]:
        store = self._source.durable
        for family in ROWS:
            for scope, prefix in _stretches(store, family, keys.confirmed_head):
                if scope in left:
                    yield from ((family, key) for key, _ in store.scan(family, prefix))
        for kind in (keys.EVICTED, keys.TRACES):
            for scope, prefix in _stretches(store, Family.META, partial(_head, kind), kind):
                if scope in left:
                    yield from ((Family.META, key) for key, _ in store.scan(Family.META, prefix))

    def _digests(self, left: Collection[str]) -> Iterator[Place]:
        for key, _ in self._source.durable.scan(Family.META, keys.DIGESTS):
            if keys.parse_digest(key)[3] in left:
                yield Family.META, key

    def _conflicts(self, left: Collection[str]) -> Iterator[Place]:
        for key, value in self._source.durable.scan(Family.CONFLICTS, b""):
            if self._records.decode_conflict(value).document.scope in left:
                yield Family.CONFLICTS, key

    def _read_again(self, partitions: Collection[tuple[str, int]]) -> dict[Place, bytes | None]:
        writes: dict[Place, bytes | None] = {}
        for topic, partition in partitions:
            space = topic.removesuffix(topics.state_topic(""))
            for each in (topic, topics.conflicts_topic(space)):
                writes[Family.META, keys.cursor_key(each, partition)] = None
            writes[Family.META, keys.return_key(space, partition)] = None
        known = self._source.get(Family.META, keys.FRESHNESS)
        if partitions and known is not None:
            writes[Family.META, keys.FRESHNESS] = without(known, partitions)
        return writes

    def _partitions(self, scopes: Iterable[str]) -> set[tuple[str, int]]:
        return {
            (topics.state_topic(space.name), partition_of(scope, space.partitions))
            for scope in scopes
            for space in self._contract.spaces.values()
        }


def _head(kind: bytes, key: bytes) -> bytes:
    """What stands before the document's own key, in one that begins with `kind` and goes on with that of a row."""
    return kind + keys.confirmed_head(key[len(kind) :])


def _stretches(
    source: Source, family: Family, head: Callable[[bytes], bytes], begin: bytes = b""
) -> Iterator[tuple[str, bytes]]:
    """Each scope of each collection that has entries in a family, under keys that begin with `begin`, and what their keys begin with; one look
    for each. `head` is what of a key stands before that of the document."""
    after = b""
    while (found := next(source.scan(family, begin, after), None)) is not None:
        before = head(found[0])
        collection, scope, _ = found[0][len(before) :].split(b"/", 2)
        document = collection + b"/" + scope + b"/"
        yield parse_document_key(document).scope, before + document
        after = before + document + b"\xff"  # greater than any id, which is UTF-8
