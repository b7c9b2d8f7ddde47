"""The history of the documents that the console holds: a thread follows their op logs, pages read what it has kept.

It starts where it was left. Of a log whose beginning is gone, or that went on for longer than it is kept while nobody followed, it lists what is left
and says since when; what became of that nobody can tell.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple, Protocol

import structlog
from confluent_kafka import KafkaException

from driftlog_console.history.by_device import SentLately
from driftlog_console.history.following import Following
from driftlog_console.history.kept import MOST_BYTES, PER_DOCUMENT, KeptHistory, Past, Reached
from driftlog_console.history.receipts import Receipts, receipts_of
from driftlog_crdt import AlgebraError
from driftlog_edge.errors import EdgeError
from driftlog_schemas import topics
from driftlog_schemas.contract import SpaceContract
from driftlog_schemas.errors import ContractError
from driftlog_schemas.identity import DocumentId, document_key
from driftlog_schemas.partitioning import partition_of
from driftlog_schemas.registry import SchemaIds
from driftlog_streams.core.changelog_record import ChangelogRecord
from driftlog_streams.core.rules import Devices, SpaceRules
from driftlog_streams.errors import StoreFailed, WorkerError
from driftlog_streams.faust_driver.partition_store import WorkerStore
from driftlog_streams.replaying.history import now, standing_of

log = structlog.get_logger()

LOOK_SECONDS = 1.0
AT_ONCE = 500
"""So many records are read before pages have their turn."""
TURN_SECONDS = 0.01


class Place(NamedTuple):
    """A partition of a space."""

    space: str
    partition: int


class OpLogs(Protocol):
    """Where op logs are read; `ChangelogReader` is one."""

    def begins(self, places: Iterable[tuple[str, int]]) -> Mapping[tuple[str, int], int]: ...
    def ends(self, places: Iterable[tuple[str, int]]) -> Mapping[tuple[str, int], int]: ...
    def records(self, topic: str, partition: int, offsets: range) -> Sequence[ChangelogRecord]: ...


class Registry(Devices, Protocol):
    """Who may write, read to its end on demand."""

    def start(self) -> None: ...
    def catch_up(self) -> None: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the thread is. A place that was not looked at yet is in neither."""

    reached: Mapping[Place, Reached] = field(default_factory=lambda: MappingProxyType({}))
    ends: Mapping[Place, int] = field(default_factory=lambda: MappingProxyType({}))
    """Where each log ended when it was last asked for."""
    looked_at: float = 0.0
    """Epoch seconds of the last whole look; 0 for none."""
    problem: str = ""
    """Why the last look ended early; empty if it did not."""

    def behind(self, place: Place) -> int | None:
        """Records that are still to be read; None where that is not known."""
        if place not in self.reached or place not in self.ends:
            return None
        return max(0, self.ends[place] - self.reached[place].following)


