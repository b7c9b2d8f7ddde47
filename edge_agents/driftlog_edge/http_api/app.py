"""The routes. Each parses, calls the agent and shapes the answer; nothing is decided here."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal, cast

from fastapi import Body, Depends, FastAPI, Header, Query
from fastapi.responses import PlainTextResponse, Response
from sse_starlette import EventSourceResponse, ServerSentEvent

from driftlog_edge.agent import EdgeAgent
from driftlog_edge.asking.answers import Consistency, Durability, Wait
from driftlog_edge.asking.op_log import Line
from driftlog_edge.asking.waiting import REVIEW, WaitsFor
from driftlog_edge.asking.watch import Change, Passed
from driftlog_edge.http_api import bulk, openapi, problems, streams
from driftlog_edge.http_api.bodies import Bodies
from driftlog_edge.http_api.direct import DirectRoute, each_once
from driftlog_edge.http_api.durations import seconds
from driftlog_edge.http_api.path_parts import ExactNames, HeaderText, Part
from driftlog_edge.http_api.shapes import (
    AnswerOut,
    ChangeIn,
    ConflictOut,
    ConflictsOut,
    DropIn,
    LineOut,
    LogOut,
    OfflineIn,
    PageOut,
    PowerOut,
    ReadingOut,
    ReviewIn,
    ScopesIn,
    ScopesOut,
    SeenIn,
    SettingsIn,
    SettingsOut,
    WaitingOut,
)
from driftlog_edge.power.reading import Power
from driftlog_schemas.contract import AppContract, InvalidInput
from driftlog_schemas.identity import DocumentId

IdempotencyKey = Annotated[
    HeaderText,
    Header(
        description="Names the intent; made if absent. The same key given to the same agent again has no second effect and the same"
        " answer, until the command is merged and older than `keep_hours` (a week unless set otherwise); then it is forgotten, and a key that comes"
        " again is a new intent. Two agents do not know each other's keys: retry where you first asked."
    ),
]
Actor = Annotated[
    HeaderText, Header(description="On whose behalf; kept with the command and shown to who decides a conflict.")
]


DEAF_SECONDS = 60.0
"""A watcher that reads nothing for so long is let go; it comes back with its last id."""


class _Nobody:
    """Stands where an agent would, for who only wants the API's description."""

    def __init__(self, contract: AppContract) -> None:
        self.contract = contract


def description(contract: AppContract) -> dict[str, Any]:
    """The OpenAPI document of agents that run this app."""
    return build(cast("EdgeAgent", _Nobody(contract))).openapi()


def build(agent: EdgeAgent) -> FastAPI:
    """The API of a running agent."""
    api = FastAPI(
        title="Driftlog edge agent",
        version="1",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        dependencies=[Depends(each_once)],
    )
    api.router.route_class = DirectRoute
    problems.install(api)
    openapi.install(api, agent.contract)
    api.add_middleware(Bodies)
    api.add_middleware(ExactNames)
    _writes(api, agent)
    bulk.install(api, agent)
    _reads(api, agent)
    _conflicts(api, agent)
    _review(api, agent)
    _rejected(api, agent)
    _operations(api, agent)
    return api


