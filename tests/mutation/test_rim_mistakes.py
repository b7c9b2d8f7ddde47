"""The list of mistakes is true: every one of them can still be made, and the tests that it names are there."""

from __future__ import annotations

import ast

import pytest

from tests.mutation.rims.catalogue import ALL
from tests.mutation.rims.mistake import ROOT, Mistake


@pytest.mark.parametrize("mistake", ALL, ids=lambda mistake: mistake.name)
def test_the_mistake_can_be_made(mistake: Mistake) -> None:
    text = mistake.path.read_text()
    assert text.count(mistake.old) == 1, f"{mistake.file} holds this {text.count(mistake.old)} times: {mistake.old!r}"
    assert ast.dump(ast.parse(mistake.source())) != ast.dump(ast.parse(text)), "the mistake changes nothing"


def test_names_are_given_once_and_tests_exist() -> None:
    assert len({m.name for m in ALL}) == len(ALL)
    assert [t for m in ALL for t in m.tests if not (ROOT / t.partition("::")[0]).exists()] == []
    assert len(ALL) >= 40
