"""The runs of a Yjs document in their order, deleted ones among them: what Yjs keeps to itself.

Yjs says what a text reads, not between which deleted characters an edit stands. Whoever re-founds a sequence must know (see
`foundation`). So the runs of an update are read here, and put in order by the rule of YATA: of two that were inserted beside each other by
writers who did not know of one another, the lower client comes first, unless what they stand beside says otherwise. The rule is that of
Yjs to the letter, which is tested against it.

Source: Nicolaescu et al. 2016 (YATA), section 3; `Item.integrate` of github.com/yjs/yjs, src/structs/Item.js.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Mapping
from itertools import pairwise
from operator import attrgetter

from driftlog_crdt.yjs_bytes import ANY_RUN, DELETED, GONE, REF, TEXT_RUN, Id, Reader, units
from driftlog_crdt.yjs_edit import Range

_clock = attrgetter("clock")


class Run:
    """Elements in a row, by one client, and its place in the order. `left` and `right` are what its writer saw on both sides."""

    __slots__ = ("after", "before", "client", "clock", "image", "left", "length", "right", "shown")

    def __init__(self, client: int, clock: int, length: int, left: Id | None, right: Id | None) -> None:
        self.client = client
        self.clock = clock
        self.length = length
        self.left = left
        self.right = right
        self.shown = False
        """Had nobody deleted it when the sequence was founded anew?"""
        self.image = 0
        """Of what was shown: the clock of its first element under the new name."""
        self.before: Run | None = None
        self.after: Run | None = None

    def copy(self) -> Run:
        """The same without a place."""
        copy = Run(self.client, self.clock, self.length, self.left, self.right)
        copy.shown, copy.image = self.shown, self.image
        return copy

    def since(self, clock: int) -> Run:
        """What of it begins at this clock or later, without a place; empty where nothing does."""
        if clock <= self.clock:
            return self.copy()
        rest = Run(self.client, clock, max(0, self.end - clock), (self.client, clock - 1), self.right)
        rest.shown, rest.image = self.shown, self.image + clock - self.clock
        return rest

    def first(self) -> Id:
        """Its first element."""
        return self.client, self.clock

    def last(self) -> Id:
        """Its last one."""
        return self.client, self.end - 1

    @property
    def end(self) -> int:
        """The clock after its last element."""
        return self.clock + self.length

    def follows(self, other: Run) -> bool:
        """Is it one with the run before it?"""
        return (
            self.client == other.client
            and self.clock == other.end
            and self.left == (self.client, self.clock - 1)
            and self.right == other.right
            and self.shown == other.shown
        )


class Order:
    """Runs in order."""

    __slots__ = ("_head", "_last", "_of", "clocks")

    def __init__(self, clocks: Mapping[int, int]) -> None:
        self._head = self._last = Run(-1, 0, 0, None, None)
        self._of: dict[int, list[Run]] = {}
        self.clocks = dict(clocks)
        """client -> its next clock"""

    def __iter__(self) -> Iterator[Run]:
        run = self._head.after
        while run is not None:
            yield run
            run = run.after

    def whole(self, parted: Mapping[int, int]) -> Iterator[Run]:
        """The same, with neighbours made one that are one, unless the second begins at its client's clock in `parted`."""
        whole: Run | None = None
        for run in self:
            if whole is not None and run.follows(whole) and parted.get(run.client) != run.clock:
                whole.length += run.length
                continue
            if whole is not None:
                yield whole
            whole = run.copy()
        if whole is not None:
            yield whole

    def append(self, run: Run) -> None:
        """Put a run, whose place is known, behind all others."""
        self._put(run, self._last)

    def has(self, element: Id | None) -> bool:
        """Is this element here? Nothing (the beginning, the end) always is."""
        return element is None or self._find(element) is not None

    def ready(self, run: Run) -> bool:
        """Is it its client's next one, and what it stands beside here?"""
        return self.clocks.get(run.client, 0) == run.clock and self.has(run.left) and self.has(run.right)

    def within(self, part: Range) -> Iterator[Run]:
        """The runs of which some elements are in this range, by their clocks."""
        runs = self._of.get(part.client, [])
        for index in range(max(bisect_right(runs, part.start, key=_clock) - 1, 0), len(runs)):
            if runs[index].clock >= part.start + part.length:
                return
            if runs[index].end > part.start:
                yield runs[index]

    def integrate(self, run: Run) -> None:
        """Put a run where YATA has it; what it stands beside is here."""
        previous = self._head if run.left is None else self._ending(run.left)
        stop = None if run.right is None else self._beginning(run.right)
        scanned: set[Run | None] = set()
        competing: set[Run | None] = set()
        at = previous.after
        while at is not None and at is not stop:
            scanned.add(at)
            competing.add(at)
            if at.left == run.left:
                if at.client < run.client:
                    previous = at
                    competing.clear()
                elif at.right == run.right:
                    break
            else:
                origin = None if at.left is None else self._find(at.left)
                if origin is None or origin not in scanned:
                    break
                if origin not in competing:
                    previous = at
                    competing.clear()
            at = at.after
        self._put(run, previous)

    def _put(self, run: Run, previous: Run) -> None:
        run.before, run.after = previous, previous.after
        if previous.after is None:
            self._last = run
        else:
            previous.after.before = run
        previous.after = run
        runs = self._of.setdefault(run.client, [])
        runs.insert(bisect_right(runs, run.clock, key=_clock), run)
        self.clocks[run.client] = max(self.clocks.get(run.client, 0), run.end)

    def _find(self, element: Id) -> Run | None:
        client, clock = element
        runs = self._of.get(client)
        if not runs:
            return None
        run = runs[bisect_right(runs, clock, key=_clock) - 1]
        return run if run.clock <= clock < run.end else None

    def _ending(self, element: Id) -> Run:
        """The run that ends with this element."""
        run = self._held(element)
        self._split(run, element[1] + 1)
        return run

    def _beginning(self, element: Id) -> Run:
        """The run that begins with it."""
        return self._split(self._held(element), element[1])

    def _held(self, element: Id) -> Run:
        run = self._find(element)
        if run is None:
            raise ValueError(f"no element {element}")
        return run

    def _split(self, run: Run, clock: int) -> Run:
        """Part a run in two at this clock, if it lies within. The one that begins there, or else the run."""
        if not run.clock < clock < run.end:
            return run
        rest = run.since(clock)
        run.length = clock - run.clock
        self._put(rest, run)
        return rest

    def sound(self) -> bool:
        """Is every element there once, beside what is there?"""
        for client, runs in self._of.items():
            if any(one.end > other.clock for one, other in pairwise(runs)) or runs[-1].end > self.clocks[client]:
                return False
        return all(self.has(run.left) and self.has(run.right) for run in self)

    def hide(self, part: Range) -> None:
        """These elements are not shown."""
        for run in list(self.within(part)):
            self._split(run, part.start + part.length)
            self._split(run, part.start).shown = False


