"""Whether a worker lives and whether it works, for whoever runs it: `/healthz`, `/readyz` and `/metrics` over HTTP.

Alive means that its event loop turns: one that hangs in a guard or a defect is restarted by whoever asks. Ready means that the
group has dealt it its partitions (possibly none) and that they are recovered; while the partitions change hands it is not. A broker
that is away makes a worker neither dead nor unready: no restart would bring the broker back.

The answers come from a thread of their own, so that a loop that hangs is answered for too.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer

from driftlog_streams.errors import SetupProblem

BEAT_SECONDS = 1.0
SILENT_SECONDS = 30.0
"""An event loop that did not turn for so long hangs. A large recovery runs beside it, not in it."""


class Health:
    """What is known about this worker. `now` is a monotonic clock."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._beaten_at = now()
        self.owned: list[int] | None = None
        """The recovered partitions; None while they are not known."""
        self.generation: int | None = None
        """Of the read model: which one it works on; None while that is not known."""

    def beat(self) -> None:
        """The event loop turns."""
        self._beaten_at = self._now()

    def live(self) -> tuple[bool, dict[str, Any]]:
        """Does it live?"""
        silent = self._now() - self._beaten_at
        return silent < SILENT_SECONDS, {"silent_seconds": round(silent, 1)}

    def ready(self) -> tuple[bool, dict[str, Any]]:
        """Does it work?"""
        owned = self.owned
        return owned is not None and self.live()[0], {"partitions": owned, "generation": self.generation}


def serve(health: Health, registry: CollectorRegistry, address: tuple[str, int]) -> None:
    """Answer until the process ends. Raises `SetupProblem` where the address cannot be listened on."""
    metrics: Callable[..., Iterable[bytes]] = make_wsgi_app(registry)

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
        if method != "GET":
            start_response("405 Method Not Allowed", [("Allow", "GET, HEAD")])
            return []
        if path == "/metrics":
            return metrics(environ, start_response)
        asked = {"/healthz": health.live, "/readyz": health.ready}.get(path)
        good, facts = (False, {}) if asked is None else asked()
        status = "404 Not Found" if asked is None else "200 OK" if good else "503 Service Unavailable"
        start_response(status, [("Content-Type", "application/json")])
        return [json.dumps({"ok": good, **facts}).encode()]

    def whole(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """To a HEAD the same head, its length too, and no body."""
        heads: list[tuple[str, list[tuple[str, str]]]] = []
        only_head = environ["REQUEST_METHOD"] == "HEAD"
        asked = {**environ, "REQUEST_METHOD": "GET"} if only_head else environ
        body = b"".join(answer(asked, lambda status, headers: heads.append((status, headers))))
        status, headers = heads[0]
        start_response(status, [*dict([*headers, ("Content-Length", str(len(body)))]).items()])
        return [] if only_head else [body]

    host, port = address
    try:
        server = make_server(host, port, whole, ThreadingWSGIServer, _Silent)
    except (OSError, OverflowError) as error:
        raise SetupProblem(
            f"metrics address {host}:{port} cannot be listened on: {error}", "choose another --metrics-address"
        ) from error
    threading.Thread(target=server.serve_forever, name="health", daemon=True).start()


class _Silent(WSGIRequestHandler):
    """No line per request."""

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""
