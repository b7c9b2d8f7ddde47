"""The one interface of every mergeable field.

A field type is a value object (parameters such as a bound live in it) that knows how to make, change, join, read
and encode states. States are plain mutable Python containers, so that the hot path allocates nothing it need not.
The laws that every type owes, and that `tests/properties` runs over all of them:

- *causal order is enough*: applying a set of ops in any order that respects per-replica order and contexts gives equal
  states, and equal states encode to equal bytes;
- *join agrees with apply*: for causally closed prefixes A and B, `join(fold(A), fold(B)) == fold(A | B)`;
- `join` is commutative, associative and idempotent;
- `decode(encode(s)) == s`;
- *erase takes what was seen*: after `erase`, the state is that of the ops which the eraser had not seen.

The document guards duplicates, gaps and order (see `document`); a field type sees each op once, after its predecessors.
Each type is registered by name in `registry`. The first half of the interface is what every type must say; the
second half has defaults that suit types whose ops commute.

Source: the `riak_dt` behaviour (new, value, update, merge, equal, to_binary) for the shape.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Generic, NamedTuple, TypeAlias, TypeVar

from driftlog_crdt.causal import Dot, Vector, dominates
from driftlog_crdt.errors import BadOperation, BadValue
from driftlog_crdt.ops import Op, Origin
from driftlog_crdt.plain import Plain
from driftlog_crdt.takeover import Takeover

S = TypeVar("S")

Encoded: TypeAlias = "Plain | bytes"
"""A field's state as it is kept."""


class Sight(NamedTuple):
    """What somebody had before them: the value of a place, the writes that stood there, how many changes that took."""

    value: Plain
    standing: tuple[Dot, ...]
    depth: int


class Branch(NamedTuple):
    """How a write came about (see `custom`): `sights` are where its branch of history began and, if later, what its writer saw."""

    sights: tuple[Sight, ...]
    seen: Vector


class Write(NamedTuple):
    """One assignment of a value, as a register keeps it and as a conflict shows it."""

    replica: str
    seq: int
    hlc: int
    value: Plain
    origin: Origin | None = None
    """Who caused it, where a merge agent has said so."""
    branch: Branch | None = None
    """Only in fields that merge by a common ancestor."""


class Siblings(NamedTuple):
    """Concurrent writes of one place: of the field, or of one `key` of a map."""

    key: str
    writes: Sequence[Write]
    """Two or more, in dot order."""


NO_WRITES: Sequence[Write] = ()


