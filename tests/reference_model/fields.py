"""What each field shows, given the ops that have an effect on it (`events`) in no particular order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from tests.reference_model.history import Dot, Event, concurrent, maximal, saw, text

Value = Callable[[list[Event]], Any]

Past = Callable[[Event], list[Event]]
"""the ops that had an effect in the view of an op's writer"""


def counter(events: list[Event]) -> int:
    sign = {"increment": 1, "decrement": -1}
    return sum(sign.get(e.kind, 0) * (e.value if e.kind in sign else 0) for e in events)


def register(default: Any) -> Value:
    def value(events: list[Event]) -> Any:
        top = maximal(events)
        return max(top, key=lambda e: e.clock).value if top else default

    return value


def ranked(order: list[Any]) -> Value:
    def value(events: list[Event]) -> Any:
        top = maximal(events)
        return max(top, key=lambda e: (order.index(e.value), e.clock)).value if top else order[0]

    return value


def multi_value(events: list[Event]) -> list[Any]:
    values: dict[str, Any] = {}
    for event in sorted(maximal(events), key=lambda e: e.clock, reverse=True):
        values.setdefault(text(event.value), event.value)
    return list(values.values())


def record(default: dict[str, Any]) -> Callable[[list[Event], Past], dict[str, Any]]:
    """Setting one field writes the record that the writer saw, with that field changed; the last record stands whole."""

    def written(event: Event, past: Past) -> dict[str, Any]:
        return {**value(past(event), past), event.field: event.value}

    def value(events: list[Event], past: Past) -> dict[str, Any]:
        top = maximal(events)
        return written(max(top, key=lambda e: e.clock), past) if top else default

    return value


def add_wins_set(events: list[Event]) -> list[Any]:
    def is_in(element: str) -> bool:
        ops = [e for e in events if text(e.value) == element]
        adds = [e for e in ops if e.kind == "add"]
        removes = [e for e in ops if e.kind == "remove"]
        return any(not any(saw(remove, add) for remove in removes) for add in adds)

    return _elements(events, is_in)


def remove_wins_set(events: list[Event]) -> list[Any]:
    def is_in(element: str) -> bool:
        ops = [e for e in events if text(e.value) == element]
        adds = [e for e in ops if e.kind == "add"]
        removes = [e for e in ops if e.kind == "remove"]
        return bool(adds) and all(any(saw(add, remove) for add in adds) for remove in removes)

    return _elements(events, is_in)


def grow_set(events: list[Event]) -> list[Any]:
    return _elements(events, lambda element: True)


def extreme(pick: Callable[[list[Any]], Any]) -> Value:
    """Of equal numbers the float shows."""

    def value(events: list[Event]) -> Any:
        if not events:
            return None
        best = pick([e.value for e in events])
        return float(best) if any(e.value == best and isinstance(e.value, float) for e in events) else best

    return value


MAX_SIGHTS = 8


def custom(merge: Callable[[Any, Any, Any], Any], default: Any) -> Callable[[list[Event], Past], Any]:
    """The maximal writes merged by rank, over the deepest sight that all their writers had seen (see `_Sights`)."""

    def value(events: list[Event], past: Past) -> Any:
        top = sorted(maximal(events), key=lambda e: e.clock)
        if not top:
            return default
        merged = top[0].value
        base = common(top, past) if len(top) > 1 else default
        for write in top[1:]:
            merged = merge(base, merged, write.value)
        return merged

    def common(top: list[Event], past: Past) -> Any:
        everybody, sights = frozenset.intersection(*(e.past | {e.dot} for e in top)), _Sights(past)
        told = [(e.clock, sight) for e in top for sight in sights.of(e)]
        known = [(len(_history(at)), clock, at) for clock, at in told if all(w.dot in everybody for w in at)]
        return value(max(known, key=lambda one: one[:2])[2], past) if known else default

    return value


class _Sights:
    """What writers tell of the history of their writes, as the writes that stood somewhere: where a branch began, which goes on while its
    writer meets nobody; what stood before the writer; what others had written that stood there, and what they told.
    """

    def __init__(self, past: Past) -> None:
        self._past = past
        self._known: dict[Dot, list[list[Event]]] = {}

    def of(self, event: Event) -> list[list[Event]]:
        if event.dot not in self._known:
            told: dict[frozenset[Dot], list[Event]] = {}
            for at in self._told(event):
                told.setdefault(frozenset(e.dot for e in at), at)
            self._known[event.dot] = list(told.values())[:MAX_SIGHTS]
        return self._known[event.dot]

    def _told(self, event: Event) -> list[list[Event]]:
        standing = maximal(self._past(event))
        others = [e for e in standing if e.replica != event.replica]
        if others:
            theirs = [sight for other in others for sight in self.of(other)]
            return [others, standing, *_deepest([[other] for other in others]), *_deepest(theirs)]
        if not standing:
            return [[]]
        began = [at for at in self.of(standing[0]) if all(e.replica != event.replica for e in at)]
        return [*began[:1], standing, *began[1:]]


def _deepest(sights: list[list[Event]]) -> list[list[Event]]:
    return sorted(sights, key=lambda at: (-len(_history(at)), sorted(e.dot for e in at)))


def _history(events: list[Event]) -> frozenset[Dot]:
    return frozenset().union(*(e.past | {e.dot} for e in events))


def flag(wins: str) -> Value:
    def value(events: list[Event]) -> bool:
        kinds = {e.kind for e in maximal(events)}
        return "enable" in kinds if wins == "enable" else bool(kinds) and "disable" not in kinds

    return value


def map_of(inner: Value) -> Value:
    """Per key; a remove takes what its writer had seen."""
    return lambda events: {key: inner(left) for key, left in entries(events)}


def map_of_counters(events: list[Event]) -> Any:
    """Counting by 0 puts no key in."""
    return map_of(counter)([e for e in events if e.kind == "remove" or e.value[1] != 0])


def conflicts(events: list[Event]) -> set[frozenset[Dot]]:
    """The pairs of surviving writes of one place that are in conflict."""
    top = maximal(events)
    return {
        frozenset({one.dot, other.dot})
        for one in top
        for other in top
        if concurrent(one, other) and text(one.value) != text(other.value)
    }


def flag_conflicts(events: list[Event]) -> set[frozenset[Dot]]:
    return conflicts([replace(e, value=e.kind) for e in events])


def map_conflicts(events: list[Event]) -> set[frozenset[Dot]]:
    found: set[frozenset[Dot]] = set()
    for _, left in entries(events):
        found |= conflicts(left) | flag_conflicts([e for e in left if e.kind != "set"])
    return found


def _elements(events: list[Event], is_in: Callable[[str], bool]) -> list[Any]:
    elements = {text(e.value): e.value for e in events}
    return [elements[key] for key in sorted(elements) if is_in(key)]


def entries(events: list[Event]) -> Iterator[tuple[str, list[Event]]]:
    """The keys that are in, each with the ops that no remove has taken."""
    removes = [e for e in events if e.kind == "remove"]
    writes = [e for e in events if e.kind != "remove"]
    for key in sorted({e.value[0] for e in writes}):
        left = [
            replace(e, value=e.value[1])
            for e in writes
            if e.value[0] == key and not any(remove.value == key and saw(remove, e) for remove in removes)
        ]
        if left:
            yield key, left
