"""What an app declares, as edge and cloud see it: values and callables, no classes of the public face.

The public face (`driftlog`) compiles an app module into one `AppContract`; the edge agent and the merge worker are
given it and never import the face. Whatever needs the user's typed classes (validation, command functions, guards,
mutators) is behind a callable here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

from driftlog_crdt import DELETE, DOCUMENT, DocumentState, DocumentType, Op, Plain
from driftlog_schemas.evolution import Terms
from driftlog_schemas.rhythm import NOW
from driftlog_schemas.support import Floor

Json: TypeAlias = Plain

History: TypeAlias = Literal["full", "collapsed"]
Direction: TypeAlias = Literal["both", "up", "down"]
"""Which way a collection's documents go: between devices and cloud, only from the device that writes them up to the cloud, or only down to devices."""
Evict: TypeAlias = Literal["first", "normal", "last", "never"]
EVICTED_NEVER: Evict = "never"
EVICTION_ORDER: tuple[Evict, ...] = ("first", "normal", "last")
"""Which collections make room on a device's disk before others."""
Mask: TypeAlias = Literal["all", "last4"]
"""How values are masked where they are shown: whole, or a text up to its last four characters."""


Touches: TypeAlias = Mapping[str, frozenset[str]]
"""collection -> names of its fields, `delete`, or `*` for all of it. A document that is written as one record is touched as `*`."""


def touches_op(touches: Touches, collection: str, op: Op) -> bool:
    """Is this op among what a command may change?"""
    places = touches.get(collection, frozenset())
    if "*" in places:
        return True
    return op.kind == DELETE and "delete" in places if op.field == DOCUMENT else op.field in places


class Refused(Exception):
    """A business rule says no. Raised by command functions on the edge and by guards in the cloud."""

    def __init__(self, code: str, reason: str = "") -> None:
        super().__init__(f"{code}: {reason}" if reason else code)
        self.code = code
        self.reason = reason


class InvalidInput(ValueError):
    """Arguments that cannot be used. `field` names which, the message says how to mend it."""

    def __init__(self, field: str, message: str) -> None:
        told = not field or message.startswith(f"{field}: ")  # of several that are wrong, each is named in it
        super().__init__(message if told else f"{field}: {message}")
        self.field = field
        self.message = message


class OneWay(InvalidInput):
    """A change of a collection that only comes down, by a device without the right to publish. `field` is `Collection.field`."""


class Undeclared(InvalidInput):
    """A command or a collection that this release of the app does not declare; another one may."""


@dataclass(frozen=True, slots=True)
class Column:
    """One plain typed field of a collection's state row.

    `avro` is its Avro type (a name, or a list/dict of Avro's own JSON), with `default` in Avro's terms.
    `to_row` turns the field's plain value into what fastavro writes; None passes it through.
    `from_row` is the inverse, for readers of rows.
    """

    name: str
    avro: Any
    default: Any
    to_row: Callable[[Plain], Any] | None = None
    from_row: Callable[[Any], Plain] | None = None
    declared: str = ""
    """What the field is declared as, in words that stay (see `declarations`)."""
    terms: Terms = field(default_factory=dict)
    """What of that may change within limits (see `evolution`)."""


class DocumentEditor(Protocol):
    """One document inside a running command: the view so far, and a place to record changes."""

    @property
    def collection(self) -> CollectionContract: ...
    @property
    def scope(self) -> str: ...
    @property
    def id(self) -> str: ...
    @property
    def state(self) -> DocumentState:
        """The view, own changes of this command included. Read it; never change it."""
        ...

    def record(self, field: str, kind: str, value: Plain) -> None:
        """Make the next op of this document and apply it to the view. Raises `AlgebraError`."""
        ...


class Editor(Protocol):
    """What a command function may touch: documents of one scope."""

    def open(self, collection: str, scope: str, id: str) -> DocumentEditor:
        """Raises `InvalidInput` for another scope than the command's first, `Undeclared`."""
        ...

    def ids(self, collection: str, scope: str) -> Iterator[str]:
        """Ids of a scope's documents that there are, in order, as this command sees them."""
        ...

    @property
    def command_id(self) -> str: ...
    @property
    def actor(self) -> str:
        """On whose behalf, as the caller said; empty if nobody said."""
        ...

    @property
    def now_ms(self) -> int:
        """The device's clock when the command began, in epoch milliseconds."""
        ...


