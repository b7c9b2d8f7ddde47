"""From a class to a collection: reading the declaration, and the typed views that commands and guards get.

A `Document` subclass is only a declaration plus a window: it holds no state of its own, only the editor it looks through.
Everything that cannot work is found when the class is declared and names the class and the field.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar, cast, get_args

from driftlog.changes import decide, mutate
from driftlog.errors import DeclarationError
from driftlog.fields.fingerprint import allowed, fingerprint, terms
from driftlog.fields.handle import Built, FieldPort
from driftlog.fields.kinds import build
from driftlog.fields.options import Options, duration_ms, mask_of, policy_of
from driftlog_crdt import (
    DELETE,
    DOCUMENT,
    PUT,
    BadValue,
    DeletePolicy,
    DocumentState,
    DocumentType,
    Field,
    Op,
    Plain,
)
from driftlog_crdt.document import Unit
from driftlog_schemas.contract import CollectionContract, Direction, DocumentEditor, Evict, History, InvalidInput, Mask
from driftlog_schemas.rhythm import REMEDY, rhythm_of
from driftlog_schemas.state_codec import META

D = TypeVar("D", bound="Document")

MAX_MAX_BYTES = 480_000
"""A record holds a state twice, as columns and as the merge keeps it, and a broker takes a megabyte."""


class Document:
    """Base of every declared document."""

    __driftlog__: ClassVar[CollectionContract]
    __slots__ = ("_editor",)

    def __init__(self, editor: DocumentEditor) -> None:
        self._editor = editor

    @property
    def exists(self) -> bool:
        """Has it been written, and not deleted since?"""
        return self._editor.collection.document.exists(self._editor.state)

    def delete(self) -> None:
        """Delete the document; who wins against concurrent changes is the collection's `on_delete`."""
        self._editor.record(DOCUMENT, DELETE, None)

    def __repr__(self) -> str:
        values = self._editor.collection.present(self._editor.scope, self._editor.id, self._editor.state)
        return f"{type(self).__name__}({', '.join(f'{k}={v!r}' for k, v in values.items())})"


class _FieldWindow:
    """Class attribute that gives the handle of its field, bound to the document it is read from."""

    def __init__(self, name: str, built: Built) -> None:
        self._name = name
        self._built = built

    def __get__(self, document: Document | None, owner: type) -> Any:
        if document is None:
            return self
        return self._built.handle(FieldPort(document._editor, self._name), self._built)

    def __set__(self, document: Document, value: object) -> None:
        mutators = " or ".join(f"{self._name}.{m}(...)" for m in sorted(self._built.handle.mutators))
        raise TypeError(f"{self._name} is a field; change it with {mutators or 'its own methods'}")


class _KeyWindow:
    """Class attribute for the scope or the id."""

    def __init__(self, part: str) -> None:
        self._part = part

    def __get__(self, document: Document | None, owner: type) -> Any:
        return self if document is None else getattr(document._editor, self._part)


@dataclass(frozen=True, slots=True)
class StateView:
    """A state that can be read but not changed: what guards and readers look through."""

    collection: CollectionContract
    scope: str
    id: str
    state: DocumentState

    def record(self, field: str, kind: str, value: Plain) -> None:
        raise InvalidInput(field, "a view cannot be changed; change documents in a command")


def compile_collection(
    cls: type[D],
    space: str,
    *,
    scope: str,
    id: str,
    on_delete: str,
    unit: str,
    max_bytes: int,
    history: str,
    priority: str,
    max_age: str,
    sync: str,
    direction: str,
    evict: str,
    evict_after: str,
    keep: str,
    offline_limit: str,
) -> CollectionContract:
    """The contract of a declared class; turns its annotations into windows. Raises `DeclarationError`."""
    name = cls.__name__
    _require_choice(name, "on_delete", on_delete, get_args(DeletePolicy))
    _require_choice(name, "unit", unit, get_args(Unit))
    _require_choice(name, "history", history, get_args(History))
    _require_choice(name, "direction", direction, get_args(Direction))
    _require_choice(name, "evict", evict, get_args(Evict))
    if keep and direction != "up":
        raise DeclarationError(
            name, f'keep={keep!r} with direction="{direction}"', 'declare direction="up", or leave out keep'
        )
    if direction == "up" and (evict != "normal" or evict_after):
        declared = f"evict={evict!r}" if evict != "normal" else f"evict_after={evict_after!r}"
        raise DeclarationError(
            name, f'{declared} with direction="up"', 'leave it out: what only goes up leaves after keep="7d"'
        )
    if max_bytes < 0:
        raise DeclarationError(name, f"max_bytes={max_bytes}", "give a size in bytes, or 0 for the default")
    if max_bytes > MAX_MAX_BYTES:
        raise DeclarationError(
            name,
            f"max_bytes={max_bytes} is more than any record can hold",
            f"give at most {MAX_MAX_BYTES}, or keep the large part in documents of its own",
        )
    hints = _hints(cls)
    for part, field_name in (("scope", scope), ("id", id)):
        if hints.get(field_name) is not str:
            raise DeclarationError(
                f"{name}.{field_name}", f"is the {part} but not declared as str", f"write {field_name}: str"
            )
    _require_row_names(name, hints, scope, id)
    _require_seen(cls, name, scope, id)
    options = {n: _options(cls, n) for n in hints if n not in (scope, id)}
    built = {n: build(f"{name}.{n}", hints[n], given) for n, given in options.items()}
    if not built:
        raise DeclarationError(name, "declares no field that could change", "add one, for example on_hand: Counter")
    document = _document_type(name, built, options, on_delete, unit, max_bytes)
    contract = CollectionContract(
        name=name,
        space=space,
        scope_field=scope,
        id_field=id,
        document=document,
        columns=tuple(one.shape.named(n, fingerprint(one), terms(one)) for n, one in built.items()),
        present=lambda s, i, state: {scope: s, id: i, **document.values(state)},
        view=lambda s, i, state: cls(StateView(contract, s, i, state)),
        mutate=lambda editor, field, op, args: mutate(name, built, editor, field, op, args),
        decide=lambda editor, place, value: decide(name, built, editor, place, value),
        check=_checks(built),
        allowed={n: allowed(one) for n, one in built.items()},
        history=cast(Any, history),
        priority=priority,
        max_age=duration_ms(name, max_age, "max_age") / 1000 if max_age else None,
        rhythm=_rhythm(name, sync),
        direction=cast(Direction, direction),
        evict=cast(Any, evict),
        evict_after=duration_ms(name, evict_after, "evict_after") / 1000 if evict_after else None,
        keep=duration_ms(name, keep, "keep") / 1000 if keep else None,
        offline_limit=duration_ms(name, offline_limit, "offline_limit") / 1000 if offline_limit else None,
        masked=_masked(name, built, options),
    )
    for n, one in built.items():
        setattr(cls, n, _FieldWindow(n, one))
    setattr(cls, scope, _KeyWindow("scope"))
    setattr(cls, id, _KeyWindow("id"))
    cls.__driftlog__ = contract
    return contract


