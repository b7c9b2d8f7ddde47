"""Commands that were first written in a life that is over and came in by later ones: each counts once, whoever brings it.

Two copies of a folder hold the same unsent commands. One of them learns that its life is over, ends it for both (`Batch.ends`), and takes
what the ended chain does not hold along into a new life; so does the other. Each of these commands names its *root*, the life under
which it was first written, and the root's row keeps which of them have been decided:

    the root's chain may still grow                  deferred, `root_open`: the command may come in by it as well
    decided by another record, before this moment    `repeated`, or refused as it was: the first verdict stands, the ops are seen without effect
    the root's row was removed since it was written, and had such commands
                                                     refused, `maybe_counted`: a person decides
    no room in the row                               deferred, `taken_full`: a person decides
    else                                             decided as ever, and kept when the verdict is final

What its agent, or a person there, runs again under the same id is not final. A crash may let the root's row out ahead of the log: what stands
there of later records is not known yet, and an entry of the record itself is no repeat.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from driftlog_schemas.messages import ChainRow, CommandOutcome, Taken, Verdict
from driftlog_schemas.row_columns import short_name

MAX_TAKEN = 12_000
"""Commands of one life; a copy of a folder may hold so many unsent ones. About 256 KiB of its row."""
REPEATED = "repeated"
ROOT_OPEN = "root_open"
TAKEN_FULL = "taken_full"
NO_RIGHTS = "no_rights"
"""Of a command of an earlier life: it takes more than its device's rights. A person decides, who may try it again."""
GONE = "gone"
"""The same: what it was written on may have been purged since."""
MAYBE_COUNTED = "maybe_counted"
"""The same: another copy of the folder may have brought it, and what that brought is forgotten."""
_COME_AGAIN = frozenset({"builds_on_refused", "purged", NO_RIGHTS, GONE, MAYBE_COUNTED})
"""Codes of rejected commands that may come again, under the same id."""


def without_effect(outcome: CommandOutcome) -> bool:
    """Was it refused, or had it come by another life before?"""
    return outcome.verdict is Verdict.REJECTED or outcome.code == REPEATED


def first_word(outcome: CommandOutcome, offset: int) -> Taken:
    """What is kept of a final outcome: of one that was refused, why, for so is whoever brings the command again."""
    return Taken(offset, outcome.verdict, outcome.code if outcome.verdict is Verdict.REJECTED else "")


def before(
    root: ChainRow | None, fresh: Mapping[bytes, Taken], command_id: str, offset: int, now: int, written: int | None
) -> CommandOutcome | None:
    """What is decided already of a command that the record at `offset` brings; None where nothing is.

    `root` is the row of the life that it was first written in, `fresh` what is decided and not in that row yet. `now` is the record that
    is merged at this moment: another one where the command had waited. `written` is how far its writer had read, or None where a person, or its agent,
    has run it anew.
    """
    if root is None or not root.ended or root.ended_at > now:
        return CommandOutcome(command_id, Verdict.DEFERRED, ROOT_OPEN, "the life it was written in may still send it")
    name = short_name(command_id)
    first = root.taken.get(name) or fresh.get(name)
    if first is not None and first.offset == offset:
        return None
    if first is not None and first.offset <= now:
        reason = f"another copy of the folder had sent it (record {first.offset})"
        return CommandOutcome(command_id, first.verdict, first.code or REPEATED, reason)
    if first is None and written is not None and written < root.taken_from:
        reason = "another copy of the folder may have sent it; what that brought is forgotten"
        return CommandOutcome(command_id, Verdict.REJECTED, MAYBE_COUNTED, reason)
    if _full(root, fresh, now):
        return CommandOutcome(command_id, Verdict.DEFERRED, TAKEN_FULL, f"over {MAX_TAKEN} commands of that life")
    return None


def final(outcome: CommandOutcome) -> bool:
    """Is this the last word on a command, under whatever dots it may come?"""
    if outcome.verdict in (Verdict.PARKED, Verdict.DEFERRED):
        return False
    return outcome.code != REPEATED and outcome.code not in _COME_AGAIN


def kept(root: ChainRow, fresh: Mapping[bytes, Taken]) -> ChainRow:
    """The root's row with what was decided since; of two records that brought one command the first stands."""
    return replace(root, taken={**fresh, **root.taken})


def _full(root: ChainRow, fresh: Mapping[bytes, Taken], now: int) -> bool:
    """Is there no room? What a crash has let out ahead of the log does not take any yet."""
    if len(root.taken) + len(fresh) < MAX_TAKEN:
        return False
    return sum([one.offset <= now for one in (*root.taken.values(), *fresh.values())]) >= MAX_TAKEN
