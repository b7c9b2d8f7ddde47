"""What one document means, by the words of the reference model: its ops as their writers meant them, and what follows from their order.

Values, presence, conflicts, and which ops cannot stand come from `reference_model`, op against op. Bytes come from a replay: the same ops, one
after another, through the algebra and nothing else. It shares no code with the worker, its cache or its parking.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from driftlog_crdt import DELETE, DOCUMENT, DocumentState, DocumentType, Op, Origin
from tests.properties.cases import Answer, case_of
from tests.reference_model import fields, founding, sequence
from tests.reference_model.history import Dot, Event, maximal, saw, surviving, text
from tests.simulation.all_types import BODIES, words_of

BUILDS_ON_REFUSED = "builds_on_refused"


@dataclass(slots=True)
class Meaning:
    """One document: its ops in order of merging, and how far each replica was seen."""

    kind: DocumentType
    events: list[Event] = field(default_factory=list)
    ops: list[Op] = field(default_factory=list)
    """the same as they were merged: clocks bounded, with who wrote where conflicts are published"""
    origins: dict[Dot, Origin] = field(default_factory=dict)
    seen: dict[str, int] = field(default_factory=dict)
    edits: dict[Dot, list[str]] = field(default_factory=dict)
    """what each edit of a body brought or took"""
    _replay: tuple[int, DocumentState] | None = None
    """how many ops the state has that was asked for last"""

    # -- deciding

    def meant(self, op: Op, word: str) -> Event:
        """An op as its writer meant it; `word` is what it brings to a body, or takes."""
        past = {(op.replica, seq) for seq in range(1, op.seq)}
        past |= {(replica, seq) for replica, last in (op.context or {}).items() for seq in range(1, last + 1)}
        known = op.seq - 1 - op.unsure
        believed = {e.dot for e in self.events if e.replica == op.replica and e.refused and e.seq > known}
        value: Any = op.value
        if op.field in BODIES:
            value = [0, word if op.field == "text" else [word]]
            self.edits[op.replica, op.seq] = [word]
        elif op.field == "custom" or (op.field.startswith("map_") and op.kind == "remove"):
            value = value[0]
        return Event(
            op.replica, op.seq, op.hlc, op.field, op.kind, value, frozenset(past), None, frozenset(believed & past)
        )

    def unfounded(self, event: Event, over: Callable[[str], bool], also: Sequence[Event] = ()) -> str:
        """Why an op that is next cannot stand on what was accepted so far; empty if it can. `over`: has this life ended? `also` are taken for
        accepted: the ops of its command that come before it.
        """
        if event.believed and not self._stands(event, founding.nobody, also):
            return BUILDS_ON_REFUSED
        return "" if self._stands(event, over, also) else "invalid"

    def finds(self, op: Op, before: Iterable[Op]) -> bool:
        """Is what an edit of a body stands beside, or takes, there after what was merged and the ops `before` it? Asked of the replay: the model's
        bodies have no places.
        """
        if op.field not in BODIES:
            return True
        state = self.kind.copy(self._replayed())
        for one in before:
            self.kind.apply(state, one)
        return self.kind.finds(state, op)

    def moot(self, event: Event) -> bool:
        """Has a delete that its writer had not seen won over it?"""
        return self.kind.on_delete == "delete-wins" and not all(saw(event, delete) for delete in self._deletes())

    def _stands(self, event: Event, over: Callable[[str], bool], also: Sequence[Event]) -> bool:
        policy = self.kind.on_delete
        if self.moot(event):
            return True  # it has no effect, whatever it stands on
        if event.field == "bounded_counter":
            rights = founding.within_rights(0, 0, 0, "", over)
            return event.kind == "increment" or rights(event, self.alive(event.field, also))
        if not event.believed:
            return True
        if event.kind == DELETE and event.field == DOCUMENT:
            return policy == "delete-wins" or not any(case_of(name).type.claims for name in self.kind.fields)
        if self.kind.unit == "record":
            return False
        if event.field in BODIES:
            return sequence.founded(event, [*self.events, *also], policy)
        return (case_of(event.field).founded or founding.always)(event, self.alive(event.field, also))

    def refuse(self, op: Op, event: Event, why: str) -> None:
        """It is seen, without effect."""
        self._take(op, replace(event, refused=why))

    def accept(self, op: Op, event: Event) -> bool:
        """Merge it. Has it an effect?"""
        idle = False
        if event.field in BODIES and event.kind == "delete":
            brought = [word for e in self.events if e.kind == "insert" and not e.refused for word in self.edits[e.dot]]
            idle = self.edits[event.dot][0] not in brought
        event = replace(event, idle=idle)
        self._take(op, event)
        return _is_delete(event) or event in surviving(self.events, self.kind.on_delete)

    def _take(self, op: Op, event: Event) -> None:
        self.seen[op.replica] = op.seq
        self.events.append(event)
        self.ops.append(op)

    # -- what it shows

    def alive(self, name: str, also: Iterable[Event] = ()) -> list[Event]:
        """The ops that have an effect on a field; `also` are taken for merged."""
        return [e for e in surviving([*self.events, *also], self.kind.on_delete) if e.field == name]

    def _deletes(self) -> list[Event]:
        return [e for e in self.events if _is_delete(e) and not e.refused]

    @property
    def exists(self) -> bool:
        return bool(surviving(self.events, self.kind.on_delete))

    @property
    def deleted(self) -> bool:
        return bool(self._deletes()) and not self.exists

    def disagreements(self, shown: Mapping[str, Any]) -> Iterator[str]:
        """Where these values of the fields are not what the ops mean."""
        if self.kind.unit == "record":
            meant = self.record()
            if text(shown) != text(meant):
                yield f"shows {shown}, its ops mean {meant}"
            return
        for name, value in shown.items():
            alive = self.alive(name)
            if name == "custom" and sum(event.field == name for event in self.events) > 5:
                continue  # its base may be an older common value (crdt/README.md)
            if name in BODIES:
                meant = sorted(sequence.elements(alive, self.edits))
                value = sorted(words_of(value))
            else:
                meant = self._answer(name)(alive, self._past_of(name))
            if text(value) != text(meant):
                yield f".{name} shows {value}, its ops mean {meant}"

    def record(self, also: Iterable[Event] = ()) -> dict[str, Any]:
        """What stands where the whole is written as one; `also` are taken for merged."""
        top = maximal(self.alive(DOCUMENT, also))
        return max(top, key=lambda e: e.clock).value if top else dict.fromkeys(self.kind.fields, "none")  # type: ignore[no-any-return]

    def _past_of(self, name: str) -> fields.Past:
        policy = self.kind.on_delete
        return lambda event: [
            e for e in surviving([o for o in self.events if o.dot in event.past], policy) if e.field == name
        ]

    def _answer(self, name: str) -> Answer:
        """What the reference model says of a field; those of the shop are not called like their types."""
        kind: Any = self.kind.fields[name].type
        if kind.name == "register":
            return lambda events, past: fields.register(kind.default)(events)
        if kind.name == "flag":
            return lambda events, past: fields.flag(kind.wins)(events)
        answer = case_of(name if name.startswith("map_") else kind.name).value
        assert answer is not None
        return answer

    def contested(self, name: str) -> dict[str, list[Event]]:
        """The places of a field where writes compete that differ, with all that stand there."""
        places = {name: self.alive(name)}
        if name.startswith("map_"):
            places = {f"{name}.{key}": left for key, left in fields.entries(self.alive(name))}
        found = {}
        for place, events in places.items():
            top = [replace(e, value=e.kind) if e.kind in ("enable", "disable") else e for e in maximal(events)]
            if len({text(e.value) for e in top}) > 1:
                found[place] = top
        return found

    # -- its bytes

    def encoded(self, vector: Mapping[str, int] | None = None) -> bytes:
        """The canonical encoding of all its ops, or of just those that `vector` covers."""
        return self.kind.encode(self._replayed(vector))

    def _replayed(self, vector: Mapping[str, int] | None = None) -> DocumentState:
        covered = [i for i, op in enumerate(self.ops) if vector is None or op.seq <= vector.get(op.replica, 0)]
        count, state = self._replay or (0, self.kind.new())
        if covered != list(range(len(covered))) or count > len(covered):
            count, state = 0, self.kind.new()
        for i in covered[count:]:
            if self.events[i].refused:
                self.kind.see(state, self.ops[i])
            else:
                self.kind.apply(state, self.ops[i])
        self._replay = (len(covered), state) if covered == list(range(len(covered))) else None
        return state


def _is_delete(event: Event) -> bool:
    return event.field == DOCUMENT and event.kind == DELETE
