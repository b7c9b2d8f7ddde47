"""What the records of a changelog make of a partition's store, before the first op is merged.

What a crash leaves behind is a *torn tail*: state records of flights that were never acknowledged, so their ops are read again. A
command may then be half seen, and must get the decision it got before. The dots that a group rejected stand in its records' headers; they are kept
here for every group from the committed op offset on, and `until` says up to which op offset that can matter.

A life may end before it has merged all of that again, and the next one may find the states in its store; so the store keeps in
its mark from where the tail begins, and every recovery looks at it again, until a flight has brought the merge beyond it.

A record whose group number is below one already seen was published by another life (after a crash, or by a frozen
worker that woke): it may be older than what it would replace, so it is joined with it, never put over it, and the document is
published again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import structlog

from driftlog_schemas import groups
from driftlog_schemas.identity import parse_document_key
from driftlog_schemas.messages import ParkedCommand
from driftlog_streams.core.rules import SpaceRules
from driftlog_streams.core.store_mark import StoreMark

log = structlog.get_logger()


class ChangelogRecord(NamedTuple):
    """A record of a compacted topic, whichever client read it."""

    key: bytes
    value: bytes | None
    offset: int
    headers: groups.Headers


class Changelogged(Protocol):
    """A store that recovery fills."""

    @property
    def mark(self) -> StoreMark: ...
    def get(self, key: bytes) -> bytes | None: ...
    def write(self, states: Iterable[tuple[bytes, bytes | None]], mark: StoreMark) -> None: ...


@dataclass(slots=True)
class Recovered:
    """What a merger of a recovered partition must know."""

    rejected: dict[bytes, set[tuple[str, int]]] = field(default_factory=dict)
    """document key -> dots seen without effect in groups that may be read again"""
    until: int = -1
    """the highest group number among those; commands of later op records are never half seen"""
    tail: int = -1
    """offset of the first state record among those"""
    stale: set[bytes] = field(default_factory=set)
    """documents whose last record in the topic is behind the store: to be published again"""
    parked: list[ParkedCommand] = field(default_factory=list)
    """in order of parking"""
    records: int = 0
    committed: int = 0


class Restoration:
    """Takes changelog records into stores."""

    def __init__(self, rules: SpaceRules) -> None:
        self._rules = rules

    def take(self, store: Changelogged, recovered: Recovered, records: Iterable[ChangelogRecord]) -> None:
        """Put changelog records of one partition into its store; of what it has already, only the torn tail is looked at."""
        states: dict[bytes, bytes | None] = {}
        highest, position = store.mark.group, store.mark.position
        for key, value, offset, headers in records:
            mark = groups.parse(headers)
            if mark.number >= recovered.committed:
                recovered.tail = offset if recovered.tail < 0 else recovered.tail
                recovered.until = max(recovered.until, mark.number)
                if mark.rejected:
                    recovered.rejected.setdefault(key, set()).update(mark.rejected)
            if offset <= position:
                continue
            position = offset
            if mark.number < 0:
                log.warning(
                    "a state that no worker wrote is passed over", key=key.decode(errors="replace"), offset=offset
                )
                recovered.stale.add(key)
                continue
            recovered.stale.discard(key)
            if value is not None and 0 <= mark.number < highest:
                joined = self._joined(key, value, states[key] if key in states else store.get(key))
                if joined != value:
                    recovered.stale.add(key)
                value = joined
            highest = max(highest, mark.number)
            states[key] = value
            recovered.records += 1
        # Until all of the changelog is read the older tail, if there is one, is the one to keep.
        tail, until = store.mark.tail, store.mark.until
        if tail < 0:
            tail, until = recovered.tail, recovered.until
        store.write(states.items(), store.mark.after_recovery(position, highest, tail, max(until, recovered.until)))

    def settle(self, store: Changelogged, recovered: Recovered) -> None:
        """All of the changelog is read: what was found of a torn tail replaces what an earlier life had found."""
        mark = store.mark
        if (mark.tail, mark.until) != (recovered.tail, recovered.until):
            store.write((), mark.after_recovery(mark.position, mark.group, recovered.tail, recovered.until))

    def _joined(self, key: bytes, value: bytes, stored: bytes | None) -> bytes:
        if stored is None or stored == value:
            return value
        document = parse_document_key(key)
        collection = self._rules.collections[document.collection]
        state = collection.type.join(collection.codec.decode(stored), collection.codec.decode(value))
        return collection.codec.encode(document, state)
