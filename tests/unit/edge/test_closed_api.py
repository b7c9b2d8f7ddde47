"""The local API is closed to strangers: other users, web pages, slow and endless callers, hostile bytes."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import socket
import stat
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

import httpx
import pytest
import structlog

from driftlog.client.place import TokenAuth
from driftlog_edge import EdgeAgent, EdgeConfig
from driftlog_edge.errors import StoreFailed
from driftlog_edge.http_api import connections, server
from driftlog_edge.http_api.access import open_to_others
from driftlog_edge.http_api.listening import PortTaken, listen
from driftlog_infra.ports import free_port
from driftlog_schemas.errors import BadSetting
from driftlog_schemas.registry import FixedIds
from tests.unit.edge.cloud import Cloud, CloudRoute
from tests.unit.edge.serving import api_of
from tests.unit.edge.shop import CONTRACT
from tests.unit.edge.test_http import RECEIVE, problem


class _Server(server.Server):
    """Ends when the test says so, not at a signal."""

    running: ClassVar[list[_Server]] = []

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        self.running.append(self)
        yield
        self.running.remove(self)


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch, ids: FixedIds) -> Iterator[None]:
    """`serve` runs its agents beside a cloud in this process."""
    monkeypatch.setattr(
        server, "EdgeAgent", lambda app, config: EdgeAgent(app, config, route=CloudRoute(Cloud(ids)), ids=ids)
    )
    monkeypatch.setattr(server, "Server", _Server)
    with ExitStack() as apis:
        monkeypatch.setattr(server, "build", lambda agent: apis.enter_context(api_of(agent)))
        yield


@asynccontextmanager
async def serving(config: EdgeConfig) -> AsyncIterator[None]:
    task = asyncio.create_task(server.serve(CONTRACT, config))
    try:
        async with asyncio.timeout(30):
            while not task.done() and not await _answers(config):  # noqa: ASYNC110  # asked from outside, as a user would
                await asyncio.sleep(0.01)
        yield
    finally:
        for running in _Server.running:
            running.should_exit = True
        await task


async def _answers(config: EdgeConfig) -> bool:
    try:
        async with client(config) as http:
            return (await http.get("/healthz")).is_success
    except httpx.TransportError:
        return False


def client(config: EdgeConfig, **options: Any) -> httpx.AsyncClient:
    if config.http_socket is not None:
        transport = httpx.AsyncHTTPTransport(uds=str(config.http_socket), verify=False)
        return httpx.AsyncClient(transport=transport, base_url="http://edge", **options)
    return httpx.AsyncClient(base_url=f"http://127.0.0.1:{config.http_port}", trust_env=False, verify=False, **options)


@pytest.fixture
async def port(in_process: None, config: EdgeConfig) -> AsyncIterator[EdgeConfig]:
    on_port = config.model_copy(update={"http_port": free_port()})
    async with serving(on_port):
        yield on_port


def token(config: EdgeConfig) -> TokenAuth:
    return TokenAuth(config.data_dir / "token")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# -- the token


async def test_without_the_token_nothing_but_liveness_is_told(port: EdgeConfig) -> None:
    async with client(port) as http:
        for path in ("/v1/status", "/v1/watch", "/metrics", "/openapi.json", "/v1/nonsense"):
            answer = await http.get(path)
            problem(answer, 401, "unauthorized")
            assert answer.headers["www-authenticate"] == "Bearer"
        problem(await http.post("/v1/commands/receive", json=RECEIVE), 401, "unauthorized")
        for wrong in ("Bearer wrong", "Basic dG9rZW4=", "Bearer", "Bearer \xe9"):
            headers = {"Authorization": wrong.encode("latin-1")}
            problem(await http.get("/v1/status", headers=headers), 401, "unauthorized")  # type: ignore[arg-type]
        assert (await http.get("/healthz")).text == "ok"
        assert (await http.get("/readyz")).status_code in (200, 503)
    async with client(port, auth=token(port)) as http:
        assert (await http.post("/v1/commands/receive", json=RECEIVE)).json()["result"] == 5


async def test_token_and_folder_are_the_owners_alone(port: EdgeConfig) -> None:
    assert mode(port.data_dir) == 0o700
    assert mode(port.data_dir / "token") == 0o600


async def test_the_token_stays_over_a_restart_and_a_loose_mode_is_mended(in_process: None, config: EdgeConfig) -> None:
    on_port = config.model_copy(update={"http_port": free_port()})
    async with serving(on_port):
        first = (config.data_dir / "token").read_text()
    (config.data_dir / "token").chmod(0o644)
    config.data_dir.chmod(0o755)
    async with serving(on_port):
        assert (config.data_dir / "token").read_text() == first
        assert (mode(config.data_dir), mode(config.data_dir / "token")) == (0o700, 0o600)


# -- pages


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "evil.example:7420"},
        {"Host": "127.0.0.1.evil.example"},
        {"Host": ""},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:1"},
    ],
)
async def test_a_web_page_is_not_let_in_even_with_the_token(port: EdgeConfig, headers: dict[str, str]) -> None:
    async with client(port, auth=token(port)) as http:
        answer = await http.post("/v1/commands/receive", json=RECEIVE, headers=headers)
        problem(answer, 403, "forbidden_origin")
        assert "access-control-allow-origin" not in answer.headers
        problem(await http.get("/healthz", headers=headers), 403, "forbidden_origin")


async def test_names_of_loopback_and_those_of_the_settings_are_the_agents_own(
    in_process: None, config: EdgeConfig
) -> None:
    on_port = config.model_copy(update={"http_port": free_port(), "http_hosts": ["till.shop"]})
    async with serving(on_port), client(on_port, auth=token(on_port)) as http:
        for host in ("localhost:1234", "[::1]:80", "TILL.shop", f"127.0.0.1:{on_port.http_port}"):
            assert (await http.get("/v1/status", headers={"Host": host})).status_code == 200
        same = {"Host": "localhost:7420", "Origin": "http://localhost:7420"}
        assert (await http.get("/v1/status", headers=same)).status_code == 200


# -- where it listens


async def test_a_unix_socket_asks_for_no_token_and_is_the_owners_alone(in_process: None, config: EdgeConfig) -> None:
    on_path = config.model_copy(update={"http_socket": config.data_dir.parent / "edge.sock"})
    async with serving(on_path), client(on_path) as http:
        assert mode(on_path.http_socket) == 0o600
        assert (await http.post("/v1/commands/receive", json=RECEIVE)).json()["result"] == 5
        problem(await http.get("/v1/status", headers={"Origin": "http://evil.example"}), 403, "forbidden_origin")
        with pytest.raises(PortTaken, match="somebody listens"):
            listen(on_path)
        assert (await http.get("/healthz")).text == "ok", "the live one is still there"
    assert not on_path.http_socket.exists()


def test_what_a_dead_agent_left_is_removed_and_a_foreign_file_is_not(config: EdgeConfig, tmp_path: Path) -> None:
    path = tmp_path / "edge.sock"
    on_path = config.model_copy(update={"http_socket": path})
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()
    listen(on_path).close()

    path.unlink()
    path.write_text("my thesis")
    with pytest.raises(PortTaken, match="no socket"):
        listen(on_path)
    assert path.read_text() == "my thesis"


async def test_who_ends_leaves_the_socket_of_another_agent_that_took_the_place(
    in_process: None, config: EdgeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An agent that was told to end listens no more, and takes a while to close: another one finds its socket dead."""
    path = config.data_dir.parent / "edge.sock"
    on_path = config.model_copy(update={"http_socket": path})
    taken: list[socket.socket] = []
    shut = EdgeAgent.__aexit__

    async def slowly(agent: EdgeAgent, *error: Any) -> None:
        taken.append(listen(on_path))
        await shut(agent, *error)

    monkeypatch.setattr(EdgeAgent, "__aexit__", slowly)
    async with serving(on_path):
        pass
    with socket.socket(socket.AF_UNIX) as caller:
        caller.connect(str(path))
    taken[0].close()


