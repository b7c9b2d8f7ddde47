"""Custom: the app's own merge of (base, left, right), for values whose meaning only the app knows.

| concurrent ops | result |
|---|---|
| set(x) and set(y), written on z | merge(z, x, y) |
| three and more | merged one after another, in the order of (hlc, replica) |
| set(x), then set(y) by someone who saw x | y |

A three-way merge is only as good as its base. The law: **the base is a value that the writer of every standing write had seen**, so
nothing that only one side knew is ever taken for removed by the other; of those that are known it is the latest; and for every
history of up to five writes it is exactly the value of what all of them had seen (tested by brute force, as is that longer
histories keep the first half). So a till that adds milk and then bread, while another adds tea and then sugar, loses nothing.

For that, each write carries *sights* (a value, the writes that stood there, how much had been seen), eight at most: what was seen where its
branch began, what its writer saw, and of what others had written that stood there each alone, with the sights that those carried.
A branch goes on while its writer meets nobody: the next write inherits the beginning. Where the
writer's last write stands beside others' in its view, the branch begins anew at those others; where it does not stand any more, at
all that is in view. The base is the deepest sight of which everybody had seen all; the declared default where there is none.

Longer histories can need a value that no bounded number of sights holds: what all had seen may be any of the values that a writer has ever written
alone, or two that nobody had side by side without more (a writes 1, b writes 2; a, having 2, writes again, and b, having 1, as well: both
know 1 and 2, each beside a later one of its own). The app then gets an older value that all had seen: nothing that either side has added is lost, and what one
side has taken out may come back.

All of it follows from the ops' partial order, so replicas agree whatever the function does, if it is pure: same arguments, same answer,
arguments left alone. That it treats left and right alike is what makes it fair; `assert_mergeable` checks both, and goes well into the app's own property test:

    @given(base=carts, left=carts, right=carts)
    def test_my_merge(base, left, right):
        assert_mergeable(merge_carts, base, left, right)

>>> from driftlog_crdt.document import DocumentType, Field
>>> cart = DocumentType("Cart", {"total": Field(Custom(lambda base, left, right: left + right - base, default=0))})
>>> state = cart.new()
>>> ours, theirs = cart.prepare(state, "a", 1, "total", "set", 5), cart.prepare(state, "b", 2, "total", "set", 3)
>>> _ = cart.apply(state, ours), cart.apply(state, theirs)
>>> cart.values(state)
{'total': 8}

Source: Kaki et al. 2019, "Mergeable replicated data types" (the lowest common ancestor); maximal writes as in Preguiça et al. 2012,
section 3.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from functools import reduce
from typing import Any, ClassVar

from driftlog_crdt import dotted
from driftlog_crdt.causal import Dot, Vector, changes_in, covers, joined
from driftlog_crdt.dotted import Writes
from driftlog_crdt.errors import BadEncoding, BadOperation
from driftlog_crdt.field_type import Branch, Sight, Write
from driftlog_crdt.ops import Op
from driftlog_crdt.plain import Plain, canonical, check_plain
from driftlog_crdt.settling import settled_by
from driftlog_crdt.takeover import Takeover
from driftlog_crdt.writes_field import WritesField

Merge = Callable[[Any, Any, Any], Any]

MAX_SIGHTS = 8
"""Of one write."""


class Custom(WritesField):
    """A value merged by `merge(base, left, right)`. A set carries [value, [[base, standing dots, depth], ...]], its sights."""

    __slots__ = ("default", "merge")

    name: ClassVar[str] = "custom"

    def __init__(self, merge: Merge, default: Plain = None) -> None:
        self.merge = merge
        self.default = default

    def check(self, op: Op) -> None:
        self.require_kind(op)
        _, branch = _carried(op)
        seen = {**branch.seen, op.replica: op.seq - 1}
        if not all(covers(seen, *dot) for sight in branch.sights for dot in sight.standing):
            raise BadOperation(op.field, "its branch began at a write that its writer had not seen")
        check_plain(op.value, op.field)

    def carried_values(self, op: Op) -> list[Plain]:
        """The value that a set writes, and those that it says were seen before. Raises `BadOperation`."""
        value, branch = _carried(op)
        return [value, *(sight.value for sight in branch.sights)]

    def stands_alone(self, state: Writes, op: Op) -> bool:
        return False  # the value was made from what its writer saw

    def author(self, state: Writes, replica: str, seq: int, kind: str, value: Plain) -> Plain:
        others = [write for write in state if write.replica != replica]
        view = self._sight(state)
        if others:
            first = view if len(others) == len(state) else self._sight(others)
            sights = [first, view, *_each(others), *_deepest(s for write in others for s in _branch(write).sights)]
        elif state:
            began = [s for s in _branch(state[0]).sights if all(dot.replica != replica for dot in s.standing)]
            sights = [*began[:1], view, *began[1:]]
        else:
            sights = [view]
        distinct: dict[object, Sight] = {}
        for sight in sights:
            distinct.setdefault((sight.depth, sight.standing), sight)
        return [value, [_plain(sight) for sight in [*distinct.values()][:MAX_SIGHTS]]]

    def renamed(self, kind: str, value: Any, taking: Takeover) -> Plain:
        if not kind:
            return value  # type: ignore[no-any-return]
        written, sights = value
        moved: list[Plain] = []
        for base, dots, depth in sights:
            names = [_taken_over(dot, taking) for dot in dots]
            if None not in names:
                moved.append([base, names, depth])
        return [written, moved or [[self.default, [], 0]]]

    def _sight(self, writes: Writes) -> Sight:
        nothing: Vector = {}
        seen = reduce(joined, map(_history, writes), nothing)
        return Sight(self.value(writes), tuple(Dot(*write[:2]) for write in writes), changes_in(seen))

    def absorb(self, earlier: Op, later: Op) -> Op | None:
        return None  # the later one names the earlier as what it was made from

    def apply(self, state: Writes, op: Op) -> None:
        self.put(state, op, *_carried(op))

    def value(self, state: Writes) -> Plain:
        if not state:
            return self.default
        if len(state) == 1:
            return state[0].value
        first, *rest = sorted(state, key=self.rank)
        base: Any = self._base(state)
        merged: Any = first.value
        for write in rest:
            merged = self.merge(base, merged, write.value)
        return merged  # type: ignore[no-any-return]

    def _base(self, state: Writes) -> Plain:
        """The value of the deepest sight of which the writers of all these writes had seen all."""
        common = reduce(_met, map(_history, state))
        known = [
            (sight.depth, self.rank(write), sight.value)
            for write in state
            for sight in _branch(write).sights
            if all(covers(common, *dot) for dot in sight.standing)
        ]
        return max(known, key=lambda one: one[:2])[2] if known else self.default

    def holds(self, state: Writes) -> Iterable[str]:
        for write in state:
            yield from (one.replica for one in (write, *settled_by(write)))
            for sight in _branch(write).sights:
                yield from (dot.replica for dot in sight.standing)

    def encode(self, state: Writes) -> Plain:
        return dotted.encode([write._replace(value=_unfolded(write), branch=None) for write in state])

    def decode(self, plain: Plain) -> Writes:
        return [_folded(write) for write in super().decode(plain)]


def assert_mergeable(merge: Merge, base: Any, left: Any, right: Any) -> None:
    """Raise AssertionError, with the values, where `merge` is not fit for `Custom`.

    It must treat left and right alike, answer the same twice, leave its arguments alone, give a plain value, and keep what
    both sides agree on.
    """
    given = base, left, right
    kept = copy.deepcopy(given)
    merged = merge(base, left, right)
    about = f"merge(base={base!r}, left={left!r}, right={right!r}) = {merged!r}"
    check_plain(merged, about)
    assert given == kept, f"{about} changed its arguments; they were {kept!r}"
    assert canonical(merge(base, left, right)) == canonical(merged), f"{about} answers otherwise the second time"
    swapped = merge(base, right, left)
    assert canonical(swapped) == canonical(merged), f"{about}, but with left and right swapped it is {swapped!r}"
    same = merge(base, left, left)
    assert canonical(same) == canonical(left), f"both sides are {left!r} over {base!r}, but merged they are {same!r}"


def _carried(op: Op) -> tuple[Plain, Branch]:
    """What a set carries: its value, and how it came about. Raises `BadOperation`."""
    value = op.value
    if type(value) is list and len(value) == 2:
        sights = _read_sights(value[1])
        if sights:
            return value[0], Branch(sights, op.context or {})
    raise BadOperation(
        op.field, f"a set of a custom field carries [value, [[base, standing, depth], ...]], not {value!r}"
    )


def _each(writes: Writes) -> list[Sight]:
    """What each of these wrote."""
    return _deepest(Sight(write.value, (Dot(*write[:2]),), changes_in(_history(write))) for write in writes)


def _deepest(sights: Iterable[Sight]) -> list[Sight]:
    """The same, those first for which most had been seen."""
    return sorted(sights, key=lambda sight: (-sight.depth, sight.standing))


def _read_sights(plain: Plain) -> tuple[Sight, ...]:
    """Some; none where `plain` is something else."""
    if type(plain) is not list or not 1 <= len(plain) <= MAX_SIGHTS:
        return ()
    sights = []
    for item in plain:
        if type(item) is not list or len(item) != 3 or type(item[1]) is not list or type(item[2]) is not int:
            return ()
        dots = tuple(map(_read_dot, item[1]))
        if None in dots:
            return ()
        sights.append(Sight(item[0], dots, item[2]))  # type: ignore[arg-type]  # none is None
    return tuple(sights)


def _read_dot(plain: Plain) -> Dot | None:
    if type(plain) is list and len(plain) == 2 and type(plain[0]) is str and type(plain[1]) is int and plain[1] > 0:
        return Dot(plain[0], plain[1])
    return None


def _taken_over(dot: Any, taking: Takeover) -> Plain:
    """A write that an op names, as the new life names it; None for one that nobody will ever see."""
    replica, seq = dot
    if replica != taking.old or seq <= taking.settled:
        return dot  # type: ignore[no-any-return]
    return [taking.new, taking.seqs[seq]] if seq in taking.seqs else None


def _plain(sight: Sight) -> Plain:
    return [sight.value, [list(dot) for dot in sight.standing], sight.depth]


def _branch(write: Write) -> Branch:
    assert write.branch is not None, "every write of a custom field is kept with its branch"
    return write.branch


def _history(write: Write) -> Vector:
    """All that is in the past of a write, itself included."""
    return {**_branch(write).seen, write.replica: write.seq}


def _met(left: Vector, right: Vector) -> dict[str, int]:
    """What both have seen."""
    return {replica: min(seq, right[replica]) for replica, seq in left.items() if replica in right}


def _unfolded(write: Write) -> Plain:
    branch = _branch(write)
    return [write.value, [_plain(sight) for sight in branch.sights], dict(branch.seen)]


def _folded(write: Write) -> Write:
    kept = write.value
    if type(kept) is list and len(kept) == 3:
        value, plain, seen = kept
        sights = _read_sights(plain)
        if sights and type(seen) is dict and all(type(seq) is int for seq in seen.values()):
            return write._replace(value=value, branch=Branch(sights, seen))  # type: ignore[arg-type]  # just checked
    raise BadEncoding("", "a write is encoded as [replica, seq, hlc, [value, sights, seen]]")