def order_of(update: bytes, clocks: Mapping[int, int]) -> Order:
    """The order of the runs in a whole document's update, with its clocks. Raises ValueError."""
    reader = _RunReader(update)
    waiting = {client: deque(Run(*read) for read in runs) for client, runs in reader.runs()}
    order = Order(clocks)
    for client in waiting:
        _place(order, waiting, client)
    for run in order:
        run.shown = True
    for part in reader.gone():
        order.hide(part)
    return order


def _place(order: Order, waiting: dict[int, deque[Run]], client: int) -> None:
    """Put all runs of a client in their places, and before each what it stands beside."""
    stack = [client]
    while stack:
        runs = waiting[stack[-1]]
        while runs:
            missing = next((one for one in (runs[0].left, runs[0].right) if not order.has(one)), None)
            if missing is not None:
                break
            order.integrate(runs.popleft())
        if not runs:
            stack.pop()
        elif missing is None or missing[0] in stack or missing[0] not in waiting:
            raise ValueError("a run beside what is not there")
        else:
            stack.append(missing[0])


class _RunReader:
    """Reads a whole document's update: first the runs, then what was deleted. Raises ValueError, or IndexError where it is cut off."""

    def __init__(self, update: bytes) -> None:
        self._reader = Reader(update)

    def runs(self) -> Iterator[tuple[int, list[tuple[int, int, int, Id | None, Id | None]]]]:
        """Client by client: client, clock, length, left and right of its runs that have a place."""
        number = self._reader.number
        for _ in range(number()):
            count, client, clock = number(), number(), number()
            runs = []
            for _ in range(count):
                info = self._reader.byte()
                left, right = (None, None) if info & REF == GONE else self._reader.beside(info)
                length = self._length(info & REF)
                if info & REF != GONE:
                    runs.append((client, clock, length, left, right))
                clock += length
            yield client, runs

    def _length(self, kind: int) -> int:
        reader = self._reader
        if kind in (GONE, DELETED):
            return reader.number()
        if kind == TEXT_RUN:
            return units(reader.text())
        if kind != ANY_RUN:
            raise ValueError("neither text nor elements")
        count = reader.number()
        for _ in range(count):
            reader.element()
        return count

    def gone(self) -> Iterator[Range]:
        """What was deleted."""
        number = self._reader.number
        for _ in range(number()):
            client = number()
            for _ in range(number()):
                yield Range(client, number(), number())
