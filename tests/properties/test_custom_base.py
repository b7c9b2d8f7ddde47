"""The base of a custom merge, by brute force: all histories of a few writes by three replicas, and nothing sampled.

The oracle is the law itself: of two and more standing writes the base is the value of what all their writers had seen. It keeps every
write and its whole past, and shares no code with the field.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import combinations, groupby
from typing import NamedTuple

import pytest

from driftlog_crdt import Custom, DocumentState, DocumentType, Field, Op, Outcome

REPLICAS = "abc"
ALL_SHAPES = {1: 1, 2: 3, 3: 18, 4: 156, 5: 1_656, 6: 20_343}
"""How many histories there are; so that an enumeration which forgets some is noticed."""
OLDER_OF_SIX = 326
"""Of so many histories of six writes the base is older than what all had seen: no bounded number of kept values makes it exact."""


class Seen(NamedTuple):
    """One write: who, and the numbers of all writes that it had seen."""

    replica: str
    past: frozenset[int]


Shape = tuple[Seen, ...]


def merge_elements(base: list[str], left: list[str], right: list[str]) -> list[str]:
    """What either side has added, and what neither has removed."""
    return sorted({*left, *right} - (set(base) - set(left)) - (set(base) - set(right)))


BASKET = DocumentType("Basket", {"items": Field(Custom(merge_elements, []))})


def shapes(writes: int) -> Iterator[Shape]:
    """Every history of so many writes; replicas are named in the order in which they first write."""
    if not writes:
        yield ()
        return
    for earlier in shapes(writes - 1):
        known = len({write.replica for write in earlier})
        for replica in REPLICAS[: known + 1]:
            for past in sorted(_pasts(earlier, replica), key=sorted):
                yield (*earlier, Seen(replica, past))


def _pasts(earlier: Shape, replica: str) -> set[frozenset[int]]:
    """What the next writer may have seen: its own writes, any others, and all that those had seen."""
    own = {n for n, write in enumerate(earlier) if write.replica == replica}
    others = [n for n in range(len(earlier)) if n not in own]
    return {
        _closed(earlier, own | set(heard)) for count in range(len(others) + 1) for heard in combinations(others, count)
    }


def _closed(earlier: Shape, seen: set[int]) -> frozenset[int]:
    return frozenset(seen).union(*(earlier[n].past for n in seen))


class Oracle:
    """The value of any part of a history. Write n adds the element n, or takes out the newest that it sees."""

    def __init__(self, shape: Shape, removing: frozenset[int]) -> None:
        self.shape = shape
        self.removing = removing

    def written(self, number: int) -> list[str]:
        seen = self.value(self.shape[number].past)
        return seen[:-1] if number in self.removing and seen else sorted([*seen, str(number)])

    def standing(self, part: frozenset[int]) -> list[int]:
        return sorted(n for n in part if not any(n in self.shape[m].past for m in part))

    def base(self, part: frozenset[int]) -> list[str]:
        """Of writes that stand: the value of what all their writers had seen."""
        return self.value(frozenset.intersection(*(self.shape[n].past | {n} for n in self.standing(part))))

    def value(self, part: frozenset[int]) -> list[str]:
        standing = self.standing(part)
        if not standing:
            return []
        merged = self.written(standing[0])
        for number in standing[1:]:
            merged = merge_elements(self.base(part), merged, self.written(number))
        return merged


def play(shape: Shape, oracle: Oracle, played: Iterable[Op] = ()) -> list[Op]:
    """The ops of a history, each prepared on its writer's view; of its first writes they may have been `played` before."""
    ops = list(played)
    for number, write in list(enumerate(shape))[len(ops) :]:
        view = folded([ops[n] for n in sorted(write.past)])
        ops.append(BASKET.prepare(view, write.replica, number, "items", "set", oracle.written(number)))  # type: ignore[arg-type]
    return ops


