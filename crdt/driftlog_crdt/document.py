"""A document: named fields under one version vector.

The vector is the document's memory of what it has merged, and everything about order is decided here, once for all
fields. An op is a *duplicate* when the vector covers its dot, a *gap* when its predecessor or something in its context
is missing, and otherwise it is applied and its dot enters the vector. A refused op also enters the vector, without
effect (`see`): all replicas then agree that it happened and did nothing. What was built on it is refused as well (see `refusals`).

Must never happen: an op applied twice; an op skipped; a state that depends on arrival order.

Deletes are in `deletion`, conflicts in `conflicts`, documents that are one write in `record`, bytes in `document_codec`.

>>> from driftlog_crdt.counter import Counter
>>> from driftlog_crdt.register import Register
>>> stock = DocumentType("Stock", {"on_hand": Field(Counter()), "price": Field(Register(), "review")})
>>> here, there = stock.new(), stock.new()
>>> received = stock.prepare(here, "a", 1, "on_hand", "increment", 5)
>>> stock.apply(here, received).outcome, stock.apply(here, received).outcome
(<Outcome.APPLIED: 'applied'>, <Outcome.DUPLICATE: 'duplicate'>)
>>> sold = stock.prepare(here, "a", 2, "on_hand", "decrement", 1)
>>> stock.apply(there, sold).outcome
<Outcome.GAP: 'gap'>
>>> _ = stock.apply(here, sold), stock.apply(there, stock.prepare(there, "b", 1, "price", "set", "2.50"))
>>> stock.values(stock.join(here, there))
{'on_hand': 4, 'price': '2.50'}
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as attribute
from typing import Any

from driftlog_crdt import deletion, document_codec, forgetting, overwriting, record, refusals, settling
from driftlog_crdt.causal import PAST, SETTLER, Vector, changes_in, joined, without_epoch
from driftlog_crdt.conflicts import Conflict, Place, conflict_of
from driftlog_crdt.declared import DeletePolicy, Field, OnConflict, Unit
from driftlog_crdt.document_state import (
    APPLIED,
    DUPLICATE,
    GAP,
    NO_EFFECT,
    Applied,
    DocumentState,
    Made,
    Outcome,
)
from driftlog_crdt.dotted import contested
from driftlog_crdt.errors import AlgebraError, BadOperation, BadValue, TooLarge
from driftlog_crdt.field_type import NO_WRITES, FieldType, Write, erased_anew
from driftlog_crdt.hlc import pack
from driftlog_crdt.ops import DELETE, DOCUMENT, Op, check_dot
from driftlog_crdt.plain import Plain, canonical
from driftlog_crdt.takeover import Takeover

__all__ = ["Applied", "DeletePolicy", "DocumentState", "DocumentType", "Field", "OnConflict", "Outcome", "Unit"]


@dataclass(frozen=True, slots=True)
class DocumentType:
    """The merge rules of one collection.

    `unit` is what concurrent writes compete for: each field by itself, or the whole record (see `record`).
    """

    name: str
    fields: Mapping[str, Field]
    on_delete: DeletePolicy = "delete-wins"
    max_bytes: int = 0
    """Size guard of the encoded state; 0 becomes what suits the fields: 64 KiB, 480 KiB with a text or a list."""
    unit: Unit = "field"
    _types: dict[str, FieldType[Any]] = attribute(init=False, repr=False, compare=False)
    """What the state holds: the declared fields, or the one record under the name DOCUMENT."""

    def __post_init__(self) -> None:
        types = {name: declared.type for name, declared in self.fields.items()}
        if self.unit == "record":
            record.check_types(self.name, types)
            types = {DOCUMENT: record.Record()}
        if self.on_delete == "update-wins":
            for name, kind in types.items():
                if not kind.erasable:
                    raise ValueError(f"{self.name}.{name}: a {kind.name} cannot stand in an update-wins document")
        object.__setattr__(self, "_types", types)
        if not self.max_bytes:
            object.__setattr__(
                self, "max_bytes", max([FieldType.max_bytes, *(kind.max_bytes for kind in types.values())])
            )

    @property
    def limited(self) -> bool:
        """Is there a field to whose ops a writer can lack the right?"""
        return any(kind.limited for kind in self._types.values())

    @property
    def giving(self) -> frozenset[str]:
        """Kinds of ops by which a writer hands a right over to another."""
        return frozenset().union(*(kind.giving for kind in self._types.values()))

    def heir(self, op: Op) -> str | None:
        """To whom `op`, which may be unchecked, gives a right, if to anybody."""
        merge = self._types.get(op.field)
        return None if merge is None else merge.heir(op)

    def new(self) -> DocumentState:
        """The state before any op."""
        return DocumentState()

    def prepare(
        self,
        state: DocumentState,
        replica: str,
        hlc: int,
        field: str,
        kind: str,
        value: Plain,
        unsure: int = 0,
        over: Container[str] = (),
    ) -> Op:
        """The next op of `replica` on a document whose writer sees `state`; `state` stays as it is.

        `unsure` is how many of the replica's own last ops in `state` may yet be refused; `over` are lives that are known to have ended.
        Raises what `check` raises, and `BadOperation` where the writer lacks the right (a bound, an unknown position).
        """
        seq = state.vector.get(replica, 0) + 1
        if field == DOCUMENT and kind == DELETE:
            if value is not None:
                raise BadValue(field, f"a delete takes no value, not {value!r}")
            op = Op(
                replica,
                seq,
                hlc,
                field,
                kind,
                None if self.on_delete == "delete-wins" else deletion.observed(state, self._types),
                _seen(state, replica),
                unsure,
            )
            self.check(op)
            return op
        if self.unit == "record":
            value = record.put_value(self.name, self.fields, self.values(state), field, kind, value)
            field, kind = DOCUMENT, record.PUT
        merge = self._type(field)
        stored = state.fields.get(field)
        if stored is None:
            stored = merge.new()
        try:
            value = merge.author(stored, replica, seq, kind, value)
        except AlgebraError as error:
            raise type(error)(field, error.reason) from error
        context: dict[str, int] | None = None
        if kind in merge.contextual or (state.grave is not None and self.on_delete == "delete-wins"):
            context = _seen(state, replica)
        else:
            givers = merge.relies_on(stored, replica, kind)
            if givers:
                context = {giver: state.vector[giver] for giver in givers}
        op = Op(replica, seq, hlc, field, kind, value, context, unsure)
        self.check(op)
        merge.permit(stored, op, over)
        return op

    def renamed(self, op: Op, seq: int, taking: Takeover) -> Op:
        """The op as the new life writes it under `seq`; its context stays the caller's business.

        Give the same `taking` for all ops of a document, in order, with `settled` as it is for this op.
        """
        value: Plain = op.value
        taking.seq = op.seq
        if op.field != DOCUMENT:
            value = self._type(op.field).renamed(op.kind, value, taking.part(op.field))
        elif op.kind == DELETE:
            if self.on_delete == "update-wins":
                value = erased_anew(value, taking, self._type)
            else:
                taking.parts.clear()  # what comes after it begins anew
        taking.seqs[op.seq] = seq
        return op._replace(replica=taking.new, seq=seq, value=value)

    def leave(self, op: Op, taking: Takeover) -> None:
        """The op does not come along into the new life: a person decides about it."""
        if op.field != DOCUMENT:
            self._type(op.field).leave(op.kind, op.value, taking.part(op.field))

    def spot(self, op: Op) -> tuple[str, str] | None:
        """Where in the document `op` acts, as far as its writer's other ops are concerned; None for a delete, which acts everywhere."""
        if op.field == DOCUMENT and op.kind == DELETE:
            return None
        return op.field, self._type(op.field).spot(op)

    def absorb(self, earlier: Op, later: Op) -> Op | None:
        """One op, of the dot of `later`, that means both (see `FieldType.absorb`)."""
        return self._type(later.field).absorb(earlier, later)

    def stands_on_left(self, op: Op, taking: Takeover) -> bool:
        """Does the op mean something that an op made which was left behind?"""
        return op.field != DOCUMENT and self._type(op.field).stands_on_left(op.kind, op.value, taking.part(op.field))

    def takes_away(self, op: Op) -> bool:
        """Does `op` take away what its writer had seen, whoever wrote it? What was forgotten since goes with it, seen or not."""
        if op.field == DOCUMENT:
            return op.kind == DELETE
        merge = self._types.get(op.field)
        return merge is not None and op.kind in merge.taking

    def check(self, op: Op) -> None:
        """Raise `BadOperation`, `BadValue` or `TooLarge` if no state of this type can take `op`."""
        writer, seq, _, name, kind, value, context, _, _, span = op
        if context or seq.__class__ is not int or seq < 1 or span != 1 or writer == PAST:
            check_dot(op)
        if name == DOCUMENT and kind == DELETE:
            self._check_delete(op)
        else:
            (self._types.get(name) or self._type(name)).check(op)
        form = value.__class__
        if form is str:
            size = len(value)  # type: ignore[arg-type]  # is text
        elif form is list or form is dict:
            size = len(canonical(value))
        else:
            return
        if size > self.max_bytes:
            raise TooLarge(op.field, f"a value of {size} characters, at most {self.max_bytes} bytes are declared")

    def permit(self, state: DocumentState, op: Op, retired: Container[str] = ()) -> None:
        """Raise `BadOperation` if an op that `state` can take exceeds its writer's rights there.

        An honest op whose writer believed in nothing that was refused is permitted by every state that can take it, so a merge
        agent asks before it merges. What lives that are over (`retired`) have left is their device's.
        """
        merge = self._types.get(op.field)
        if merge is not None and merge.limited and not self._moot(state, op):
            stored = state.fields.get(op.field)
            merge.permit(merge.new() if stored is None else stored, op, retired)
            heir = merge.heir(op)
            if heir is not None and heir in retired:
                raise BadOperation(
                    op.field, f"{heir} is over: what is given to it would be lost; name one that is there"
                )

    def builds_on_refused(self, state: DocumentState, op: Op) -> bool:
        """Has an op that `state` can take lost its meaning, because its writer believed in an op that was refused?

        All states that can take it give the same answer. A merge agent asks before it merges, and refuses the op.
        """
        believed = refusals.believed(state.refused, op)
        if not believed or self._moot(state, op):
            return False
        if op.field == DOCUMENT and op.kind == DELETE:
            return self.on_delete == "update-wins" and any(kind.claims for kind in self._types.values())
        merge = self._types[op.field]
        if merge.fallible and any(run.emptied for run in believed):
            return True
        stored = state.fields.get(op.field)
        return not merge.stands_alone(merge.new() if stored is None else stored, op)

    def finds(self, state: DocumentState, op: Op) -> bool:
        """Is there what an op that `state` can take refers to? What was there may be forgotten since, if its writer was away for long."""
        merge = self._types.get(op.field)
        if merge is None or not merge.fallible or self._moot(state, op):
            return True
        stored = state.fields.get(op.field)
        return merge.takes_effect(merge.new() if stored is None else stored, op)

    def apply(self, state: DocumentState, op: Op, retired: Container[str] = ()) -> Applied:
        """Merge one checked op into `state`, in place. A gap or a duplicate changes nothing.

        Whatever comes of a retired replica is a duplicate; what the op had seen of one is covered (see `forgetting`).
        """
        vector, replica = state.vector, op.replica
        last = vector.get(replica, 0)
        if op.before != last:
            return DUPLICATE if op.seq <= last or replica in retired else GAP
        if replica in retired:
            return DUPLICATE
        if op.context:
            for other, needed in op.context.items():
                if vector.get(other, 0) < needed and other not in retired:
                    return GAP
        return self.take(state, op)

    def take(self, state: DocumentState, op: Op) -> Applied:
        """The end of `apply`: merge, in place, a checked op that is known to be the next one of a replica that goes on, and whose context is
        covered. A merge agent has found that out before it decided.
        """
        vector = state.vector
        replica, seq, _, name, kind, _, _, _, _, span = op
        assert vector.get(replica, 0) + span == seq, "an op is merged once, and in its order"
        if PAST in vector:
            op = forgetting.seen_past(op, vector)
        if state.refused:
            refusals.learn(state.refused, op)
        if name == DOCUMENT and kind == DELETE:
            return self._delete(state, op)
        if state.grave is not None and self._moot(state, op):
            deletion.without_effect(state, replica, seq)
            return NO_EFFECT
        merge = self._types.get(name)
        if merge is None:  # declared when it was written; a merge agent has refused it by `check`
            deletion.without_effect(state, replica, seq)
            return NO_EFFECT
        field = state.fields.get(name)
        if field is None:
            field = state.fields[name] = merge.new()
        if merge.fallible and not merge.takes_effect(field, op):
            deletion.without_effect(state, replica, seq)
            return NO_EFFECT
        if state.made is not None:
            state.made.forget(name)
        if merge.conflicting:
            applied = overwriting.write(merge, field, op)
        else:
            merge.apply(field, op)
            applied = APPLIED
        vector[replica] = seq
        if state.presence is not None:
            state.presence[replica] = seq
        return applied

    def ready(self, state: DocumentState, op: Op, retired: Container[str] = ()) -> bool:
        """Has the document merged all that the op's writer had seen, and the op's predecessor?"""
        get = state.vector.get
        if op.before > get(op.replica, 0):
            return False
        return all(get(replica, 0) >= seq or replica in retired for replica, seq in (op.context or {}).items())

    def see(self, state: DocumentState, op: Op) -> None:
        """Count a refused op as seen, without effect. Where a part of what it stands for was merged, only the rest is refused."""
        last = state.vector.get(op.replica, 0)
        assert op.before <= last < op.seq, "a refused op is seen in its order"
        op = op if op.before == last else op._replace(span=op.seq - last)
        empties = op.field == DOCUMENT and op.kind == DELETE and self.on_delete == "delete-wins"
        refusals.remember(state.refused, op, empties)
        deletion.without_effect(state, op.replica, op.seq)

    def join(self, left: DocumentState, right: DocumentState) -> DocumentState:
        """The state of both sides' ops; arguments stay as they are."""
        later = forgetting.later(left, right)
        if later is not None:
            return self.copy(later)
        if self.on_delete == "delete-wins":
            left, right = self._survivors(left, right), self._survivors(right, left)
        fields: dict[str, Any] = {}
        for name in left.fields.keys() | right.fields.keys():
            merge = self._types[name]
            fields[name] = merge.join(
                left.fields[name] if name in left.fields else merge.new(),
                left.vector,
                right.fields[name] if name in right.fields else merge.new(),
                right.vector,
            )
        return DocumentState(
            joined(left.vector, right.vector),
            fields,
            deletion.joined_presence(left, right),
            deletion.joined_grave(left, right),
            refusals.joined(left.refused, left.vector, right.refused, right.vector),
            document_codec.joined_unread(left, right),
        )

    def prune(self, state: DocumentState, floor: Vector) -> None:
        """Forget, in place, what is kept only for writers who have not seen `floor` and the past; nobody may be left who has not."""
        floor = forgetting.with_past(floor, state.vector)
        state.made = None
        deletion.prune(state, floor)
        refusals.prune(state.refused, floor)
        for name, field in state.fields.items():
            self._types[name].prune(field, floor)

    def fold(self, state: DocumentState, retired: Mapping[str, str]) -> bool:
        """Forget retired replicas by name, in place; each is given with the replica that inherits its rights. Was there any?

        Only once every op still to come was written by somebody who had seen all of theirs (see `forgetting`).
        """
        state.made = None
        return forgetting.fold(state, self._types, retired)

    def found(self, state: DocumentState, at: int, floor: int) -> None:
        """Let texts and lists forget what those who were folded have left there, in place. Only where replicas were folded: of two states the
        later is then known by that.

        `at` is the place in the log at which that is decided, once; every op still to come is by somebody who has read up to `floor`.
        """
        state.made = None
        there = state.vector.keys() - {PAST}
        for name in sorted(state.fields):
            field = state.fields[name]
            self._types[name].let_go(field, floor)
            state.fields[name] = self._types[name].founded(field, there, at)
            if (
                state.fields[name] is not field
                and len(document_codec.encode_with_version(state, self._types)[0]) > self.max_bytes
            ):
                state.fields[name] = field  # what it was founded on takes room for a while

    def exists(self, state: DocumentState) -> bool:
        """Is there a document to read: some op has an effect that no delete has taken?"""
        return bool(without_epoch(state.vector) if state.presence is None else state.presence)

    def begin(self, state: DocumentState, epoch: int) -> None:
        """A document without ops begins after what was purged there until `epoch`, in place."""
        forgetting.begin(state, epoch)

    def blank(self, state: DocumentState) -> bool:
        """Has it no ops?"""
        return forgetting.blank(state)

    def deleted(self, state: DocumentState) -> bool:
        """Was it there, and is it deleted now?"""
        return state.grave is not None and not self.exists(state)

    def conflicts(self, state: DocumentState) -> list[Conflict]:
        """The conflicts that are open, in the order of the field names."""
        return [conflict_of(place, writes, self._types[place.field].rank) for place, writes in self._contested(state)]

    def conflicts_of(self, state: DocumentState, field: str) -> list[Conflict]:
        """Those of one field, or of the whole record for DOCUMENT; none where no such field is declared."""
        stored, merge = state.fields.get(field), self._types.get(field)
        if stored is None or merge is None:
            return []
        groups = merge.siblings(stored)
        return [conflict_of(Place(field, key), writes, merge.rank) for key, writes in groups if contested(writes)]

    def conflict_at(self, state: DocumentState, place: Place) -> Conflict | None:
        """The conflict that is open at one place."""
        merge, writes = self._type(place.field), self._standing(state, place)
        return conflict_of(place, writes, merge.rank) if contested(writes) else None

    def settle(self, state: DocumentState, place: Place, append_ms: int) -> Conflict | None:
        """Make what stands at a place final, in place, at this time of the log (see `settling`). The conflict as it was; None for none."""
        found = self.conflict_at(state, place)
        if found is None:
            return None
        merge = self._type(place.field)
        kind, value = merge.restated(state.fields[place.field], place.key)
        field = place.field
        op = self.prepare(state, SETTLER, pack(append_ms), field, kind, value)
        origin = settling.origin_of(found.writes, append_ms, changes_in(state.vector))
        if state.made is not None:
            state.made.forget(field)
        merge.apply(state.fields[field], op._replace(origin=origin))
        deletion.without_effect(state, SETTLER, op.seq)
        return found

    def pass_over(self, state: DocumentState, context: Vector) -> None:
        """Count the settlements as seen, without effect, that the owner of `context` had seen and that were not made here (see `settling`)."""
        seen = context.get(SETTLER, 0)
        if seen > state.vector.get(SETTLER, 0):
            deletion.without_effect(state, SETTLER, seen)

    def writes_at(self, state: DocumentState, place: Place) -> Sequence[Write]:
        """The writes that stand at one place, in dot order."""
        return self._standing(state, place)

    def write_of(self, state: DocumentState, place: Place, replica: str, seq: int) -> Write | None:
        """The write that op `(replica, seq)` left at a place, while it stands."""
        return next((w for w in self._standing(state, place) if w.replica == replica and w.seq == seq), None)

    def merge_type(self, name: str) -> FieldType[Any]:
        """The type that merges the ops of field `name`; of the whole record for DOCUMENT."""
        return self._type(name)

    def declared(self, name: str) -> Field:
        """The declaration that a conflict of `name` falls under; that of the strictest field for a whole record."""
        return record.strictest(self.fields) if name == DOCUMENT else self._field(name)

    def field_value(self, state: DocumentState, field: str) -> Plain:
        """The plain value of one field; of its new state where no op has touched it."""
        merge = self._field(field).type
        if self.unit == "record":
            return record.field_value(state.fields.get(DOCUMENT), field, merge)
        stored = state.fields.get(field)
        return merge.value(merge.new() if stored is None else stored)

    def values(self, state: DocumentState) -> dict[str, Plain]:
        """The plain value of every declared field."""
        return {name: self.field_value(state, name) for name in self.fields}

    def reader(self, field: str) -> tuple[str, Callable[[Any], Plain]]:
        """Under which name a state that ops have touched keeps what this field is read from, and how it is read."""
        merge = self._field(field).type
        if self.unit == "record":
            return DOCUMENT, lambda writes: record.field_value(writes, field, merge)
        return field, merge.value

    def copy(self, state: DocumentState) -> DocumentState:
        """An independent copy."""
        types = self._types
        result = DocumentState(
            dict(state.vector),
            {name: types[name].copy(field) for name, field in state.fields.items()},
            None if state.presence is None else dict(state.presence),
            None if state.grave is None else dict(state.grave),
            dict(state.refused),
            dict(state.unread),
        )
        if state.made is not None:
            result.made = Made(dict(state.made.parts), dict(state.made.columns))
        return result

    def encode(self, state: DocumentState) -> bytes:
        """The canonical bytes of a state. Raises `TooLarge` over the size guard."""
        return self.encode_with_version(state)[0]

    def encode_with_version(self, state: DocumentState) -> tuple[bytes, bytes]:
        """The same, and its vector as it is written there (`version_of`)."""
        encoded = document_codec.encode_with_version(state, self._types)
        size = len(encoded[0])
        if size > self.max_bytes:
            raise TooLarge("", f"{self.name}: {size} bytes of state, at most {self.max_bytes} are declared")
        return encoded

    def decode(self, data: bytes) -> DocumentState:
        """The state of an encoding. Raises `BadEncoding`."""
        return document_codec.decode(data, self.name, self._types)

    def _moot(self, state: DocumentState, op: Op) -> bool:
        """Has a delete that the op's writer had not seen won over it?"""
        return state.grave is not None and self.on_delete == "delete-wins" and not deletion.effective(state, op)

    def _delete(self, state: DocumentState, op: Op) -> Applied:
        state.made = None
        before = [(place, tuple(writes)) for place, writes in self._contested(state)]
        if self.on_delete == "delete-wins":
            deletion.bury(state, op)
        else:
            deletion.erase(state, op, self._types)
        if not before:
            return APPLIED
        left, ended = [], []
        for place, writes in before:
            if contested(self._standing(state, place)):
                left.append(place)
            else:
                ended.append(conflict_of(place, writes, self._types[place.field].rank))
        return Applied(Outcome.APPLIED, tuple(left), tuple(ended))

    def _contested(self, state: DocumentState) -> Iterator[tuple[Place, Sequence[Write]]]:
        """The places in conflict, in the order of the fields' names, with their writes."""
        for name in sorted(state.fields):
            for key, writes in self._types[name].siblings(state.fields[name]):
                if contested(writes):
                    yield Place(name, key), writes

    def _standing(self, state: DocumentState, place: Place) -> Sequence[Write]:
        stored = state.fields.get(place.field)
        return NO_WRITES if stored is None else self._types[place.field].standing(stored, place.key)

    def _check_delete(self, op: Op) -> None:
        if op.context is None:
            raise BadOperation(op.field, "a delete carries the vector that its writer had seen; this one has none")
        if op.value is None:
            return
        if self.on_delete == "delete-wins" or type(op.value) is not dict:
            raise BadValue(op.field, f"a delete of a {self.on_delete} document carries no such value")
        for name, observed in op.value.items():
            self._type(name).check_observed(observed, name)

    def _survivors(self, side: DocumentState, other: DocumentState) -> DocumentState:
        if deletion.keeps(side, other):
            return side
        return DocumentState(side.vector, {}, {}, side.grave, side.refused, {})

    def _type(self, name: str) -> FieldType[Any]:
        merge = self._types.get(name)
        if merge is None:
            raise BadOperation(name, f"{self.name} declares no such field; it has {', '.join(self.fields)}")
        return merge

    def _field(self, name: str) -> Field:
        field = self.fields.get(name)
        if field is None:
            raise BadOperation(name, f"{self.name} declares no such field; it has {', '.join(self.fields)}")
        return field


def _seen(state: DocumentState, replica: str) -> dict[str, int]:
    return {r: s for r, s in state.vector.items() if r != replica}
