"""What a sequence that was founded anew keeps of the one before: enough to understand edits that name its elements.

A text that ten thousand lives have written in would name each of them for ever: an edit says between which elements it stands, deleted
ones too, so none may go while somebody may name it. Therefore a sequence is now and then *founded anew*: what is shown is written once more
as one run, by a writer of its own, and what was deleted, and whose it was, stays behind. Edits that were written before, and are still on
their way, name the old elements. For them the old order is kept, without its text, until nobody can have written so any more; then it goes
as a whole. So a sequence is as long as what it shows, and what happened in the last while.

    old  a-b-c-d-e   (b, d deleted)     an insert between b and c is put where YATA has it in the old order;
    new  A---C---E                      in the new one it stands between what is shown on both sides: A and C

Why all views agree: whoever names old elements has seen no others but his own, and such as came late like his. Among these the old order decides, as it
did on his screen; the others of his time had not met. In the new order an edit stands where everything that anybody has seen beside it demands, and that place
does not depend on what else has come. So no two elements are ever seen in two orders (the strong list specification, tested). A delete takes
the new elements in the place of the old ones.

Source: for the old order YATA (see `yjs_order`); for the time at which the old one may go, causal stability as in Baquero, Almeida and Shoker
2017, section 4.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise

from driftlog_crdt.yjs_bytes import Id, put, read_number
from driftlog_crdt.yjs_edit import Edit, Range
from driftlog_crdt.yjs_order import Order, Run, order_of

_ID = struct.Struct(">Q")


class Foundation:
    """The order before, of a sequence that was founded anew at a place in the log."""

    __slots__ = ("at", "founder", "order", "shared", "until")

    def __init__(self, at: int, founder: int, until: Mapping[int, int], order: Order) -> None:
        self.at = at
        self.founder = founder
        """Whose the elements are that were shown, under their new names."""
        self.until = until
        """client -> its first clock that is not of the old order's"""
        self.order = order
        self.shared = False
        """Is it another state's too, so that an edit needs a copy?"""

    @classmethod
    def of(cls, update: bytes, clocks: Mapping[int, int], at: int, founder: int) -> Foundation:
        """Of the sequence in this update, as it is founded anew. Raises ValueError."""
        foundation = cls(at, founder, dict(clocks), order_of(update, clocks))
        foundation._name()
        return foundation

    @property
    def shown(self) -> int:
        """How many elements it was founded with."""
        return sum(run.length for run in self.order if run.shown)

    def own(self) -> Foundation:
        """One that may take edits: this, or a copy if it is shared."""
        return Foundation(self.at, self.founder, self.until, self._copied()) if self.shared else self

    def knows(self, edit: Edit) -> bool:
        """Has it a place in the old order: is it its writer's next one there, between what is there? Whoever saw the new one names nothing old, for it is
        not there; between two that others have put there it may stand as well, which is the same place in both.
        """
        return self.order.ready(_run(edit))

    def place(self, edit: Edit) -> tuple[Id | None, Id | None]:
        """Take an insert that it knows; between what it stands under the new names."""
        run = _run(edit)
        self.order.integrate(run)
        named = (edit.left, edit.right)
        left = self._nearest(_backwards(run), edit.client, named, Run.last)
        return left, self._nearest(_forwards(run), edit.client, named, Run.first)

    def renamed(self, gone: Sequence[Range]) -> tuple[bool, list[Range]]:
        """The same under the new names, client by client, as far as anything of it was shown; and did any of it name old elements?"""
        old, result = False, []
        for part in gone:
            until = self.until.get(part.client, 0)
            before = part._replace(length=min(part.length, until - part.start))
            if before.length > 0:
                for run in self.order.within(before):
                    old = True
                    if run.shown:
                        start, end = max(run.clock, before.start), min(run.end, before.start + before.length)
                        result.append(Range(self.founder, run.image + start - run.clock, end - start))
            if part.start + part.length > until:
                start = max(part.start, until)
                result.append(Range(part.client, start, part.start + part.length - start))
        return old, sorted(result)

    def joined(self, other: Foundation) -> Foundation:
        """With the edits that only the other has taken. Both were founded at one place."""
        order = self._copied()
        waiting = [rest for run in other.order if (rest := run.since(order.clocks.get(run.client, 0))).length > 0]
        while waiting:
            others = []
            for run in waiting:
                if order.ready(run):
                    order.integrate(run)
                else:
                    others.append(run)
            if len(others) == len(waiting):
                break  # never of two states of one log
            waiting = others
        return Foundation(self.at, self.founder, self.until, order)

    def encode(self) -> bytes:
        """Its bytes: equal ones are equal."""
        clients = sorted(self.order.clocks)
        index = {client: number for number, client in enumerate(clients)}
        out = bytearray()
        put(out, self.at)
        put(out, len(clients))
        for client in clients:
            out += _ID.pack(client)
            put(out, self.until.get(client, 0))
        for run in self.order.whole(self.until):
            for number in (index[run.client], run.clock, 2 * run.length + run.shown):
                put(out, number)
            for side in (run.left, run.right):
                put(out, 0 if side is None else 1 + index[side[0]])
                if side is not None:
                    put(out, side[1])
        return bytes(out)

    @classmethod
    def decode(cls, data: bytes, founder_of: Callable[[int], int]) -> Foundation:
        """What was encoded. Raises ValueError, or IndexError where it is cut off."""
        at, place = read_number(data, 0)
        count, place = read_number(data, place)
        until = {}
        clients = []
        for _ in range(count):
            if place + _ID.size > len(data):
                raise ValueError("truncated")
            clients.append(int(_ID.unpack_from(data, place)[0]))
            number, place = read_number(data, place + _ID.size)
            if number:
                until[clients[-1]] = number
        if any(one >= other for one, other in pairwise(clients)):
            raise ValueError("clients stand in their order, each once")
        order = Order(until)
        while place < len(data):
            run, place = _read_run(data, place, clients)
            order.append(run)
        foundation = cls(at, founder_of(at), until, order)
        if len(order.clocks) < count or not order.sound():
            raise ValueError("not an order of runs")
        foundation._name()
        return foundation

    def _name(self) -> None:
        """Give what is shown its new clocks."""
        image = 0
        for run in self.order:
            if run.shown:
                run.image = image
                image += run.length

    def _copied(self) -> Order:
        order = Order(self.order.clocks)
        for run in self.order:
            order.append(run.copy())
        return order

    def _old(self, element: Id) -> bool:
        return element[1] < self.until.get(element[0], 0)

    def _nearest(
        self, runs: Iterator[Run], client: int, named: tuple[Id | None, Id | None], end: Callable[[Run], Id]
    ) -> Id | None:
        """The nearest element with a new name that the edit's writer has seen."""
        for run in runs:
            element = end(run)
            if run.shown:
                return self.founder, run.image + element[1] - run.clock
            if not self._old(element) and (run.client == client or element in named):
                return element
        return None


def _run(edit: Edit) -> Run:
    return Run(edit.client, edit.clock, edit.length, edit.left, edit.right)


def _backwards(run: Run) -> Iterator[Run]:
    before = run.before
    while before is not None and before.length:
        yield before
        before = before.before


def _forwards(run: Run) -> Iterator[Run]:
    after = run.after
    while after is not None:
        yield after
        after = after.after


def _read_run(data: bytes, place: int, clients: list[int]) -> tuple[Run, int]:
    index, place = read_number(data, place)
    clock, place = read_number(data, place)
    length, place = read_number(data, place)
    sides: list[Id | None] = []
    for _ in range(2):
        side, place = read_number(data, place)
        if side:
            at, place = read_number(data, place)
            sides.append((clients[side - 1], at))
        else:
            sides.append(None)
    if length < 2:
        raise ValueError("an empty run")
    run = Run(clients[index], clock, length >> 1, *sides)
    run.shown = bool(length & 1)
    return run, place
