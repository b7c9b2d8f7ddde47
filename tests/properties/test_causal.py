"""Version vectors: a partial order with least upper bounds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from driftlog_crdt import concurrent, covers, dominates, joined

vectors = st.dictionaries(st.sampled_from("abc"), st.integers(1, 3))


@given(left=vectors, right=vectors)
def test_domination_is_covering_every_dot(left: dict[str, int], right: dict[str, int]) -> None:
    dots = [(replica, seq) for replica, last in right.items() for seq in range(1, last + 1)]
    assert dominates(left, right) == all(covers(left, *dot) for dot in dots)


@given(left=vectors, right=vectors)
def test_two_vectors_are_equal_ordered_or_concurrent(left: dict[str, int], right: dict[str, int]) -> None:
    assert (dominates(left, right) and dominates(right, left)) == (left == right)
    assert concurrent(left, right) == (not dominates(left, right) and not dominates(right, left))


@given(left=vectors, right=vectors, other=vectors)
def test_joined_is_the_least_vector_above_both(
    left: dict[str, int], right: dict[str, int], other: dict[str, int]
) -> None:
    upper = joined(left, right)
    assert dominates(upper, left)
    assert dominates(upper, right)
    assert upper == joined(right, left)
    if dominates(other, left) and dominates(other, right):
        assert dominates(other, upper)


def test_an_absent_replica_counts_as_zero() -> None:
    assert covers({}, "a", 0)
    assert not covers({}, "a", 1)
    assert dominates({}, {})
