"""A registry over HTTP that answers as a test tells it to, and counts what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self, TypeAlias

Answer: TypeAlias = tuple[int, str]
"""HTTP status and body."""

POLL_SECONDS = 0.02
"""How soon the server notices that it should end."""


def data(value: Any, status: int = 200) -> Answer:
    return status, json.dumps(value)


def refusal(status: int, error_code: int, message: str) -> Answer:
    """As registries say no."""
    return data({"error_code": error_code, "message": message}, status)


class OddRegistry:
    """`answer` takes method, path and body; what it returns is sent. A context manager."""

    def __init__(self, answer: Callable[[str, str, str], Answer]) -> None:
        self.answer = answer
        self.asked: list[str] = []
        self.users: list[str | None] = []
        """The header Authorization of each question."""
        self.quiet = threading.Event()
        """Set it and no request is answered until the server closes."""
        self._closing = threading.Event()
        registry = self

        class Handler(BaseHTTPRequestHandler):
            def _serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
                registry.asked.append(f"{self.command} {self.path}")
                registry.users.append(self.headers.get("Authorization"))
                if registry.quiet.is_set():
                    registry._closing.wait(30)
                    return
                status, text = registry.answer(self.command, self.path, body)
                self.send_response(status)
                self.send_header("Content-Length", str(len(text.encode())))
                self.end_headers()
                self.wfile.write(text.encode())

            def do_GET(self) -> None:  # http.server's name
                self._serve()

            def do_POST(self) -> None:  # http.server's name
                self._serve()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(POLL_SECONDS,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
