"""One declaration of a field as it was written: `KINDS` (in `kinds`) maps its annotation to a `Kind`, whose `build` makes it a `Built`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from driftlog.errors import DeclarationError, InvalidInput
from driftlog.fields.options import Options
from driftlog.values import ValueType
from driftlog_crdt import Plain


@dataclass(frozen=True, slots=True)
class Spec:
    """One declaration: where it stands, what was written between the brackets, what `field(...)` says."""

    place: str
    kind: str
    """The annotation's name, for messages."""
    arguments: tuple[Any, ...]
    options: Options

    def argument(self, example: str = "str") -> Any:
        """What stands between the brackets. Raises `DeclarationError` if it is not there."""
        if len(self.arguments) != 1:
            raise DeclarationError(self.place, f"{self.kind} needs a type in brackets", f"write {self.kind}[{example}]")
        return self.arguments[0]

    def value_type(self) -> ValueType[Any]:
        """The argument as a type of values. Raises `DeclarationError`."""
        annotation = self.argument()
        try:
            return ValueType.of(annotation)
        except TypeError as error:
            raise DeclarationError(self.place, str(error), "use a type that pydantic knows") from error

    def default(self, value: ValueType[Any]) -> Plain:
        """The declared default as a plain value, else the type's zero. Raises `DeclarationError`."""
        given = self.options.default
        if given is ...:
            try:
                return value.zero()
            except TypeError as error:
                raise DeclarationError(
                    self.place, "has no default", f"give one, or allow None: {self.kind}[X | None]"
                ) from error
        return self.plain(value, given, "the default")

    def plain(self, value: ValueType[Any], given: object, what: str) -> Plain:
        """A value that the declaration names. Raises `DeclarationError` if it is not of the type."""
        try:
            return value.to_plain(given, self.place)
        except InvalidInput as error:
            raise DeclarationError(
                self.place, f"{what} {given!r} is not of its type: {error.message}", "mend one of both"
            ) from error
