"""Deadlines are told to a webhook: once, signed, also when it was away or the console was; never in the way of anything else."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from driftlog_console.app import build
from driftlog_console.config import ConsoleConfig
from driftlog_console.gate import Gate
from driftlog_console.notices import telling as module
from driftlog_console.notices.memory import NoticeMemory, State
from driftlog_console.notices.telling import DEADLINES, DIGEST, FIRST_MS, MOST_ATTEMPTS, Telling
from driftlog_console.notices.webhook import Webhook
from driftlog_console.people import Right
from driftlog_infra.ports import free_port
from driftlog_schemas.errors import BadSetting
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.messages import ConflictStatus
from driftlog_streams.reading.conflict_lists import NEVER_MS, Line
from tests.unit.console.conftest import Console

HOUR = 3_600_000
NOW = 1_800_000_000_000
SECRET = b"a secret of enough bytes"


class Receiver:
    """A real server that answers as it is told; what it took it remembers."""

    def __init__(self) -> None:
        self.answers: list[int] = []
        self.took: list[tuple[dict[str, str], bytes]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                receiver.took.append(({name.lower(): value for name, value in self.headers.items()}, body))
                status = receiver.answers.pop(0) if receiver.answers else 204
                if status == 0:
                    self.connection.close()  # in the middle of it
                    return
                self.send_response(status)
                if status in (301, 307):
                    self.send_header("location", f"http://127.0.0.1:{receiver.port}/elsewhere")
                self.end_headers()

            def log_message(self, *_: Any) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()

    def bodies(self, kind: str = DEADLINES) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = [json.loads(body) for _, body in self.took]
        return [one for one in found if one["kind"] == kind]

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()
    yield found
    found.close()


class Desk:
    """What a test changes: the clock and what is open."""

    def __init__(self, folder: Path, port: int) -> None:
        self.now, self.lines, self._folder, self._port = NOW, list[Line](), folder, port
        self.telling = self._begin()

    def _begin(self, digest_ms: int = 0) -> Telling:
        webhook = Webhook(f"http://127.0.0.1:{self._port}/hook", SECRET)
        self.digest_ms = digest_ms
        return Telling(NoticeMemory(self._folder), webhook, lambda: self.lines, lambda: self.now, 24 * HOUR, digest_ms)

    def again(self, digest_ms: int = 0) -> None:
        """The console ends and begins once more."""
        self.telling.memory.close()
        self.telling = self._begin(digest_ms)

    async def turn(self, later_ms: int = 0) -> None:
        self.now += later_ms
        await self.telling.turn()


@pytest.fixture
def desk(tmp_path: Path, receiver: Receiver) -> Iterator[Desk]:
    found = Desk(tmp_path / "data", receiver.port)
    yield found
    found.telling.memory.close()


def line(name: str, deadline_ms: int) -> Line:
    return Line(
        deadline_ms or NEVER_MS, NOW, f"id-{name}", DocumentId("Stock", "s1", name), "price", ConflictStatus.OPEN, ("till-7",), (), (), "m"
    )  # fmt: skip


def named(bodies: list[dict[str, Any]]) -> list[list[str]]:
    return [[one["id"] for one in body["conflicts"]] for body in bodies]


async def test_what_comes_near_is_told_once_and_signed(desk: Desk, receiver: Receiver) -> None:
    desk.lines = [line("tea", NOW + HOUR), line("milk", NOW + 30 * HOUR), line("salt", 0)]
    await desk.turn()
    await desk.turn()
    assert named(receiver.bodies()) == [["tea"]]
    headers, body = receiver.took[0]
    stamp, _, digest = headers["driftlog-signature"].partition(",v1=")
    assert stamp == f"t={NOW // 1000}"
    assert digest == hmac.new(SECRET, f"{NOW // 1000}.".encode() + body, hashlib.sha256).hexdigest()
    told = json.loads(body)
    assert told["id"] == headers["driftlog-notice"] and headers["content-type"] == "application/json"
    assert told["conflicts"][0]["deadline"] == "2027-01-15T09:00:00+00:00"
    assert told["conflicts"][0]["page"] == "/conflicts/id-tea"
    await desk.turn(7 * HOUR)
    assert named(receiver.bodies()) == [["tea"], ["milk"]]
    desk.lines = [line("tea", NOW + 9 * HOUR)]  # opened anew, with another deadline
    await desk.turn()
    assert named(receiver.bodies())[2:] == [["tea"]]


async def test_thousands_come_in_few_notices(desk: Desk, receiver: Receiver) -> None:
    desk.lines = [line(f"sku-{number}", NOW + HOUR) for number in range(250)]
    await desk.turn()
    assert [len(names) for names in named(receiver.bodies())] == [100, 100, 50]
    assert len({name for names in named(receiver.bodies()) for name in names}) == 250


async def test_neither_twice_nor_lost_when_the_console_begins_anew(desk: Desk, receiver: Receiver) -> None:
    desk.lines = [line("tea", NOW + HOUR)]
    await desk.turn()
    desk.again()
    await desk.turn()
    assert named(receiver.bodies()) == [["tea"]]
    receiver.answers = [503]
    desk.lines.append(line("milk", NOW + HOUR))
    await desk.turn()
    desk.lines.clear()  # what was noted is told, whatever is open by then
    desk.again()
    await desk.turn(FIRST_MS)
    assert named(receiver.bodies()) == [["tea"], ["milk"], ["milk"]]
    assert len({body["id"] for body in receiver.bodies()}) == 2, "the same notice keeps its id"
    await desk.turn(HOUR)
    assert len(receiver.took) == 3


@pytest.mark.parametrize(("status", "why"), [(500, "500"), (404, "404"), (307, "307"), (0, "RemoteProtocolError")])
async def test_a_refusal_is_kept_with_its_reason_and_repeated_later(
    desk: Desk, receiver: Receiver, status: int, why: str
) -> None:
    receiver.answers = [status]
    desk.lines = [line("tea", NOW + HOUR)]
    await desk.turn()
    (notice,) = desk.telling.memory.last(9)
    assert notice.state is State.WAITING and why in notice.why and notice.next_ms == NOW + FIRST_MS
    await desk.turn(FIRST_MS - 1)
    assert len(receiver.took) == 1
    await desk.turn(1)
    (notice,) = desk.telling.memory.last(9)
    assert (notice.state, notice.attempts, notice.why) == (State.SENT, 2, "")


async def test_nobody_there_is_a_reason_too_and_it_is_given_up_in_the_end(tmp_path: Path) -> None:
    desk = Desk(tmp_path, free_port())
    desk.lines = [line("tea", NOW + HOUR)]
    for _ in range(MOST_ATTEMPTS + 3):
        await desk.turn(2 * HOUR)
    (notice,) = desk.telling.memory.last(9)
    assert (notice.state, notice.attempts) == (State.GIVEN_UP, MOST_ATTEMPTS) and "ConnectError" in notice.why
    desk.telling.memory.close()


async def test_a_digest_comes_at_most_so_often_and_only_while_something_is_open(desk: Desk, receiver: Receiver) -> None:
    desk.again(digest_ms=24 * HOUR)
    await desk.turn()
    assert receiver.took == []
    desk.lines = [line("tea", NOW - HOUR), line("milk", NOW + 90 * HOUR), line("odd", 1 << 60), line("salt", 0)]
    await desk.turn()
    (digest,) = receiver.bodies(DIGEST)
    assert (digest["open"], digest["near"], digest["overdue"]) == (4, 1, 1)
    assert [(one["id"], one["deadline"] is None) for one in digest["first"]] == [
        ("tea", False),
        ("milk", False),
        ("odd", True),
    ]
    desk.again(digest_ms=24 * HOUR)
    await desk.turn(23 * HOUR)
    assert len(receiver.bodies(DIGEST)) == 1
    await desk.turn(HOUR)
    assert len(receiver.bodies(DIGEST)) == 2


async def test_a_disk_that_takes_nothing_is_said_and_nothing_is_told_before_it_is_noted(
    desk: Desk, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.lines = [line("tea", NOW + HOUR)]
    desk.telling.memory._db.execute("PRAGMA query_only=1")
    await desk.turn()
    assert "check the disk" not in desk.telling.problem and "cannot be used" in desk.telling.problem
    assert receiver.took == []
    desk.telling.memory._db.execute("PRAGMA query_only=0")
    await desk.turn()
    assert desk.telling.problem == "" and named(receiver.bodies()) == [["tea"]]


async def test_what_is_over_is_forgotten_and_what_waits_is_not(
    desk: Desk, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("driftlog_console.notices.memory.KEPT", 3)
    monkeypatch.setattr(module, "AT_ONCE", 1)
    receiver.answers = [500]
    desk.lines = [line(f"sku-{number}", NOW + HOUR) for number in range(8)]
    await desk.turn()
    desk.lines.append(line("last", NOW + HOUR))
    await desk.turn(1)
    states = [notice.state for notice in desk.telling.memory.last(99)]
    assert states.count(State.SENT) == 4 and states.count(State.WAITING) == 1


async def test_the_page_says_what_was_told_and_to_whom_it_may(console: Console, desk: Desk, receiver: Receiver) -> None:
    receiver.answers = [500, 500]
    desk.lines = [line("<tea>", NOW + HOUR)]
    await desk.turn()
    console.app = Gate(build(replace(console.desk, telling=desk.telling)), frozenset({"127.0.0.1"}))
    async with (
        console.client("olga", Right.OPERATE) as olga,
        console.client("anna", Right.DECIDE) as anna,
        console.client("otto", Right.OPERATE, scopes=("s1",)) as otto,
    ):
        page = (await olga.get("/notices")).text
        assert "500 Internal Server Error" in page and "waiting, until" in page and "&lt;tea&gt;" in page
        assert "What the webhook was told" in (await olga.get("/flow")).text
        assert (await anna.get("/notices")).status_code == 403
        assert (await otto.get("/notices")).status_code == 403


async def test_without_a_webhook_the_page_says_how_to_have_one(console: Console) -> None:
    async with console.client("olga", Right.OPERATE) as olga:
        assert "webhook_url" in (await olga.get("/notices")).text


def _wrong(tmp_path: Path) -> dict[str, Callable[[], dict[str, object]]]:
    (tmp_path / "short").write_text("short\n")
    (tmp_path / "good").write_text("a secret of enough bytes\n")
    return {
        "webhook_secret_file": lambda: {"webhook_url": "https://h/x"},
        "too few": lambda: {"webhook_url": "https://h/x", "webhook_secret_file": tmp_path / "short"},
        "cannot be read": lambda: {"webhook_url": "https://h/x", "webhook_secret_file": tmp_path / "none"},
        "nothing to send to": lambda: {"webhook_secret_file": tmp_path / "good"},
        "webhook_url": lambda: {"webhook_url": "ftp://h/x", "webhook_secret_file": tmp_path / "good"},
    }


def test_settings_that_do_not_go_together_are_named(tmp_path: Path) -> None:
    basic: dict[str, Any] = {"data_dir": tmp_path, "identity": tmp_path / "i.json"}
    for fact, given in _wrong(tmp_path).items():
        with pytest.raises(BadSetting, match=fact):
            ConsoleConfig.load(None, **basic, **given())
    good = ConsoleConfig.load(None, **basic, webhook_url="https://h/x", webhook_secret_file=tmp_path / "good")
    assert good.webhook_secret == SECRET
