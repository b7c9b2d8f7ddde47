"""A scope's partition is Kafka's own, for ever."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftlog_schemas.partitioning import murmur2, partition_of


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_murmur2_is_kafkas_own(data: bytes, expected: int) -> None:
    """The vectors of Kafka's UtilsTest, which are signed there."""
    assert murmur2(data) == expected & 0xFFFFFFFF


@pytest.mark.parametrize(("scope", "expected"), [("store-1", 0), ("store-2", 1), ("shared", 7), ("größe", 4), ("", 1)])
def test_no_scope_ever_moves(scope: str, expected: int) -> None:
    """Pinned: another answer would leave a scope's history behind."""
    assert partition_of(scope, 8) == expected


@pytest.mark.parametrize(
    ("scope", "partitions", "expected"),
    [("store-1", 7, 6), ("store-2", 7, 1), ("shared", 12, 11), ("größe", 5, 4), ("store-1", 100, 16)],
)
def test_nor_with_a_count_that_is_no_power_of_two(scope: str, partitions: int, expected: int) -> None:
    """A mask in the place of the remainder agrees for 8 and for no other count here."""
    assert partition_of(scope, partitions) == expected


@given(st.text(st.characters(exclude_categories=["Cs"])), st.integers(1, 5000))
def test_every_scope_has_a_partition(scope: str, partitions: int) -> None:
    assert 0 <= partition_of(scope, partitions) < partitions


def test_scopes_spread_over_the_partitions() -> None:
    counts = Counter(partition_of(f"store-{number}", 16) for number in range(16_000))
    assert len(counts) == 16
    assert max(counts.values()) < 1.15 * 1000


def test_a_space_without_partitions_is_a_defect_of_the_caller() -> None:
    with pytest.raises(AssertionError):
        partition_of("store-1", 0)
