"""Custom: the app's own merge of (base, left, right), for values whose meaning only the app knows.

| concurrent ops | result |
|---|---|
| set(x) and set(y), written on z | merge(z, x, y) |
| three and more | merged one after another, in the order of (hlc, replica) |
| set(x), then set(y) by someone who saw x | y |

Each write carries, besides its value, its base: what its writer saw. The state is the set of maximal writes; the value is
their merge over the base of the writer who had seen least, which is nearest to what all of them had in common. Set,
order and base follow from the ops' partial order, so replicas agree whatever the function does, if it is pure: same arguments,
same answer, arguments left alone. That it treats left and right alike is what makes it fair; `assert_mergeable` checks
both, and goes well into the app's own property test:

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

Source: Kaki et al. 2019, "Mergeable replicated data types"; maximal writes as in Preguiça et al. 2012, section 3.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

from driftlog_crdt.dotted import Writes
from driftlog_crdt.errors import BadEncoding, BadOperation
from driftlog_crdt.field_type import NO_WRITES, Siblings, Write
from driftlog_crdt.ops import Op
from driftlog_crdt.plain import Plain, canonical, check_plain
from driftlog_crdt.writes_field import WritesField

Merge = Callable[[Any, Any, Any], Any]


class Custom(WritesField):
    """A value merged by `merge(base, left, right)`. A kept write's value is [value, base, how much its writer had seen]."""

    __slots__ = ("default", "merge")

    name: ClassVar[str] = "custom"

    def __init__(self, merge: Merge, default: Plain = None) -> None:
        self.merge = merge
        self.default = default

    def check(self, op: Op) -> None:
        self.require_kind(op)
        if type(op.value) is not list or len(op.value) != 2:
            raise BadOperation(op.field, f"a set of a custom field carries [value, base], not {op.value!r}")
        check_plain(op.value, op.field)

    def author(self, state: Writes, replica: str, seq: int, kind: str, value: Plain) -> Plain:
        return [value, self.value(state)]

    def stands_alone(self, state: Writes, op: Op) -> bool:
        return False  # the value was made from what its writer saw

    def apply(self, state: Writes, op: Op) -> tuple[Write, ...]:
        carried: Any = op.value
        value, base = carried
        depth = sum((op.context or {}).values()) + op.seq - 1
        beside = self.put(state, op, [value, base, depth])
        if not beside:
            return NO_WRITES
        text = canonical(value)
        return tuple(w for w in map(_shown, beside) if canonical(w.value) != text)

    def value(self, state: Writes) -> Plain:
        if not state:
            return self.default
        kept: list[Any] = [write.value for write in sorted(state, key=self.rank)]
        base = min(kept, key=lambda value: value[2])[1]
        merged = kept[0][0]
        for value in kept[1:]:
            merged = self.merge(base, merged, value[0])
        return merged  # type: ignore[no-any-return]

    def decode(self, plain: Plain) -> Writes:
        writes = super().decode(plain)
        for write in writes:
            if type(write.value) is not list or len(write.value) != 3 or type(write.value[2]) is not int:
                raise BadEncoding("", "a write is encoded as [replica, seq, hlc, [value, base, seen]]")
        return writes

    def standing(self, state: Writes, op: Op) -> Sequence[Write]:
        return [_shown(write) for write in state]

    def writes(self, state: Writes) -> Sequence[Write]:
        return [_shown(write) for write in state]

    def siblings(self, state: Writes) -> Iterable[Siblings]:
        for group in super().siblings(state):
            yield Siblings("", _shown(group.winner), [_shown(write) for write in group.writes])


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


def _shown(write: Write) -> Write:
    kept: Any = write.value
    return write._replace(value=kept[0])
