"""Which classes of commands may leave now, and up to which command: the rhythms of the collections, and what power and network allow.

Critical and high always may. Normal and low may unless the battery is low. What waits for a rhythm may at its moment: the first command of a class
that comes after one begins the time to the next, and at that moment all that has come by then may leave, however long it takes to go. So no command
waits for longer than its rhythm, and what keeps coming does not keep a class open. `on_wifi` may unless the network costs something.

Order within a document holds because what is closed is never overtaken. A power that is low closes a class and all behind it. A rhythm's moment may
come before that of a more urgent one; a command on a document of which something waits in a more urgent class therefore joins that class.

What is counted is in the store; the moments are of this process. Nobody remembers how long commands have waited that are there at the start:
their moment has come.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from driftlog_edge.store import keys
from driftlog_schemas.rhythm import NOW, ON_WIFI, text_of

ALL = (1 << 64) - 1
"""Above every lsn."""
_NONE = -1
URGENT = keys.CLASSES.index("high")
"""The last of the classes that never wait."""


class Waits(NamedTuple):
    """Why commands do not leave although there is a way."""

    what: str
    """`power`, `wifi`, or the rhythm: `5m`."""
    seconds: float | None
    """How long it will be at most; None where nobody can tell."""


class Moments:
    """Of the classes of one queue. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._waiting: Counter[int] = Counter()
        """How many commands wait in each class."""
        self._come: Counter[int] = Counter()
        """Those of a class whose moment has come."""
        self._up_to: dict[int, int] = {}
        """The last lsn of those."""
        self._last: dict[int, int] = {}
        """No lsn of a class is greater; what has left may have been."""
        self._since: dict[int, float] = {}
        """Since when a class is on the way to its next moment."""
        self._closed: dict[int, set[bytes]] = {}
        """The documents of what waits for that. Some of it may have left, and then a command joins for nothing, which only makes it leave earlier."""
        self.saving = False
        """Is the battery so low that only urgent commands leave?"""
        self.metered = False
        """Does the network cost something?"""

    def __len__(self) -> int:
        """Commands of all classes."""
        return self._waiting.total()

    # -- counted

    def forget(self) -> None:
        """Nothing waits as far as is known: all of it will be counted."""
        for known in (self._waiting, self._come, self._up_to, self._last, self._since, self._closed):
            known.clear()

    def count(self, urgency: int, lsn: int, sign: int = 1) -> None:
        """A command is in this class, or (-1) no longer."""
        self._waiting[urgency] += sign
        if not self._waiting[urgency]:
            del self._waiting[urgency]
        if not _timed(urgency):
            return
        self._last[urgency] = max(lsn, self._last.get(urgency, 0))
        if lsn <= self._up_to.get(urgency, 0):
            self._come[urgency] += sign

    def left(self, gone: Mapping[int, Sequence[int]]) -> None:
        """These commands (class -> lsns) are in their class no longer."""
        for urgency, lsns in gone.items():
            if _timed(urgency):
                for lsn in lsns:
                    self.count(urgency, lsn, -1)
            else:
                self.count(urgency, lsns[-1], -len(lsns))

    def come(self, urgency: int, lsn: int, documents: Iterable[bytes]) -> None:
        """A command with these documents is in this class from now on."""
        self.count(urgency, lsn)
        if _timed(urgency):
            self._closed.setdefault(urgency, set()).update(documents)

    def joined(self, urgency: int, documents: Iterable[bytes]) -> int:
        """The class in which a command with these documents waits that would wait in this one, and may overtake nothing."""
        before = (one for one in sorted(self._closed) if one < urgency and not self._closed[one].isdisjoint(documents))
        return next(before, urgency) if urgency >= keys.WAITING else urgency

    @property
    def classes(self) -> list[int]:
        """Those in which something waits, the most urgent first."""
        return sorted(self._waiting)

    # -- what may leave

    def up_to(self, urgency: int) -> int:
        """The last lsn of this class that may leave now."""
        if self.shut(urgency):
            return _NONE
        return self._up_to.get(urgency, _NONE) if _timed(urgency) else ALL

    def shut(self, urgency: int) -> bool:
        """Do power or network keep this class here, whatever the time is?"""
        if urgency <= URGENT:
            return False
        return self.saving or (self.metered and urgency >= keys.WAITING and not _timed(urgency))

    @property
    def open(self) -> Iterator[int]:
        """The classes of which something may leave now, the most urgent first."""
        return (one for one in self.classes if self.up_to(one) != _NONE and (not _timed(one) or self._come[one] > 0))

    @property
    def closed(self) -> bool:
        """Is there anything that may not leave now?"""
        return any(
            self.up_to(one) == _NONE or (_timed(one) and self._waiting[one] > self._come[one]) for one in self._waiting
        )

    def tick(self, now: float) -> None:
        """Time has passed: the moment of a class may have come."""
        for urgency in [
            one for one in self._closed if not self._waiting[one]
        ]:  # it went before its moment, with what is urgent
            del self._closed[urgency]
            self._since.pop(urgency, None)
        for urgency in [one for one in self._waiting if _timed(one)]:
            if self._waiting[urgency] > self._come[urgency]:
                since = self._since.setdefault(urgency, now)
                if now - since >= keys.rhythm_of(urgency):
                    self._arrived(urgency)

    def at_once(self, apart_from: Iterable[int] = ()) -> None:
        """The moment of all classes has come, but for those of these rhythms."""
        kept = set(apart_from)
        for urgency in [one for one in self._waiting if _timed(one) and keys.rhythm_of(one) not in kept]:
            self._arrived(urgency)

    def arrived(self, classes: Iterable[int]) -> None:
        """The moment of these has come, as far as they wait for one."""
        for urgency in {one for one in classes if _timed(one)}:
            self._arrived(urgency)

    def _arrived(self, urgency: int) -> None:
        self._up_to[urgency] = self._last[urgency]
        self._come[urgency] = self._waiting[urgency]
        self._since.pop(urgency, None)
        self._closed.pop(urgency, None)

    # -- told

    def why(self, urgency: int, lsn: int, now: float) -> Waits | None:
        """Why a command of this class does not leave now; None if it may."""
        if lsn <= self.up_to(urgency):
            return None
        if self.saving:
            return Waits("power", None)
        rhythm = keys.rhythm_of(urgency)
        if rhythm == ON_WIFI:
            return Waits("wifi", None)
        return Waits(text_of(rhythm), max(0.0, self._since.get(urgency, now) + rhythm - now))

    def waits(self, now: float) -> list[tuple[Waits, int]]:
        """Each reason for which commands do not leave now, and how many those are."""
        found: Counter[Waits] = Counter()
        for urgency in self.classes:
            why = self.why(urgency, ALL - 1 if _timed(urgency) else 0, now)
            if why is not None:
                found[why] += self._waiting[urgency] - (0 if self.saving else self._come[urgency])
        return [(why, commands) for why, commands in found.items() if commands]


def class_of(priority: str, rhythm: int) -> int:
    """The class of a command of this priority whose collections have this rhythm. What is urgent waits for none."""
    urgency = keys.CLASSES.index(priority)
    return urgency if rhythm == NOW or urgency <= URGENT else keys.waiting_class(rhythm, priority)


def moment_of(urgency: int) -> int:
    """After how many seconds the moment of this class comes; 0 where it waits for no time."""
    return keys.rhythm_of(urgency) if _timed(urgency) else 0


def _timed(urgency: int) -> bool:
    """Does this class wait for a moment that time brings?"""
    return keys.WAITING <= urgency < keys.waiting_class(ON_WIFI, "normal")
