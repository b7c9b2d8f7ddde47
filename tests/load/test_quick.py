"""How the quick tests are shared out: each file once, and each process about as much of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.quick import NO_TESTS, PLACES, ROOT, ended, of_the_share, share


def test_each_file_is_in_one_share() -> None:
    files = {file for place in PLACES for file in (ROOT / place).rglob("test_*.py")}
    first, second = of_the_share("1/2"), of_the_share("2/2")
    assert first | second == files
    assert not first & second


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_the_shares_are_about_as_long(tmp_path: Path, parts: int) -> None:
    files = [tmp_path / f"test_{number}.py" for number in range(40)]
    for number, file in enumerate(files):
        file.write_bytes(b"#" * 100 * number)
    sizes = [sum(file.stat().st_size for file in share(files, part, parts)) for part in range(1, parts + 1)]
    assert max(sizes) - min(sizes) <= 100 * parts
    assert sum(sizes) == sum(100 * number for number in range(40))


@pytest.mark.parametrize(
    ("codes", "code"),
    [([0, 0], 0), ([0, 1], 1), ([2, 0], 2), ([0, NO_TESTS], 0), ([NO_TESTS] * 2, NO_TESTS), ([0, -9], -9)],
)
def test_it_fails_where_one_of_them_does(codes: list[int], code: int) -> None:
    assert ended(codes) == code
