"""The console's routes, and what becomes of their errors.

A route that does not say which right it takes is a defect: `PUBLIC` names the few that need none, and a test walks over all of them.
"""

from __future__ import annotations

from urllib.parse import quote, urlsplit

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles

from driftlog_console.asking import BadForm, NotAllowed, SignInFirst, asker
from driftlog_console.desk import STATIC, Desk, address_of
from driftlog_console.errors import ConsoleError
from driftlog_console.pages import (
    claiming,
    conflict,
    device,
    documents,
    export,
    fleet,
    flow,
    groups,
    inbox,
    live,
    notices,
    rules,
    signing_in,
    waiting,
)
from driftlog_edge.errors import EdgeError, NotReady
from driftlog_edge.http_api.path_parts import ExactNames
from driftlog_edge.http_api.problems import STATUS
from driftlog_schemas.contract import InvalidInput, Undeclared

PUBLIC = frozenset({"/sign-in", "/sign-out", "/healthz", "/readyz"})
"""Besides what stands under `/static/`."""


def build(desk: Desk) -> FastAPI:
    """The console of a running agent."""
    app = FastAPI(title="Driftlog console", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.desk = desk
    app.add_middleware(ExactNames)
    for pages in (
        signing_in,
        inbox,
        groups,
        rules,
        export,
        conflict,
        claiming,
        waiting,
        fleet,
        device,
        flow,
        notices,
        documents,
        live,
    ):
        app.router.routes.extend(pages.router.routes)  # to include the router would make each of its routes anew
    _vital(app, desk)
    app.mount("/static", StaticFiles(directory=STATIC))
    _errors(app, desk)
    return app


def _vital(app: FastAPI, desk: Desk) -> None:
    @app.get("/healthz", response_class=PlainTextResponse)
    async def healthz() -> str:
        """Alive."""
        return "ok"

    @app.get("/readyz", response_class=PlainTextResponse)
    async def readyz() -> str:
        """Ready: the replica was in step at least once, and the fleet was read."""
        desk.agent.ready()
        if desk.fleet.seen.members is None:
            raise NotReady(desk.fleet.seen.problem or "the fleet was not read yet", "see whether the broker answers")
        return "ready"


def _errors(app: FastAPI, desk: Desk) -> None:
    def told(request: Request, status: int, text: str, remedy: str = "", following: str = "") -> Response:
        if "text/html" not in request.headers.get("accept", ""):
            return PlainTextResponse(text + (f"; {remedy}" if remedy else "") + "\n", status)
        try:
            person = asker(request)
        except (SignInFirst, ConsoleError):
            person = None
        return desk.page(request, "problem.html", person, status, text=text, remedy=remedy, following=following)

    @app.exception_handler(SignInFirst)
    async def unknown(request: Request, error: SignInFirst) -> Response:
        if request.method == "GET" and "text/html" in request.headers.get("accept", ""):
            return RedirectResponse(f"/sign-in?next={quote(address_of(request), safe='')}", 303)
        if came_from := urlsplit(
            request.headers.get("referer", "")
        ).path:  # the gate lets only our own pages change something
            what, remedy = "your session is over, and nothing has been changed", "sign in, and do it once more"
            return told(request, 401, what, remedy, f"/sign-in?next={quote(came_from, safe='')}")
        return told(request, 401, "sign in first", "send 'Authorization: Bearer ' and your token")

    @app.exception_handler(NotAllowed)
    async def not_allowed(request: Request, error: NotAllowed) -> Response:
        return told(request, 403, str(error))

    @app.exception_handler(BadForm)
    async def bad_form(request: Request, error: BadForm) -> Response:
        return told(request, 422, str(error))

    @app.exception_handler(RequestValidationError)
    async def malformed(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        return told(request, 422, f"{'.'.join(map(str, first['loc'][1:]))}: {first['msg']}")

    @app.exception_handler(EdgeError)
    async def edge(request: Request, error: EdgeError) -> Response:
        return told(request, STATUS.get(error.code, 500), str(error), error.remedy)

    @app.exception_handler(InvalidInput)
    async def invalid(request: Request, error: InvalidInput) -> Response:
        return told(request, 404 if isinstance(error, Undeclared) else 422, str(error))

    @app.exception_handler(ConsoleError)
    async def ours(request: Request, error: ConsoleError) -> Response:
        return told(request, error.status, str(error), error.remedy)

    @app.exception_handler(HTTPException)
    async def plain(request: Request, error: HTTPException) -> Response:
        return told(request, error.status_code, "there is no such page" if error.status_code == 404 else error.detail)
