"""Parameters that several routes take alike."""

from __future__ import annotations

from typing import Annotated

from fastapi import Header, Query

from driftlog_edge.http_api.path_parts import HeaderText

IdempotencyKey = Annotated[
    HeaderText,
    Header(
        min_length=1,  # of whoever sends an empty one, each attempt would count
        description="Names the intent; made if absent. The same key given to the same agent again has no second effect and the same"
        " answer, until the command is merged and older than `keep_hours` (a week unless set otherwise); then it is forgotten, and a key that comes"
        " again is a new intent. Two agents do not know each other's keys: retry where you first asked.",
    ),
]
Actor = Annotated[
    HeaderText, Header(description="On whose behalf; kept with the command and shown to who decides a conflict.")
]

Limit = Annotated[int, Query(ge=1, le=1000)]
"""How much of a list a page has at the most."""
After = Annotated[int, Query(ge=0, lt=1 << 63)]
"""The number of the last line that was seen; a page begins behind it."""
