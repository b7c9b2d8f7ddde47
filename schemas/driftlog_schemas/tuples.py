"""Named tuples made of all their parts at once.

The constructor of a named tuple is a function of Python behind two look-ups: half a microsecond, which is much where there are several for each
op. `maker` is the same in one call of C. Nothing counts the parts there, so give all of them, defaults too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, TypeVar, cast

T = TypeVar("T", bound=tuple[Any, ...])


def maker(kind: type[T]) -> Callable[[Iterable[Any]], T]:
    """Makes one of its parts, in order."""
    return cast("Callable[[Iterable[Any]], T]", partial(tuple.__new__, kind))
