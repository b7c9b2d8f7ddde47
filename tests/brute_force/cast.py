"""What the small histories are made of: each field type with few intents, chosen so that they meet, undo and outdo one another.

An intent may look at the body it is about (a text's writer edits what is there) and at the number of its op in the history (each op brings
elements of its own). Answers None where there is nothing to act on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from driftlog_crdt import DELETE, DOCUMENT, DocumentType
from tests.properties.cases import CASES, document

Intent = Callable[[Any, int], "tuple[str, Any] | None"]
"""Given what its writer sees of the field, and the number of the op: (kind, value)"""

Change: TypeAlias = tuple[str, Intent]
"""A field, and what is done to it."""


def _plainly(*changes: tuple[str, Any]) -> Sequence[Intent]:
    return [lambda seen, number, change=change: change for change in changes]


def _letters(number: int) -> str:
    return chr(ord("a") + 2 * number) + chr(ord("b") + 2 * number)


def _body(run: Callable[[str], Any]) -> Sequence[Intent]:
    return [
        lambda seen, number: ("insert", [0, run(_letters(number))]),
        lambda seen, number: ("insert", [len(seen) - 1, run(_letters(number))]) if seen else None,
        lambda seen, number: ("delete", [0, max(1, len(seen) - 1)]) if seen else None,
    ]


_COUNTS = _plainly(("increment", 5), ("decrement", 3))
_SETS = _plainly(("set", "x"), ("set", "y"))
_ELEMENTS = _plainly(("add", "x"), ("remove", "x"), ("add", "y"))
_SWITCHES = _plainly(("enable", None), ("disable", None))

INTENTS: dict[str, Sequence[Intent]] = {
    "counter": _COUNTS,
    "grow_counter": _plainly(("increment", 5), ("increment", 3)),
    "bounded_counter": _plainly(("increment", 4), ("decrement", 6), ("transfer", ["b", 5]), ("transfer", ["c", 3])),
    "register": _SETS,
    "ranked": _plainly(("set", "open"), ("set", "shipped")),
    "multi_value": _SETS,
    "enable_wins_flag": _SWITCHES,
    "disable_wins_flag": _SWITCHES,
    "custom": _plainly(("set", 5), ("set", 7)),
    "add_wins_set": _ELEMENTS,
    "remove_wins_set": _ELEMENTS,
    "grow_set": _plainly(("add", "x"), ("add", "y")),
    "max": _plainly(("raise", 3), ("raise", 2)),
    "min": _plainly(("lower", 2), ("lower", 3)),
    "map_of_counters": _plainly(("increment", ["k", 5]), ("decrement", ["k", 3]), ("remove", "k")),
    "map_of_registers": _plainly(("set", ["k", "x"]), ("set", ["k", "y"]), ("remove", "k")),
    "map_of_flags": _plainly(("enable", ["k", None]), ("disable", ["k", None]), ("remove", "k")),
    "map_of_max": _plainly(("raise", ["k", 3]), ("raise", ["k", 2]), ("remove", "k")),
    "text": _body(lambda letters: letters),
    "list": _body(list),
    "street": _SETS,
    "city": _plainly(("set", "Ulm")),
}
"""Case (see `cases.CASES`), or field of the record -> what may be done to it; a delete of the document may be done to each."""

NAMES = [*CASES, "record"]

TWINS: list[tuple[Change, Change]] = [
    ((name, INTENTS[name][0]), (name, INTENTS[name][1]))
    for name in ("register", "multi_value", "grow_set", "map_of_registers", "street")
]
"""Two values, of which only whether they are the same matters: either may be called the first."""

NAMED = {"bounded_counter", "register", "ranked", "custom", "map_of_registers", "text", "list", "record"}
"""Where it matters who is called what or whose clock is ahead: rights are given by name, and clocks and names end a tie."""


def documents() -> list[tuple[str, DocumentType]]:
    """Every field type alone, and a record, under both delete policies where they may stand there."""
    found = []
    for name in NAMES:
        for policy in ("delete-wins", "update-wins"):
            if name == "record" or policy == "delete-wins" or CASES[name].type.erasable:
                found.append((f"{name}, {policy}", document([name], policy)))
    return found


def changes(kind: DocumentType) -> list[Change]:
    """All that may be done to a document: a field and an intent each."""
    found = [(name, intent) for name in kind.fields for intent in INTENTS[name]]
    return [*found, (DOCUMENT, lambda seen, number: (DELETE, None))]
