"""What people always pick, from the decisions that this console's replica knows: those a person may see, and values that they may see."""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from driftlog_console.desk import Desk
from driftlog_console.masking import Eyes
from driftlog_console.people import Person
from driftlog_edge.errors import NotFound
from driftlog_schemas.messages import Conflict
from driftlog_streams.reading.conflict_lists import Filter
from driftlog_streams.reading.conflict_rules import Studied, study

MOST = 5_000
"""The last decisions that are looked at."""
AT_ONCE = 100
"""Between so many others have their turn."""


class Found(NamedTuple):
    """What was found in which decisions."""

    fields: list[Studied]
    looked_at: int
    total: int
    """All decisions that the filter takes, those that are too old to be looked at too."""
    masked: int
    """Left out, for the person may not see their values: which of two is the larger would tell of them."""


async def found_in(desk: Desk, eyes: Eyes, person: Person, wanted: Filter) -> Found:
    """Study the last decisions that the filter takes, in the scopes that the person sees."""
    lines = desk.inbox.matching("decided", wanted, person.sees)
    known: list[Conflict] = []
    masked = 0
    for number, line in enumerate(lines[:MOST], 1):
        try:
            one = desk.agent.conflict(line.id)
        except NotFound:  # it is forgotten since the list was made
            continue
        if eyes.blind(one):
            masked += 1
        else:
            known.append(one)
        if number % AT_ONCE == 0:
            await asyncio.sleep(0)
    fields = await asyncio.to_thread(study, known, desk.agent.contract)
    return Found(fields, len(known), len(lines), masked)
