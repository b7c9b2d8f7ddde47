"""The names of `driftlog`: each is there, and costs nothing before it is used."""

from __future__ import annotations

import subprocess
import sys

import pytest

import driftlog


@pytest.mark.parametrize("name", driftlog.__all__)
def test_each_public_name_can_be_imported_and_is_told(name: str) -> None:
    assert getattr(driftlog, name).__name__.startswith(name)
    assert name in dir(driftlog)


def test_a_name_that_there_is_not_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'driftlog' has no attribute 'Nothing'"):
        driftlog.Nothing  # noqa: B018  # looking is what fails


def test_nothing_is_imported_before_it_is_used() -> None:
    program = (
        "import sys, driftlog; print([m for m in ('pydantic', 'structlog', 'confluent_kafka') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
