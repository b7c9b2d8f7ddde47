"""Signing in and out with a browser."""

from __future__ import annotations

from urllib.parse import urlsplit

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from driftlog_console.asking import Sent, TheDesk
from driftlog_console.sessions import COOKIE, SECONDS

router = APIRouter()
FIRST = "/inbox"


@router.get("/sign-in")
async def ask(request: Request, desk: TheDesk, next: str = FIRST) -> Response:
    """The form."""
    return desk.page(request, "sign_in.html", None, following=_ours(next), wrong=False)


@router.post("/sign-in")
async def sign_in(request: Request, desk: TheDesk, sent: Sent) -> Response:
    """A token in, a session out."""
    following = _ours(sent.text("next"))
    person = desk.people.with_token(sent.text("token").strip())
    if person is None:
        return desk.page(request, "sign_in.html", None, 403, following=following, wrong=True)
    answer = RedirectResponse(following, 303)
    answer.set_cookie(
        COOKIE,
        desk.sessions.begin(person),
        max_age=int(SECONDS),
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return answer


@router.post("/sign-out")
async def sign_out(request: Request, desk: TheDesk) -> Response:
    """The session ends here and there."""
    desk.sessions.end(request.cookies.get(COOKIE, ""))
    answer = RedirectResponse("/sign-in", 303)
    answer.delete_cookie(COOKIE)
    return answer


def _ours(path: str) -> str:
    """A page of this console, whatever the address says."""
    parts = urlsplit(path)
    plain = path.startswith("/") and not path.startswith(("//", "/\\")) and not parts.scheme and not parts.netloc
    return path if plain and path.isprintable() else FIRST
