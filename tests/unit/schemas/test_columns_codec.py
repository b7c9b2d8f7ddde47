"""A column of numbers comes back, takes few bytes, and foreign bytes are refused with its name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftlog_schemas.columns_codec import LEAST, MOST, pack, unpack
from driftlog_schemas.errors import Undecodable

longs = st.integers(LEAST, MOST)


@given(st.lists(longs | st.integers(-3, 300)))
def test_a_column_comes_back(numbers: list[int]) -> None:
    assert unpack(pack(numbers), len(numbers), "seq") == numbers


@pytest.mark.parametrize(
    ("numbers", "size"),
    [([], 0), ([0] * 500, 2), ([7] * 500, 2), (range(256), 258), (range(1000, 1256), 259), ([LEAST, MOST], 27)],
)
def test_what_is_alike_takes_few_bytes(numbers: list[int], size: int) -> None:
    assert len(pack(list(numbers))) == size


@pytest.mark.parametrize("numbers", [[LEAST - 1], [MOST + 1], [0, MOST + 1]])
def test_a_number_over_64_bit_is_a_defect_of_the_caller(numbers: list[int]) -> None:
    with pytest.raises(AssertionError):
        pack(numbers)


@given(st.binary(max_size=40), st.integers(0, 5))
def test_foreign_bytes_are_numbers_within_bounds_or_refused(data: bytes, count: int) -> None:
    try:
        found = unpack(data, count, "seq", -5, 1000)
    except Undecodable as error:
        assert "seq" in str(error)
        return
    assert len(found) == count
    assert all(-5 <= number <= 1000 for number in found)