def _writes(api: FastAPI, agent: EdgeAgent) -> None:
    @api.post("/v1/commands/{name}", response_model_exclude_none=False, responses=openapi.WRITE)
    async def run_command(
        name: Part,
        arguments: Annotated[dict[str, Any], Body(default_factory=dict)],
        idempotency_key: IdempotencyKey = "",
        wait: Wait = "disk",
        durability: Durability | None = None,
        timeout: str = "5s",  # noqa: ASYNC109  # the promised name of the query parameter
        session: str = "",
        driftlog_actor: Actor = "",
    ) -> AnswerOut:
        """Run a declared command."""
        answer = await agent.run_with(
            name,
            arguments,
            command_id=idempotency_key,
            wait=wait,
            durability=durability,
            seconds=seconds(timeout, "timeout"),
            session=session,
            actor=driftlog_actor,
        )
        return AnswerOut.of(answer)

    @api.get("/v1/log")
    async def show_log(
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        pending: bool = False,
        before: Annotated[int, Query(ge=0)] = 0,
        after: Annotated[int, Query(ge=0)] = 0,
    ) -> LogOut:
        """A page of this device's commands, the last of them (`before` a number); with `pending`, of those that wait, the first (`after` a number).
        It ends before `limit` where they are large: go by `next`."""
        page = await (agent.log.pending(limit, after) if pending else agent.log.last(limit, before))
        return LogOut(commands=[LineOut.of(line) for line in page.lines], next=page.next)

    @api.get("/v1/commands/{command_id}", responses=openapi.FIND)
    async def command_status(command_id: Part) -> AnswerOut:
        """What became of a command."""
        return AnswerOut.of(agent.command(command_id))

    @api.post("/v1/documents/{collection}/{scope}/{id}", responses=openapi.WRITE)
    async def write_document(
        collection: Part,
        scope: Part,
        id: Part,
        changes: list[ChangeIn],
        idempotency_key: IdempotencyKey = "",
        wait: Wait = "disk",
        durability: Durability | None = None,
        timeout: str = "5s",  # noqa: ASYNC109  # as above
        session: str = "",
        driftlog_actor: Actor = "",
    ) -> AnswerOut:
        """Change one document without a declared command."""
        answer = await agent.write(
            DocumentId(collection, scope, id),
            [(c.field, c.op, c.args) for c in changes],
            command_id=idempotency_key,
            wait=wait,
            durability=durability,
            seconds=seconds(timeout, "timeout"),
            session=session,
            actor=driftlog_actor,
        )
        return AnswerOut.of(answer)


def _reads(api: FastAPI, agent: EdgeAgent) -> None:
    @api.get("/v1/documents/{collection}/{scope}/{id}", responses=openapi.READ)
    async def read_document(
        collection: Part,
        scope: Part,
        id: Part,
        consistency: Consistency = "eventual",
        session: str = "",
        max_age: str = "",
        timeout: str = "5s",  # noqa: ASYNC109  # as above
    ) -> ReadingOut:
        """One document, and how fresh it is."""
        reading = await agent.read(
            collection,
            scope,
            id,
            consistency=consistency,
            session=session,
            max_age=seconds(max_age, "max_age") if max_age else None,
            seconds=seconds(timeout, "timeout"),
        )
        return ReadingOut.of(reading)

    @api.get(
        "/v1/documents/{collection}/{scope}",
        response_model=PageOut,
        responses={200: {"content": {streams.MEDIA_TYPE: {"schema": openapi.LINE}}}, **openapi.LIST},
    )
    async def list_documents(
        collection: Part,
        scope: Part,
        limit: Annotated[
            int | None, Query(ge=1, le=1000, description="Of a page 100 if not given; of lines, all.")
        ] = None,
        after: str = "",
        accept: Annotated[str, Header(include_in_schema=False)] = "",
    ) -> PageOut | Response:
        """A page of documents in id order. It ends before `limit` where they are large: go by `next`. With `Accept: application/x-ndjson` all that there are,
        one a line; who was cut off goes on with `after` the last id, and a last line with `problem` says what went wrong on the way; one with `evicted`,
        how many documents are not among them because they made room on the disk."""
        if streams.wanted(accept):
            return await streams.streamed(agent, collection, scope, limit, after)
        found, more, evicted = await agent.bounded_page(collection, scope, limit or 100, after)
        following = found[-1][0] if more else None
        shown = [ReadingOut.of(reading) for _, reading in found]
        return PageOut(documents=shown, next=following, evicted=evicted)

    @api.get(
        "/v1/watch",
        response_class=EventSourceResponse,
        responses={200: {"content": {"text/event-stream": {"schema": openapi.EVENT}}}, **openapi.LIST},
    )
    async def watch(
        collection: str = "",
        scope: str = "",
        timeout: Annotated[  # noqa: ASYNC109  # as above
            str, Query(description="The answer ends by itself after so long; without it, it does not end.")
        ] = "",
        last_event_id: Annotated[
            str, Header(description="The last id that was seen. What was missed since comes first.")
        ] = "",
    ) -> EventSourceResponse:
        """One event per changed document; `resync` means: read everything again.

        An id comes at once, before any change, and now and then one without data: who comes back with the last one misses nothing, also when the agent
        was restarted meanwhile. The last 10,000 changes are known; who comes back for more is told `resync`, and so is one that reads too slowly.
        """
        since = last_event_id or agent.watchers.now
        found = agent.watch_events(collection, scope, since, seconds(timeout, "timeout") if timeout else None)

        async def events() -> AsyncIterator[bytes]:
            if not last_event_id:
                yield ServerSentEvent(id=since).encode()
            async for (
                some
            ) in found:  # sent as one: what each of them would cost by itself, many watchers could not be given
                yield b"".join(_told(event).encode() for event in some)

        return EventSourceResponse(events(), send_timeout=DEAF_SECONDS)


