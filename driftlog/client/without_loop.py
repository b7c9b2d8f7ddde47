"""The client for a program without an event loop; threads may share one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import httpx
from tenacity import Retrying, stop_after_delay

from driftlog.client import calls
from driftlog.client.calls import Ask, Changes, Kind, WriteOptions, name_of
from driftlog.client.events import Events, change_of
from driftlog.client.place import FOR_REQUESTS, FOR_WATCHES, Place, client_of
from driftlog.client.sending import (
    GRACE_SECONDS,
    WATCH_SILENCE_SECONDS,
    answered,
    default_url,
    given,
    no_stream,
    request_of,
    retrying,
    streams,
    unreachable,
)
from driftlog_edge.asking.answers import DEFAULT_TIMEOUT, Answer, Call, Consistency, Reading
from driftlog_edge.asking.watch import Change
from driftlog_schemas.contract import Json
from driftlog_schemas.identity import DocumentId

T = TypeVar("T")


class Client:
    """Talks to the agent at `url`: http://HOST:PORT, or unix:PATH; by default `DRIFTLOG_EDGE_URL`, or the usual port on this machine. The
    token is found as the command line finds it, or in `token_file`.

    Every method raises what `EdgeAgent` would raise, and `Unreachable` when nobody has answered in its `seconds`.
    """

    def __init__(self, url: str = "", *, token_file: Path | None = None) -> None:
        """Raises `httpx.InvalidURL`. Nothing is sent yet."""
        self._url = url = url or default_url()
        place = Place.of(url, token_file)
        verify = place.verification()
        self._http = client_of(place, verify, DEFAULT_TIMEOUT, FOR_REQUESTS)
        self._watching = client_of(place, verify, DEFAULT_TIMEOUT, FOR_WATCHES)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self._watching.close()
        self._http.close()

    # -- writes

    def run(self, command: str, /, *, command_id: str = "", actor: str = "", **arguments: Any) -> Answer:
        """Run a declared command. Arguments named like an option of this method, and further options, go through `run_with`."""
        return self.run_with(command, arguments, command_id=command_id, actor=actor)

    def run_with(self, command: str, arguments: Mapping[str, Any], **options: Unpack[WriteOptions]) -> Answer:
        """Run a declared command."""
        return self._ask(calls.run(command, arguments, options))

    def run_many(self, commands: Sequence[Call], **options: Unpack[WriteOptions]) -> list[Answer | Exception]:
        """Run declared commands one after another, each with its own answer or error; ids and actors are those of each."""
        return self._ask(calls.run_many(commands, options))

    def write(self, document: DocumentId, changes: Changes, **options: Unpack[WriteOptions]) -> Answer:
        """Change one document without a declared command."""
        return self._ask(calls.write(document, changes, options))

    def command(self, command_id: str) -> Answer:
        """What became of a command."""
        return self._ask(calls.command(command_id))

    # -- reads

    def read(
        self,
        kind: Kind,
        scope: str,
        id: str,
        *,
        consistency: Consistency = "eventual",
        session: str = "",
        max_age: float | None = None,
        seconds: float = DEFAULT_TIMEOUT,
    ) -> Reading:
        """One document. Its value is JSON, as over HTTP; `max_age` in seconds."""
        document = DocumentId(name_of(kind), scope, id)
        return self._ask(calls.read(document, consistency, session, max_age, seconds))

    def page(self, kind: Kind, scope: str, limit: int = 100, after: str = "") -> list[tuple[str, Reading]]:
        """Documents of one scope in id order, from after `after`: fewer than `limit` where they are large. See `documents`."""
        found, _ = self._ask(calls.page(name_of(kind), scope, limit, after))
        return found

    def documents(self, kind: Kind, scope: str, after: str = "") -> Iterator[Reading]:
        """All documents of one scope in id order, a page at a time."""
        while True:
            found, following = self._ask(calls.page(name_of(kind), scope, 100, after))
            for _, reading in found:
                yield reading
            if following is None:
                return
            after = following

    def watch(self, kind: Kind = "", scope: str = "", last_id: str = "", *, patience: float = 60.0) -> Iterator[Change]:
        """Changes of a collection and scope (empty for all), from now or after the event `last_id`, until the caller stops.

        When the connection breaks it is made anew and takes up after the last event, so that nothing is missed; a change whose document is None
        means: read everything again. Raises `Unreachable` when no agent answers for `patience` seconds.
        """
        while True:
            try:
                for attempt in Retrying(**retrying(stop_after_delay(patience))):
                    with attempt:
                        response = self._open_watch(name_of(kind), scope, last_id)
            except httpx.TransportError as error:
                raise unreachable(self._url, error) from error
            try:
                events = Events()
                for line in response.iter_lines():
                    event = events.take(line)
                    if event is None:
                        continue
                    last_id = event.get("id", last_id)
                    change = change_of(event)
                    if change is not None:
                        yield change
            except httpx.TransportError:
                pass  # the agent went away; the next round asks whether it is back
            finally:
                response.close()

    def _open_watch(self, collection: str, scope: str, last_id: str) -> httpx.Response:
        params, headers = calls.watch(collection, scope, last_id)
        timeout = httpx.Timeout(GRACE_SECONDS, read=WATCH_SILENCE_SECONDS)
        request = self._watching.build_request("GET", "/v1/watch", params=params, headers=headers, timeout=timeout)
        response = self._watching.send(request, stream=True)
        if not streams(response):
            response.read()
            response.close()
            raise no_stream(response)
        return response

    # -- conflicts, and what else waits for a person

    def conflicts(self, *, everything: bool = False) -> list[dict[str, Any]]:
        """The conflicts that are not resolved, or all that are known, as `GET /v1/conflicts` describes them."""
        found: list[dict[str, Any]] = []
        after: str | None = ""
        while after is not None:
            page, after = self._ask(calls.conflicts(after, everything=everything))
            found += page
        return found

    def conflict(self, conflict_id: str) -> dict[str, Any]:
        """One of them."""
        return self._ask(calls.conflict(conflict_id))

    def resolve(
        self,
        conflict_id: str,
        values: Mapping[str, Json] | None = None,
        *,
        command_id: str = "",
        actor: str = "",
        how: str = "api",
        reason: str = "",
    ) -> Answer:
        """Decide: write `values` (field -> value), or accept what stands; by what means (`page`, `cli`, `api`), and why."""
        return self._ask(calls.resolve(conflict_id, values, command_id, actor, how, reason))

    def review(self) -> list[dict[str, Any]]:
        """Commands that wait for a person, as `GET /v1/review` describes them."""
        found: list[dict[str, Any]] = []
        after: int | None = 0
        while after is not None:
            page, after = self._ask(calls.review(after))
            found += page
        return found

    def review_apply(self, command_id: str) -> Answer:
        """Run one of them on what is there now."""
        return self._ask(calls.review_decide(command_id, "apply"))

    def review_drop(self, command_id: str) -> Answer:
        """Give one of them up."""
        return self._ask(calls.review_decide(command_id, "drop"))

    # -- the agent itself

    def scopes(self) -> list[str]:
        """The scopes that it holds."""
        return self._ask(calls.scopes())

    def hold(self, scopes: Sequence[str], *, seconds: float = DEFAULT_TIMEOUT) -> list[str]:
        """Hold these scopes from now on."""
        return self._ask(calls.hold(scopes, seconds))

    def status(self) -> dict[str, Any]:
        """What `/v1/status` says."""
        return self._ask(calls.status())

    def offline(self, *, seconds: float = DEFAULT_TIMEOUT) -> None:
        """Stay off the network until `online`."""
        self._ask(calls.offline(True, seconds))

    def online(self, *, seconds: float = DEFAULT_TIMEOUT) -> None:
        """Use the network again."""
        self._ask(calls.offline(False, seconds))

    def _ask(self, ask: Ask[T]) -> T:
        try:
            for attempt in Retrying(**given(ask)):
                with attempt:
                    response = self._http.send(request_of(self._http, ask))
        except httpx.TransportError as error:
            raise unreachable(self._url, error, ask.command_id) from error
        return answered(ask, response)
