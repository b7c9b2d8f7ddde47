"""Which scopes this replica holds, and what a change of that means for what was read already.

A partition carries many scopes and its cursor is one number: a scope that was not held and was passed over below it does not come again by
itself. So when a scope is added, the cursor goes back to the start and the partition counts as never read. A scope that was left goes
from the disk; one with commands that the cloud has not confirmed is not left.

The settings name the scopes at first; a change by the API stands until the settings name others.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import product
from typing import NamedTuple

import structlog

from driftlog_edge.errors import DiskFull
from driftlog_edge.link.freshness import without
from driftlog_edge.ports import Family, Place, Source, Store
from driftlog_edge.store import keys
from driftlog_edge.store.generations import coming, serving
from driftlog_schemas import topics
from driftlog_schemas.contract import AppContract
from driftlog_schemas.identity import parse_document_key, scope_prefix
from driftlog_schemas.partitioning import partition_of

log = structlog.get_logger()

REMOVED_AT_ONCE = 5_000
"""Rows that one write removes."""


class Change(NamedTuple):
    """What a new set of scopes means."""

    scopes: tuple[str, ...]
    left: frozenset[str]
    again: frozenset[tuple[str, int]]
    """state partitions to be read from their start"""
    writes: dict[Place, bytes | None]


class Holdings(Collection[str]):
    """The held scopes. `open` first."""

    def __init__(self, contract: AppContract, configured: Sequence[str], source: Source) -> None:
        self._contract = contract
        self._configured = list(configured)
        self._source = source
        self._scopes: tuple[str, ...] = ()

    def __contains__(self, scope: object) -> bool:
        return scope in self._scopes

    def __iter__(self) -> Iterator[str]:
        return iter(self._scopes)

    def __len__(self) -> int:
        return len(self._scopes)

    def open(self, store: Store) -> None:
        """What the settings and the release of this start change, in the store at once."""
        raw = self._source.get(Family.META, keys.HOLDINGS)
        kept = {"configured": self._configured, "scopes": []} if raw is None else json.loads(raw)
        self._scopes = tuple(kept["scopes"])
        wanted = self._configured if kept["configured"] != self._configured or raw is None else kept["scopes"]
        pending = self.pending_scopes()
        lingering = [scope for scope in self._scopes if scope in pending and scope not in wanted]
        change = self.change([*wanted, *lingering], [] if lingering else self._configured)  # the next start looks again
        changed = {place: value for place, value in change.writes.items() if self._source.get(*place) != value}
        try:
            if changed:
                store.write(changed, sync=True)
            for writes in self.removals(change.left):
                store.write(writes, sync=False)
        except DiskFull as error:
            log.warning("the scopes stay as they were", reason=str(error))
            return
        self.take(change)

    def change(self, scopes: Iterable[str], configured: Sequence[str] | None = None) -> Change:
        """What holding these means; nothing is changed yet. `configured` is what the next start takes for its settings."""
        wanted = tuple(dict.fromkeys(scopes))
        added = [scope for scope in wanted if scope not in self._scopes]
        again = frozenset(self._partitions(added))
        told = self._configured if configured is None else configured
        kept = {"configured": list(told), "scopes": wanted}
        writes: dict[Place, bytes | None] = {(Family.META, keys.HOLDINGS): json.dumps(kept).encode()}
        writes.update(self._read_again(again))
        return Change(wanted, frozenset(self._scopes) - set(wanted), again, writes)

    def take(self, change: Change) -> None:
        """The change is in the store."""
        self._scopes = change.scopes

    def pending_scopes(self) -> set[str]:
        """Scopes with commands that the cloud has not confirmed."""
        return {
            parse_document_key(keys.document_of_pending(key)).scope for key, _ in self._source.scan(Family.PENDING, b"")
        }

    def removals(self, left: Iterable[str]) -> Iterator[dict[Place, bytes | None]]:
        """The writes that take scopes from the disk, some rows at a time."""
        writes: dict[Place, bytes | None] = {}
        for scope, space in ((scope, space) for scope in left for space in self._contract.spaces.values()):
            partition = partition_of(scope, space.partitions)
            in_use = {state_of(self._source, space.name, partition) for state_of in (serving, coming)}
            for generation in in_use:
                writes[Family.META, keys.digest_key(space.name, partition, generation, scope)] = None
                rows = keys.confirmed_prefix(space.name, partition, generation)
                for place in self._rows(rows, space.collections, scope):
                    writes[place] = None
                    if len(writes) >= REMOVED_AT_ONCE:
                        yield writes
                        writes = {}
        yield writes

    def _rows(self, rows: bytes, collections: Iterable[str], scope: str) -> Iterator[Place]:
        """The rows of a scope in one generation."""
        for family, name in product((Family.CONFIRMED, Family.UNREAD), collections):
            for key, _ in self._source.scan(family, rows + scope_prefix(name, scope)):
                yield family, key

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
