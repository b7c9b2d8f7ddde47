"""Every route names the right that it takes, and nothing is answered to a page of somebody else's."""

from __future__ import annotations

import httpx
import pytest
from fastapi.routing import APIRoute
from starlette.routing import Mount

from driftlog_console.app import PUBLIC, build
from driftlog_console.gate import HEADERS
from driftlog_console.people import Right
from tests.unit.console.conftest import HOST, OURS, Console, conflict


def pages_of(console: Console) -> list[APIRoute]:
    """All routes; what serves anything else is static."""
    found: list[APIRoute] = []
    for route in build(console.desk).routes:
        if isinstance(route, APIRoute):
            found.append(route)
        else:
            assert isinstance(route, Mount)
            assert route.path == "/static"
    assert len(found) > len(PUBLIC)
    return found


def rights_of(route: APIRoute) -> set[Right]:
    """Those that its dependencies ask for."""
    found: set[Right] = set()
    todo = list(route.dependant.dependencies)
    while todo:
        one = todo.pop()
        if (right := getattr(one.call, "right", None)) is not None:
            found.add(right)
        todo += one.dependencies
    return found


async def test_every_route_takes_a_right_and_what_changes_something_takes_more_than_looking(console: Console) -> None:
    pages = pages_of(console)
    assert {r.path for r in pages if not rights_of(r)} == PUBLIC
    for route in pages:
        if "POST" in route.methods and route.path not in PUBLIC:
            assert rights_of(route) & {Right.DECIDE, Right.OPERATE}, route.path
        assert route.methods <= {"GET", "POST"}


async def test_who_is_not_signed_in_sees_nothing(console: Console) -> None:
    await console.opened(conflict())
    async with console.browser() as nobody:
        for route in pages_of(console):
            if route.path in PUBLIC:
                continue
            path = route.path.replace("{", "").replace("}", "")
            for method in route.methods:
                answer = await nobody.request(method, path, headers=OURS)
                if method == "GET":
                    assert answer.status_code == 303
                    assert answer.headers["location"].startswith("/sign-in?next=%2F")
                else:
                    assert answer.status_code == 401
                assert "Anna" not in answer.text


async def test_who_may_only_look_changes_nothing(console: Console) -> None:
    one = conflict()
    await console.opened(one)
    async with console.client("bob") as bob:
        for path in ("/inbox", f"/conflicts/{one.id}", f"/conflicts/{one.id}/undo", "/waiting"):
            answer = await bob.post(path, data={"id": one.id, "choice": "standing"}, headers=OURS)
            assert (answer.status_code, "may not" in answer.text) == (403, True), path
        page = await bob.get(f"/conflicts/{one.id}")
        assert "<button name=" not in page.text
    assert console.desk.deciding.made(one) == []


async def test_another_scope_is_as_if_it_were_not_there(console: Console) -> None:
    one = conflict()
    await console.opened(one)
    async with console.client("bob", Right.DECIDE, scopes=("s2",)) as bob:
        assert "tea" not in (await bob.get("/inbox")).text
        for path in ("/documents/Stock/s1", "/documents/Stock/s1/tea"):
            assert (await bob.get(path)).status_code == 403, path
        answer = await bob.get(f"/conflicts/{one.id}")
        nothing = await bob.get(f"/conflicts/{'x' * len(one.id)}")
        assert (answer.status_code, answer.text.replace(one.id, "x" * len(one.id))) == (404, nothing.text)
        for path, form in (
            (f"/conflicts/{one.id}", {"choice": "x", "times": "0"}),
            (f"/conflicts/{one.id}/undo", {"do": "undo"}),
            (f"/conflicts/{one.id}/claim", {"do": "claim", "hours": "1"}),
            ("/inbox", {"id": one.id, "choice": "standing"}),
        ):
            answer = await bob.post(path, data=form, headers=OURS)
            assert (answer.status_code, "Anna" in answer.text, "s1" in answer.text) == (404, False, False), path
    assert console.desk.deciding.made(one) == []


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "none"},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {},
    ],
)
async def test_a_page_of_somebody_elses_changes_nothing(console: Console, headers: dict[str, str]) -> None:
    token = console.people.add("anna", [Right.DECIDE])
    async with console.browser() as browser:
        await signed_in(browser, token)
        answer = await browser.post("/inbox", data={"id": "x", "choice": "standing"}, headers=headers)
        assert (answer.status_code, "own pages" in answer.text) == (403, True)


