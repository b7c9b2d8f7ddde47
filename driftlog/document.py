"""From a class to a collection: reading the declaration, and the typed views that commands and guards get.

A `Document` subclass is only a declaration plus a window: it holds no state of its own, only the editor it looks through.
Everything that cannot work is found when the class is declared and names the class and the field.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar, cast, get_args, get_origin

from driftlog.errors import DeclarationError
from driftlog.fields import KINDS, FieldHandle, FieldKind, Options
from driftlog.values import ValueType
from driftlog_crdt import DELETE, DOCUMENT, DocumentState, DocumentType, Field, Plain
from driftlog_crdt.document import DEFAULT_MAX_BYTES
from driftlog_schemas.contract import CollectionContract, DocumentEditor, InvalidInput, Json
from driftlog_schemas.state_codec import META

D = TypeVar("D", bound="Document")

_DURATION = re.compile(r"(\d+)\s*(ms|s|m|h|d)\Z")
_UNIT_MS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_POLICIES = ("silent", "record", "review")
_DELETE_POLICIES = ("delete-wins", "update-wins")


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


@dataclass(frozen=True)
class DeclaredField:
    """A field as declared: what its handle needs."""

    name: str
    handle: type[FieldHandle]
    kind: FieldKind
    value_type: ValueType[Any]
    default: Plain
    options: Options


class _FieldWindow:
    """Class attribute that gives the handle of its field, bound to the document it is read from."""

    def __init__(self, declared: DeclaredField) -> None:
        self._declared = declared

    def __get__(self, document: Document | None, owner: type) -> Any:
        if document is None:
            return self
        return self._declared.handle(document._editor, self._declared.name, self._declared.value_type)


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
    cls: type[D], space: str, *, scope: str, id: str, on_delete: str, max_bytes: int, history: str, priority: str
) -> CollectionContract:
    """The contract of a declared class; turns its annotations into windows. Raises `DeclarationError`."""
    name = cls.__name__
    if on_delete not in _DELETE_POLICIES:
        raise DeclarationError(
            name, f"on_delete={on_delete!r} is not a policy", f"choose {' or '.join(_DELETE_POLICIES)}"
        )
    hints = _hints(cls)
    for part, field_name in (("scope", scope), ("id", id)):
        if hints.get(field_name) is not str:
            raise DeclarationError(
                f"{name}.{field_name}", f"is the {part} but not declared as str", f"write {field_name}: str"
            )
    declared = {
        field_name: _declare(cls, field_name, annotation)
        for field_name, annotation in hints.items()
        if field_name not in (scope, id)
    }
    if not declared:
        raise DeclarationError(name, "declares no field that could change", "add one, for example on_hand: Counter")
    document = DocumentType(
        name,
        {f.name: _algebra_field(name, f) for f in declared.values()},
        on_delete=cast(Any, on_delete),
        max_bytes=max_bytes or DEFAULT_MAX_BYTES,
    )
    contract = CollectionContract(
        name=name,
        space=space,
        scope_field=scope,
        id_field=id,
        document=document,
        columns=tuple(f.kind.column(f.name, f.value_type) for f in declared.values()),
        present=lambda s, i, state: {scope: s, id: i, **document.values(state)},
        view=lambda s, i, state: cls(StateView(contract, s, i, state)),
        mutate=lambda editor, field, op, args: _mutate(cls, declared, editor, field, op, args),
        history=cast(Any, history),
        priority=priority,
    )
    for f in declared.values():
        setattr(cls, f.name, _FieldWindow(f))
    setattr(cls, scope, _KeyWindow("scope"))
    setattr(cls, id, _KeyWindow("id"))
    cls.__driftlog__ = contract
    return contract


def _hints(cls: type[Document]) -> dict[str, Any]:
    try:
        hints = typing.get_type_hints(cls, include_extras=True)
    except NameError as error:
        raise DeclarationError(
            cls.__name__, f"an annotation cannot be read: {error}", "import the name at the module's top"
        ) from error
    base = typing.get_type_hints(Document)
    for name in hints:
        if name not in base and (name.startswith("_") or name == META):
            raise DeclarationError(
                f"{cls.__name__}.{name}", "begins with an underscore", "such names are Driftlog's own"
            )
    return {name: hint for name, hint in hints.items() if name not in base}


def _declare(cls: type[Document], name: str, annotation: Any) -> DeclaredField:
    place = f"{cls.__name__}.{name}"
    handle = get_origin(annotation) or annotation
    kind = KINDS.get(handle) if isinstance(handle, type) else None
    if kind is None:
        known = ", ".join(h.__name__.removesuffix("Field") for h in KINDS)
        raise DeclarationError(place, f"{annotation!r} is not a field type", f"use one of {known}")
    arguments = get_args(annotation)
    if kind.takes_type and len(arguments) != 1:
        shown = handle.__name__.removesuffix("Field")
        raise DeclarationError(place, f"{shown} needs the type of its value", f"write {name}: {shown}[str]")
    try:
        value_type = ValueType.of(arguments[0] if kind.takes_type else kind.bare)
    except TypeError as error:
        raise DeclarationError(place, str(error), "use a type that pydantic knows") from error
    given = cls.__dict__.get(name, ...)
    options = given if isinstance(given, Options) else Options(default=given)
    return DeclaredField(name, handle, kind, value_type, _default(place, kind, value_type, options), options)


def _default(place: str, kind: FieldKind, value_type: ValueType[Any], options: Options) -> Plain:
    if options.default is ...:
        if not kind.takes_default:
            return None
        try:
            return value_type.zero()
        except TypeError as error:
            raise DeclarationError(
                place, "has no default", "give one, or allow None: Register[X | None] = None"
            ) from error
    if not kind.takes_default:
        raise DeclarationError(place, "cannot have a default", "it begins empty; set it in a command")
    try:
        return value_type.to_plain(options.default, place)
    except InvalidInput as error:
        raise DeclarationError(
            place, f"the default {options.default!r} is not of its type: {error.message}", "mend one of both"
        ) from error


def _algebra_field(owner: str, declared: DeclaredField) -> Field:
    place, options = f"{owner}.{declared.name}", declared.options
    if options.on_conflict not in _POLICIES:
        raise DeclarationError(
            place, f"on_conflict={options.on_conflict!r} is not a policy", f"choose one of {', '.join(_POLICIES)}"
        )
    deadline = 0
    if options.deadline:
        found = _DURATION.match(options.deadline)
        if not found:
            raise DeclarationError(
                place, f"deadline={options.deadline!r} is not a duration", 'write "48h", "30m" or "7d"'
            )
        deadline = int(found[1]) * _UNIT_MS[found[2]]
    algebra = declared.kind.algebra(declared.default)
    if options.on_conflict != "silent" and "set" not in algebra.kinds:
        raise DeclarationError(place, f"a {algebra.name} has no conflicts", "leave on_conflict out")
    return Field(algebra, cast(Any, options.on_conflict), deadline)


def _mutate(
    cls: type[Document],
    declared: Mapping[str, DeclaredField],
    editor: DocumentEditor,
    field: str,
    op: str,
    args: Sequence[Json],
) -> None:
    document = cls(editor)
    if field == DOCUMENT:
        if op != DELETE or args:
            raise InvalidInput("op", f"a document takes {DELETE!r} without args, not {op!r}")
        document.delete()
        return
    known = declared.get(field)
    if known is None:
        raise InvalidInput("field", f"{cls.__name__} has no field {field!r}; it has {', '.join(declared)}")
    if op not in known.handle.mutators:
        raise InvalidInput("op", f"{field} takes {', '.join(sorted(known.handle.mutators))}, not {op!r}")
    try:
        getattr(getattr(document, field), op)(*args)
    except TypeError as error:
        raise InvalidInput("args", f"{field}.{op}: {error}") from error