class HistoryView:
    """See the module. `changed` is called on the thread when something new is kept; `scopes` says what is to be followed."""

    def __init__(
        self,
        spaces: Mapping[str, SpaceContract],
        ids: SchemaIds,
        devices: Registry,
        logs: OpLogs,
        folder: Path,
        scopes: Callable[[], Iterable[str]],
        changed: Callable[[], None],
        per_document: int = PER_DOCUMENT,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self.progress = Progress()
        self.per_document = per_document
        self._spaces = spaces
        self._rules = {name: SpaceRules(space, ids) for name, space in spaces.items()}
        self._devices, self._logs, self._scopes, self._changed = devices, logs, scopes, changed
        self._folder, self._most_bytes = folder, most_bytes
        self._open()
        self._started = False
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="driftlog-history", daemon=True)

    # -- for pages

    def place(self, space: str, scope: str) -> Place:
        """Where a scope's changes are logged."""
        return Place(space, partition_of(scope, self._spaces[space].partitions))

    def page(self, space: str, document: DocumentId, limit: int, before: int | None = None) -> Past:
        """A document's last moments, or the last ones before an offset, each step with what of it is left now."""
        past = self.kept.page(space, document, limit, before)
        store = self._stores[space].partition(self.place(space, document.scope).partition)
        value, rules = store.get(document_key(document)), self._rules[space]
        if value is None:
            return past
        try:
            state = rules.collections[document.collection].codec.decode(value)
        except (ContractError, AlgebraError):
            return past  # of another release: who stands is not known
        standing = standing_of(rules, document, state)
        return past.with_steps(lambda step: now(step, standing))

    def sent_by(self, device: str) -> SentLately:
        """A device's last commands, wherever it wrote of what is followed."""
        return self.kept.devices.lately(device)

    def receipts_of(self, device: str) -> Receipts:
        """What was taken of a device, of the logs that are merged here."""
        merged = [place for place, reached in self.progress.reached.items() if not reached.cut]
        stores = ((self._stores[space].partition(at), self._rules[space].records) for space, at in merged)
        return receipts_of(device, stores)

    # -- the thread

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def close(self) -> None:
        """Stop reading, and give the folder free. Raises RuntimeError if the thread does not come to its end."""
        self._closed.set()
        if self._thread.is_alive():
            self._thread.join(30.0)
            if self._thread.is_alive():
                raise RuntimeError("the history is still being read")
        self._shut()

    def look(self) -> None:
        """Read what is new. Raises KafkaException, ContractError, WorkerError; what `scopes` raises while its agent opens its folder anew."""
        if not self._started:
            self._started = True  # its threads run, whether it reaches the end in time or not
            self._devices.start()
        places = sorted({self.place(space, scope) for space in self._spaces for scope in self._scopes()})
        named = {(topics.ops_topic(space), partition): Place(space, partition) for space, partition in places}
        ends = {named[key]: end for key, end in self._logs.ends(named).items()}
        if any(ends[place] > self._next(place) for place in places):
            self._devices.catch_up()  # after the ends were asked for: whoever wrote up to there is known then
        fresh = [key for key, place in named.items() if place not in self._following]
        for key, begin in (self._logs.begins(fresh) if fresh else {}).items():
            self._begin(named[key], begin)
        for place in places:
            self._read(place, ends[place])
        self.progress = Progress(self._reached(), ends, time.time())

    def try_look(self) -> None:
        """The same; what hinders it is in `progress`."""
        try:
            self.look()
        except (KafkaException, ContractError, WorkerError, EdgeError) as error:
            if str(error) != self.progress.problem:
                log.warning("the history cannot be read on", problem=str(error))
            before = self.progress
            self.progress = Progress(before.reached, before.ends, before.looked_at, str(error))
            self._following.clear()  # whatever was half done is done again, from what is on disk
            self.kept.discard()

    def _run(self) -> None:
        while not self._closed.is_set():
            self.try_look()
            self._closed.wait(LOOK_SECONDS)
        if self._started:
            self._devices.close()

    def _read(self, place: Place, end: int) -> None:
        following = self._following[place]
        if end < following.following:
            log.warning(
                "an op log was made anew; its history begins anew", space=place.space, partition=place.partition
            )
            self._shut()
            shutil.rmtree(self._folder)
            self._open()
            self._begin(place, 0)
            following = self._following[place]
        while following.following < end and not self._closed.is_set():
            start = following.following
            stop = min(start + AT_ONCE, end)
            records = self._logs.records(topics.ops_topic(place.space), place.partition, range(start, stop))
            if records and records[0].offset > start:
                self._cut(place, records[0])
            if not records:
                following.skip(stop)
            elif following.take(records):
                self._changed()
            self.progress = Progress(self._reached(), {**self.progress.ends, place: end}, self.progress.looked_at)
            self._closed.wait(TURN_SECONDS)

    def _begin(self, place: Place, begin: int) -> None:
        reached = self.kept.reached(*place)
        if reached is None:
            reached = Reached(begin, cut=begin > 0)
        self._following[place] = Following.of(
            self._spaces[place.space],
            self._rules[place.space],
            place.partition,
            self.kept,
            self._stores[place.space].partition(place.partition),
            self._devices,
            reached,
        )

    def _cut(self, place: Place, first: ChangelogRecord) -> None:
        """What came before this record is gone, unread."""
        log.warning("a part of an op log is gone, unread", space=place.space, partition=place.partition)
        self._following[place].reached = Reached(first.offset, first.append_ms, first.append_ms, cut=True)

    def _next(self, place: Place) -> int:
        following = self._following.get(place)
        return 0 if following is None else following.following

    def _reached(self) -> dict[Place, Reached]:
        return {place: following.reached for place, following in self._following.items()}

    def _open(self) -> None:
        self.kept = KeptHistory(self._folder, self.per_document, self._most_bytes)
        self._stores = {name: WorkerStore(self._folder / "states" / name) for name in self._spaces}
        self._following: dict[Place, Following] = {}

    def _shut(self) -> None:
        for close in (self.kept.close, *(store.close for store in self._stores.values())):
            try:
                close()
            except StoreFailed as error:  # on a full disk; what it has written is there when it is opened again
                log.warning("the history is closed", problem=str(error))