@dataclass(frozen=True, slots=True)
class CollectionContract:
    """A typed family of documents."""

    name: str
    space: str
    scope_field: str
    id_field: str
    document: DocumentType
    columns: Sequence[Column]
    present: Callable[[str, str, DocumentState], dict[str, Json]]
    """(scope, id, state) -> the JSON object that a reader gets: scope and id fields, then every field's value."""
    view: Callable[[str, str, DocumentState], Any]
    """(scope, id, state) -> the user's read-only typed document."""
    mutate: Callable[[DocumentEditor, str, str, Sequence[Json]], None]
    """(editor, field, op, args): one mutator by name, validated. Raises `InvalidInput`. `("", "delete", [])` deletes."""
    decide: Callable[[DocumentEditor, str, Json], None]
    """(editor, place, value): write what a person chose for a conflict; `place` is a field, `field.key` for a key of a map,
    empty for a record written as one. Raises `InvalidInput`."""
    check: Callable[[Op], None]
    """Raises `BadValue` for an op whose value is plain, but not of the declared type. Called after the algebra's own check."""
    allowed: Mapping[str, str] = field(default_factory=dict)
    """field -> what it is declared as and which values it takes, in words that are compared with another release's and with nothing else."""
    history: History = "full"
    priority: str = "normal"
    max_age: float | None = None
    """Seconds after which what a replica has of it counts as stale; None for never."""
    rhythm: int = NOW
    """When its normal and low commands leave the device (see `rhythm`)."""
    direction: Direction = "both"
    evict: Evict = "normal"
    """When its documents make room on a device whose disk has a budget."""
    evict_after: float | None = None
    """Seconds: what nobody has used for so long goes before the rest of its class."""
    keep: float | None = None
    """Of what only goes up: for how many seconds a device keeps what the cloud has confirmed; None for as long as it says itself."""
    offline_limit: float | None = None
    """Seconds: what a device writes on it that was away for longer waits for a person; None for no end."""
    masked: Mapping[str, Mask] = field(default_factory=dict)
    """Fields whose values the console shows only to people who may see them. Of no meaning for what is written, sent or merged."""


@dataclass(frozen=True, slots=True)
class CommandContract:
    """A declared command."""

    name: str
    space: str
    validate: Callable[[Mapping[str, Any]], Mapping[str, Any]]
    """Raw arguments -> validated ones. Raises `InvalidInput` with the argument named."""
    run: Callable[[Editor, Mapping[str, Any]], Json]
    """Runs the user's function. Raises `Refused`, `InvalidInput`, `AlgebraError`; its result as JSON."""
    arguments_schema: Mapping[str, Any] = field(default_factory=dict)
    """JSON Schema of the arguments, for OpenAPI and `--help`."""
    doc: str = ""
    priority: str = "normal"
    touches: Touches | None = None
    """What its ops may change; None for anything in its space."""
    requires_fresh: float | Literal["max_age"] | None = None
    """How old, in seconds, may be what it reads; or what the collections that it opens say. None for any age."""


@dataclass(frozen=True, slots=True)
class GuardContract:
    """A rule over one document of a collection, checked in the cloud for every command that changes it."""

    name: str
    collection: str
    check: Callable[[str, str, DocumentState, DocumentState], None]
    """(scope, id, before, after); raises `Refused`."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A command that a reaction calls for."""

    command: str
    arguments: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class ReactionContract:
    """What the cloud does when a document of a collection has changed."""

    name: str
    collection: str
    run: Callable[[str, str, DocumentState | None, DocumentState | None], Iterable[Wanted]]
    """(scope, id, before, after); None where the document is not there. Whatever it raises is the app's."""


@dataclass(frozen=True, slots=True)
class SpaceContract:
    """Documents that share topics, partition count and causal order."""

    name: str
    partitions: int
    collections: Mapping[str, CollectionContract]
    commands: Mapping[str, CommandContract]
    guards: Mapping[str, Sequence[GuardContract]]
    """collection name -> its guards, in declaration order"""
    reactions: Mapping[str, Sequence[ReactionContract]] = field(default_factory=dict)
    """collection name -> its reactions, in declaration order"""
    version: str = ""
    """Of the app, as it calls itself; empty if it has none."""
    floors: tuple[Floor, ...] = ()
    """Which versions its devices must run, and from when on; both rise."""

    @property
    def release(self) -> str:
        """Names what this release lets its commands write: fields, their values, what a command touches. Another name is another release's."""
        words: dict[str, Any] = {
            "collections": {name: dict(one.allowed) for name, one in self.collections.items()},
            "commands": {
                name: None if one.touches is None else {kind: sorted(places) for kind, places in one.touches.items()}
                for name, one in self.commands.items()
            },
        }
        if one_way := sorted(name for name, one in self.collections.items() if one.direction == "down"):
            words["down"] = one_way
        return hashlib.blake2b(json.dumps(words, sort_keys=True).encode(), digest_size=8).hexdigest()


@dataclass(frozen=True, slots=True)
class AppContract:
    """Everything that an app module declares."""

    name: str
    spaces: Mapping[str, SpaceContract]
    version: str = ""
    """As it calls itself; empty if it has none."""
    floors: tuple[Floor, ...] = ()
    """Which versions its devices must run, and from when on; both rise."""

    def collection(self, name: str) -> CollectionContract:
        """Raises `Undeclared`."""
        for space in self.spaces.values():
            if name in space.collections:
                return space.collections[name]
        known = ", ".join(sorted(c for s in self.spaces.values() for c in s.collections)) or "none"
        raise Undeclared("collection", f"{name!r} is not declared by app {self.name!r}; declared: {known}")

    def command(self, name: str) -> CommandContract:
        """Raises `Undeclared`."""
        for space in self.spaces.values():
            if name in space.commands:
                return space.commands[name]
        known = ", ".join(sorted(c for s in self.spaces.values() for c in s.commands)) or "none"
        raise Undeclared("command", f"{name!r} is not declared by app {self.name!r}; declared: {known}")


class DocumentClass(Protocol):
    """A declared document class."""

    __driftlog__: CollectionContract


class Declared(Protocol):
    """Anything that has a contract: the public face's `App`."""

    @property
    def contract(self) -> AppContract: ...
