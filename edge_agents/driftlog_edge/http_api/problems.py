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
from driftlog_edge.errors import EdgeError, TimedOut
from driftlog_schemas.contract import InvalidInput, Refused, Undeclared

log = structlog.get_logger()

MEDIA_TYPE = "application/problem+json"
STATUS = {
    "not_found": 404,
    "not_held": 404,
    "unconfirmed": 409,
    "not_readable": 409,
    "deleted": 410,
    "wiped": 410,
    "outbox_full": 507,
    "disk_full": 507,
    "offline": 503,
    "timeout": 504,
    "store_failed": 500,
    "not_ready": 503,
}


def problem(status: int, code: str, title: str, detail: str, **more: Any) -> JSONResponse:
    """One answer. `title` is the kind of problem, `detail` is about this one."""
    body = {"type": f"urn:driftlog:{code}", "title": title, "status": status, "detail": detail, "code": code, **more}
    return JSONResponse(body, status, media_type=MEDIA_TYPE)


def install(api: FastAPI) -> None:
    """Map the project's errors."""

    @api.exception_handler(EdgeError)
    async def edge_error(request: Request, error: EdgeError) -> JSONResponse:
        status = STATUS.get(error.code, 500)
        if status == 500:
            log.error("request failed", path=request.scope["raw_path"].decode(), error=str(error))
        more = {"command_id": error.command_id} if isinstance(error, TimedOut) and error.command_id else {}
        return problem(status, error.code, type(error).__name__, str(error), remedy=error.remedy, **more)

    @api.exception_handler(Refused)
    async def refused(request: Request, error: Refused) -> JSONResponse:
        return problem(409, "refused", "The app's rules refuse this", error.reason or error.code, app_code=error.code)

    @api.exception_handler(Undeclared)
    async def undeclared(request: Request, error: Undeclared) -> JSONResponse:
        return problem(404, "undeclared", "This release does not declare it", error.message, field=error.field)

    @api.exception_handler(InvalidInput)
    async def invalid(request: Request, error: InvalidInput) -> JSONResponse:
        return problem(422, "invalid", "The input cannot be used", error.message, field=error.field)

    @api.exception_handler(AlgebraError)
    async def algebra(request: Request, error: AlgebraError) -> JSONResponse:
        if isinstance(error, TooLarge):
            return problem(413, "too_large", "Over the size guard", error.reason, field=error.field)
        return problem(422, "invalid", "The input cannot be used", error.reason, field=error.field)

    @api.exception_handler(RequestValidationError)
    async def malformed(request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        place = ".".join(str(p) for p in first["loc"] if p not in ("body", "query", "path"))
        return problem(422, "invalid", "The input cannot be used", f"{place}: {first['msg']}", field=place or "body")

    @api.exception_handler(Exception)
    async def defect(request: Request, error: Exception) -> JSONResponse:
        """Of ours or of the app's functions; it is logged with its traceback by the server. Nothing has changed."""
        return problem(500, "failed", "A defect", f"{type(error).__name__}; see the agent's log")

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
    """What can be done with a path. Several routes may share it, and the framework names the methods of one."""
    routes = (route for route in api.routes if isinstance(route, Route))
    return {
        method
        for route in routes
        if route.matches(request.scope)[0] is not Match.NONE
        for method in route.methods or ()
    }