def _told(event: Change | Passed) -> ServerSentEvent:
    if isinstance(event, Passed):
        return ServerSentEvent(id=event.id)
    if event.document is None:
        return ServerSentEvent(data="{}", event="resync", id=event.id)
    collection, scope, id = event.document
    text = json.dumps({"collection": collection, "scope": scope, "id": id})
    return ServerSentEvent(data=text, event="change", id=event.id)


def _conflicts(api: FastAPI, agent: EdgeAgent) -> None:
    @api.get("/v1/conflicts")
    async def list_conflicts(
        all: bool = False, limit: Annotated[int, Query(ge=1, le=1000)] = 100, after: str = ""
    ) -> ConflictsOut:
        """A page of the conflicts that are not resolved; with `all`, of every one that is known. It ends before `limit` where they are large: go by `next`."""
        found, more = await agent.conflict_page(limit, after, everything=all)
        return ConflictsOut(conflicts=[ConflictOut.of(c) for c in found], next=found[-1].id if more else None)

    @api.get("/v1/conflicts/{id}", responses=openapi.FIND)
    async def show_conflict(id: Part) -> ConflictOut:
        """All its versions side by side."""
        return ConflictOut.of(agent.conflict(id))

    @api.post("/v1/conflicts/{id}/resolve", responses=openapi.DECIDE)
    async def resolve_conflict(
        id: Part,
        decision: dict[str, Any],
        idempotency_key: IdempotencyKey = "",
        driftlog_actor: Actor = "",
        how: Annotated[
            Literal["page", "cli", "api"], Query(description="By what means it is decided; kept with the decision.")
        ] = "api",
        reason: Annotated[str, Query(max_length=200, description="Why; kept with the decision and shown to all.")] = "",
    ) -> AnswerOut:
        """Decide: `{field: value}`, or `{"accept": true}` for what stands. Also one that is `settled`: then the decision takes the place of its
        deadline's."""
        accept = decision == {"accept": True}
        if not accept and ("accept" in decision or not decision):
            raise InvalidInput("body", 'give {field: value}, or {"accept": true}')
        answer = await agent.resolve(
            id,
            None if accept else decision,
            command_id=idempotency_key,
            actor=driftlog_actor,
            how=how,
            reason=reason,
        )
        return AnswerOut.of(answer)


def _review(api: FastAPI, agent: EdgeAgent) -> None:
    @api.get("/v1/review")
    async def list_review(
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        after: Annotated[int, Query(ge=0, lt=1 << 63)] = 0,
    ) -> WaitingOut:
        """A page of the commands that wait for a person: what they changed is gone, or they may have been counted already. It ends before `limit`
        where they are large: go by `next`."""
        found, more = await agent.review_page(limit, after)
        lines = [LineOut.of(Line(r.entry.lsn, r.command, r.entry, WaitsFor(REVIEW))) for r in found]
        return WaitingOut(commands=lines, next=lines[-1].number if more else None)

    @api.get("/v1/deferred")
    async def list_deferred(
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        after: Annotated[int, Query(ge=0, lt=1 << 63)] = 0,
    ) -> WaitingOut:
        """A page of the commands that the cloud has put off (`code` and `reason` say why) and of those that stand behind one. It ends before `limit`
        where they are large: go by `next`."""
        lines, more = await agent.deferred_page(limit, after)
        return WaitingOut(commands=[LineOut.of(line) for line in lines], next=lines[-1].lsn if more else None)

    @api.post("/v1/deferred/{command_id}", responses=openapi.WITHDRAW)
    async def drop_deferred(command_id: Part, decision: DropIn) -> AnswerOut:
        """Give it up: it is rejected as `dropped`, with this reason, and what stands behind it goes on."""
        return AnswerOut.of(await agent.deferred_drop(command_id, decision.reason))

    @api.post("/v1/review/{command_id}", responses=openapi.DECIDE)
    async def decide_review(command_id: Part, decision: ReviewIn) -> AnswerOut:
        """Run it on what is there now (`apply`), or give it up (`drop`)."""
        decide = agent.review_apply if decision.apply else agent.review_drop
        return AnswerOut.of(await decide(command_id))


