"""Of many like cases the few that `make quick` looks at; `make test` looks at all of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def few(cases: Iterable[Any], number: int = 3) -> list[Any]:
    """Cases of a parametrised test: the first so many as they are, the others marked `slow`."""
    return [case if place < number else pytest.param(case, marks=pytest.mark.slow) for place, case in enumerate(cases)]
