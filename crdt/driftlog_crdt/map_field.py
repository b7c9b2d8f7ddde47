"""Map: text keys, each with a field of its own; a remove takes what its writer had seen of the key.

| concurrent ops | result |
|---|---|
| an op on key k and an op on key l | both |
| two ops on key k | what the values' type says |
| remove(k) and an op on k | k is in, with that op alone |
| remove(k), then an op on k by someone who saw it | k is in, fresh |

A remove erases in the key's state what its context covers (see `FieldType.erase`); a counter's remove carries the sums that
its writer saw. So the map converges if its values' type does, and a key is in while something in it is not erased (counting
by 0 puts nothing in).

A key whose values are writes leaves nothing behind when removed. A key of a counter leaves its erased sums, two numbers twice
per replica that counted there: an op that the remove had not seen may still come, and must count from there.

>>> from driftlog_crdt.document import DocumentType, Field
>>> from driftlog_crdt.counter import Counter
>>> shelf = DocumentType("Shelf", {"bins": Field(Map(of=Counter()))})
>>> state = shelf.new()
>>> _ = shelf.apply(state, shelf.prepare(state, "a", 1, "bins", "increment", ["left", 5]))
>>> remove = shelf.prepare(state, "b", 2, "bins", "remove", "left")
>>> _ = shelf.apply(state, shelf.prepare(state, "a", 3, "bins", "increment", ["left", 2]))
>>> _ = shelf.apply(state, remove)
>>> shelf.values(state)
{'bins': {'left': 2}}

Source: Brown et al. 2014, "Riak DT Map: a composable, convergent replicated dictionary"; what a key keeps, as in Bieniusa et al.
2012, figure 3; the carried sums as in `counter`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

from driftlog_crdt.causal import Vector
from driftlog_crdt.errors import BadEncoding, BadValue
from driftlog_crdt.field_type import NO_WRITES, FieldType, Siblings, Write, erased_anew
from driftlog_crdt.ops import Op
from driftlog_crdt.plain import Plain, check_plain
from driftlog_crdt.takeover import Takeover

Entries: TypeAlias = dict[str, Any]
"""key -> state of the values' type"""

REMOVE = "remove"


