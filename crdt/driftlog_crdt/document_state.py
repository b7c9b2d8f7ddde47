"""What a document remembers, and what merging an op can answer.

`vector` is the memory of what has been merged. `presence` and `grave` exist only where they say more than the vector does:

- `presence`: replica -> seq of its latest op that still has an effect. None means: the vector itself, nothing was erased
  or refused. The document exists while there is any.
- `grave`: the dots of the deletes, as a vector. None means that nobody ever deleted; empty means that there were deletes
  and that all were pruned (see `deletion`).

`refused` holds the refused ops of which their writers may not know (see `refusals`).
"""

from __future__ import annotations

from enum import Enum
from typing import Any, NamedTuple

from driftlog_crdt.conflicts import Conflict, Place
from driftlog_crdt.field_type import Encoded
from driftlog_crdt.refusals import Refused


class Outcome(Enum):
    """What became of an op."""

    APPLIED = "applied"
    NO_EFFECT = "no_effect"
    """Merged, but it found nothing to act on: a delete that it had not seen won, or what it refers to is not there."""
    DUPLICATE = "duplicate"
    GAP = "gap"


class Applied(NamedTuple):
    """The outcome, the places in conflict that the op has changed, and the conflicts that it has ended, as they were before."""

    outcome: Outcome
    contested: tuple[Place, ...] = ()
    ended: tuple[Conflict, ...] = ()


APPLIED = Applied(Outcome.APPLIED)
NO_EFFECT = Applied(Outcome.NO_EFFECT)
DUPLICATE = Applied(Outcome.DUPLICATE)
GAP = Applied(Outcome.GAP)


class Made(NamedTuple):
    """What was made of fields when they were last written down; of each until it changes."""

    parts: dict[str, Any]
    """Their encodings (see `document_codec`)."""
    columns: dict[str, bytes]
    """What whoever writes rows made of their values."""

    def forget(self, name: str) -> None:
        """A field is about to change."""
        self.parts.pop(name, None)
        self.columns.pop(name, None)


class DocumentState:
    """What has been merged of one document. Owned by whoever made it; change it only through `DocumentType`."""

    __slots__ = ("fields", "grave", "made", "presence", "refused", "unread", "vector")

    def __init__(
        self,
        vector: dict[str, int] | None = None,
        fields: dict[str, Any] | None = None,
        presence: dict[str, int] | None = None,
        grave: dict[str, int] | None = None,
        refused: Refused | None = None,
        unread: dict[str, Encoded] | None = None,
    ) -> None:
        self.vector: dict[str, int] = {} if vector is None else vector
        self.fields: dict[str, Any] = {} if fields is None else fields
        """Only fields that an op has touched."""
        self.presence = presence
        self.grave = grave
        self.refused: Refused = {} if refused is None else refused
        self.unread: dict[str, Encoded] = {} if unread is None else unread
        """Encodings of fields that are not declared (any more, or not yet), carried along as they came"""
        self.made: Made | None = None
        """Where somebody keeps it, as who seals the same document again and again does; it is no part of the state"""
