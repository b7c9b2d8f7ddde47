"""Every example in the algebra's docstrings runs and says the truth."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import driftlog_crdt
from driftlog_crdt import FIELD_TYPES

MODULES = [module.name for module in pkgutil.iter_modules(driftlog_crdt.__path__, "driftlog_crdt.")]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_run(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


@pytest.mark.parametrize("name", sorted({kind.__module__ for kind in FIELD_TYPES.values()}))
def test_every_field_shows_a_table_an_example_and_its_source(name: str) -> None:
    docs = importlib.import_module(name).__doc__
    assert docs is not None
    assert "| concurrent ops |" in docs
    assert ">>> " in docs
    assert "Source: " in docs
