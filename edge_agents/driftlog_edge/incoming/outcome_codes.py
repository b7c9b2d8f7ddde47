"""What the codes of outcomes mean for a command here: who runs it again, who decides about it, whether its dots will be seen."""

from __future__ import annotations

from driftlog_edge.store.command_log import FINAL, Status
from driftlog_edge.store.lives import PURGED
from driftlog_schemas.messages import Command, CommandOutcome, Verdict

REPEATED = "repeated"
RUN_AGAIN = frozenset({"builds_on_refused", PURGED})
"""Codes of rejected commands that are run again, under the same id."""
DROPPED = "dropped"
"""Code of a command that a person has given up while it waited: its dot is seen only when no earlier one is missing, by a record that nobody knows."""
_PERHAPS_UNSEEN = frozenset({"forbidden", REPEATED})
"""Codes of commands of which nothing is seen where the device has no right at all (`store/unseen`). What an earlier life had sent is told as it
was decided then, whatever the device may do now: so that may have any code."""
LIFE_OVER = "life_over"
"""Code of a command that waited for a change which its life will not send any more."""
NO_RIGHTS = "no_rights"
GONE = "gone"
MAYBE_COUNTED = "maybe_counted"
_REVIEWED = frozenset({NO_RIGHTS, GONE, MAYBE_COUNTED})
"""Codes of rejected commands that were promised under an earlier life: a person decides about them."""
LOST = CommandOutcome(
    "", Verdict.DEFERRED, MAYBE_COUNTED, "the cloud no longer tells what became of it while it was parked"
)


def perhaps_unseen(outcome: CommandOutcome, command: Command) -> bool:
    """May it be that no state will ever have the dots of a command that is decided so?"""
    return outcome.code in _PERHAPS_UNSEEN or (outcome.verdict is Verdict.REJECTED and bool(command.root))


def together(outcome: CommandOutcome, command_id: str) -> CommandOutcome:
    """What became of a command that was sent with others as one."""
    reason = outcome.reason and f"{outcome.reason} (sent as one with {outcome.command_id}: the collection is collapsed)"
    return outcome._replace(command_id=command_id, reason=reason)


def status_of(outcome: CommandOutcome) -> Status:
    """What a verdict makes of a command that is not to be sent again."""
    if outcome.verdict is Verdict.PARKED:
        return Status.PARKED
    refused = outcome.verdict is Verdict.REJECTED
    return Status.REVIEW if refused and outcome.code in _REVIEWED else FINAL[outcome.verdict]
