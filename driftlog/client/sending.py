"""How long and how often a client asks: both clients go by it.

An agent that restarts is away for seconds; that is no error as long as the caller waits. What was answered is never asked again.
"""

from __future__ import annotations

import os
from typing import Any, TypeVar

import httpx
from tenacity import retry_if_exception_type, stop_after_attempt, stop_after_delay, wait_random_exponential
from tenacity.stop import stop_base

from driftlog.client.calls import Ask
from driftlog.client.failures import Answered, Unreachable, failure

T = TypeVar("T")

GRACE_SECONDS = 5.0
"""An agent ends each request in the time that it was given; its word may take so much longer to come."""
WATCH_SILENCE_SECONDS = 60.0
"""An agent says something on an idle stream four times as often; one that is silent for so long is broken."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.05, 1.0
DEFAULT_URL = "http://127.0.0.1:7420"
START = "start one with `driftlog edge run`, or check the URL"


def default_url() -> str:
    """Where the agent is when nobody says it."""
    return os.environ.get("DRIFTLOG_EDGE_URL") or DEFAULT_URL


def retrying(stop: stop_base) -> dict[str, Any]:
    """For tenacity."""
    return {
        "stop": stop,
        "wait": wait_random_exponential(FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS),
        "retry": retry_if_exception_type(httpx.TransportError),
        "reraise": True,
    }


def given(ask: Ask[Any]) -> dict[str, Any]:
    """Its retries."""
    return retrying(stop_after_delay(ask.seconds) if ask.again else stop_after_attempt(1))


def request_of(client: httpx.Client | httpx.AsyncClient, ask: Ask[Any]) -> httpx.Request:
    """The request."""
    return client.build_request(
        ask.method,
        ask.path,
        params=dict(ask.params),
        headers=dict(ask.headers),
        json=ask.body,
        timeout=ask.seconds + GRACE_SECONDS,
    )


def answered(ask: Ask[T], response: httpx.Response) -> T:
    """What the method returns, or raises."""
    found = _json(response)
    if response.is_error or found is None:
        raise refusal(response.status_code, found)
    return ask.parse(found)


def streams(response: httpx.Response) -> bool:
    """Is this the stream that was asked for? What is no agent may answer anything with a page, again and again."""
    return response.is_success and response.headers.get("content-type", "").startswith("text/event-stream")


def no_stream(response: httpx.Response) -> Exception:
    """The error of an answer that is no stream; its body has been read."""
    return refusal(response.status_code, _json(response))


def _json(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError:
        return None


def refusal(status: int, found: Any) -> Exception:
    """The error of an answer that is none of what was asked for."""
    if isinstance(found, dict) and "code" in found:
        return failure(found)
    return Answered(
        {"code": "no_agent", "detail": f"what answers is no edge agent ({status})", "remedy": "check the URL"}
    )


def unreachable(url: str, error: httpx.TransportError, command_id: str = "") -> Unreachable:
    """Nobody has answered in the time given."""
    told = f"no agent answers at {url}: {str(error) or type(error).__name__}"
    if command_id:
        return Unreachable(
            told, f"whether command {command_id} stands is not known: give it again under that id", command_id
        )
    return Unreachable(told, START)
