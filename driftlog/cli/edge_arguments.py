"""What was typed as NAME=VALUE, read as the command that an agent runs declares its arguments."""

from __future__ import annotations

import json as jsonlib
from typing import Any

from driftlog_schemas.errors import Undecodable
from driftlog_schemas.json_text import from_json


def declared(document: dict[str, Any], command: str) -> dict[str, Any]:
    """The command's own description of its arguments; empty for a command that the agent does not know, which it then says."""
    found = document.get("paths", {}).get(f"/v1/commands/{command}", {}).get("post", {})
    schema = found.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    return dict(schema.get("properties", {}))


def value(text: str, schema: dict[str, Any], document: dict[str, Any]) -> Any:
    """What was typed, as its argument is declared: text stays text, whatever it looks like."""
    return text if _is_text(text, schema, document) else typed(text)


def typed(text: str) -> Any:
    """JSON that can be sent on as JSON; a text where it is none. So NaN is told by the agent as all else that is no number."""
    try:
        found = from_json(text)
        jsonlib.dumps(found, allow_nan=False, ensure_ascii=False).encode()
    except (Undecodable, ValueError, RecursionError):
        return text
    return found


def _is_text(text: str, schema: dict[str, Any], document: dict[str, Any]) -> bool:
    """Is this a text where that is declared, by itself, by name, or as one of several?"""
    if reference := schema.get("$ref", "").removeprefix("#/components/schemas/"):
        return _is_text(text, document["components"]["schemas"][reference], document)
    if "enum" in schema:
        return text in schema["enum"]
    return schema.get("type") == "string" or any(_is_text(text, one, document) for one in schema.get("anyOf", ()))
