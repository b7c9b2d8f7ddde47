"""Playing all histories in parts, and going on where a run was cut off, leaves none out."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.brute_force import book
from tests.brute_force.book import Book
from tests.brute_force.founding import founded_anew
from tests.brute_force.shapes import shapes
from tests.brute_force.test_every_history import DOCUMENTS, all_cases, part_of


def test_each_case_is_in_one_part() -> None:
    names = [case.name for case in all_cases(every=True)]
    parts = [case.name for number in range(1, 6) for case in part_of(f"{number}/5", all_cases(every=True))]
    assert sorted(parts) == sorted(names) and len(set(names)) == len(names)


def test_the_slices_of_a_text_are_all_its_shapes() -> None:
    cases = [case for case in all_cases(every=True) if case.name.startswith("text, delete-wins-4")]
    assert tuple(shape for case in cases for shape in case.shapes) == shapes(4)


def test_a_part_that_is_none_is_refused() -> None:
    for text in ("0/5", "6/5", "2", "a/b"):
        with pytest.raises(pytest.UsageError, match="--part"):
            part_of(text, all_cases(every=False))


def test_what_was_played_on_other_code_is_played_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Book(tmp_path / "book").add("text-4")
    assert "text-4" in Book(tmp_path / "book") and "list-4" not in Book(tmp_path / "book")
    monkeypatch.setattr(book, "code_digest", lambda: "another")
    assert "text-4" not in Book(tmp_path / "book")


def test_a_text_is_founded_anew_in_the_histories() -> None:
    """With somebody who had read that before he wrote, and with nobody; and the later ops of four are about it, too."""
    document = dict(DOCUMENTS)["text, delete-wins"]
    (case,) = (c for c in all_cases(every=False) if c.document is document and c.length == 2)
    played = [anew for history in case.histories(0) for anew, _ in founded_anew(history)]
    assert len(played) > 20
    (longer,) = (c for c in all_cases(every=False) if c.document is document and c.length == 4)
    assert sum(1 for history in longer.histories(100) for _ in founded_anew(history)) > 20
