"""Arguments for a command, drawn from its own schema.

Few values on purpose: replicas must meet on the same documents to disagree. Text without a format becomes `sku-1` (mostly) to `sku-3` for an
argument `sku`, whole numbers are mostly near their lower bound. What this cannot draw (text of a given pattern, say) an app draws itself.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, TypeAlias, cast

from driftlog_schemas.contract import AppContract, InvalidInput

Draw: TypeAlias = Callable[[Random], tuple[str, Mapping[str, Any]]]
"""Draws a command: its name and its arguments."""

NAMES = 3
"""How many texts an argument takes."""
MEETING = 0.7
"""How often it takes the first of them."""
SPAN = 5
TRIES = 20
_DECIMAL = "^(?!^[-+.]*$)"
"""How the pattern begins by which pydantic describes a decimal."""
_BEGIN = datetime(2027, 1, 1, tzinfo=UTC)


def drawn_from(app: AppContract) -> list[Draw]:
    """One way to draw each command that the app declares."""
    commands = [command for space in app.spaces.values() for command in space.commands.values()]
    if not commands:
        raise ValueError(f"app {app.name!r} declares no command; give commands= that it has")
    return [_drawn(command.name, command.arguments_schema, command.validate) for command in commands]


def _drawn(name: str, schema: Mapping[str, Any], validate: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> Draw:
    def draw(random: Random) -> tuple[str, Mapping[str, Any]]:
        reason = ""
        for _ in range(TRIES):
            arguments = _Drawer(random, schema.get("$defs", {})).arguments(schema)
            try:
                validate(arguments)
            except InvalidInput as error:
                reason = str(error)
            else:
                return name, arguments
        raise ValueError(f"no arguments for {name!r} could be drawn from its schema ({reason}); draw them in commands=")

    return draw


class _Drawer:
    """Draws values of one schema."""

    def __init__(self, random: Random, definitions: Mapping[str, Any]) -> None:
        self._random = random
        self._definitions = definitions

    def arguments(self, schema: Mapping[str, Any], name: str = "") -> dict[str, Any]:
        required = schema.get("required", ())
        return {
            key: self.value(one, key)
            for key, one in schema.get("properties", {}).items()
            if key in required or self._random.random() < 0.5
        }

    def value(self, schema: Mapping[str, Any], name: str) -> Any:
        if "$ref" in schema:
            return self.value(self._definitions[schema["$ref"].rpartition("/")[2]], name)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            return self._random.choice(schema["enum"])
        for several in ("anyOf", "oneOf"):
            if several in schema:
                return self.value(self._random.choice(schema[several]), name)
        draw = _BY_TYPE.get(cast(str, schema.get("type", "")))
        return f"{name}-1" if draw is None else draw(self, schema, name)

    def integer(self, schema: Mapping[str, Any], name: str) -> int:
        low, high = _bounds(schema, 1)
        return int(low) + int((int(high) - int(low) + 1) * self._random.random() ** 2)

    def number(self, schema: Mapping[str, Any], name: str) -> float:
        low, high = _bounds(schema, 0)
        return round(low + self._random.randint(0, 4) / 4 * (high - low), 2)

    def boolean(self, schema: Mapping[str, Any], name: str) -> bool:
        return self._random.random() < 0.5

    def null(self, schema: Mapping[str, Any], name: str) -> None:
        return None

    def array(self, schema: Mapping[str, Any], name: str) -> list[Any]:
        least = schema.get("minItems", 0)
        count = self._random.randint(least, min(schema.get("maxItems", least + NAMES), least + NAMES))
        if "prefixItems" in schema:
            return [self.value(one, name) for one in schema["prefixItems"]]
        return [self.value(schema.get("items", {"type": "string"}), name) for _ in range(count)]

    def object(self, schema: Mapping[str, Any], name: str) -> dict[str, Any]:
        if "properties" in schema:
            return self.arguments(schema)
        values = schema.get("additionalProperties")
        one = values if isinstance(values, Mapping) else {"type": "string"}
        return {f"{name}-{n}": self.value(one, name) for n in range(1, self._random.randint(1, NAMES) + 1)}

    def string(self, schema: Mapping[str, Any], name: str) -> str:
        number = 1 if self._random.random() < MEETING else self._random.randint(2, NAMES)
        moment = _BEGIN + timedelta(days=number, hours=number)
        by_format = {
            "date-time": moment.isoformat(),
            "date": moment.date().isoformat(),
            "time": moment.time().isoformat(),
            "duration": f"PT{number}H",
            "uuid": str(uuid.UUID(int=number)),
            "email": f"{name}-{number}@example.org",
            "uri": f"https://example.org/{name}/{number}",
        }
        if schema.get("format") in by_format:
            return by_format[schema["format"]]
        if schema.get("pattern", "").startswith(_DECIMAL):
            return f"{number}.25"
        text = f"{name}-{number}".ljust(schema.get("minLength", 0), "x")
        longest = schema.get("maxLength", len(text))
        return text if len(text) <= longest else f"{number}".rjust(longest, "x")[-longest:]


_BY_TYPE: Mapping[str, Callable[[_Drawer, Mapping[str, Any], str], Any]] = {
    "integer": _Drawer.integer,
    "number": _Drawer.number,
    "boolean": _Drawer.boolean,
    "null": _Drawer.null,
    "array": _Drawer.array,
    "object": _Drawer.object,
    "string": _Drawer.string,
}


def _bounds(schema: Mapping[str, Any], step: float) -> tuple[float, float]:
    """The least and the greatest value to draw."""
    low = _first(schema.get("minimum"), _plus(schema.get("exclusiveMinimum"), step))
    high = _first(schema.get("maximum"), _plus(schema.get("exclusiveMaximum"), -step))
    if low is None:
        low = 0 if high is None else high - SPAN
    return low, low + SPAN if high is None else min(high, low + SPAN)


def _first(*values: float | None) -> float | None:
    return next((value for value in values if value is not None), None)


def _plus(value: float | None, step: float) -> float | None:
    return None if value is None else value + step


def chosen(commands: Draw | Sequence[Draw] | None, app: AppContract) -> Draw:
    """One way to draw any of them."""
    if commands is None:
        commands = drawn_from(app)
    if callable(commands):
        return commands
    ways = list(commands)
    if not ways:
        raise ValueError(
            "commands: there is none; give at least one, or leave it out to draw all that the app declares"
        )
    return lambda random: random.choice(ways)(random)
