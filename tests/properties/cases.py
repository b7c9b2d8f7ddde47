"""Every field type under test: how it is declared, what its users may mean, and what the reference model says of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from driftlog_crdt import (
    AddWinsSet,
    BoundedCounter,
    Counter,
    Custom,
    DocumentType,
    Field,
    FieldType,
    Flag,
    GrowCounter,
    GrowSet,
    List,
    Map,
    Max,
    Min,
    MultiValue,
    Ranked,
    Register,
    RemoveWinsSet,
    Text,
)
from tests.reference_model import fields as reference
from tests.reference_model import founding
from tests.reference_model.history import Dot, Event

Intent = tuple[str, Any]
"""(kind, value) as the user of the field says it"""

Answer = Callable[[list[Event], reference.Past], Any]

SCALARS: list[Any] = ["x", 1, 1.0, True, None]
STAGES: list[Any] = ["open", "packed", "shipped"]
BIG = 10_000_000


@dataclass(frozen=True)
class Case:
    """One field type, and the independent statement of what it shows."""

    type: FieldType[Any]
    intents: st.SearchStrategy[Intent]
    value: Answer | None
    """None: judged by laws of its own (`test_sequences`)"""
    conflicts: Callable[[list[Event]], set[frozenset[Dot]]] = reference.conflicts
    fit: Callable[[Any, Intent], Intent] = lambda seen, intent: intent
    """The intent as it can be meant by somebody who sees this value"""
    founded: founding.Founded | None = founding.always
    """None: judged by laws of its own"""


def merge_sums(base: Any, left: Any, right: Any) -> Any:
    """As an app's merge must be, it is total: of what is no number, as a foreign encoding may hold, the later stands."""
    return left + right - base if all(type(value) is int for value in (base, left, right)) else right


def within(seen: Any, intent: Intent) -> Intent:
    """An edit at a place that is there; with nothing to delete, it is refused."""
    kind, (position, what) = intent
    if kind == "insert":
        return kind, [position % (len(seen) + 1), what]
    position %= len(seen) or 1
    return kind, [position, max(1, min(what, len(seen) - position))]


def seen_if_any(seen: Any, intent: Intent) -> Intent:
    """A remove of something that is there, where anything is; the number in the intent says which."""
    kind, number = intent
    if kind == "remove":
        return kind, list(seen)[number % len(seen)] if seen else SCALARS[number % len(SCALARS)]
    return intent


def _ops(kinds: list[str], values: st.SearchStrategy[Any]) -> st.SearchStrategy[Intent]:
    return st.tuples(st.sampled_from(kinds), values)


def _keyed(intents: st.SearchStrategy[Intent]) -> st.SearchStrategy[Intent]:
    of_a_key = st.tuples(st.sampled_from("kl"), intents).map(lambda drawn: (drawn[1][0], [drawn[0], drawn[1][1]]))
    return of_a_key | of_a_key | _ops(["remove"], st.sampled_from("kl"))


def _plainly(value: Callable[[list[Event]], Any]) -> Answer:
    return lambda events, past: value(events)


_sets = _ops(["set"], st.sampled_from(SCALARS))
_numbers = st.sampled_from([0, 1, 2, 3, 2.0, -1, 2.5])
_counts = _ops(["increment", "decrement"], st.integers(0, 9))
_elements = _ops(["add"], st.sampled_from(SCALARS)) | _ops(["remove"], st.integers(0, 9))
_switches = _ops(["enable", "disable"], st.none())
_stages = _ops(["set"], st.sampled_from(STAGES))
_raises = _ops(["raise"], _numbers)
_escrow = (
    _ops(["increment"], st.integers(0, 9))
    | _ops(["decrement"], st.integers(0, 3))
    | _ops(["transfer", "transfer_room"], st.tuples(st.sampled_from("abc"), st.integers(0, 3)).map(list))
)
_places = st.integers(0, 9)
_cuts = _ops(["delete"], st.tuples(_places, st.integers(1, 3)).map(list))
_typing = _ops(["insert"], st.tuples(_places, st.sampled_from(["ab", "c", "é😀", "xyz"])).map(list)) | _cuts
_listing = _ops(["insert"], st.tuples(_places, st.lists(st.sampled_from(SCALARS), min_size=1, max_size=3)).map(list))

