"""Errors as RFC 9457 problem details, each with a stable `code`."""

from __future__ import annotations

from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Match, Route

from driftlog_crdt import AlgebraError, TooLarge
from driftlog_edge.errors import EdgeError, Stale, TimedOut
from driftlog_schemas.contract import InvalidInput, OneWay, Refused, Undeclared

log = structlog.get_logger()

MEDIA_TYPE = "application/problem+json"
STATUS = {
    "not_found": 404,
    "not_held": 404,
    "unconfirmed": 409,
    "not_readable": 409,
    "stale": 409,
    "deleted": 410,
    "evicted": 410,
    "let_go": 410,
    "wiped": 410,
    "outbox_full": 507,
    "disk_full": 507,
    "offline": 503,
    "timeout": 504,
    "store_damaged": 503,
    "store_failed": 500,
    "key_unusable": 503,
    "not_ready": 503,
}


def problem(status: int, code: str, title: str, detail: str, **more: Any) -> JSONResponse:
    """One answer. `title` is the kind of problem, `detail` is about this one."""
    return JSONResponse(_body(status, code, title, detail, **more), status, media_type=MEDIA_TYPE)


def told(error: Exception) -> dict[str, Any]:
    """The body that tells of an error of the project's; of any other, that there is a defect."""
    match error:
        case EdgeError():
            more: dict[str, Any] = {}
            if isinstance(error, TimedOut) and error.command_id:
                more["command_id"] = error.command_id
            elif isinstance(error, Stale):
                more["age_seconds"] = error.age_seconds
            status = STATUS.get(error.code, 500)
            return _body(status, error.code, type(error).__name__, str(error), remedy=error.remedy, **more)
        case Refused():
            text = error.reason or error.code
            return _body(409, "refused", "The app's rules refuse this", text, app_code=error.code)
        case Undeclared():
            return _body(404, "undeclared", "This release does not declare it", error.message, field=error.field)
        case OneWay():
            return _body(403, "one_way", "It only comes down to devices", error.message, field=error.field)
        case InvalidInput():
            return _body(422, "invalid", "The input cannot be used", error.message, field=error.field)
        case TooLarge():
            return _body(413, "too_large", "Over the size guard", error.reason, field=error.field)
        case AlgebraError():
            return _body(422, "invalid", "The input cannot be used", error.reason, field=error.field)
    return _body(500, "failed", "A defect", f"{type(error).__name__}; see the agent's log")


def _body(status: int, code: str, title: str, detail: str, **more: Any) -> dict[str, Any]:
    return {"type": f"urn:driftlog:{code}", "title": title, "status": status, "detail": detail, "code": code, **more}


def install(api: FastAPI) -> None:
    """Map the project's errors."""

    async def ours(request: Request, error: Exception) -> JSONResponse:
        body = told(error)
        if body["status"] == 500:
            log.error("request failed", path=request.scope["raw_path"].decode(), error=str(error))
        return JSONResponse(body, body["status"], media_type=MEDIA_TYPE)

    for kind in (EdgeError, Refused, InvalidInput, AlgebraError):
        api.add_exception_handler(kind, ours)

    @api.exception_handler(RequestValidationError)
    async def malformed(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        if first["type"] == "json_invalid":  # its place is a number of characters, and no field
            detail = f"body: is no JSON: {first['ctx']['error']}, at character {first['loc'][-1]}"
            return problem(422, "invalid", "The input cannot be used", detail, field="body")
        where, *parts = map(str, first["loc"])
        place = ".".join(parts).title() if where == "header" else ".".join(parts) or "body"
        return problem(422, "invalid", "The input cannot be used", f"{place}: {first['msg']}", field=place)

    @api.exception_handler(Exception)
    async def defect(request: Request, error: Exception) -> JSONResponse:
        """Of ours or of the app's functions; it is logged with its traceback by the server. Nothing has changed."""
        return JSONResponse(told(error), 500, media_type=MEDIA_TYPE)

    @api.exception_handler(HTTPException)
    async def plain(request: Request, error: HTTPException) -> JSONResponse:
        if error.status_code == 400:  # a body that cannot be parsed
            return problem(422, "invalid", "The input cannot be used", str(error.detail), field="body")
        code = {404: "not_found", 405: "method_not_allowed", 413: "too_large"}.get(error.status_code, "failed")
        answer = problem(error.status_code, code, "Not possible", str(error.detail))
        if error.status_code == 405:
            answer.headers["allow"] = ", ".join(sorted(_methods(api, request)))
        return answer


def _methods(api: FastAPI, request: Request) -> set[str]:
    """What can be done with a path. Several routes may share it, and the framework names the methods of one; what has a GET has a HEAD (`heads`)."""
    routes = (route for route in api.routes if isinstance(route, Route))
    methods = {
        method
        for route in routes
        if route.matches(request.scope)[0] is not Match.NONE
        for method in route.methods or ()
    }
    return methods | {"HEAD"} if "GET" in methods else methods
