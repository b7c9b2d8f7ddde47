"""The check that an app's author gets for a merge of their own finds what would be unfair or impure."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftlog_crdt import AlgebraError, assert_mergeable

carts = st.dictionaries(st.sampled_from("abc"), st.integers(0, 5))


def merge_carts(base: dict[str, int], left: dict[str, int], right: dict[str, int]) -> dict[str, int]:
    """Per article: whoever changed it from the base; the larger number where both did."""
    merged = {}
    for article in base.keys() | left.keys() | right.keys():
        was, ours, theirs = (side.get(article, 0) for side in (base, left, right))
        count = theirs if ours == was else ours if theirs == was else max(ours, theirs)
        if article in left or article in right:
            merged[article] = count
    return merged


@given(base=carts, left=carts, right=carts)
def test_a_fair_merge_passes(base: dict[str, int], left: dict[str, int], right: dict[str, int]) -> None:
    if left.keys() == right.keys():
        assert_mergeable(merge_carts, base, left, right)


def impure(base: Any, left: Any, right: Any) -> Any:
    left.append(1)
    return left


counted: list[int] = []


def moody(base: Any, left: Any, right: Any) -> Any:
    counted.append(1)
    return len(counted)


@pytest.mark.parametrize(
    ("merge", "complaint"),
    [
        (lambda base, left, right: left, "with left and right swapped"),
        (lambda base, left, right: base, "both sides are"),
        (impure, "changed its arguments"),
        (moody, "answers otherwise the second time"),
    ],
)
def test_an_unfit_merge_is_named(merge: Any, complaint: str) -> None:
    with pytest.raises(AssertionError, match=complaint):
        assert_mergeable(merge, [0], [1], [2])


def test_a_merge_to_no_plain_value_is_named() -> None:
    with pytest.raises(AlgebraError, match="is not a plain value"):
        assert_mergeable(lambda base, left, right: {1, 2}, 0, 1, 2)
