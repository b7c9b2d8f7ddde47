"""What is decided but not yet durable, laid over the store.

Commands run one after another on what they see; their writes wait here for the next group commit. Reading through the journal
gives the state with all waiting writes, so the next command builds on the last. When a write fails, everything that waits goes:
later writes were built on it, nobody was answered, and the store is as it was. Then listeners forget what they remember.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice

from driftlog_edge.errors import EdgeError
from driftlog_edge.ports import Family, Place, Store, Writes
from driftlog_edge.store.changes import ANEW, Changed
from driftlog_edge.store.overlay import Overlay, laid_over

MAX_WAITING = 4096
"""Write sets that may wait for the disk; the committer makes callers wait before this."""
MAX_WAITING_BYTES = 32 << 20
"""The same in bytes: a thousand large documents must not take what a small device has."""
GROUP_BYTES = 4 << 20
"""A group is full from this size on: more bytes make no fsync cheaper, and hold up who waits for it."""
REMEMBERED = 1024
"""Facts about the folder that are kept at hand."""
_META = Family.META


class Ticket:
    """One write set on its way to the disk, and what readers see otherwise by it. `done` is called once: with None when durable, else with the error."""

    __slots__ = ("changed", "done", "serial", "size", "sync", "writes")

    def __init__(
        self,
        serial: int,
        writes: Writes,
        sync: bool,
        done: Callable[[Exception | None], None] | None,
        changed: Changed,
    ) -> None:
        self.serial = serial
        self.writes = writes
        size = 0
        for (_, key), value in writes.items():
            size += len(key) if value is None else len(key) + len(value)
        self.size = size
        self.sync = sync
        self.done = done
        self.changed = changed


class Journal:
    """The store as it will be when all that waits is written."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._over = Overlay()
        self._facts: dict[bytes, bytes | None] = {}
        """What the store has under keys of `Family.META`, of none for which a write waits: each command asks for the same few, and the store
        would decrypt each."""
        self._waiting: deque[Ticket] = deque()
        self._serial = 0
        self._bytes = 0
        self.refusal = ""
        """Why the store did not take the last write; empty when it did."""
        self._forget: list[Callable[[], None]] = []
        self._on_given_up: list[Callable[[Writes], None]] = []
        self._on_staged: list[Callable[[Writes], None]] = []
        self._on_written: list[Callable[[Writes], None]] = []

    def on_rollback(self, forget: Callable[[], None]) -> None:
        """Call `forget` whenever waiting writes were given up."""
        self._forget.append(forget)

    def on_given_up(self, follow: Callable[[Writes], None]) -> None:
        """Call `follow` with what was given up, the newest of each place, when the store alone can be read again. Who counts what
        waits takes that back: counting anew would cost as much as everything that is pending."""
        self._on_given_up.append(follow)

    def on_staged(self, follow: Callable[[Writes], None]) -> None:
        """Call `follow` with every write set that begins to wait."""
        self._on_staged.append(follow)

    def on_written(self, follow: Callable[[Writes], None]) -> None:
        """Call `follow` with every write set that is in the store, in order, before its own `done`."""
        self._on_written.append(follow)

    @property
    def durable(self) -> Store:
        """The store beneath, without what waits."""
        return self._store

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def full(self) -> bool:
        """Does as much wait as may?"""
        return len(self._waiting) >= MAX_WAITING or self._bytes >= MAX_WAITING_BYTES

    def get(self, family: Family, key: bytes) -> bytes | None:
        over = self._over.get((family, key))
        if over is not None:
            return over[0]
        return self._fact(key) if family is _META else self._store.get(family, key)

    def _fact(self, key: bytes) -> bytes | None:
        if key in self._facts:
            return self._facts[key]
        value = self._store.get(_META, key)
        if self._serial:  # before that, what opens the folder may write beside the journal
            if len(self._facts) >= REMEMBERED:
                self._facts.clear()
            self._facts[key] = value
        return value

    def scan(self, family: Family, prefix: bytes, after: bytes = b"") -> Iterator[tuple[bytes, bytes]]:
        """Like `Store.scan`, with the waiting writes. Do not stage while iterating."""
        over, below = self._over.keys(family, prefix, after), self._store.scan(family, prefix, after)
        yield from laid_over(over, below, lambda key: self.get(family, key)) if over else below

    def scan_keys(self, family: Family, prefix: bytes, after: bytes = b"") -> Iterator[bytes]:
        """Like `Store.scan_keys`, with the waiting writes. Do not stage while iterating."""
        over, below = self._over.keys(family, prefix, after), self._store.scan_keys(family, prefix, after)
        if not over:
            return below
        entries = laid_over(over, ((key, b"") for key in below), lambda key: self.get(family, key))
        return (key for key, _ in entries)

    def stage(
        self,
        writes: Writes,
        *,
        sync: bool,
        done: Callable[[Exception | None], None] | None = None,
        changed: Changed = (),
    ) -> Ticket:
        """Let a write set wait for the disk; commands see it at once. From the first one on all writes come through here."""
        self._serial += 1
        serial = self._serial
        self._over.put(writes, serial)
        for family, key in writes:
            if family is _META:
                self._facts.pop(key, None)
        for follow in self._on_staged:
            follow(writes)
        ticket = Ticket(serial, writes, sync, done, changed)
        self._waiting.append(ticket)
        self._bytes += ticket.size
        return ticket

    def take(self, limit: int = 1024) -> list[Ticket]:
        """The next write sets, in order, for one group commit; give them to `written` or `failed`."""
        group: list[Ticket] = []
        size = 0
        for ticket in islice(self._waiting, limit):
            size += ticket.size
            if group and size > GROUP_BYTES:
                break
            group.append(ticket)
        return group

    def written(self, group: list[Ticket]) -> None:
        """The group is in the store (and durable where asked)."""
        self.refusal = ""
        gone: set[Family] = set()
        for ticket in group:
            first = self._waiting.popleft()
            assert first is ticket, "groups are written in order"
            self._bytes -= ticket.size
            gone |= self._over.drop(ticket.writes, ticket.serial)
            for follow in self._on_written:
                follow(ticket.writes)
        self._over.tidy(gone)
        for ticket in group:
            if ticket.done is not None:
                ticket.done(None)

    def failed(self, error: Exception) -> None:
        """The store did not take a group: give up all that waits, and say so to everyone.

        Raises what the store raises where it cannot be read again, once everyone has forgotten and was told: not all of what is remembered is true then.
        """
        self.refusal = str(error)
        unreadable: EdgeError | None = None
        self._facts.clear()  # as all that is remembered: what a failed disk holds is looked up
        waiting = list(self._waiting)
        self._waiting.clear()
        self._bytes = 0
        given_up = self._over.clear()
        try:
            taking_back: list[Callable[[], None]] = [partial(follow, given_up) for follow in self._on_given_up]
            for forget in (*taking_back, *self._forget):
                try:
                    forget()
                except EdgeError as met:
                    unreadable = unreadable or met
        finally:
            for ticket in waiting:
                if ticket.done is not None:
                    ticket.done(error)
        if unreadable is not None:
            raise unreadable


def merged(group: list[Ticket]) -> tuple[dict[Place, bytes | None], bool]:
    """One write of a whole group, later writes over earlier ones; and whether it must be durable at once."""
    writes: dict[Place, bytes | None] = {}
    for ticket in group:
        writes.update(ticket.writes)
    return writes, any(ticket.sync for ticket in group)


def changed_by(group: list[Ticket]) -> Changed:
    """What readers see otherwise when the group is in the store, each document once."""
    found: dict[bytes, None] = {}
    for ticket in group:
        if ticket.changed is ANEW:
            return ANEW
        found.update(dict.fromkeys(ticket.changed))
    return found
