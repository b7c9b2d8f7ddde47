"""What was typed as NAME=VALUE, read as the command that an agent runs declares its arguments."""

from __future__ import annotations

import json as jsonlib
from typing import Any


def declared(document: dict[str, Any], command: str) -> dict[str, Any]:
    """The command's own description of its arguments; empty for a command that the agent does not know, which it then says."""
    found = document.get("paths", {}).get(f"/v1/commands/{command}", {}).get("post", {})
    schema = found.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    return dict(schema.get("properties", {}))


def value(text: str, schema: dict[str, Any], document: dict[str, Any]) -> Any:
    """What was typed, as its argument is declared: text stays text, whatever it looks like."""
    if _is_text(text, schema, document):
        return text
    try:
        return jsonlib.loads(text)
    except jsonlib.JSONDecodeError:
        return text


def _is_text(text: str, schema: dict[str, Any], document: dict[str, Any]) -> bool:
    """Is this a text where that is declared, by itself, by name, or as one of several?"""
    if reference := schema.get("$ref", "").removeprefix("#/components/schemas/"):
        return _is_text(text, document["components"]["schemas"][reference], document)
    if "enum" in schema:
        return text in schema["enum"]
    return schema.get("type") == "string" or any(_is_text(text, one, document) for one in schema.get("anyOf", ()))
