"""The API's own description: FastAPI's, with each of the app's commands by name and every problem it can answer with.

One route runs all commands, but whoever generates a client wants `sell` with its arguments. So the route is repeated per command, with
the JSON Schema of the command's arguments as its body.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from fastapi import FastAPI

from driftlog_edge.http_api import problems
from driftlog_edge.http_api.access import OPEN_PATHS, TOKEN_FILE
from driftlog_schemas.contract import AppContract, CommandContract

GENERIC = "/v1/commands/{name}"
_PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "detail", "code"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string", "description": "Stable; what a program looks at."},
        "app_code": {"type": "string", "description": "With code `refused`: the app's own."},
        "field": {"type": "string", "description": "What the problem is about."},
        "remedy": {"type": "string", "description": "The next step."},
        "command_id": {"type": "string", "description": "With code `timeout`: the command, which stands."},
    },
}
EVENT = {
    "type": "object",
    "description": "One server-sent event, its fields by name.",
    "required": ["id", "event", "data"],
    "properties": {
        "id": {"type": "string", "description": "For `Last-Event-ID`."},
        "event": {"enum": ["change", "resync"]},
        "data": {
            "type": "string",
            "description": "JSON: the changed document's collection, scope and id; of a resync `{}`.",
        },
    },
}
_ALL = {
    "401": "`unauthorized`: without the agent's token; not over a unix socket",
    "403": "`forbidden_origin`: under another name than the agent's, or from a web page",
}
_BODIES = {
    "408": "`timeout`: the body did not come",
    "413": "`too_large`",
    "422": "`invalid`, naming the field",
}
_READS = {
    "404": "`not_found`; `not_held`: of a scope that is not held here; `undeclared`: this release has no such collection",
    "409": "`not_readable`: what is known of it is of a newer release than this agent's",
    "410": "`deleted`; `wiped`: the operator had this replica erased",
    "422": "`invalid`, naming the field",
    "503": "`offline`: the answer needs the cloud",
    "504": "`timeout`",
}
_WRITES = {
    "404": "`undeclared`: this release has no such command or collection; `not_found`: no such conflict or command to decide",
    "409": "`refused`, with the app's own code in `app_code`; `not_readable`: of a newer release than this agent's",
    "410": "`deleted`; `wiped`: the operator had this replica erased",
    "413": "`too_large`",
    "422": "`invalid`, naming the field",
    "503": "`offline` or `not_ready`",
    "504": "`timeout`: the command of `command_id` stands, or is just being written, and its status can be asked; without one nothing has changed",
    "507": "`outbox_full` or `disk_full`: nothing has changed",
}


def install(api: FastAPI, contract: AppContract) -> None:
    """Make `/openapi.json` say all of it."""
    plain = api.openapi

    def described() -> dict[str, Any]:
        if api.openapi_schema is None:
            api.openapi_schema = _described(plain(), contract)
        return api.openapi_schema

    api.openapi = described  # type: ignore[method-assign]  # FastAPI's documented way


def _described(document: dict[str, Any], contract: AppContract) -> dict[str, Any]:
    document = deepcopy(document)
    schemas = document["components"]["schemas"]
    document["components"]["securitySchemes"] = {
        "token": {
            "type": "http",
            "scheme": "bearer",
            "description": f"What stands in `{TOKEN_FILE}` of the data folder.",
        }
    }
    schemas["Problem"] = _PROBLEM
    paths = document["paths"]
    for path, operations in paths.items():
        for method, operation in operations.items():
            if path not in OPEN_PATHS:
                _add_problems(operation, _ALL)
                operation["security"] = [{"token": []}]
            if path.startswith("/v1"):
                _add_problems(operation, _BODIES | _WRITES if method in ("post", "put") else _READS)
    for space in contract.spaces.values():
        for command in space.commands.values():
            operation = _command(paths[GENERIC]["post"], command, schemas)
            paths[GENERIC.replace("{name}", command.name)] = {"post": operation}
    return document


def _add_problems(operation: dict[str, Any], responses: dict[str, str]) -> None:
    content = {problems.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for status, text in responses.items():
        operation["responses"][status] = {"description": text, "content": content}


def _command(generic: dict[str, Any], command: CommandContract, schemas: dict[str, Any]) -> dict[str, Any]:
    operation = deepcopy(generic)
    operation["operationId"] = f"run_{command.name}"
    operation["summary"] = command.name
    operation["description"] = command.doc or f"Run `{command.name}`."
    operation["parameters"] = [p for p in operation.get("parameters", []) if p["name"] != "name"]
    body = deepcopy(dict(command.arguments_schema)) or {"type": "object"}
    prefix = f"{command.name}_"
    for name, schema in body.pop("$defs", {}).items():
        schemas[prefix + name] = _moved(schema, prefix)
    content = {"application/json": {"schema": _moved(body, prefix)}}
    operation["requestBody"] = {"required": bool(body.get("required")), "content": content}
    return operation


def _moved(schema: Any, prefix: str) -> Any:
    """The schema with its references to `$defs` pointing into the document's components."""
    if isinstance(schema, dict):
        return {
            key: f"#/components/schemas/{prefix}{value.removeprefix('#/$defs/')}"
            if key == "$ref" and isinstance(value, str)
            else _moved(value, prefix)
            for key, value in schema.items()
        }
    if isinstance(schema, list):
        return [_moved(item, prefix) for item in schema]
    return schema
