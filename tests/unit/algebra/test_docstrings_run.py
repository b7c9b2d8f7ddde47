"""The algebra's docstrings keep their promises: every example runs, and every field says what it means and where it is from."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re

import pytest

import driftlog_crdt
from driftlog_crdt import FIELD_TYPES

MODULES = [module.name for module in pkgutil.iter_modules(driftlog_crdt.__path__, "driftlog_crdt.")]
SEMANTICS = sorted({kind.__module__ for kind in FIELD_TYPES.values()} | {"driftlog_crdt.record"})
"""The modules that say what concurrent ops mean: one per field type, and the record as one write."""


def docs_of(name: str) -> str:
    docs = importlib.import_module(name).__doc__
    assert docs is not None, f"{name} does not say what it is for"
    return docs


def table_of(docs: str) -> list[list[str]]:
    rows = [line for line in docs.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_run(name: str) -> None:
    assert docs_of(name)
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_every_field_type_is_among_the_modules() -> None:
    assert set(SEMANTICS) <= set(MODULES)
    assert len(SEMANTICS) >= 15


@pytest.mark.parametrize("name", SEMANTICS)
def test_a_field_states_in_a_table_what_concurrent_ops_mean(name: str) -> None:
    head, rule, *rows = table_of(docs_of(name))
    assert head[0] == "concurrent ops"
    assert set("".join(rule)) == {"-"}
    assert rows
    assert all(len(row) == len(head) and all(row) for row in rows)


@pytest.mark.parametrize("name", SEMANTICS)
def test_a_field_shows_itself_in_an_example(name: str) -> None:
    examples = doctest.DocTestParser().get_examples(docs_of(name))
    assert any(example.want for example in examples)


@pytest.mark.parametrize("name", [*SEMANTICS, "driftlog_crdt.deletion", "driftlog_crdt.sequence"])
def test_a_field_names_its_paper_and_the_place_in_it(name: str) -> None:
    source = re.search(r"^Source: (.+)\Z", docs_of(name).strip(), re.DOTALL | re.MULTILINE)
    assert source is not None
    assert re.search(r"\b(19|20)\d\d\b", source[1])
    assert re.search(r"\b(section|figure) [IVX\d]", source[1])
