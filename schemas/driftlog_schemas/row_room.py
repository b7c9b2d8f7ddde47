"""How much a chain's row may hold, and whether one batch more finds room: said once, for the worker that keeps the row and for the agent, which has
to know when it never will.

A row is bounded, by entries and by bytes, so that it stays a record which a broker takes. What a batch will be answered is not known before, so it
finds room only if the longest answers would.
"""

from __future__ import annotations

from collections.abc import Sequence

from driftlog_schemas import bounds
from driftlog_schemas.messages import ChainEntry, Command, CommandOutcome

MAX_ENTRIES = 8192
MAX_ROW_BYTES = 512 * 1024
_HEAD_BYTES = 1024
"""What a row takes besides its entries, at most: names, head, notice."""
_ENTRY_BYTES = 32
_OUTCOME_BYTES = 24
"""What an outcome takes besides its texts, at most."""
_TOLD_BYTES = bounds.MAX_CODE + bounds.MAX_REASON + _OUTCOME_BYTES
"""What an outcome takes besides its command's id, at most."""


def has_room(batches: int, told: int, commands: Sequence[Command]) -> bool:
    """Does a row of so many batches, whose outcomes take `told` bytes, take one more, of these commands?"""
    most = len("".join([command.id for command in commands]).encode()) + len(commands) * _TOLD_BYTES
    return batches < MAX_ENTRIES and (batches + 1) * _ENTRY_BYTES + told + most <= MAX_ROW_BYTES - _HEAD_BYTES


def told_by(entries: Sequence[ChainEntry]) -> int:
    """About how many bytes the outcomes of entries take in a row, and not less."""
    return sum([_size(outcome) for entry in entries if entry.outcomes for outcome in entry.outcomes])


def _size(outcome: CommandOutcome) -> int:
    code = min(bounds.MAX_CODE, len(outcome.code.encode()))
    reason = min(bounds.MAX_REASON, len(outcome.reason.encode()))
    return len(outcome.command_id.encode()) + code + reason + _OUTCOME_BYTES
