"""The day goes on: its console is opened, and everything runs until somebody has seen enough."""

from __future__ import annotations

import sys
import time
import webbrowser
from collections.abc import Callable
from typing import NamedTuple

import httpx

from driftlog.demo.cast import STORES, Cast
from driftlog.demo.processes import until
from driftlog_console.people import FIRST_TOKEN
from driftlog_infra.ports import free_port

LOOK_SECONDS = 0.5


class Invitation(NamedTuple):
    """Where the console is, and the token to sign in with."""

    url: str
    token: str


def open_console(cast: Cast) -> Invitation:
    """Start the console of a day that was played. Raises `DemoFailed`."""
    port, folder = free_port(), cast.folder / "console"
    scopes = (part for store in STORES for part in ("--scope", store))
    cast.start(
        "console", "console", "--app", cast.app, "--identity", str(cast.enrol("console")), "--data-dir", str(folder),
        "--bootstrap", cast.bootstrap, "--registry", cast.registry, "--http-port", str(port), *scopes,
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}/"
    until("the console to be ready", lambda: _ready(url), cast.children)
    return Invitation(url, (folder / FIRST_TOKEN).read_text().strip())


def keep_open(cast: Cast, invitation: Invitation, say: Callable[[str], None]) -> None:
    """Until a signal ends it. Raises `DemoFailed` when a part of it ends by itself."""
    say(f"the day goes on; its console is at {invitation.url}")
    say(f"sign in with {invitation.token}")
    say("Ctrl-C ends it, and leaves nothing behind")
    if sys.stdout.isatty():
        webbrowser.open(invitation.url)
    while True:
        time.sleep(LOOK_SECONDS)
        for child in cast.children:
            child.require_alive()


def _ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}readyz", timeout=5).status_code == 200
    except httpx.TransportError:  # not listening yet
        return False
