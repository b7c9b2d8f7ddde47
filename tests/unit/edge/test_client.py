"""The clients of an agent in another process: what `EdgeAgent` promises in its own, over a socket; and what only the way between can bring."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from driftlog.client import AsyncClient, Client, Unreachable
from driftlog.client.calls import Ask
from driftlog.client.failures import Answered, failure
from driftlog.client.sending import unreachable
from driftlog_crdt import TooLarge
from driftlog_edge import Call, errors
from driftlog_edge.errors import EdgeError, NotFound, NotHeld, Offline, Stale
from driftlog_edge.http_api.access import Access
from driftlog_infra.ports import free_port
from driftlog_infra.security import Security
from driftlog_schemas.contract import InvalidInput, Refused, Undeclared
from driftlog_schemas.identity import DocumentId
from tests.unit.edge.conftest import served
from tests.unit.edge.shop import Stock


class Waited:
    """An `AsyncClient` as a program without a loop would see it."""

    def __init__(self, client: AsyncClient, loop: asyncio.Runner) -> None:
        self._client, self._loop = client, loop

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._client, name)

        def call(*given: Any, **named: Any) -> Any:
            found = method(*given, **named)
            return self._each(found) if hasattr(found, "__anext__") else self._loop.run(found)

        return call

    def _each(self, found: Any) -> Iterator[Any]:
        try:
            while True:
                yield self._loop.run(anext(found))
        except StopAsyncIteration:
            return
        finally:
            self._loop.run(found.aclose())


@pytest.fixture(params=[Client, AsyncClient], ids=["without a loop", "with a loop"])
def edge(request: pytest.FixtureRequest, url: str) -> Iterator[Any]:
    if request.param is Client:
        with Client(url) as client:
            yield client
        return
    with asyncio.Runner() as loop:
        client = AsyncClient(url)
        yield Waited(client, loop)
        loop.run(client.aclose())


def test_commands_reads_and_their_answers(edge: Any, request: pytest.FixtureRequest) -> None:
    sku = request.node.name
    first = edge.run("receive", store="s1", sku=sku, qty=3, command_id=f"{sku}-1", actor="Łukasz")
    assert (first.result, first.status, first.command_id) == (3, "pending", f"{sku}-1")
    assert edge.run("receive", store="s1", sku=sku, qty=3, command_id=f"{sku}-1").dots == first.dots, "once"
    merged = edge.run_with("receive", {"store": "s1", "sku": sku, "qty": 4}, wait="merged", seconds=20.0)
    assert merged.status == "merged"
    edge.write(DocumentId("Stock", "s1", sku), [("name", "set", ["Tea"])], wait="merged", seconds=20.0)

    reading = edge.read(Stock, "s1", sku, session=merged.session, consistency="causal")
    assert (reading.id, reading.value["on_hand"], reading.value["name"]) == (sku, 7, "Tea")
    assert edge.read("Stock", "s1", sku, consistency="strong", max_age=10.0).value["on_hand"] == 7
    assert edge.command(f"{sku}-1").status == "merged"
    assert edge.run("stock_take", store="s1", sku=sku).result == 7


def test_an_actor_is_who_was_named(url: str) -> None:
    with Client(url) as edge:
        done = edge.run("receive", store="s1", sku="named", qty=1, actor="张伟 Ł", command_id="ключ-1")
        assert done.command_id == "ключ-1"
    lines = httpx.get(f"{url}/v1/log").json()["commands"]
    assert [line["actor"] for line in lines if line["command_id"] == "ключ-1"] == ["张伟 Ł"]


def test_many_commands_each_with_its_own_outcome(edge: Any, request: pytest.FixtureRequest) -> None:
    tea = {"store": "s1", "sku": request.node.name}
    one, two, three = edge.run_many(
        [Call("receive", {**tea, "qty": 1}), Call("sell", {**tea, "qty": 9}), Call("receive", {**tea, "qty": 1})]
    )
    assert (one.result, three.result) == (1, 2)
    assert isinstance(two, Refused) and two.code == "out_of_stock"


def test_all_documents_of_a_scope(edge: Any) -> None:
    for number in range(3):
        edge.run("receive", store="s2", sku=f"p/{number}", qty=1)
    assert [id for id, _ in edge.page(Stock, "s2", 2)] == ["p/0", "p/1"]
    assert [reading.id for reading in edge.documents(Stock, "s2")] == ["p/0", "p/1", "p/2"]
    assert [id for id, _ in edge.page("Stock", "s2", after="p/1")] == ["p/2"]


def test_what_is_refused_is_the_same_error_as_in_the_agent(edge: Any) -> None:
    with pytest.raises(Refused) as refused:
        edge.run("sell", store="s1", sku="none", qty=1)
    assert refused.value.code == "out_of_stock"
    with pytest.raises(InvalidInput) as invalid:
        edge.run("receive", store="s1", sku="tea", qty=-1)
    assert invalid.value.field == "qty" and str(invalid.value).count("qty") == 1
    with pytest.raises(Undeclared):
        edge.run("no_such")
    with pytest.raises(TooLarge):
        edge.run("rename", store="s1", sku="tea", name="x" * 5000)
    with pytest.raises(NotFound):
        edge.read(Stock, "s1", "nothing here")
    with pytest.raises(NotHeld) as held:
        edge.read(Stock, "elsewhere", "tea")
    assert "scopes --add" in held.value.remedy
    with pytest.raises(NotFound):
        edge.conflict("no such")
    with pytest.raises(NotFound):
        edge.review_apply("no such")


@pytest.mark.parametrize("actor", ["a\nb", " a", "a\x00"])
def test_what_no_header_carries_is_refused_before_it_is_sent(url: str, actor: str) -> None:
    with Client(url) as edge, pytest.raises(InvalidInput, match="actor"):
        edge.run("receive", store="s1", sku="tea", qty=1, actor=actor)


def test_the_agent_is_operated(edge: Any) -> None:
    assert edge.scopes() == ["s1", "s2"]
    assert edge.hold(["s1", "s2"], seconds=20.0) == ["s1", "s2"]
    assert (edge.conflicts(), edge.review()) == ([], [])
    edge.offline()
    assert edge.status()["connection"] == "OFFLINE"
    with pytest.raises(Offline):
        edge.read(Stock, "s1", "tea", consistency="strong")
    edge.online()


def test_changes_are_watched_from_an_event_on(edge: Any, request: pytest.FixtureRequest) -> None:
    sku = request.node.name
    changes = edge.watch(Stock, "s1", last_id="another-life-1")
    anew = next(changes)
    assert anew.document is None, "read everything again"
    edge.run("receive", store="s1", sku=sku, qty=1)
    assert sku in each(changes, until=sku)
    changes.close()
    edge.run("receive", store="s1", sku=f"{sku} later", qty=1)
    missed = edge.watch(Stock, "s1", last_id=anew.id)
    found = each(missed, until=f"{sku} later")
    assert [id for id in found if id.startswith(sku)] == [sku, f"{sku} later"]
    missed.close()


def each(changes: Iterator[Any], until: str) -> list[str]:
    """The ids of the documents that change up to this one, each once: a change that merges meanwhile is told again, and others have theirs."""
    seen: dict[str, None] = {}
    for change in changes:
        seen[change.document.id] = None
        if change.document.id == until:
            break
    return list(seen)


def test_a_watch_of_what_is_not_held_is_refused(edge: Any) -> None:
    with pytest.raises(NotHeld):
        next(edge.watch(Stock, "elsewhere"))


# -- the way between


@pytest.mark.parametrize("client", [Client, AsyncClient])
def test_without_an_agent_there_is_an_end_and_a_command_may_be_given_again(client: type[Any]) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with asyncio.Runner() as loop:

        def waited(found: Any) -> Any:
            return loop.run(found) if asyncio.iscoroutine(found) else found

        nobody = client(url)
        with pytest.raises(Unreachable, match="no agent answers at") as reads:
            waited(nobody.read("Stock", "s1", "tea", seconds=0.2))
        assert reads.value.command_id == ""
        with pytest.raises(Unreachable) as writes:
            waited(nobody.run_with("receive", {}, seconds=0.2, command_id="mine"))
        assert writes.value.command_id == "mine" and "mine" in writes.value.remedy


@pytest.fixture
def strangers_url(tmp_path: Path) -> Iterator[str]:
    """A server with TLS, whose certificate nobody knows who issued."""
    security = Security(tmp_path)
    security.ensure()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(security.certificate, security.key)
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        serving.start()
        yield f"https://127.0.0.1:{server.server_port}"
        server.shutdown()
        serving.join()


def test_over_https_a_strangers_certificate_is_not_believed(strangers_url: str) -> None:
    with Client(strangers_url) as client, pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        client._http.get("/healthz")

    async def ask() -> None:
        async with AsyncClient(strangers_url) as client:
            await client._http.get("/healthz")

    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        asyncio.run(ask())


@pytest.mark.parametrize("client", [Client, AsyncClient])
def test_the_systems_authorities_are_read_once_for_a_client_and_by_none_without_tls(
    client: type[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[ssl.SSLContext] = []
    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", lambda self, *_, **__: read.append(self), raising=True)
    monkeypatch.setattr(ssl.SSLContext, "load_default_certs", lambda self, *_: read.append(self), raising=True)
    client("https://edge.example:7420")
    assert len(read) == 1
    client("http://127.0.0.1:7420")
    client("unix:/run/edge.sock")
    assert len(read) == 1


def test_a_token_that_is_wrong_is_told(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("not the one\n")
    with (
        served(tmp_path, Access(token="the right one, which is long")) as url,
        Client(url, token_file=tmp_path / "token") as edge,
        pytest.raises(EdgeError, match="unauthorized"),
    ):
        edge.status()


def test_what_is_no_agent_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client("http://127.0.0.1:1")
    monkeypatch.setattr(client._http, "send", lambda request: httpx.Response(200, text="<html>", request=request))
    with pytest.raises(Answered, match="no edge agent"):
        client.status()


class Page(BaseHTTPRequestHandler):
    """A web server that answers whatever is asked with a page."""

    status, asked = 200, 0

    def do_GET(self) -> None:
        type(self).asked += 1
        self.send_response(self.status)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<html>")

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.mark.parametrize("client", [Client, AsyncClient])
@pytest.mark.parametrize("status", [200, 404])
def test_a_watch_of_what_is_no_agent_is_told_and_not_asked_for_again(client: type[Any], status: int) -> None:
    handler = type("Handler", (Page,), {"status": status})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        changes = client(f"http://127.0.0.1:{server.server_port}").watch("Stock")
        with pytest.raises(Answered, match="no edge agent"):
            next(changes) if client is Client else asyncio.run(anext(changes))
        assert handler.asked == 1
    finally:
        server.shutdown()
        server.server_close()


async def test_however_many_watch_through_one_client_its_requests_are_answered(url: str) -> None:
    """Watchers had all of a client's connections, and a command was told that no agent answers."""
    async with AsyncClient(url) as edge:
        watches = [edge.watch("Stock", last_id="another-life-1") for _ in range(120)]
        for change in await asyncio.gather(*map(anext, watches)):
            assert change.document is None
        assert (await edge.run("receive", store="s1", sku="watched by many", qty=1)).result == 1
        for watch in watches:
            await watch.aclose()