class Map(FieldType[Entries]):
    """A dictionary of registers, counters, flags or extremes.

    An op of a key carries [key, the value that the inner op carries]; a remove carries [key, what its writer observed].
    """

    name = "map"

    def __init__(self, of: FieldType[Any]) -> None:
        if not of.nestable:
            raise ValueError(f"a map cannot hold a {of.name}; make each entry a document")
        self.of = of
        self.kinds = of.kinds | {REMOVE}  # type: ignore[misc]  # depends on what the map holds
        self.contextual = of.contextual | {REMOVE}  # type: ignore[misc]
        self.taking = of.taking | {REMOVE}  # type: ignore[misc]
        self.conflicting = of.conflicting  # type: ignore[misc]
        self.claims = of.claims  # type: ignore[misc]
        self.picks = of.picks  # type: ignore[misc]

    def new(self) -> Entries:
        return {}

    def check(self, op: Op) -> None:
        self.require_kind(op)
        key, inner = _split(op)
        check_plain(key, op.field)
        if op.kind == REMOVE:
            self.of.check_observed(inner.value, op.field)
        else:
            self.of.check(inner)

    def author(self, state: Entries, replica: str, seq: int, kind: str, value: Plain) -> Plain:
        if kind == REMOVE:
            if type(value) is not str:
                raise BadValue("", f"remove takes a text key, not {value!r}")
            return [value, self.of.observe(state[value]) if value in state else None]
        if type(value) is not list or len(value) != 2 or type(value[0]) is not str:
            raise BadValue("", f"{kind} takes [key, value], not {value!r}")
        key = value[0]
        stored = state[key] if key in state else self.of.new()
        return [key, self.of.author(stored, replica, seq, kind, value[1])]

    def renamed(self, kind: str, value: Any, taking: Takeover) -> Plain:
        if not kind:
            return erased_anew(value, taking, lambda key: self.of)
        key, inner = value
        return [key, self.of.renamed("" if kind == REMOVE else kind, inner, taking.part(key))]

    def leave(self, kind: str, value: Any, taking: Takeover) -> None:
        if kind != REMOVE:
            self.of.leave(kind, value[1], taking.part(value[0]))

    def stands_on_left(self, kind: str, value: Any, taking: Takeover) -> bool:
        return kind != REMOVE and self.of.stands_on_left(kind, value[1], taking.part(value[0]))

    def apply(self, state: Entries, op: Op) -> None:
        key, inner = _split(op)
        stored = state.get(key)
        if op.kind == REMOVE:
            if stored is not None:
                self.of.erase(stored, {**(op.context or {}), op.replica: op.seq}, inner.value)
                if self.of.is_new(stored):
                    del state[key]
            return
        if stored is None:
            stored = state[key] = self.of.new()
        self.of.apply(stored, inner)

    def stands_alone(self, state: Entries, op: Op) -> bool:
        if op.kind == REMOVE:
            return not self.of.claims
        key, inner = _split(op)
        return self.of.stands_alone(state[key] if key in state else self.of.new(), inner)

    def spot(self, op: Op) -> str:
        return _split(op)[0]

    def absorb(self, earlier: Op, later: Op) -> Op | None:
        if REMOVE in (earlier.kind, later.kind):
            return None
        (key, ours), (_, theirs) = _split(earlier), _split(later)
        one = self.of.absorb(ours, theirs)
        return None if one is None else one._replace(value=[key, one.value])

    def join(self, left: Entries, left_seen: Vector, right: Entries, right_seen: Vector) -> Entries:
        result: Entries = {}
        for key in left.keys() | right.keys():
            ours = left[key] if key in left else self.of.new()
            theirs = right[key] if key in right else self.of.new()
            merged = self.of.join(ours, left_seen, theirs, right_seen)
            if not self.of.is_new(merged):
                result[key] = merged
        return result

    def value(self, state: Entries) -> Plain:
        return {key: self.of.value(state[key]) for key in sorted(state) if not self.of.is_empty(state[key])}

    def encode(self, state: Entries) -> Plain:
        entries: dict[str, Any] = {key: self.of.encode(stored) for key, stored in state.items()}
        return entries

    def decode(self, plain: Plain) -> Entries:
        if type(plain) is not dict:
            raise BadEncoding("", "a map is encoded as an object")
        return {key: self.of.decode(stored) for key, stored in plain.items()}

    def copy(self, state: Entries) -> Entries:
        return {key: self.of.copy(stored) for key, stored in state.items()}

    def is_new(self, state: Entries) -> bool:
        return not state

    def observe(self, state: Entries) -> Plain:
        seen: dict[str, Plain] = {}
        for key, stored in state.items():
            observed = self.of.observe(stored)
            if observed is not None:
                seen[key] = observed
        return seen or None

    def check_observed(self, observed: Plain, field: str) -> None:
        if observed is None:
            return
        if type(observed) is not dict:
            raise BadValue(field, "an erase of a map carries what its writer saw of each key")
        for inner in observed.values():
            self.of.check_observed(inner, field)

    def erase(self, state: Entries, seen: Vector, observed: Plain) -> None:
        of_key: Any = observed or {}
        for key, stored in list(state.items()):
            self.of.erase(stored, seen, of_key.get(key))
            if self.of.is_new(stored):
                del state[key]

    def prune(self, state: Entries, floor: Vector) -> None:
        for stored in state.values():
            self.of.prune(stored, floor)

    def fold(self, state: Entries, retired: Mapping[str, str], past: int) -> None:
        for key, stored in list(state.items()):
            self.of.fold(stored, retired, past)
            if self.of.is_new(stored):
                del state[key]

    def holds(self, state: Entries) -> Iterable[str]:
        for stored in state.values():
            yield from self.of.holds(stored)

    def restated(self, state: Entries, key: str) -> tuple[str, Plain]:
        kind, value = self.of.restated(state[key], "")
        return kind, [key, value]

    def place(self, op: Op) -> str:
        return _split(op)[0]

    def rank(self, write: Write) -> tuple[object, ...]:
        return self.of.rank(write)

    def standing(self, state: Entries, key: str) -> Sequence[Write]:
        stored = state.get(key)
        return NO_WRITES if stored is None else self.of.standing(stored, "")

    def writes(self, state: Entries) -> Sequence[Write]:
        return [write for key in sorted(state) for write in self.of.writes(state[key])]

    def siblings(self, state: Entries) -> Iterable[Siblings]:
        for key in sorted(state):
            for group in self.of.siblings(state[key]):
                yield Siblings(key, group.writes)


def _split(op: Op) -> tuple[str, Op]:
    value = op.value
    if type(value) is not list or len(value) != 2 or type(value[0]) is not str:
        raise BadValue(op.field, f"{op.kind} carries [key, value], not {value!r}")
    return value[0], op._replace(value=value[1])
