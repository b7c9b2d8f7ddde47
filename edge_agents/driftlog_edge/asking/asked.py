"""What a command was asked to do, as it is kept until the command is decided: it may have to run again.

Arguments come from HTTP as JSON or from Python as whatever the command's signature takes; kept is the JSON from which the same command
validates the same arguments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from pydantic_core import to_jsonable_python

from driftlog_schemas.contract import Json
from driftlog_schemas.identity import DocumentId

RUN, WRITE, DECIDE = "run", "write", "decide"


def run(arguments: Mapping[str, Any]) -> Json:
    """A declared command with its arguments."""
    return [RUN, _plain(dict(arguments))]


def write(document: DocumentId, changes: Sequence[tuple[str, str, Sequence[Json]]]) -> Json:
    """Changes of one document without a declared command."""
    return [WRITE, list(document), _plain([[field, op, list(args)] for field, op, args in changes])]


def decide(document: DocumentId, chosen: Mapping[str, Json]) -> Json:
    """What a person chose for a conflict."""
    return [DECIDE, list(document), _plain(dict(chosen))]


def _plain(value: Any) -> Json:
    return cast("Json", to_jsonable_python(value, fallback=str))