def _require_row_names(name: str, hints: Mapping[str, Any], scope: str, id: str) -> None:
    """Class and fields name an Avro record and its fields in the read model."""
    if scope == id:
        raise DeclarationError(name, f"has {id!r} as its scope and as its id", "give a document an id of its own")
    for place, text in ((name, name), *((f"{name}.{n}", n) for n in hints)):
        if not text.isascii():
            raise DeclarationError(place, "cannot name a field of a row", "use letters a to z, digits and '_'")


def _require_seen(cls: type[Document], name: str, *parts: str) -> None:
    for part in parts:
        given = cls.__dict__.get(part)
        if isinstance(given, Options) and "masked" in given.given():
            raise DeclarationError(
                f"{name}.{part}",
                "cannot be masked: it stands in addresses and in every list",
                "give documents an id that says nothing, and mask a field beside it",
            )


def _masked(name: str, built: Mapping[str, Built], options: Mapping[str, Options]) -> dict[str, Mask]:
    found = {
        n: mask_of(f"{name}.{n}", options[n], text=one.shape.avro in ("string", ["null", "string"]))
        for n, one in built.items()
    }
    return {n: mask for n, mask in found.items() if mask is not None}


def _rhythm(name: str, sync: object) -> int:
    found = rhythm_of(sync) if isinstance(sync, str) else None
    if found is None:
        raise DeclarationError(name, f"sync={sync!r} is no rhythm", REMEDY)
    return found


def _require_choice(place: str, what: str, given: str, choices: Sequence[str]) -> None:
    if given not in choices:
        raise DeclarationError(place, f"{what}={given!r} is not known", f"choose {' or '.join(choices)}")


def _document_type(
    name: str, built: Mapping[str, Built], options: Mapping[str, Options], on_delete: str, unit: str, max_bytes: int
) -> DocumentType:
    fields: dict[str, Field] = {}
    for n, one in built.items():
        policy, deadline = policy_of(
            f"{name}.{n}", options[n], conflicting=one.algebra.conflicting, picks=one.algebra.picks
        )
        fields[n] = Field(one.algebra, policy, deadline)
    try:
        return DocumentType(name, fields, cast(DeletePolicy, on_delete), max_bytes, cast(Unit, unit))
    except ValueError as error:
        place, _, fact = str(error).partition(": ")
        raise DeclarationError(
            place, fact, "choose another field type, or another policy for the collection"
        ) from error


def _options(cls: type[Document], name: str) -> Options:
    given = cls.__dict__.get(name, ...)
    return given if isinstance(given, Options) else Options(default=given)


def _checks(built: Mapping[str, Built]) -> Callable[[Op], None]:
    """What the values of ops must be besides what the algebra demands."""
    by_field = {name: one.check for name, one in built.items() if one.check is not None}

    def check(op: Op) -> None:
        found = by_field.get(op.field)
        if found is not None:
            found(op)
        elif op.kind == PUT and op.field == DOCUMENT:
            for name, value in cast("dict[str, Plain]", op.value).items():
                if name not in built:
                    raise BadValue(name, "is not a field of this record")
                built[name].value.require_exact(value, name)

    return check


def _hints(cls: type[Document]) -> dict[str, Any]:
    try:
        hints = typing.get_type_hints(cls, include_extras=True)
    except (NameError, TypeError) as error:
        raise DeclarationError(
            cls.__name__,
            f"an annotation cannot be read: {error}",
            "import the name at the module's top; only some fields take [type]",
        ) from error
    base = typing.get_type_hints(Document)
    for name in hints.keys() - base.keys():
        if name.startswith("_") or name == META:
            raise DeclarationError(
                f"{cls.__name__}.{name}", "begins with an underscore", "such names are Driftlog's own"
            )
    return {name: hint for name, hint in hints.items() if name not in base}
