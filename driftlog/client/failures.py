"""What an agent's problem details say, as the errors that the agent itself would have raised in the caller's process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from driftlog_crdt import TooLarge
from driftlog_edge import errors
from driftlog_edge.errors import EdgeError, Evicted, Stale, TimedOut
from driftlog_schemas.contract import InvalidInput, OneWay, Refused, Undeclared
from driftlog_schemas.identity import DocumentId

NO_PLACE = ("", -1)
"""Of a state partition that only the agent knows."""
NO_DOCUMENT = DocumentId("", "", "")
"""Of a document that only the message names."""


class Unreachable(EdgeError):
    """No agent has answered in the time given. With a `command_id` the write may stand or not: ask for it, or give it again under that id."""

    code = "unreachable"

    def __init__(self, message: str, remedy: str = "", command_id: str = "") -> None:
        super().__init__(message, remedy)
        self.command_id = command_id


class Answered(EdgeError):
    """A problem that no agent in this process could have: of the door, or of a newer release."""

    code: ClassVar[str] = "failed"

    def __init__(self, told: Mapping[str, Any]) -> None:
        super().__init__(f"{told.get('code', 'failed')}: {told.get('detail', '')}", str(told.get("remedy", "")))
        self.told = dict(told)


def failure(told: Mapping[str, Any]) -> Exception:
    """The error of a problem body."""
    code, detail, remedy = str(told.get("code", "")), str(told.get("detail", "")), str(told.get("remedy", ""))
    field = str(told.get("field", ""))
    detail = detail.removeprefix(f"{field}: ") if field else detail  # the error says it by itself
    match code:
        case "refused":
            app_code = str(told.get("app_code", ""))
            return Refused(app_code, "" if detail == app_code else detail)
        case "invalid":
            return InvalidInput(field, detail)
        case "one_way":
            return OneWay(field, detail)
        case "undeclared":
            return Undeclared(field, detail)
        case "too_large":
            return TooLarge(field, detail)
        case "stale":
            return Stale(detail, NO_PLACE, told.get("age_seconds"))
        case "evicted":
            return Evicted(detail, remedy, NO_DOCUMENT)
        case "timeout":
            return TimedOut(detail, remedy, str(told.get("command_id", "")))
    kind = _KINDS.get(code)
    return Answered(told) if kind is None else kind(detail, remedy)


_KINDS: Mapping[str, type[EdgeError]] = {
    kind.code: kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, EdgeError)
}