def _rejected(api: FastAPI, agent: EdgeAgent) -> None:
    @api.get("/v1/rejected")
    async def list_rejected(
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        after: Annotated[int, Query(ge=0, lt=1 << 63)] = 0,
    ) -> WaitingOut:
        """A page of the commands that were rejected after they had been answered (`code` and `reason` say why), and that nobody has looked at; newest
        first. It ends before `limit` where they are large: go by `next`."""
        lines, more = await agent.rejected_page(limit, after)
        return WaitingOut(commands=[LineOut.of(line) for line in lines], next=lines[-1].lsn if more else None)

    @api.post("/v1/rejected/{command_id}", responses=openapi.SEEN)
    async def see_rejected(command_id: Part, decision: SeenIn) -> AnswerOut:
        """A person has looked at it (`seen`): it goes off the list, and stays rejected."""
        return AnswerOut.of(await agent.rejected_seen(command_id))


def _operations(api: FastAPI, agent: EdgeAgent) -> None:
    @api.get("/v1/status")
    async def status() -> dict[str, Any]:
        """How the agent is."""
        return agent.status()

    @api.get("/v1/scopes")
    async def show_scopes() -> ScopesOut:
        """The scopes that this replica holds."""
        return ScopesOut(scopes=agent.scopes())

    @api.put("/v1/scopes", responses=openapi.LEAVE)
    async def set_scopes(
        wanted: ScopesIn,
        timeout: str = "5s",  # noqa: ASYNC109  # as above
    ) -> ScopesOut:
        """Hold these from now on: new ones are fetched, left ones go from the disk."""
        return ScopesOut(scopes=await agent.hold(wanted.scopes, seconds=seconds(timeout, "timeout")))

    @api.post("/v1/offline", responses=openapi.SET)
    async def set_offline(
        wanted: OfflineIn,
        timeout: str = "5s",  # noqa: ASYNC109  # as above
    ) -> dict[str, Any]:
        """Stay off the network until told otherwise."""
        change = agent.offline if wanted.offline else agent.online
        await change(seconds=seconds(timeout, "timeout"))
        return agent.status()

    @api.get("/v1/power")
    async def show_power() -> PowerOut:
        """What is known of power and network, and what follows from it."""
        return PowerOut.model_validate(agent.power())

    @api.put("/v1/power")
    async def set_power(told: Power) -> PowerOut:
        """Tell it. What is told stands above what the device's own source says, for `power.valid_seconds`; a fact that is left out or null is not told
        any more."""
        return PowerOut.model_validate(agent.set_power(told))

    @api.get("/v1/settings")
    async def show_settings() -> SettingsOut:
        """The settings that may change while the agent runs, as they are now."""
        return SettingsOut.model_validate(agent.settings())

    @api.put("/v1/settings")
    async def change_settings(given: SettingsIn) -> SettingsOut:
        """Change some of them, all at once or none: what is not named stays. It lasts until the agent ends; the next one begins with its file."""
        return SettingsOut.model_validate(agent.change_settings(given))

    @api.post("/v1/encryption/rotate", responses=openapi.ROTATE)
    async def rotate_data_key() -> dict[str, Any]:
        """Encrypt with another data key from now on. What lies under the one before is written anew in the background; see `encryption` in the status."""
        return await agent.rotate_data_key()

    @api.get("/healthz", response_class=PlainTextResponse)
    async def healthz() -> str:
        """Alive: a restart would mend nothing. It says so where the store is damaged, for only a person can help then."""
        return "ok" if agent.damage is None else f"{agent.damage}; {agent.damage.remedy}"

    @api.get("/readyz", response_class=PlainTextResponse, responses=openapi.READY)
    async def readyz() -> str:
        """Ready: writes are taken, and the replica has been read to its end at least once. Offline it stays so."""
        agent.ready()
        return "ready"

    @api.get("/metrics", response_class=PlainTextResponse)
    async def show_metrics() -> Response:
        """For Prometheus."""
        from driftlog_edge.http_api import metrics  # 5 MB that an agent which nobody scrapes does without

        return Response(metrics.render(agent), media_type=metrics.MEDIA_TYPE)
