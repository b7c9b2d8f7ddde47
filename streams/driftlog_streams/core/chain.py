"""The chain of one replica in one partition: which batch is its next one, decided from the log alone.

Each batch carries its number, the digest of the batch before it (`prev`) and the oldest number of which its replica has no answer
(`floor`). The row remembers the head, and digests and verdicts from floor to head. So for each number exactly one batch ever wins, and
whatever a restored backup or a copied folder sends beside it is `forked`, with nothing of it seen:

    no row yet, or one that does not know what its replica was told (`_behind`)
                                            anchors the chain if nothing before it is unanswered, else `early`: unknown is not forked
    number = last + 1, prev = head          the next one, whatever comes of its commands
    a known number, the same digest         a repeat: answered with the row as it is
    a known number, another digest; or a wrong prev     `forked`
    number > last + 1                       `early`: to be sent again, behind what is missing
    a new number, before the head's record  `early` still, read again after a crash: when it was first met, what it follows was missing
    below what the row still knows          a repeat that says nothing if all its dots are covered, else `forked`
    after the life has ended                `ended` or `retired`
    written by somebody who had not read up to the partition's floor    `away` (see `memory`), whatever else it is, unless it is refused anyway

A life is ended by a batch of the same device (`Batch.ends`), by its own or, where a folder was copied or restored, by that of the life
that follows it: whatever somebody sends under the old name after that record is not taken.

What was rejected is kept by its short name when its entry leaves: another copy of the folder may still ask, and the states do not tell it from what
was accepted. The newest of them are kept, and from which batch on that is all.

An entry leaves when its replica no longer asks for it, nothing of it waits (what was given up while it waited does so until its changes count as
seen), and a crash can no longer replay it: its record lies below
the committed offset. A row is bounded (`row_room`); a batch that finds no room is `window_full`, and sent again. Whether it does is
decided as if all before it were committed, from the log alone: else a replay would take another one. What is not committed yet leaves first (`crowded`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from enum import Enum
from typing import NamedTuple

from driftlog_schemas.batch_codec import SHORT_DIGEST_BYTES
from driftlog_schemas.messages import Batch, ChainEntry, ChainRow, CommandOutcome, Notice, Reactions, Refused, Verdict
from driftlog_schemas.row_columns import short_name
from driftlog_schemas.row_room import has_room, told_by
from driftlog_schemas.support import Floor

NO_REACTIONS = Reactions()
_ALL_COMMITTED = 1 << 63
"""An offset behind every log."""
MAX_REFUSED = 1000
"""Rejected commands that a row remembers beyond their entries."""


class Link(NamedTuple):
    """A signed batch as its chain sees it. `digest` is of its body, 16 bytes."""

    batch: Batch
    digest: bytes
    device_id: str
    offset: int
    append_ms: int


class Fit(Enum):
    """Where a batch stands to its chain. The value is the code of the notice, where there is one."""

    NEXT = "next"
    REPEAT = "repeat"
    BELOW = "below"
    """Under what the row still knows: only its dots can tell."""
    FORKED = "forked"
    EARLY = "early"
    WINDOW_FULL = "window_full"
    ENDED = "ended"
    RETIRED = "retired"
    AWAY = "away"


def parked(entry: ChainEntry) -> bool:
    """Does a command of this batch wait?"""
    return any(outcome.verdict is Verdict.PARKED for outcome in entry.outcomes)


def fit(row: ChainRow | None, link: Link, waits: Callable[[ChainEntry], bool] = parked) -> Fit:
    """Where the batch stands. Of entries of which something `waits` none leaves."""
    number = link.batch.number
    if row is None or not row.head or _behind(row, link.batch):
        if row is not None and row.ended and row.ended_at <= link.offset:
            return Fit(row.ended)
        return Fit.NEXT if number <= max(link.batch.floor, 1) else Fit.EARLY
    if number <= row.last:
        known = entry_of(row, number)
        if known is None:
            return Fit.BELOW
        return Fit.REPEAT if known.digest == link.digest[:SHORT_DIGEST_BYTES] else Fit.FORKED
    if row.ended and row.ended_at <= link.offset:
        return Fit(row.ended)
    if number > row.last + 1 or link.offset < row.offset:
        return Fit.EARLY
    if link.batch.prev != row.head:
        return Fit.FORKED
    return Fit.NEXT if _finds_room(row, link.batch, _ALL_COMMITTED, waits) else Fit.WINDOW_FULL


def crowded(row: ChainRow, batch: Batch, committed: int, waits: Callable[[ChainEntry], bool] = parked) -> bool:
    """Is it for want of a commit alone that the row has no room for this batch? `committed` is the op offset from which a crash replays."""
    if has_room(len(row.entries), _told_by(row, row.entries), batch.commands):
        return False
    return not _finds_room(row, batch, committed, waits) and _finds_room(row, batch, _ALL_COMMITTED, waits)


def _finds_room(row: ChainRow, batch: Batch, committed: int, waits: Callable[[ChainEntry], bool]) -> bool:
    kept = _kept(row.entries, batch.floor, committed, waits)
    return has_room(len(kept), _told_by(row, kept), batch.commands)


def _behind(row: ChainRow, batch: Batch) -> bool:
    """Is the row older than what the batch's writer was told? Then it is a late word, and the newest is lost.

    A cut-off worker's row can be the topic's last word when its owner ends, and compaction then drops the newer one. To go on from it
    would ask the writer for batches that it has an answer for, and no more.
    """
    return row.last + 1 < batch.floor <= batch.number


def retired(row: ChainRow, offset: int, heir: str) -> ChainRow:
    """The row of a life that nothing was heard of for long: the record at this offset ends it."""
    return replace(row, ended=Fit.RETIRED.value, ended_at=offset, heir=heir)


def entry_of(row: ChainRow, number: int) -> ChainEntry | None:
    """What the row knows of a number; its entries are dense."""
    at = number - row.floor
    return row.entries[at] if 0 <= at < len(row.entries) else None


def may_bring(entry: ChainEntry, digest: bytes, offset: int) -> bool:
    """Can a record at this offset, with a body of this digest, have brought the batch? It may have come again since."""
    return entry.digest == digest[:SHORT_DIGEST_BYTES] and offset >= entry.offset


def verdict_of(entry: ChainEntry, command_id: str) -> CommandOutcome:
    """What became of a command of this batch: accepted, where nothing else is said."""
    found = next((outcome for outcome in entry.outcomes if outcome.command_id == command_id), None)
    return found or CommandOutcome(command_id, Verdict.ACCEPTED)


def entered(
    row: ChainRow | None,
    link: Link,
    outcomes: Sequence[CommandOutcome],
    skew_ms: int,
    committed: int,
    waits: Callable[[ChainEntry], bool] = parked,
    unmet: Floor | None = None,
) -> ChainRow:
    """The row with this batch as its newest; `unmet` is what its version of the app does not meet."""
    batch = link.batch
    entry = ChainEntry(batch.number, link.digest[:SHORT_DIGEST_BYTES], link.offset, _told(outcomes))
    kept: tuple[ChainEntry, ...] = ()
    told = 0
    if row is not None and not _behind(row, batch):
        kept = _kept(row.entries, batch.floor, committed, waits)
        told = _told_by(row, kept)
    entries = (*kept, entry)
    refused, complete_from = _refused(row, entries[0].number)
    notice = None if row is None else row.notice
    over = batch.replica in batch.ends
    return ChainRow(
        device_id=link.device_id,
        replica=batch.replica,
        space=batch.space,
        partition=batch.partition,
        last=batch.number,
        head=link.digest,
        floor=entries[0].number,
        entries=entries,
        refused=refused,
        refused_from=complete_from,
        ended=Fit.ENDED.value if over else "",
        ended_at=link.offset if over else -1,
        skew_ms=skew_ms,
        append_ms=link.append_ms,
        offset=link.offset,
        notice=notice if notice is not None and notice.number > batch.number else None,
        forgot=() if row is None else row.forgot,
        born_ms=link.append_ms if row is None or not row.born_ms else row.born_ms,
        told=told + told_by((entry,)),
        reactions=NO_REACTIONS if row is None else row.reactions,
        oldest_supported="" if unmet is None else unmet.version,
        support_ends_ms=0 if unmet is None else unmet.from_ms,
    )


def ended(row: ChainRow | None, replica: str, link: Link) -> ChainRow:
    """The row of a life that a batch of the same device ends; one that knows no head if there was none."""
    if row is None:
        row = _unknown(replica, link, 0)
    return row if row.ended else replace(row, ended=Fit.ENDED.value, ended_at=link.offset)


def noticed(row: ChainRow | None, link: Link, code: str, reason: str) -> ChainRow:
    """The row with a word on a batch that was not taken; one that knows no head if there was none.

    That the next batch came from somebody who was away for too long is not talked over by what follows it, which is early for ever: a writer
    with several under way would never hear of it.
    """
    if row is None:
        row = _unknown(link.batch.replica, link, max(link.batch.floor, 1) - 1)
    before = row.notice
    if code == Fit.EARLY.value and before is not None and before.code == Fit.AWAY.value:
        return row
    return replace(row, notice=Notice(link.batch.number, link.digest[:SHORT_DIGEST_BYTES], link.offset, code, reason))


def _unknown(replica: str, link: Link, last: int) -> ChainRow:
    batch = link.batch
    return ChainRow(
        link.device_id, replica, batch.space, batch.partition, last, b"", last + 1, (), refused_from=last + 1
    )


def decided(row: ChainRow, number: int, outcome: CommandOutcome, offset: int) -> ChainRow:
    """The row with another verdict on one command: it had waited until the record at `offset`. An entry that is gone stays gone."""
    entry = entry_of(row, number)
    if entry is None:
        return row
    others = [known for known in entry.outcomes if known.command_id != outcome.command_id]
    changed = replace(entry, outcomes=_told([*others, outcome]), decided_at=max(entry.decided_at, offset))
    return replace(row, entries=tuple(changed if known is entry else known for known in row.entries), told=None)


def later(stored: ChainRow, found: ChainRow) -> ChainRow:
    """Of two rows of a replica the one that knows more. What lies in the topic may be a cut-off worker's late word.

    Every worker comes from the same record to the same batch. A row that goes as far and names another one is no worker's: a copy that a
    stranger has spoiled, behind which the replica's next batch would be a fork.
    """
    ours, theirs = _progress(stored), _progress(found)
    lies = _newest(stored) != _newest(found) and (ours == theirs or stored.offset == found.offset >= 0)
    return stored if ours > theirs or lies else found


def _newest(row: ChainRow) -> tuple[str, int, bytes]:
    """The batch that the row ends with."""
    return row.device_id, row.last, row.head


def _told(outcomes: Sequence[CommandOutcome]) -> tuple[CommandOutcome, ...]:
    return tuple(outcome for outcome in outcomes if outcome.verdict is not Verdict.ACCEPTED or outcome.code)


def _kept(
    entries: tuple[ChainEntry, ...], floor: int, committed: int, waits: Callable[[ChainEntry], bool]
) -> tuple[ChainEntry, ...]:
    """Without those that nobody can ask for again. Only a beginning goes: entries stay dense."""
    for at, entry in enumerate(entries):
        if entry.number >= floor or entry.offset >= committed or waits(entry):
            return entries[at:] if at else entries
    return ()


def _told_by(row: ChainRow, kept: tuple[ChainEntry, ...]) -> int:
    """About how many bytes the outcomes of those entries of a row take that are kept: what is counted already, without those that leave."""
    if row.told is None:
        return told_by(kept)
    return row.told - told_by(row.entries[: len(row.entries) - len(kept)])


def _refused(row: ChainRow | None, floor: int) -> tuple[Mapping[bytes, Refused], int]:
    """What was rejected in batches below the floor, and from which number on that is all of it."""
    if row is None or row.last + 1 < floor:  # of what is between nothing is known
        return {}, floor
    left = row.entries[: floor - row.floor]
    gone = [(entry.number, o) for entry in left for o in entry.outcomes if o.verdict is Verdict.REJECTED]
    if not gone:
        return row.refused, row.refused_from
    refused = {**row.refused, **{short_name(o.command_id): Refused(number, o.code) for number, o in gone}}
    if len(refused) <= MAX_REFUSED:
        return refused, row.refused_from
    newest = sorted(refused.items(), key=lambda item: item[1].number)
    cut, kept = newest[:-MAX_REFUSED], newest[-MAX_REFUSED:]
    return dict(kept), cut[-1][1].number + 1


def _progress(row: ChainRow) -> tuple[int, bool, int, int, int]:
    """What only grows: its newest batch, its end, when it came back after it was removed, the commands of it that came later since, and how few of
    its own wait.
    """
    return row.offset, bool(row.ended), row.forgotten, len(row.taken), -sum([parked(entry) for entry in row.entries])
