"""What a simulation tells: each replica's documents, what was refused, what is in conflict, and the way it came to that."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from driftlog_schemas.contract import Json
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.messages import Conflict

TOLD = 40
"""So many events of a story are shown."""


class Event(NamedTuple):
    """One thing that happened."""

    step: int
    who: str
    what: str
    documents: tuple[DocumentId, ...] = ()

    def __str__(self) -> str:
        return f"{self.step:>5}  {self.who}: {self.what}"


class Rejected(NamedTuple):
    """A command that did not stand: refused where it was asked (`where` is the replica), or by the cloud."""

    replica: str
    where: str
    command: str
    command_id: str
    arguments: Mapping[str, Any]
    code: str
    reason: str


class Problem(NamedTuple):
    """What should not be, and the documents whose story tells how it came about."""

    what: str
    documents: tuple[DocumentId, ...] = ()
    events: int = 0
    """So many things had happened by then."""


@dataclass
class Result:
    """How a simulation ended."""

    seed: int
    documents: Mapping[str, Mapping[DocumentId, Mapping[str, Json]]] = field(default_factory=dict)
    """replica, or `cloud` -> the documents that it has in the end, as a reader gets them."""
    rejected: list[Rejected] = field(default_factory=list)
    conflicts: Sequence[Conflict] = ()
    """As they stand in the end, resolved ones too."""
    trace: list[Event] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    """Invariants that were broken, commands that nobody decided, replicas that differ."""

    def check(self) -> None:
        """Raise AssertionError, with the seed and how it came about, unless all ended well."""
        if self.problems:
            raise AssertionError(self.story())

    def story(self) -> str:
        """What went wrong, and what had happened to the first problem's documents by then; of a run without problems what happened last.

        What is wrong once is often wrong with each change from then on: the way to the first time tells why.
        """
        lines = [f"simulate(seed={self.seed}):", *(f"  {problem.what}" for problem in self.problems)]
        first = self.problems[0] if self.problems else Problem("", (), len(self.trace))
        concerned = set(first.documents)
        before = self.trace[: first.events]
        events = [event for event in before if not concerned or concerned.intersection(event.documents)]
        if len(events) > TOLD:
            lines.append(f"  ... {len(events) - TOLD} earlier events")
        return "\n".join([*lines, *map(str, events[-TOLD:])])


def called(name: str, arguments: Mapping[str, Any]) -> str:
    """A command as people write it."""
    return f"{name}({', '.join(f'{key}={value!r}' for key, value in arguments.items())})"


def listed(documents: Iterable[DocumentId]) -> str:
    """Documents as people write them."""
    return ", ".join("/".join(document) for document in documents) or "nothing new"
