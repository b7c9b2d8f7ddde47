"""What somebody wants done, before it has run: the same for a declared command, for changes of a document, and for a decision."""

from __future__ import annotations

from typing import NamedTuple

from driftlog_crdt import Decision
from driftlog_schemas.contract import Json


class Earlier(NamedTuple):
    """A command that runs once more under its id: the fingerprint of what was asked, and the life under which it was first written."""

    mark: str
    life: str
    read: int | None = None
    """Up to which op offset its writer had read then; None where a person has it run now. By that the cloud knows what another copy of the
    folder may have sent, when it has forgotten what that was."""


class Intent(NamedTuple):
    """One command. `name` is that of a declared one, else empty; `priority` the class in which it is to wait."""

    command_id: str
    name: str
    space: str
    priority: str
    actor: str
    mark: str
    """The fingerprint of what is asked: the same id with another is refused."""
    asked: Json
    """The same as it is kept until the command is decided (`asked`)."""
    again: Earlier | None = None
    decision: Decision | None = None
    """Where a person decides a conflict: by what means, and why."""
