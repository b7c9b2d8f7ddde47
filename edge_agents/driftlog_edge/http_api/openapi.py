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
LINE = {
    "description": "A line of the answer: a document, or at the end what went wrong on the way.",
    "anyOf": [
        {"$ref": "#/components/schemas/ReadingOut"},
        {
            "type": "object",
            "required": ["problem"],
            "properties": {"problem": {"$ref": "#/components/schemas/Problem"}},
        },
    ],
}
_ANY = {
    403: "`forbidden_origin`: under another name than the agent's, or from a web page",
    410: "`wiped`: the operator had this replica erased",
    422: "`invalid`, naming the field",
    500: "`failed`: a defect, also of the app's own function; `store_failed`: the local store cannot go on. Nothing has changed",
    503: "`store_damaged`: its files cannot be read as a whole, so nothing is written, and what lies there is not readable; `remedy` is the next step. "
    "`not_ready`: more connections at once than the agent takes",
}
_CLOSED = {401: "`unauthorized`: without the agent's token; not over a unix socket"}
_BODIES = {408: "`timeout`: the body did not come", 413: "`too_large`", 415: "`unsupported_encoding`: compressed, say"}
_WRITES = {
    403: "`one_way`: the collection only comes down to devices, and this one may not publish it; `field` says what. "
    "`forbidden_origin`: under another name than the agent's, or from a web page",
    409: "`refused`, with the app's own code in `app_code`; `not_readable`: of a newer release than this agent's; "
    "`stale`: it asks for fresher data than there is, and nothing has changed; the age is in `age_seconds`",
    504: "`timeout`: the command of `command_id` stands, or is just being written, and its status can be asked; without one nothing has changed",
    507: "`outbox_full` or `disk_full`: nothing has changed",
}
_UNDECLARED = "`undeclared`: this release has no such command or collection"


def _told(responses: dict[int, str]) -> dict[int | str, dict[str, Any]]:
    """Problems by status, as FastAPI takes what a route can answer."""
    content = {problems.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": text, "content": content} for status, text in responses.items()}


FIND = _told({404: "`not_found`"})
LIST = _told({404: f"`not_held`: of a scope that is not held here; {_UNDECLARED}"})
READ = _told(
    {
        404: f"`not_found`; `not_held`: of a scope that is not held here, or it only goes up and nobody has written it here; {_UNDECLARED}",
        409: "`not_readable`: what is known of it is of a newer release than this agent's",
        410: f"`deleted`; `let_go`: it only goes up, and the cloud alone has it; {_ANY[410]}",
        503: f"`offline`: the answer needs the cloud; {_ANY[503]}",
        504: "`timeout`",
    }
)
WRITE = _told({404: _UNDECLARED, **_WRITES})
DECIDE = _told(
    {
        404: f"`not_found`: no such conflict or command to decide; {_UNDECLARED}",
        410: f"`deleted`; {_ANY[410]}",
        **_WRITES,
    }
)
WITHDRAW = _told(
    {404: "`not_found`: no command that is deferred now", 504: _WRITES[504], 507: "`disk_full`: nothing has changed"}
)
SEEN = _told(
    {
        404: "`not_found`: no rejected command that nobody has looked at",
        504: _WRITES[504],
        507: "`disk_full`: nothing has changed",
    }
)
SET = _told(
    {
        504: "`timeout`: it is under way, and goes on to its end; or one before it is, and nothing has changed: the detail says which"
    }
)
LEAVE = SET | _told(
    {
        409: "`unconfirmed`: commands in a scope that would be left wait for the cloud",
        507: "`disk_full`: nothing has changed",
    }
)
ROTATE = _told(
    {
        503: f"`key_unusable`: the key that wraps cannot be had; nothing has changed. {_ANY[503]}",
        507: "`disk_full`: nothing has changed",
    }
)
READY = _told(
    {503: "`not_ready`: writes are refused, or the replica was never in step; or more connections than the agent takes"}
)
"""What a route can answer besides what all can."""


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
    schemas["OutcomeOut"]["properties"]["problem"] = {"$ref": "#/components/schemas/Problem"}
    paths = document["paths"]
    for path, operations in paths.items():
        for method, operation in operations.items():
            told = _ANY | (_BODIES if method in ("post", "put") else {})
            if path not in OPEN_PATHS:
                told |= _CLOSED
                operation["security"] = [{"token": []}]
            own = {status: response for status, response in operation["responses"].items() if status != "422"}
            operation["responses"] = {str(status): response for status, response in _told(told).items()} | own
    for space in contract.spaces.values():
        for command in space.commands.values():
            operation = _command(paths[GENERIC]["post"], command, schemas)
            paths[GENERIC.replace("{name}", command.name)] = {"post": operation}
    return document


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