def folded(ops: list[Op], basket: DocumentType = BASKET) -> DocumentState:
    state = basket.new()
    for op in ops:
        basket.check(op)
        assert basket.apply(state, op).outcome is Outcome.APPLIED
    return state


def _removals(writes: int) -> Iterator[frozenset[int]]:
    """All choices of the writes that take something out; of five writes, one at most."""
    most = writes if writes < 5 else 1
    return (frozenset(some) for count in range(most + 1) for some in combinations(range(writes), count))


@pytest.mark.parametrize("writes", [1, 2, 3, 4, pytest.param(5, marks=[pytest.mark.slow, pytest.mark.deep])])
def test_up_to_five_writes_are_merged_over_what_all_of_them_had_seen(writes: int) -> None:
    found = list(shapes(writes))
    assert len(found) == ALL_SHAPES[writes]
    for shape in found:
        for removing in _removals(writes):
            oracle = Oracle(shape, removing)
            ops = play(shape, oracle)
            assert BASKET.values(folded(ops))["items"] == oracle.value(frozenset(range(writes))), (shape, removing)


@pytest.mark.slow
@pytest.mark.deep
def test_of_six_writes_few_are_merged_over_an_older_value_and_none_over_what_somebody_had_not_seen() -> None:
    """Writes that only add: whatever the base, all of them must be there."""
    bases: list[list[str]] = []

    def telling(base: list[str], left: list[str], right: list[str]) -> list[str]:
        bases.append(base)
        return merge_elements(base, left, right)

    basket = DocumentType("Basket", {"items": Field(Custom(telling, []))})
    met = older = 0
    for earlier, found in groupby(shapes(6), lambda shape: shape[:-1]):
        played = play(earlier, Oracle(earlier, frozenset()))
        for shape in found:
            oracle = Oracle(shape, frozenset())
            state = folded(play(shape, oracle, played), basket)
            bases.clear()
            assert basket.values(state)["items"] == ["0", "1", "2", "3", "4", "5"], shape
            wanted = oracle.base(frozenset(range(6)))
            assert all(set(base) <= set(wanted) for base in bases), (shape, bases, wanted)
            met += 1
            older += any(base != wanted for base in bases)
    assert (met, older) == (ALL_SHAPES[6], OLDER_OF_SIX)


def test_two_tills_that_each_write_twice_lose_nothing() -> None:
    bread, sugar = BASKET.new(), BASKET.new()
    ops = []
    for view, till, items in ((bread, "a", ["milk", "bread"]), (sugar, "b", ["tea", "sugar"])):
        for item in items:
            seen = BASKET.values(view)["items"]
            ops.append(BASKET.prepare(view, till, len(ops), "items", "set", sorted([*seen, item])))  # type: ignore[misc]
            BASKET.apply(view, ops[-1])
    for order in (ops, [ops[2], ops[0], ops[3], ops[1]], [*ops[2:], *ops[:2]]):
        state = BASKET.new()
        for op in order:
            BASKET.apply(state, op)
        assert BASKET.values(state)["items"] == ["bread", "milk", "sugar", "tea"]


def test_two_that_know_of_each_other_crosswise_are_merged_over_an_older_value() -> None:
    """a, having written 0 and 1, sees 2 and writes again; b, having written 2 and 4, sees 0 and writes again. Both know 0 and 2, and nobody ever had
    these and no more. So over an older value: nothing is lost, and what one has taken out comes back.
    """
    pasts = [("a", ""), ("a", "0"), ("b", ""), ("a", "012"), ("b", "2"), ("b", "024")]
    shape = tuple(Seen(replica, frozenset(map(int, past))) for replica, past in pasts)
    for removing, wanted, got in ((frozenset[int](), "012345", "012345"), (frozenset({3}), "0145", "01245")):
        oracle = Oracle(shape, removing)
        assert oracle.value(frozenset(range(6))) == list(wanted)
        assert BASKET.values(folded(play(shape, oracle)))["items"] == list(got)
