"""What the pages stand on: one console's agent, its views, its people, and how they are shown."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import structlog
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse

from driftlog_console import words
from driftlog_console.at_devices import AtDevices
from driftlog_console.claims import Claims
from driftlog_console.deciding import Deciding
from driftlog_console.fleet import FleetView
from driftlog_console.flow import FlowView
from driftlog_console.group_deciding import GroupDeciding
from driftlog_console.history.view import HistoryView, Place
from driftlog_console.holding import Holding
from driftlog_console.inbox import Inbox
from driftlog_console.landings import Landings
from driftlog_console.masking import Eyes, masks_of
from driftlog_console.notices.telling import Telling
from driftlog_console.people import People, Person, Right
from driftlog_console.sessions import Sessions
from driftlog_console.signals import Signals
from driftlog_edge.agent import EdgeAgent
from driftlog_schemas.batch_codec import BatchCodec
from driftlog_schemas.connection import KafkaSettings
from driftlog_schemas.partitioning import partition_of

log = structlog.get_logger()

STATIC = Path(__file__).parent / "static"
OLD_SECONDS = 30.0
"""Data that was not in step with the cloud for so long looks old."""
LOGGED = 50
"""So many documents are named where masked values were shown."""


@dataclass(frozen=True, slots=True)
class Desk:
    """See the module."""

    agent: EdgeAgent
    kafka: KafkaSettings
    batches: BatchCodec
    inbox: Inbox
    deciding: Deciding
    holding: Holding
    groups: GroupDeciding
    landings: Landings
    claims: Claims
    fleet: FleetView
    at_devices: AtDevices
    history: HistoryView | None
    """None where no history is kept."""
    flow: FlowView
    telling: Telling | None
    """None where no webhook is told."""
    people: People
    sessions: Sessions
    signals: Signals
    silent_seconds: float

    def page(self, request: Request, name: str, person: Person | None, status: int = 200, **more: Any) -> HTMLResponse:
        """A whole page. `more` is what its template asks for."""
        around = {} if person is None else {"as_of": self._as_of(), "waiting": self.waiting_for(person)}
        text = _pages.get_template(name).render(
            person=person,
            path=request.scope["raw_path"].decode("latin-1"),
            here=address_of(request),
            moment_mark=getattr(request.state, "mark", self.signals.mark),
            now_ms=now_ms(),
            Right=Right,
            **around,
            **more,
        )
        self.note_revealed(request)
        return HTMLResponse(text, status)

    def eyes(self, request: Request, person: Person) -> Eyes:
        """What this answer may show to the person: the same for all of it, so that the log can say what that was."""
        found: Eyes | None = getattr(request.state, "eyes", None)
        if found is None:
            found = request.state.eyes = Eyes(masks_of(self.agent.contract), person)
        return found

    def note_revealed(self, request: Request) -> None:
        """Say in the log whom this answer shows masked values, and of which documents."""
        eyes: Eyes | None = getattr(request.state, "eyes", None)
        if eyes is None or not eyes.revealed:
            return
        documents = ["/".join(document) for document in eyes.revealed]
        log.info(
            "masked values were shown",
            person=eyes.person.name,
            page=address_of(request),
            documents=documents[:LOGGED],
            more=max(0, len(documents) - LOGGED),
        )

    def waiting_for(self, person: Person) -> int:
        """How much waits for a person in the scopes that this one sees: what the inbox lists."""
        return self.inbox.open_in(person.sees) + len(self.at_devices.seen_by(person.sees))

    def place(self, space: str, scope: str) -> Place:
        """Where the changes of a scope are logged."""
        return Place(space, partition_of(scope, self.agent.present.spaces[space].partitions))

    def _as_of(self) -> dict[str, Any]:
        """How old what is shown may be: the oldest of the scopes."""
        status = self.agent.status()
        ages = [scope["age_seconds"] for scope in status["scopes"].values()]
        known = [age for age in ages if age is not None]
        never = len(known) < len(ages)
        oldest = max(known, default=0.0)
        return {
            "connection": status["connection"],
            "never": never,
            "seconds": oldest,
            "old": never or oldest > OLD_SECONDS,
            "problem": status["problem"],
        }


def now_ms() -> int:
    """This machine's clock."""
    return time.time_ns() // 1_000_000


def address_of(request: Request) -> str:
    """The address of this page on this console, as it was asked for."""
    path: str = request.scope["raw_path"].decode("latin-1")
    query = request.url.query
    return path + (f"?{query}" if query else "")


def _query(asked: Mapping[str, str], **more: object) -> str:
    """A query of an address."""
    return urlencode(more | dict(asked))


def _environment() -> Environment:
    found = Environment(
        loader=PackageLoader("driftlog_console"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=words.visible,  # of what is written out; what a form sends back goes by `| e`, as it is
    )
    found.filters |= {
        "shown": words.shown,
        "editable": words.editable,
        "cut": words.cut,
        "moment": words.moment,
        "span": words.length,
        "ago": words.ago,
        "by": words.by,
        "who": words.who,
    }
    found.globals |= {"until": words.until, "place": words.place, "address": words.address, "query": _query}
    return found


_pages = _environment()