CASES: dict[str, Case] = {
    "counter": Case(Counter(), _counts, _plainly(reference.counter)),
    "grow_counter": Case(GrowCounter(), _ops(["increment"], st.integers(0, 9)), _plainly(reference.counter)),
    "bounded_counter": Case(
        BoundedCounter(-5, 20, 0, "a"),
        _escrow,
        _plainly(reference.counter),
        founded=founding.within_rights(-5, 20, 0, "a"),
    ),
    "register": Case(Register("none"), _sets, _plainly(reference.register("none"))),
    "ranked": Case(Ranked(STAGES), _stages, _plainly(reference.ranked(STAGES))),
    "multi_value": Case(MultiValue(), _sets, _plainly(reference.multi_value)),
    "enable_wins_flag": Case(Flag("enable"), _switches, _plainly(reference.flag("enable")), reference.flag_conflicts),
    "disable_wins_flag": Case(
        Flag("disable"), _switches, _plainly(reference.flag("disable")), reference.flag_conflicts
    ),
    "custom": Case(
        Custom(merge_sums, 0),
        _ops(["set"], st.integers(0, 9)),
        reference.custom(merge_sums, 0),
        founded=founding.never,
    ),
    "add_wins_set": Case(AddWinsSet(), _elements, _plainly(reference.add_wins_set), fit=seen_if_any),
    "remove_wins_set": Case(RemoveWinsSet(), _elements, _plainly(reference.remove_wins_set), fit=seen_if_any),
    "grow_set": Case(GrowSet(), _ops(["add"], st.sampled_from(SCALARS)), _plainly(reference.grow_set)),
    "max": Case(Max(), _raises, _plainly(reference.extreme(max))),
    "min": Case(Min(), _ops(["lower"], _numbers), _plainly(reference.extreme(min))),
    "map_of_counters": Case(
        Map(Counter()), _keyed(_counts), _plainly(reference.map_of_counters), founded=founding.unless_removing
    ),
    "map_of_registers": Case(
        Map(Register()), _keyed(_sets), _plainly(reference.map_of(reference.register(None))), reference.map_conflicts
    ),
    "map_of_flags": Case(
        Map(Flag()), _keyed(_switches), _plainly(reference.map_of(reference.flag("enable"))), reference.map_conflicts
    ),
    "map_of_max": Case(Map(Max()), _keyed(_raises), _plainly(reference.map_of(reference.extreme(max)))),
    "text": Case(Text(), _typing, None, fit=within, founded=None),
    "list": Case(List(), _listing | _cuts, None, fit=within, founded=None),
}

ANY_MIX: list[str] = []
"""Stands for: a few types, some of them twice, drawn anew for every example."""

DOCUMENTS: dict[str, list[str]] = {
    **{name: [name] for name in CASES},
    "record": ["record"],
    "any_mix": ANY_MIX,
    "all_types": list(CASES),
}
"""The documents that every law runs over: each type alone, registers written as one record, random mixes, all types in one."""

POLICIES: list[Any] = ["silent", "record", "review"]


def case_of(name: str) -> Case:
    """The case of a field: `counter#2` is a second counter."""
    return CASES.get(name.partition("#")[0], CASES["register"])


def document(names: list[str], on_delete: str = "delete-wins", on_conflict: Any = None) -> DocumentType:
    """A document with one field of each named type, called like it, where the delete policy allows it."""
    chosen = on_conflict or {}
    if names == ["record"]:
        names = ["street", "city"]
        parts = {name: Field(CASES["register"].type, chosen.get(name, "silent")) for name in names}
        return DocumentType("Sample", parts, on_delete, BIG, unit="record")  # type: ignore[arg-type]
    fields = {
        name: Field(case_of(name).type, chosen.get(name, "silent"))
        for name in names
        if on_delete == "delete-wins" or case_of(name).type.erasable
    }
    return DocumentType("Sample", fields, on_delete, BIG)  # type: ignore[arg-type]


@st.composite
def documents(draw: st.DrawFn, names: list[str]) -> DocumentType:
    """The document of these fields (see `DOCUMENTS`), under either delete policy and any conflict policies."""
    if names is ANY_MIX:
        drawn = draw(st.lists(st.sampled_from(list(CASES)), min_size=2, max_size=5))
        names = [f"{name}#{number}" for number, name in enumerate(drawn)]
    places = ["street", "city"] if names == ["record"] else [n for n in names if case_of(n).type.conflicting]
    on_conflict = {name: draw(st.sampled_from(POLICIES)) for name in places if len(names) < len(CASES)}
    kind = document(names, draw(st.sampled_from(["delete-wins", "update-wins"])), on_conflict)
    return kind if kind.fields else document(names)
