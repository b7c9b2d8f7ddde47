"""What a declaration says of a field's values beyond its words, and whether a later one still gives the old values their meaning.

| term | of | what a later declaration may do |
|---|---|---|
| `order` | ranked values, the weakest first | add and remove values; never turn two round |
| `bounds` | a bounded counter, `[lower, upper]` | move a bound outwards or take it away: rights that were spent stay covered |
| `shape` | values that are JSON, place -> types | take more types, have more places that may be missing, have fewer |
| `direction` | a collection that goes one way | let devices write what only came down; nothing else |
| `required` | the same, places that are always there | require what was there before |

A place is written as in a JSON pointer, with `*` for the keys of an object that may have any, and `[]` for the items of an array.
Each term is compared with all earlier declarations, so nothing comes back turned round by way of a release that left it out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

Terms: TypeAlias = Mapping[str, Any]

ANYTHING = "anything"
"""The type of a place that holds whatever JSON can say."""
AGAIN = "again"
"""Stands beside the types of a place at which a value holds one of a kind that it is within: what is inside was told there."""


def broken(now: Terms, earlier: Terms) -> list[str]:
    """What the later terms do to values of the earlier ones, as ends of sentences."""
    return [what for compare in _COMPARED if (what := compare(now, earlier))]


def _order(now: Terms, earlier: Terms) -> str:
    later, first = now.get("order", []), earlier.get("order", [])
    kept = [value for value in first if value in later]
    turned = [value for value in later if value in first]
    return "" if kept == turned else f"ranked {_listed(kept)} and now ranks {_listed(turned)}"


def _bounds(now: Terms, earlier: Terms) -> str:
    if "bounds" not in now or "bounds" not in earlier:
        return ""
    (lower, upper), (first_lower, first_upper) = now["bounds"], earlier["bounds"]
    if lower is not None and (first_lower is None or lower > first_lower):
        return f"had the lower bound {first_lower} and now has {lower}; it may only move outwards"
    if upper is not None and (first_upper is None or upper < first_upper):
        return f"had the upper bound {first_upper} and now has {upper}; it may only move outwards"
    return ""


def _types(now: Terms, earlier: Terms) -> str:
    shape, before = now.get("shape"), earlier.get("shape")
    if shape is None or before is None:
        return ""
    for place, types in before.items():
        found = shape.get(place) or shape.get(_any_beside(place))
        if found is None:
            around = shape.get(_above(place), (ANYTHING,))
            if not _open(place) or ANYTHING in around or AGAIN in around:
                continue  # what was written there is left out, or told elsewhere
            return f"held {_listed(types)} at {place} and now nothing of any name"
        if ANYTHING not in found and not set(types) - {AGAIN} <= set(found):
            return f"held {_listed(types)} at {place or 'its top'} and now holds {_listed(found)}"
    return ""


def _required(now: Terms, earlier: Terms) -> str:
    before = earlier.get("shape")
    if before is None or "shape" not in now:
        return ""
    were, required = earlier.get("required", ()), now.get("required", ())
    told = (place for place in required if AGAIN not in before.get(_above(place), (AGAIN,)))
    missing = next((place for place in told if place not in were), None)
    return "" if missing is None else f"now requires {missing}, which earlier values need not have"


def _direction(now: Terms, earlier: Terms) -> str:
    later, first = now.get("direction", "both"), earlier.get("direction", "both")
    if later == first or (first, later) == ("down", "both"):
        return ""
    why = (
        "what devices wrote before would wait for ever"
        if later == "down"
        else "devices hold all of the one and only their own of the other"
    )
    return f'had direction="{first}" and now has "{later}": {why}; declare a new collection'


_COMPARED: Sequence[Callable[[Terms, Terms], str]] = (_order, _bounds, _types, _required, _direction)


def _above(place: str) -> str:
    return place.rpartition("/")[0]


def _any_beside(place: str) -> str:
    """The place of the items or keys in general that this one is among."""
    above, _, last = place.rpartition("/")
    return f"{above}/[]" if last.startswith("[") else f"{above}/*"


def _open(place: str) -> bool:
    return place.endswith(("/*", "/[]"))


def _listed(values: Sequence[Any]) -> str:
    return ", ".join(map(str, values)) or "nothing"
