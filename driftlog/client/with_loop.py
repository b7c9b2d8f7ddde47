"""The client for a program with an event loop."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import httpx
from tenacity import AsyncRetrying, stop_after_delay

from driftlog.client import calls
from driftlog.client.calls import Ask, Changes, Kind, WriteOptions, name_of
from driftlog.client.events import Events, change_of
from driftlog.client.place import FOR_REQUESTS, FOR_WATCHES, Place, async_client_of
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


class AsyncClient:
    """Talks to the agent at `url`: http://HOST:PORT, or unix:PATH; by default `DRIFTLOG_EDGE_URL`, or the usual port on this machine. The
    token is found as the command line finds it, or in `token_file`.

    Every method raises what `EdgeAgent` would raise, and `Unreachable` when nobody has answered in its `seconds`.
    """

    def __init__(self, url: str = "", *, token_file: Path | None = None) -> None:
        """Raises `httpx.InvalidURL`. Nothing is sent yet."""
        self._url = url = url or default_url()
        place = Place.of(url, token_file)
        verify = place.verification()
        self._http = async_client_of(place, verify, DEFAULT_TIMEOUT, FOR_REQUESTS)
        self._watching = async_client_of(place, verify, DEFAULT_TIMEOUT, FOR_WATCHES)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close its connections."""
        await self._watching.aclose()
        await self._http.aclose()

    # -- writes

    async def run(self, command: str, /, *, command_id: str = "", actor: str = "", **arguments: Any) -> Answer:
        """Run a declared command. Arguments named like an option of this method, and further options, go through `run_with`."""
        return await self.run_with(command, arguments, command_id=command_id, actor=actor)

    async def run_with(self, command: str, arguments: Mapping[str, Any], **options: Unpack[WriteOptions]) -> Answer:
        """Run a declared command."""
        return await self._ask(calls.run(command, arguments, options))

    async def run_many(self, commands: Sequence[Call], **options: Unpack[WriteOptions]) -> list[Answer | Exception]:
        """Run declared commands one after another, each with its own answer or error; ids and actors are those of each."""
        return await self._ask(calls.run_many(commands, options))

    async def write(self, document: DocumentId, changes: Changes, **options: Unpack[WriteOptions]) -> Answer:
        """Change one document without a declared command."""
        return await self._ask(calls.write(document, changes, options))

    async def command(self, command_id: str) -> Answer:
        """What became of a command."""
        return await self._ask(calls.command(command_id))

    # -- reads

    async def read(
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
        return await self._ask(calls.read(document, consistency, session, max_age, seconds))

    async def page(self, kind: Kind, scope: str, limit: int = 100, after: str = "") -> list[tuple[str, Reading]]:
        """Documents of one scope in id order, from after `after`: fewer than `limit` where they are large. See `documents`."""
        found, _ = await self._ask(calls.page(name_of(kind), scope, limit, after))
        return found

    async def documents(self, kind: Kind, scope: str, after: str = "") -> AsyncIterator[Reading]:
        """All documents of one scope in id order, a page at a time."""
        while True:
            found, following = await self._ask(calls.page(name_of(kind), scope, 100, after))
            for _, reading in found:
                yield reading
            if following is None:
                return
            after = following

    async def watch(
        self, kind: Kind = "", scope: str = "", last_id: str = "", *, patience: float = 60.0
    ) -> AsyncIterator[Change]:
        """Changes of a collection and scope (empty for all), from now or after the event `last_id`, until the caller stops.

        When the connection breaks it is made anew and takes up after the last event, so that nothing is missed; a change whose document is None
        means: read everything again. Raises `Unreachable` when no agent answers for `patience` seconds.
        """
        while True:
            try:
                async for attempt in AsyncRetrying(**retrying(stop_after_delay(patience))):
                    with attempt:
                        response = await self._open_watch(name_of(kind), scope, last_id)
            except httpx.TransportError as error:
                raise unreachable(self._url, error) from error
            try:
                events = Events()
                async for line in response.aiter_lines():
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
                await response.aclose()

    async def _open_watch(self, collection: str, scope: str, last_id: str) -> httpx.Response:
        params, headers = calls.watch(collection, scope, last_id)
        timeout = httpx.Timeout(GRACE_SECONDS, read=WATCH_SILENCE_SECONDS)
        request = self._watching.build_request("GET", "/v1/watch", params=params, headers=headers, timeout=timeout)
        response = await self._watching.send(request, stream=True)
        if not streams(response):
            await response.aread()
            await response.aclose()
            raise no_stream(response)
        return response

    # -- conflicts, and what else waits for a person

    async def conflicts(self, *, everything: bool = False) -> list[dict[str, Any]]:
        """The conflicts that are not resolved, or all that are known, as `GET /v1/conflicts` describes them."""
        found: list[dict[str, Any]] = []
        after: str | None = ""
        while after is not None:
            page, after = await self._ask(calls.conflicts(after, everything=everything))
            found += page
        return found

    async def conflict(self, conflict_id: str) -> dict[str, Any]:
        """One of them."""
        return await self._ask(calls.conflict(conflict_id))

    async def resolve(
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
        return await self._ask(calls.resolve(conflict_id, values, command_id, actor, how, reason))

    async def review(self) -> list[dict[str, Any]]:
        """Commands that wait for a person, as `GET /v1/review` describes them."""
        found: list[dict[str, Any]] = []
        after: int | None = 0
        while after is not None:
            page, after = await self._ask(calls.review(after))
            found += page
        return found

    async def review_apply(self, command_id: str) -> Answer:
        """Run one of them on what is there now."""
        return await self._ask(calls.review_decide(command_id, "apply"))

    async def review_drop(self, command_id: str) -> Answer:
        """Give one of them up."""
        return await self._ask(calls.review_decide(command_id, "drop"))

    # -- the agent itself

    async def scopes(self) -> list[str]:
        """The scopes that it holds."""
        return await self._ask(calls.scopes())

    async def hold(self, scopes: Sequence[str], *, seconds: float = DEFAULT_TIMEOUT) -> list[str]:
        """Hold these scopes from now on."""
        return await self._ask(calls.hold(scopes, seconds))

    async def status(self) -> dict[str, Any]:
        """What `/v1/status` says."""
        return await self._ask(calls.status())

    async def offline(self, *, seconds: float = DEFAULT_TIMEOUT) -> None:
        """Stay off the network until `online`."""
        await self._ask(calls.offline(True, seconds))

    async def online(self, *, seconds: float = DEFAULT_TIMEOUT) -> None:
        """Use the network again."""
        await self._ask(calls.offline(False, seconds))

    async def _ask(self, ask: Ask[T]) -> T:
        try:
            async for attempt in AsyncRetrying(**given(ask)):
                with attempt:
                    response = await self._http.send(request_of(self._http, ask))
        except httpx.TransportError as error:
            raise unreachable(self._url, error, ask.command_id) from error
        return answered(ask, response)