def test_a_request_that_got_no_answer_is_sent_again_under_the_same_id(monkeypatch: pytest.MonkeyPatch) -> None:
    keys: list[str] = []

    def send(request: httpx.Request) -> httpx.Response:
        keys.append(request.headers["Idempotency-Key"])
        if len(keys) < 3:
            raise httpx.ReadError("the connection broke")
        body = {"command_id": keys[-1], "status": "pending", "result": 1, "dots": [], "session": ""}
        return httpx.Response(200, json=body, request=request)

    client = Client("http://127.0.0.1:1")
    monkeypatch.setattr(client._http, "send", send)
    assert client.run("receive").command_id == keys[0]
    assert len(keys) == 3 and len(set(keys)) == 1


def test_a_decision_that_got_no_answer_is_not_made_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[httpx.Request] = []

    def send(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        raise httpx.ReadError("the connection broke")

    client = Client("http://127.0.0.1:1")
    monkeypatch.setattr(client._http, "send", send)
    with pytest.raises(Unreachable):
        client.review_apply("c1")
    assert len(sent) == 1


@pytest.mark.parametrize(
    "kind", [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, EdgeError)]
)
def test_each_problem_has_its_error_with_the_words_of_the_agent(kind: type[EdgeError]) -> None:
    error: Any = failure({"code": kind.code, "detail": "it went wrong", "remedy": "mend it", "age_seconds": 3.5})
    assert isinstance(error, kind) and str(error) == "it went wrong"
    assert error.remedy == "mend it" or isinstance(error, Stale), "that one knows its own"


def test_what_problems_say_besides_is_in_their_errors() -> None:
    late: Any = failure({"code": "timeout", "detail": "late", "command_id": "c"})
    old: Any = failure({"code": "stale", "detail": "old", "age_seconds": 3.5})
    assert (late.command_id, old.age_seconds) == ("c", 3.5)
    assert isinstance(failure({"code": "of_next_year", "detail": "?"}), Answered)


def test_a_client_needs_nothing_of_what_an_agent_is_made_of() -> None:
    code = (
        "import sys; from driftlog import Client, AsyncClient; Client(); "
        "print([m for m in ('rocksdict', 'fastapi', 'uvicorn', 'confluent_kafka', 'faust') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


def test_an_error_without_words_is_named() -> None:
    assert "ReadTimeout" in str(unreachable("http://edge", httpx.ReadTimeout("")))
    assert Ask("GET", "/", dict).again
