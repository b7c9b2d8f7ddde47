"""Asking a running agent from the command line: its answer, or one line that says why there is none."""

from __future__ import annotations

from typing import Annotated, Any

import httpx
import typer

from driftlog.cli.terminal import fail
from driftlog.client.place import connect

Url = Annotated[str, typer.Option("--url", envvar="DRIFTLOG_EDGE_URL", help="Where the agent listens.")]
PATIENCE_SECONDS = 30
"""No answer is waited for any longer."""


def call(method: str, url: str, path: str, **options: Any) -> dict[str, Any]:
    """What the agent answers; anything else ends the command with one line."""
    answer, found = _asked(method, url, path, options)
    return _good(answer, found, url)


def call_if_found(method: str, url: str, path: str, **options: Any) -> dict[str, Any] | None:
    """The same; None where the agent has nothing of that name."""
    answer, found = _asked(method, url, path, options)
    return None if found.get("code") == "not_found" else _good(answer, found, url)


def _asked(method: str, url: str, path: str, options: dict[str, Any]) -> tuple[httpx.Response, dict[str, Any]]:
    try:
        with connect(url, timeout=PATIENCE_SECONDS) as agent:
            answer = agent.request(method, path, **options)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        fail(f"no agent answers at {url}: {error}", "start one with `driftlog edge run`, or check --url")
    try:
        return answer, dict(answer.json())
    except (ValueError, TypeError):
        return answer, {}


def _good(answer: httpx.Response, found: dict[str, Any], url: str) -> dict[str, Any]:
    if answer.is_error and "code" in found:
        detail, field = str(found.get("detail")), str(found.get("field", ""))
        named = detail if not field or detail.startswith(f"{field}:") else f"{field}: {detail}"
        fail(f"{found['code']}: {named}", found.get("remedy", ""))
    if answer.is_error or not found:
        fail(f"what answers at {url} is no edge agent ({answer.status_code})", "check --url")
    return found
