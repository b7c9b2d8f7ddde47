"""Which documents have changed, in their order and numbered: the last of it, over restarts.

Each group of writes that is committed has one entry in that same write, with the documents that readers see otherwise from then on. So there is
no change without its number and no number without its change, whatever cuts the agent off, and it costs no sync of its own. The oldest entries
go in the same write, so it is bounded in changes and bytes.

A number alone says too little. What was written without a sync goes with the power, and a folder may be an older copy of itself: then the same numbers are
given again, for other changes. So each entry also names the *run* of the agent that made it, and a place is a run and a number. It leads on only
where the entry with that number is of that run; from any other place nobody can tell what was missed.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Collection, Iterator
from typing import Final, NamedTuple, TypeAlias

import structlog

from driftlog_edge.errors import EdgeError
from driftlog_edge.ports import Family, Place, Store
from driftlog_edge.store import keys

log = structlog.get_logger()

KEPT = 10_000
"""Changes that are kept at most, beside the last entry."""
KEPT_BYTES = 2 << 20
"""And bytes of their entries."""
ANEW: Final = None
"""Nobody can name what has changed: whatever a reader has, it reads again."""
Changed: TypeAlias = Collection[bytes] | None
"""Keys of documents, or `ANEW`."""


class Mark(NamedTuple):
    """A place between two changes: after that of this number, which that run of the agent made."""

    run: str
    number: int


class Numbered(NamedTuple):
    """One changed document; `key` None is `ANEW`."""

    mark: Mark
    key: bytes | None


class Entry(NamedTuple):
    """What one group has changed; its key in the store is the number of its last change."""

    run: str
    keys: tuple[bytes | None, ...]
    last: int
    size: int

    @property
    def first(self) -> int:
        return self.last - len(self.keys) + 1

    def changes(self, after: int = 0) -> list[Numbered]:
        """Those with a greater number."""
        skipped = max(0, after + 1 - self.first)
        return [
            Numbered(Mark(self.run, number), key)
            for number, key in enumerate(self.keys[skipped:], start=self.first + skipped)
        ]


class ChangeLog:
    """Of one store. The committer notes each group in its write, and says what became of that before the next is noted."""

    def __init__(self, store: Store, run: str) -> None:
        """`run` is drawn anew at each start."""
        self._store = store
        self._run = run
        self._spans: deque[tuple[int, int]] = deque()
        """Of each entry that is kept, oldest first: how many changes, how many bytes."""
        self._count = self._bytes = 0
        self._noted: Entry | None = None
        """The entry that is being written."""
        self._told: list[Callable[[Entry], None]] = []
        self.last = Mark(run, 0)
        """Where the log ends now, in the store."""
        try:
            for entry in self._entries(0):
                self._add(entry)
        except EdgeError as error:  # of a damaged store: nobody can tell what was missed
            log.warning("which documents have changed cannot be read", reason=str(error))
            self._forget()

    def open(self, release: bytes, *, anew: bool = False) -> None:
        """These releases begin to show the store. Others than those before may show every document otherwise; `anew`: they surely will.

        Raises `DiskFull`, `StoreDamaged`: no mark of before leads on.
        """
        place = (Family.META, keys.SHOWN_BY)
        if anew or not self._count or self._store.get(*place) != release:
            try:
                self.write({place: release}, ANEW)
            except EdgeError:
                self._forget()
                raise

    def write(self, writes: dict[Place, bytes | None], changed: Changed) -> None:
        """Write these at once, unsynced, with what they change: before there is a committer. Raises `DiskFull`, `StoreDamaged`."""
        try:
            self._store.write({**writes, **self.note(changed)}, sync=False)
        except BaseException:
            self.failed()
            raise
        self.written()

    def on_told(self, follow: Callable[[Entry], None]) -> None:
        """Call `follow` with what every group has changed, when it is in the store."""
        self._told.append(follow)

    def note(self, changed: Changed) -> dict[Place, bytes | None]:
        """The writes that note a group; put them into its own."""
        assert self._noted is None, "groups are written one after another"
        documents = (None,) if changed is ANEW else tuple(dict.fromkeys(changed))
        if not documents:
            return {}
        named = ANEW if changed is ANEW else [key.decode() for key in documents if key is not None]
        value = json.dumps([self._run, named], ensure_ascii=False).encode()
        entry = Entry(self._run, documents, self.last.number + len(documents), len(value))
        self._noted = entry
        writes: dict[Place, bytes | None] = {(Family.META, keys.changes_key(entry.last)): value}
        for number in self._outgrown(entry):
            writes[Family.META, keys.changes_key(number)] = None
        return writes

    def _outgrown(self, entry: Entry) -> Iterator[int]:
        """The keys of the entries for which there is no room beside this one."""
        count, size = self._count + len(entry.keys), self._bytes + entry.size
        last = self.last.number - self._count
        for changes, length in self._spans:
            if count <= KEPT and size <= KEPT_BYTES:
                return
            last += changes
            count, size = count - changes, size - length
            yield last

    def written(self) -> None:
        """What was noted is in the store."""
        entry, self._noted = self._noted, None
        if entry is None:
            return
        for _ in list(self._outgrown(entry)):
            changes, size = self._spans.popleft()
            self._count, self._bytes = self._count - changes, self._bytes - size
        self._add(entry)
        for follow in self._told:
            follow(entry)

    def failed(self) -> None:
        """The store did not take what was noted."""
        self._noted = None

    def _forget(self) -> None:
        """No mark of before leads on."""
        self._spans.clear()
        self._count = self._bytes = 0
        self.last = Mark(self._run, self.last.number)

    def _add(self, entry: Entry) -> None:
        self._spans.append((len(entry.keys), entry.size))
        self._count, self._bytes = self._count + len(entry.keys), self._bytes + entry.size
        self.last = Mark(entry.run, entry.last)

    def leads_on(self, mark: Mark) -> bool:
        """Is what has changed since then known?"""
        if mark == self.last:
            return True
        if not self.last.number - self._count < mark.number < self.last.number:
            return False
        try:
            entry = next(self._entries(mark.number - 1), None)
        except EdgeError as error:
            log.warning("which documents have changed cannot be read", reason=str(error))
            return False
        return entry is not None and entry.first <= mark.number and entry.run == mark.run

    def after(self, number: int, most: int) -> list[Numbered] | None:
        """Changes with a greater number, `most` or some more; empty at the end. None where they are not kept any more, or not readable.

        `number` is that of a mark that leads on.
        """
        found: list[Numbered] = []
        if number < self.last.number - self._count:
            return None
        try:
            for entry in self._entries(number):
                if entry.last > self.last.number or len(found) >= most:  # it is being written; or it is enough
                    break
                found += entry.changes(number)
        except EdgeError as error:
            log.warning("which documents have changed cannot be read", reason=str(error))
            return None
        return found if found or number == self.last.number else None

    def _entries(self, after: int) -> Iterator[Entry]:
        """Those whose last change has a greater number, in order."""
        first = keys.changes_key(after) if after else b""
        for key, value in self._store.scan(Family.META, keys.CHANGES, first):
            run, named = json.loads(value)
            documents = (None,) if named is ANEW else tuple(name.encode() for name in named)
            yield Entry(run, documents, keys.unpack_number(key[len(keys.CHANGES) :]), len(value))