def test_of_those_that_start_at_once_on_a_dead_socket_one_listens(
    config: EdgeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All may have found it dead; none removes what another has just made."""
    path = tmp_path / "edge.sock"
    on_path = config.model_copy(update={"http_socket": path})
    unlink, pauses = Path.unlink, iter(count())

    def one_after_another(self: Path, missing_ok: bool = False) -> None:
        time.sleep(0.05 * (next(pauses) % 4))
        unlink(self, missing_ok)

    monkeypatch.setattr(Path, "unlink", one_after_another)
    for _ in range(3):
        left = socket.socket(socket.AF_UNIX)
        left.bind(str(path))
        left.close()
        results: list[socket.socket | None] = []

        def start() -> None:
            try:
                results.append(listen(on_path))  # noqa: B023  # joined below
            except PortTaken:
                results.append(None)  # noqa: B023

        starts = [threading.Thread(target=start) for _ in range(4)]
        for thread in starts:
            thread.start()
        for thread in starts:
            thread.join()
        (alive,) = [found for found in results if found is not None]
        with socket.socket(socket.AF_UNIX) as caller:
            caller.connect(str(path))
        alive.close()
        path.unlink()


def test_a_lock_that_a_stranger_keeps_ends_a_start_and_is_never_followed_elsewhere(
    config: EdgeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("driftlog_edge.http_api.listening.LOCK_SECONDS", 0.05)
    on_path = config.model_copy(update={"http_socket": tmp_path / "edge.sock"})
    with (tmp_path / ".edge.sock.lock").open("w") as kept:
        fcntl.flock(kept, fcntl.LOCK_EX)
        with pytest.raises(PortTaken, match="held by somebody"):
            listen(on_path)
    (tmp_path / ".edge.sock.lock").unlink()
    (tmp_path / ".edge.sock.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PortTaken):
        listen(on_path)
    assert not (tmp_path / "elsewhere").exists()


def test_other_machines_are_let_in_only_with_a_token_that_was_made_for_it(config: EdgeConfig, tmp_path: Path) -> None:
    open_to_all = config.model_copy(update={"http_host": "0.0.0.0", "http_port": free_port()})
    with pytest.raises(BadSetting, match="no token was made"):
        listen(open_to_all)
    path = tmp_path / "token"
    with_token = open_to_all.model_copy(update={"http_token_file": path})
    listen(with_token).close()
    for content, bits, fault in (("x" * 40, 0o644, "read by others"), ("short", 0o600, "characters")):
        path.write_text(content)
        path.chmod(bits)
        with pytest.raises(BadSetting, match=fault):
            server._access(with_token)
    path.write_text("x" * 40)
    assert server._access(with_token).token == "x" * 40


@pytest.mark.parametrize(
    ("mode", "owner", "refused"),
    [
        (0o600, 1000, False),
        (0o640, 1000, True),
        (0o440, 0, False),  # as Kubernetes hands a secret to the group that `fsGroup` names
        (0o640, 0, False),
        (0o660, 0, True),
        (0o644, 0, True),
        (0o604, 1000, True),
    ],
)
def test_only_of_a_file_that_is_roots_the_group_may_read_the_token(mode: int, owner: int, refused: bool) -> None:
    assert open_to_others(os.stat_result((stat.S_IFREG | mode, 0, 0, 1, owner, 1000, 40, 0, 0, 0))) is refused


def test_a_token_that_root_lets_a_group_read_is_taken(config: EdgeConfig, tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("x" * 40)
    path.chmod(0o440)
    with_token = config.model_copy(update={"http_token_file": path})
    if path.stat().st_uid == 0:
        assert server._access(with_token).token == "x" * 40
    else:
        with pytest.raises(BadSetting, match="read by others"):
            server._access(with_token)


async def test_a_collector_is_told_without_a_token_how_the_agent_is_and_nothing_else(
    in_process: None, config: EdgeConfig
) -> None:
    ours, told = free_port(), free_port()
    beside = config.model_copy(update={"http_port": ours, "metrics_address": ("127.0.0.1", told)})
    async with serving(beside), client(beside.model_copy(update={"http_port": told})) as collector:
        assert "driftlog_edge_pending_commands" in (await collector.get("/metrics")).text
        assert (await collector.get("/healthz", headers={"Host": "any.name"})).is_success
        assert (await collector.head("/readyz")).is_success, "a monitor asks so"
        for path in ("/v1/status", "/openapi.json", "/v1/documents/Stock/s1", "/metrics/"):
            assert (await collector.get(path)).json()["code"] == "not_found"
        assert (await collector.post("/metrics")).status_code == 404
        async with client(beside) as stranger:
            assert (await stranger.get("/metrics")).status_code == 401, "as before"
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(PortTaken) as refused:
            await server.serve(CONTRACT, beside.model_copy(update={"metrics_address": taken.getsockname()}))
        assert "--metrics-address" in refused.value.remedy
    listen(beside).close()


async def test_answers_do_not_wait_for_acknowledgements(config: EdgeConfig) -> None:
    """asyncio sets the option only on connections of a socket that names its protocol."""
    listener = listen(config.model_copy(update={"http_port": free_port()}))
    accepted: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        option = writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        accepted.set_result(option)
        writer.close()

    async with await asyncio.start_server(connected, sock=listener):
        _, writer = await asyncio.open_connection(*listener.getsockname())
        assert await asyncio.wait_for(accepted, 30)
        writer.close()


# -- bounds


async def test_a_connection_that_says_nothing_is_closed(port: EdgeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.05)
    for begun in (b"", b"GET /healthz HTTP/1.1\r\nHost: 127"):
        reader, writer = await asyncio.open_connection("127.0.0.1", port.http_port)
        writer.write(begun)
        async with asyncio.timeout(30):
            assert await reader.read() == b""
        writer.close()


async def test_a_head_that_comes_a_byte_at_a_time_has_no_more_time_than_any_other(
    port: EdgeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "HEAD_SECONDS", 0.2)
    reader, writer = await asyncio.open_connection("127.0.0.1", port.http_port)

    async def drip() -> None:
        writer.write(b"GET /healthz HTTP/1.1\r\nX: ")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.02)

    dripping = asyncio.create_task(drip())
    async with asyncio.timeout(30):
        with suppress(ConnectionError):
            assert await reader.read() == b""
    dripping.cancel()
    await asyncio.wait([dripping])
    writer.close()


async def test_a_body_that_does_not_come_is_not_waited_for(port: EdgeConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("driftlog_edge.http_api.bodies.BODY_SECONDS", 0.05)
    bearer = (port.data_dir / "token").read_text().strip()
    reader, writer = await asyncio.open_connection("127.0.0.1", port.http_port)
    head = f"POST /v1/commands/receive HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {bearer}\r\n"
    writer.write(head.encode() + b"Content-Length: 100\r\n\r\n{")
    async with asyncio.timeout(30):
        answer = await reader.read()
    assert b" 408 " in answer.splitlines()[0] and b'"code":"timeout"' in answer
    writer.close()


async def test_connections_are_bounded_and_the_next_one_is_told(
    port: EdgeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 3)
    held = [await asyncio.open_connection("127.0.0.1", port.http_port) for _ in range(3)]
    async with client(port) as http:
        problem(await http.get("/healthz"), 503, "not_ready")
    for _, writer in held:
        writer.close()
        await writer.wait_closed()
    async with asyncio.timeout(30), client(port) as http:
        while (await http.get("/healthz")).status_code != 200:  # noqa: ASYNC110  # as above
            await asyncio.sleep(0.01)


INCREMENT = [{"field": "on_hand", "op": "increment", "args": [1]}]
DEEP = "[" * 100_000 + "]" * 100_000


@pytest.mark.parametrize(
    "body",
    [
        json.dumps(RECEIVE).replace("5", "Infinity"),
        json.dumps(RECEIVE).replace("5", "NaN"),
        json.dumps(RECEIVE).replace("5", "1e999"),
        json.dumps(RECEIVE).replace("5", "9" * 5000),
        json.dumps(RECEIVE).replace("tea", "\\ud800"),
        json.dumps(RECEIVE).replace('"tea"', DEEP),
        json.dumps(RECEIVE).replace('"tea"', "[" * 65 + "]" * 65),
        DEEP,
        "{",
        '"text"',
        "\xff\xfe",
        "",
    ],
    ids=lambda body: body[:40],
)
async def test_a_hostile_body_is_invalid(http: httpx.AsyncClient, body: str) -> None:
    raw = body.encode("latin-1")
    for path in ("/v1/commands/receive", "/v1/documents/Stock/s1/tea", "/v1/offline"):
        answer = await http.post(path, content=raw, headers={"Content-Type": "application/json"})
        problem(answer, 422, "invalid")
    problem(await http.get("/v1/documents/Stock/s1/tea"), 404, "not_found")


@pytest.mark.parametrize("name", ["%ED%A0%80", "%FF%FE%FD", "a%FF%2Fb", "%00", "x" * 513, "%C3%BC" * 257])
async def test_a_hostile_name_is_invalid_to_read_and_to_write(http: httpx.AsyncClient, name: str) -> None:
    for path in (f"/v1/documents/Stock/s1/{name}", f"/v1/documents/Stock/{name}/tea"):
        problem(await http.post(path, json=INCREMENT), 422, "invalid")
        problem(await http.get(path), 422, "invalid")
    problem(await http.get(f"/v1/documents/Stock/{name}"), 422, "invalid")
    problem(await http.get(f"/v1/documents/Stock/s1?after={name}"), 422, "invalid")
    assert (await http.get("/v1/documents/Stock/s1")).json()["documents"] == []


async def test_names_that_look_alike_are_different_documents(http: httpx.AsyncClient) -> None:
    """What stands for an encoded slash on its way, or for bytes that cannot be read, could be a name too."""
    names = {"%2F": "/", "%EF%B7%90": "\ufdd0", "%EF%BF%BD": "\ufffd"}
    for written in names:
        assert (await http.post(f"/v1/documents/Stock/s1/{written}", json=INCREMENT)).status_code == 200
    for written, name in names.items():
        value = (await http.get(f"/v1/documents/Stock/s1/{written}")).json()["value"]
        assert (value["sku"], value["on_hand"]) == (name, 1)
    problem(await http.get("/v1/documents/Stock/s1/a%2Fb/"), 404, "not_found")


async def test_a_path_is_logged_as_it_came(
    http: httpx.AsyncClient, agent: EdgeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(command_id: str) -> None:
        raise StoreFailed("the disk is gone")

    monkeypatch.setattr(agent, "command", broken)
    with structlog.testing.capture_logs() as lines:
        problem(await http.get("/v1/commands/a%2Fb%C3%BC"), 500, "store_failed")
    assert [line["path"] for line in lines] == ["/v1/commands/a%2Fb%C3%BC"]


@pytest.mark.parametrize(
    "plain",
    [
        "[" * 40_000,
        '{"Stock/s1/tea": {"r": Infinity}}',
        '{"Stock/s1/tea": {"r": 1.5}}',
        '{"Stock/s1/tea": {"r": -1}}',
        '{"Stock/s1/tea": {"\\ud800": 1}}',
        '{"Stock/s1/tea": [1]}',
        "[]",
        json.dumps({f"Stock/s1/{n}": {} for n in range(100)}),
    ],
    ids=lambda plain: plain[:40],
)
async def test_a_hostile_session_is_invalid(http: httpx.AsyncClient, plain: str) -> None:
    from base64 import urlsafe_b64encode

    session = urlsafe_b64encode(plain.encode()).decode()
    answer = await http.get("/v1/documents/Stock/s1/tea", params={"session": session, "consistency": "causal"})
    assert problem(answer, 422, "invalid")["field"] == "session"


def test_the_size_of_a_folder_is_told_while_its_files_come_and_go(
    agent: EdgeAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = os.scandir

    class Vanishing:
        """A listing whose files are gone when they are looked at."""

        def __init__(self, path: Any) -> None:
            self._entries = honest(path)

        def __enter__(self) -> Iterator[os.DirEntry[str]]:
            found = list(self._entries)
            gone = Path(found[0].path).with_name("000001.sst")
            gone.write_bytes(b"x")
            listed = list(honest(gone.parent))
            gone.unlink()
            return iter(listed)

        def __exit__(self, *_: object) -> None:
            self._entries.close()

    monkeypatch.setattr("driftlog_edge.store.rocks.os.scandir", Vanishing)
    assert agent.status()["disk_bytes"] > 0
