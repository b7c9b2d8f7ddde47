"""Rules proposed from past decisions, and each tried on all of them before it is put into force."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from driftlog_console.asking import TheDesk, Viewer
from driftlog_console.rules import found_in
from driftlog_edge.errors import NotFound
from driftlog_streams.reading.conflict_lists import Filter
from driftlog_streams.reading.conflict_rules import LEAST, SHARE, RuleName
from driftlog_streams.reading.rule_declarations import WORDS, change_of

router = APIRouter()

PAGE = 50
EXAMPLES = 3


@router.get("/inbox/rules")
async def show(request: Request, desk: TheDesk, person: Viewer) -> Response:
    """Each field that people have decided about, and the rule that would have decided as they did."""
    eyes = desk.eyes(request, person)
    found = await found_in(desk, eyes, person, Filter())
    return desk.page(
        request, "rules.html", person, found=found, words=WORDS, least=LEAST, share=SHARE, examples=EXAMPLES
    )


@router.get("/inbox/rule")
async def one(
    request: Request,
    desk: TheDesk,
    person: Viewer,
    collection: str,
    rule: RuleName,
    field: str = "",
    start: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=500)] = PAGE,
) -> Response:
    """A dry run: what the rule would have chosen of each, those first where people chose otherwise."""
    eyes = desk.eyes(request, person)
    found = await found_in(desk, eyes, person, Filter(collection=collection))
    studied = next((one for one in found.fields if (one.collection, one.field) == (collection, field)), None)
    tried = None if studied is None else studied.rule(rule)
    if studied is None or tried is None:
        raise NotFound("no decision is known here that this rule could have made")
    proposal = studied.proposal
    rows = [*tried.exceptions, *(judged for judged in tried.judged if judged.agrees)]
    return desk.page(
        request,
        "rule.html",
        person,
        studied=studied,
        tried=tried,
        proposed=proposal is not None and proposal.rule == rule,
        change=change_of(desk.agent.contract, collection, field, tried),
        words=WORDS,
        least=LEAST,
        share=SHARE,
        rows=rows[start : start + limit],
        start=start,
        limit=limit,
    )
