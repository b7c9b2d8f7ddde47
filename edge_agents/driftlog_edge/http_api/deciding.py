"""What waits for a person, or for a look of one: conflicts, the review list, what the cloud has put off, what was rejected."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import FastAPI, Query

from driftlog_edge.agent import EdgeAgent
from driftlog_edge.asking.op_log import Line
from driftlog_edge.asking.waiting import REVIEW, WaitsFor
from driftlog_edge.http_api import openapi
from driftlog_edge.http_api.parameters import Actor, After, IdempotencyKey, Limit
from driftlog_edge.http_api.path_parts import Part
from driftlog_edge.http_api.shapes import (
    AnswerOut,
    ConflictOut,
    ConflictsOut,
    DropIn,
    LineOut,
    ReviewIn,
    SeenIn,
    WaitingOut,
)
from driftlog_schemas.contract import InvalidInput


def install(api: FastAPI, agent: EdgeAgent) -> None:
    """The routes."""
    _conflicts(api, agent)
    _review(api, agent)
    _rejected(api, agent)


def _conflicts(api: FastAPI, agent: EdgeAgent) -> None:
    @api.get("/v1/conflicts")
    async def list_conflicts(all: bool = False, limit: Limit = 100, after: str = "") -> ConflictsOut:
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
    async def list_review(limit: Limit = 100, after: After = 0) -> WaitingOut:
        """A page of the commands that wait for a person: what they changed is gone, or they may have been counted already. It ends before `limit`
        where they are large: go by `next`."""
        found, more = await agent.review_page(limit, after)
        lines = [LineOut.of(Line(r.entry.lsn, r.command, r.entry, WaitsFor(REVIEW))) for r in found]
        return WaitingOut(commands=lines, next=lines[-1].number if more else None)

    @api.get("/v1/deferred")
    async def list_deferred(limit: Limit = 100, after: After = 0) -> WaitingOut:
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
    async def list_rejected(limit: Limit = 100, after: After = 0) -> WaitingOut:
        """A page of the commands that were rejected after they had been answered (`code` and `reason` say why), and that nobody has looked at; newest
        first. It ends before `limit` where they are large: go by `next`."""
        lines, more = await agent.rejected_page(limit, after)
        return WaitingOut(commands=[LineOut.of(line) for line in lines], next=lines[-1].lsn if more else None)

    @api.post("/v1/rejected/{command_id}", responses=openapi.SEEN)
    async def see_rejected(command_id: Part, decision: SeenIn) -> AnswerOut:
        """A person has looked at it (`seen`): it goes off the list, and stays rejected."""
        return AnswerOut.of(await agent.rejected_seen(command_id))