class FieldType(ABC, Generic[S]):
    """Semantics of one declared field; stateless, so one instance serves all documents."""

    __slots__ = ()

    name: ClassVar[str]
    """Stable name of the type, as it stands in encodings and schemas."""

    kinds: ClassVar[frozenset[str]]
    """The op kinds this field takes."""

    contextual: ClassVar[frozenset[str]] = frozenset()
    """Those kinds whose ops carry the version vector that the writer had seen."""

    taking: ClassVar[frozenset[str]] = frozenset()
    """Those kinds that take away what their writer had seen, whoever wrote it; of the past (see `forgetting`) all of it."""

    conflicting: ClassVar[bool] = False
    """Does the field keep concurrent writes, so that two of them can be in conflict?"""

    picks: ClassVar[bool] = True
    """Does one value stand for concurrent writes, where the field keeps them?"""

    erasable: ClassVar[bool] = True
    """Can what somebody has seen be taken away while the rest stays (update-wins deletes, keys of maps)?"""

    max_bytes: ClassVar[int] = 64 * 1024
    """What a document of such fields may take, where the declaration says nothing."""

    nestable: ClassVar[bool] = False
    """Can it be the type of a map's values?"""

    claims: ClassVar[bool] = False
    """Does an erase carry more than its context (see `observe`)?"""

    limited: ClassVar[bool] = False
    """Can a writer lack the right to an op (see `permit`)?"""

    giving: ClassVar[frozenset[str]] = frozenset()
    """Those kinds that hand a right over to another replica (see `heir`)."""

    fallible: ClassVar[bool] = False
    """Does an op refer to what others have put into the state, so that it may not be there (see `takes_effect`)?"""

    @abstractmethod
    def new(self) -> S:
        """The state before any op."""

    @abstractmethod
    def check(self, op: Op) -> None:
        """Raise `BadOperation` or `BadValue` if `op` cannot be merged, whatever the state. Called before `apply`."""

    @abstractmethod
    def apply(self, state: S, op: Op) -> None:
        """Merge one checked op into `state`, in place."""

    @abstractmethod
    def join(self, left: S, left_seen: Vector, right: S, right_seen: Vector) -> S:
        """The state of both sides' ops. `*_seen` are the documents' version vectors. Arguments stay as they are."""

    @abstractmethod
    def value(self, state: S) -> Plain:
        """What a reader sees."""

    @abstractmethod
    def encode(self, state: S) -> Encoded:
        """The state as a plain value or as bytes; equal states give equal ones, in equal order. It may share parts with the state: write it
        down before that changes.
        """

    @abstractmethod
    def decode(self, plain: Any) -> S:
        """The state of an encoding. Raises `BadEncoding`; the document adds the field's name."""

    @abstractmethod
    def copy(self, state: S) -> S:
        """An independent copy."""

    @abstractmethod
    def is_new(self, state: S) -> bool:
        """Is this the state before any op (such states are not encoded)?"""

    def is_empty(self, state: S) -> bool:
        """Is there nothing to read: new, or all of it erased?"""
        return self.is_new(state)

    def author(self, state: S, replica: str, seq: int, kind: str, value: Plain) -> Plain:
        """The value that the op of this intent carries, given what its writer sees. `state` stays as it is.

        Raises `BadOperation` or `BadValue`.
        """
        return value

    def renamed(self, kind: str, value: Plain, taking: Takeover) -> Plain:
        """The value that an op of the old life carries when the new one writes the same, for types whose values name their writer.

        For an erase `kind` is empty, and `value` what `observe` gave.
        """
        return value

    def spot(self, op: Op) -> str:
        """Where in the field an op acts: one writer's ops of different spots mean the same whichever comes first."""
        return ""

    def absorb(self, earlier: Op, later: Op) -> Op | None:
        """One op, of the dot of `later`, that means both; None where two are needed. `earlier` is the last of its writer at this spot before
        `later`, and nobody else has ever seen it (see `collapsing`).
        """
        return None

    def leave(self, kind: str, value: Plain, taking: Takeover) -> None:
        """An op of the old life does not come along: remember what others of it may name."""

    def stands_on_left(self, kind: str, value: Plain, taking: Takeover) -> bool:
        """Does an op of the old life mean something that was left behind, so that without it nobody knows what it means?"""
        return False

    def permit(self, state: S, op: Op, over: Container[str] = ()) -> None:
        """Raise `BadOperation` if the op's writer, seeing `state`, has no right to it; `over` are replicas that write no more.
        `apply` never asks.
        """

    def heir(self, op: Op) -> str | None:
        """To whom `op` gives a right, if to anybody; it may be unchecked."""
        return None

    def relies_on(self, state: S, replica: str, kind: str) -> Collection[str]:
        """Whose earlier ops an op of a kind that is not contextual still needs."""
        return ()

    def stands_alone(self, state: S, op: Op) -> bool:
        """Does `op` mean in `state` what its writer meant, although an own op that it believed in was refused?"""
        return True

    def takes_effect(self, state: S, op: Op) -> bool:
        """Does `op` find in `state` what it refers to? Asked where the type is `fallible`."""
        return True

    def observe(self, state: S) -> Plain:
        """What an erasing op must carry besides its context; None for types that need no more."""
        return None

    def check_observed(self, observed: Plain, field: str) -> None:
        """Raise `BadValue` if `observed` cannot come from `observe`."""
        if observed is not None:
            raise BadValue(field, f"erasing a {self.name} takes no observation")

    def erase(self, state: S, seen: Vector, observed: Plain) -> None:
        """Take away the effect of all ops that `seen` covers, in place. Ops that it does not cover stay."""
        raise NotImplementedError(f"a {self.name} cannot be erased in part")

    def prune(self, state: S, floor: Vector) -> None:
        """Forget, in place, what is kept only for writers who have not seen `floor`; nobody is left who has not."""

    def fold(self, state: S, retired: Mapping[str, str], past: int) -> None:
        """Make what these replicas did the past's, in place: its dot is `(PAST, past)`. Each is given with its heir (see `forgetting`)."""

    def let_go(self, state: S, floor: int) -> None:
        """Let go, in place, of what is kept for writers who have not read up to this place in the log; there are none (see `foundation`)."""

    def founded(self, state: S, there: Collection[str], at: int) -> S:
        """The same with less of those who are over, if that pays: decided at this place in the log, where only these are `there`.
        `state` stays as it is.
        """
        return state

    def holds(self, state: S) -> Iterable[str]:
        """Of whom there are writes that must stay under their own name."""
        return ()

    def restated(self, state: S, key: str) -> tuple[str, Plain]:
        """The kind and the value by which somebody writes once more what stands at a place, for types that are `conflicting`."""
        raise NotImplementedError(f"a {self.name} has no writes")

    def place(self, op: Op) -> str:
        """Where in the field `op` writes: the key of a map, "" in all others."""
        return ""

    def rank(self, write: Write) -> tuple[object, ...]:
        """Among concurrent writes of one place the highest rank wins. Never equal for two writes."""
        return (write.hlc, write.replica, write.seq)

    def standing(self, state: S, key: str) -> Sequence[Write]:
        """The writes at one place (see `place`) in dot order, for types that are `conflicting`."""
        return NO_WRITES

    def writes(self, state: S) -> Sequence[Write]:
        """Every write that the field keeps, for types that are `conflicting`."""
        return NO_WRITES

    def siblings(self, state: S) -> Iterable[Siblings]:
        """Every place with two or more concurrent writes, for types that are `conflicting`."""
        return ()

    def require_kind(self, op: Op) -> None:
        """Raise `BadOperation` unless the op's kind is one of ours, with a context where that kind needs one."""
        if op.kind not in self.kinds:
            raise BadOperation(op.field, f"a {self.name} takes {', '.join(sorted(self.kinds))}, not {op.kind!r}")
        if op.context is None and op.kind in self.contextual:
            raise BadOperation(op.field, f"{op.kind} carries the vector that its writer had seen; this one has none")


def replaced(earlier: Op, later: Op) -> Op | None:
    """`later` alone, which undoes `earlier`, if its writer had seen no less."""
    return later if dominates(later.context or {}, earlier.context or {}) else None


def combined(earlier: Op, later: Op, value: Plain) -> Op | None:
    """The two as one op with this value. What either rests on, it rests on; so they must have seen the same of others."""
    if earlier.context != later.context:
        return None
    known = min(earlier.seq - 1 - earlier.unsure, later.seq - 1 - later.unsure)
    return later._replace(value=value, unsure=later.seq - 1 - known)


def erased_anew(observed: Plain, taking: Takeover, type_of: Callable[[str], FieldType[Any]]) -> Plain:
    """What an erase of many parts says under a new life, by part: of those that it names, and of those of which something came along."""
    seen: Any = observed or {}
    found: dict[str, Plain] = {}
    for name in sorted({*seen, *taking.parts}):
        said = type_of(name).renamed("", seen.get(name), taking.part(name))
        if said is not None:
            found[name] = said
    return found or None