async def test_an_older_browser_says_so_by_origin_and_a_program_by_its_token(console: Console) -> None:
    one = conflict()
    await console.opened(one)
    async with console.client("anna", Right.DECIDE) as program:
        answer = await program.post("/inbox", data={"id": one.id, "choice": "standing"})
        assert answer.status_code == 303
        own = {"origin": "http://127.0.0.1:7430"}
        assert (await program.post("/inbox", data={"id": one.id, "choice": "standing"}, headers=own)).status_code == 303


async def test_another_name_in_host_is_refused(console: Console) -> None:
    async with console.client() as anna:
        assert (await anna.get("/inbox", headers={"host": "evil.example"})).status_code == 403


async def test_every_answer_forbids_what_is_not_ours(console: Console) -> None:
    async with console.client() as anna:
        for path in ("/inbox", "/nothing", "/static/console.js", "/healthz"):
            answer = await anna.get(path)
            assert {name: answer.headers[name] for name in HEADERS} == HEADERS
        assert "unsafe" not in HEADERS["content-security-policy"]
        assert (await anna.get("/inbox")).headers["cache-control"] == "no-store"


async def test_signing_in_and_out(console: Console) -> None:
    token = console.people.add("anna")
    async with console.browser() as browser:
        wrong = await browser.post("/sign-in", data={"token": "x", "next": "/fleet"}, headers=OURS)
        assert (wrong.status_code, "Nobody has this token" in wrong.text) == (403, True)
        answer = await signed_in(browser, token, "/fleet")
        assert answer.headers["location"] == "/fleet"
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert (await browser.get("/fleet")).status_code == 200
        await browser.post("/sign-out", headers=OURS)
        assert (await browser.get("/fleet")).status_code == 303


@pytest.mark.parametrize(
    "elsewhere", ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:1", ""]
)
async def test_signing_in_leads_nowhere_else(console: Console, elsewhere: str) -> None:
    token = console.people.add("anna")
    async with console.browser() as browser:
        assert (await signed_in(browser, token, elsewhere)).headers["location"] == "/inbox"


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"id=1", "text/plain"),
        (b"\xff\xff", "application/x-www-form-urlencoded"),
        (b"novalue", "application/x-www-form-urlencoded"),
        (b"id=1&" * 3000 + b"x=1", "application/x-www-form-urlencoded"),
        (b"id=" + b"x" * 300_000, "application/x-www-form-urlencoded"),
        (b"choice=x", "application/x-www-form-urlencoded"),
    ],
)
async def test_a_form_that_no_page_of_ours_sends(console: Console, content: bytes, kind: str) -> None:
    async with console.client("anna", Right.DECIDE) as anna:
        answer = await anna.post("/inbox", content=content, headers={"content-type": kind})
        assert answer.status_code == 422


async def signed_in(browser: httpx.AsyncClient, token: str, following: str = "/inbox") -> httpx.Response:
    """The answer to the sign-in; the browser keeps its cookie."""
    answer = await browser.post("/sign-in", data={"token": token, "next": following}, headers=OURS)
    assert answer.status_code == 303
    return answer


async def test_whose_session_is_over_is_told_so_and_comes_back_to_the_page(console: Console) -> None:
    """A person with a browser was told of a header that no person can send, with no way to sign in."""
    came_from = {**OURS, "referer": f"{HOST}/conflicts/c1?seen=1"}
    async with console.browser() as nobody:
        answer = await nobody.post("/conflicts/c1", data={"choice": "standing"}, headers=came_from)
        assert answer.status_code == 401 and "your session is over, and nothing has been changed" in answer.text
        assert '<a href="/sign-in?next=%2Fconflicts%2Fc1">Sign in</a>' in answer.text and "Bearer" not in answer.text
        form = await nobody.get("/sign-in?next=%2Fconflicts%2Fc1")
        assert 'name="next" value="/conflicts/c1"' in form.text
