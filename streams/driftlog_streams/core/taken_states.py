"""What the state records of one block make of a partition's store: gathered record by record, written at once (`restoration`).

A busy worker's group has hundreds of records that bear the same headers, and what they say of one they say of all. So records that stand one behind
the other and bear the same are taken together, and each of them costs little more than its place in the batch. One by one are taken those of which a
record alone has something to say: the end of a group, a conflict, a purge, another life's word.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter
from typing import Protocol

import structlog

from driftlog_schemas import groups
from driftlog_schemas.messages import Forgot
from driftlog_streams.core.changelog_record import ChangelogRecord
from driftlog_streams.core.passed import Passed
from driftlog_streams.core.recovered import Recovered
from driftlog_streams.core.stored_states import StoredStates, over_by

log = structlog.get_logger()

_headers = attrgetter("headers")


class Known(Protocol):
    """What is in the store already."""

    def get(self, key: bytes) -> bytes | None: ...
    def purged(self, key: bytes) -> int: ...


@dataclass(slots=True)
class TakenStates:
    """See the module. What the records say of the topic goes into `recovered`."""

    words: StoredStates
    store: Known
    recovered: Recovered
    highest: int
    """The highest number of a group up to now."""
    forgot: Sequence[Forgot]
    """What was said of forgetting before the store had come so far."""
    states: dict[bytes, bytes | None] = field(default_factory=dict)
    """As they are to be stored; None for those that went."""
    owing: dict[bytes, int] = field(default_factory=dict)
    """Documents of which a conflict had grown, and the offset that says so."""
    fought: set[bytes] = field(default_factory=set)
    """Documents with a conflict."""
    passed: Passed = field(default_factory=Passed)
    looked_again: bool = False
    """Was it asked since these records were read where the op topic ends?"""

    def take(self, records: Iterable[ChangelogRecord]) -> None:
        """The next records, in the order of their offsets; those that were read before are left out."""
        read = self.recovered.read
        following = [record for record in records if record.offset > read.states]
        for headers, run in groupby(following, key=_headers):
            self._take_alike([*run], groups.parse(headers))
        if following:
            self.recovered.read = read._replace(states=following[-1].offset)

    def _take_alike(self, run: Sequence[ChangelogRecord], mark: groups.GroupMark) -> None:
        states = {record.key: record.value for record in run}
        if not self._plain(mark) or None in states.values() or len(states) < len(run):
            for record in run:
                self._take_one(record, mark)
            return
        recovered, keys = self.recovered, [*states]
        recovered.tail.take(run[0], mark)
        recovered.tail.more(keys[1:])
        if recovered.stale:
            for key in keys:
                recovered.stale.pop(key, None)
        self.fought.difference_update(keys)
        self.highest = mark.number
        self.states.update(states)
        self.passed.take_there(states, mark.number, self.words.deleted)  # type: ignore[arg-type]  # each has a value
        recovered.records += len(run)

    def _plain(self, mark: groups.GroupMark) -> bool:
        """Does it say nothing but to which group of the life that wrote last its record belongs?"""
        news = self.highest <= mark.number < self.recovered.ops_end and not self.recovered.anew
        return news and not (mark.last or mark.owed or mark.disputed or mark.due_ms)

    def _take_one(self, record: ChangelogRecord, mark: groups.GroupMark) -> None:
        key, value, offset, _, _ = record
        recovered, number = self.recovered, mark.number
        begin = recovered.tail.take(record, mark)
        if number >= recovered.ops_end and not self.looked_again:  # once: what was read was written before
            recovered.look_again()
            self.looked_again = True
        if not 0 <= number < recovered.ops_end:
            log.warning("a state that no worker wrote is passed over", key=key.decode(errors="replace"), offset=offset)
            recovered.stale[key] = begin
            return
        recovered.stale.pop(key, None)
        if mark.owed:
            self.owing[key] = offset
        (self.fought.add if mark.disputed else self.fought.discard)(key)
        if number < self.highest or recovered.anew:
            known = self.states[key] if key in self.states else self.store.get(key)
            gone = 0 if known is not None else self._gone(key, number)
            kept = self.words.of_two(key, value, mark, known, gone)
            if kept != value:
                recovered.stale[key] = begin
            value, mark = kept, mark._replace(number=max(number, self.highest), purged=gone or mark.purged)
        self.highest = max(self.highest, number)
        self.states[key] = value
        self.passed.take(key, value, mark, self.words.deleted)
        recovered.records += 1

    def _gone(self, key: bytes, number: int) -> int:
        """By which purge a document went of which nothing is there, so far as it matters to a record of this group; 0 for none."""
        return self.passed.gone.get(key) or self.store.purged(key) or over_by(self.forgot, number)
