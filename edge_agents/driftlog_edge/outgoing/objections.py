"""Why a command does not come along into a new life by itself, and a person must decide: the rules of `outgoing/rebase`, asked of one command.

What goes to a person takes along what stands on it: an edit of what such a command has made would have no effect without it.
"""

from __future__ import annotations

from contextlib import suppress

from driftlog_crdt import PAST, AlgebraError, BadOperation, DocumentState, Op, Takeover, Vector, epoch_of
from driftlog_edge.incoming.outcome_codes import GONE, MAYBE_COUNTED, NO_RIGHTS
from driftlog_edge.store.command_log import entry_of
from driftlog_edge.store.handover import Handover
from driftlog_edge.store.journal import Journal
from driftlog_edge.store.lives import TAKEN_FULL
from driftlog_edge.store.views import Views
from driftlog_schemas.contract import AppContract, CollectionContract, InvalidInput
from driftlog_schemas.identity import DocumentId, document_key
from driftlog_schemas.messages import Command

FORGOTTEN = "forgotten"
UNDECLARED = "undeclared"
STANDS_ON_REVIEW = "stands_on_review"


class Objections:
    """To the commands of one step, asked in their order."""

    def __init__(
        self, journal: Journal, views: Views, contract: AppContract, handover: Handover, stranger: str
    ) -> None:
        """`stranger` is the life of another device that the folder was given to, which has none of the rights of this one; empty where there is none."""
        self._journal = journal
        self._views = views
        self._contract = contract
        self._handover = handover
        self._stranger = stranger
        self._states: dict[bytes, tuple[DocumentState, int]] = {}
        """What the cloud has merged into a document, and its size in bytes."""
        self._left: dict[bytes, Takeover] = {}
        """What goes to a person, of each document."""

    def to(self, command: Command) -> tuple[str, str] | None:
        """Why a person must decide: (code, reason). None where the command comes along."""
        return self._by_itself(command) or self._left_alone(command)

    def leave(self, command: Command) -> None:
        """It goes to a person, and with it what it has made."""
        for document, op in command.ops:
            with suppress(InvalidInput, AlgebraError):  # of what is not declared nothing comes along
                rules = self._contract.collection(document.collection).document
                rules.leave(op, self._left.setdefault(document_key(document), Takeover(self._handover.old, "")))

    def seen(self, key: bytes) -> Vector:
        """What the cloud has seen of a document that a command which comes along changes."""
        return self._states[key][0].vector

    def _by_itself(self, command: Command) -> tuple[str, str] | None:
        """Why a person must decide: (code, reason)."""
        entry = entry_of(self._journal, command.id)
        if entry is not None and entry.code == TAKEN_FULL:
            return TAKEN_FULL, "another copy of this folder may have sent it; the cloud cannot remember so many"
        seen = []
        for document, op in command.ops:
            try:
                collection = self._contract.collection(document.collection)
                collection.document.check(op)
            except (InvalidInput, AlgebraError) as error:
                return UNDECLARED, str(error)
            key = document_key(document)
            state, size = self._state(collection, key)
            if op.context and not size and not self._views.generations.own_only(document.collection):
                return GONE, f"{'/'.join(document)} is no longer there"
            if why := _outlived(collection, document, op, state.vector):
                return why
            if self._stranger and (why := self._unentitled(collection, state, op)):
                return why
            forgotten = PAST in state.vector and self._handover.old not in state.vector
            seen.append(forgotten or state.vector.get(self._handover.old, 0) >= op.seq)
        if not self._handover.complete and all(seen):
            return MAYBE_COUNTED, "another copy of this folder may have sent it; the log no longer tells"
        return None

    def _left_alone(self, command: Command) -> tuple[str, str] | None:
        """Why a command that edits what an earlier one has made goes where that went: without it the edit would have no effect."""
        for document, op in command.ops:
            left = self._left.get(document_key(document))
            if left is not None and self._contract.collection(document.collection).document.stands_on_left(op, left):
                return STANDS_ON_REVIEW, "what it edits was made by a command that waits for a person"
        return None

    def _state(self, collection: CollectionContract, key: bytes) -> tuple[DocumentState, int]:
        if key not in self._states:
            self._states[key] = self._views.confirmed(collection, key)
        return self._states[key]

    def _unentitled(self, collection: CollectionContract, state: DocumentState, op: Op) -> tuple[str, str] | None:
        try:
            collection.document.permit(state, op._replace(replica=self._stranger))
        except BadOperation as error:
            return NO_RIGHTS, str(error)
        return None


def _outlived(collection: CollectionContract, document: DocumentId, op: Op, vector: Vector) -> tuple[str, str] | None:
    """Why an op on what has been forgotten in part since it was written is for a person to decide."""
    if op.context is None or vector.get(PAST, 0) <= op.context.get(PAST, 0):
        return None
    if epoch_of(vector) > epoch_of(op.context):
        return GONE, f"the {'/'.join(document)} that it was written on is no longer there"
    if collection.document.takes_away(op):
        return FORGOTTEN, f"what it takes away of {'/'.join(document)} may have changed and been forgotten since"
    return None
