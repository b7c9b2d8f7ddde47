"""Laws about what is published beside the states: rows of chains, and conflicts."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from driftlog_crdt import Origin
from driftlog_schemas.messages import ChainRow, ConflictStatus, Version
from tests.simulation.case import Case, said
from tests.simulation.history import Place


def chain_rows_say_what_the_log_says(case: Case) -> Iterator[str]:
    """The last row of every replica stands where its chain does, with the batches and the verdicts that are in the log."""
    last: dict[tuple[str, Place], ChainRow] = {}
    for row in case.history.rows:
        at = row.replica, (row.space, row.partition)
        if row.space == case.now or at not in last or row.offset >= last[at].offset:  # nobody mends what was left
            last[at] = row
    for place, chain in case.reference.chains.items():
        row = last.get(place)
        newest = max(chain.digests, default=0)
        if row is None or (row.last, row.head) != (newest, chain.digests.get(newest, b"")):
            yield f"{place} is at {newest}, its row says {row and row.last}"
            continue
        for entry in row.entries:
            if entry.digest != chain.digests[entry.number][: len(entry.digest)]:
                yield f"{place} has another batch {entry.number} than its row"
            named = {outcome.command_id: outcome for outcome in entry.outcomes}
            for command_id, speaker in chain.commands[entry.number].items():
                decision, found = case.decisions.get(command_id), said(named.get(speaker))
                if decision is None or entry.number in chain.put_off:
                    continue
                if decision.offset == entry.offset and found != (decision.verdict, decision.code):
                    yield f"{command_id} of {place} is {decision.verdict} {decision.code}, its row says {found}"


def conflicts_are_true(case: Case) -> Iterator[str]:
    """A place has a conflict exactly if differing writes met there; none missed, none false, and its last record is how it ended."""
    last = {one.id: one for one in case.history.conflicts if one.id not in case.history.withdrawn}
    expected = case.reference.conflicts
    for identifier, wanted in expected.items():
        found = last.get(identifier)
        name = f"the conflict at {'/'.join(wanted.document)}.{wanted.field}"
        if found is None:
            yield f"{name} was missed"
        elif found.status is ConflictStatus.RESOLVED:
            if wanted.standing:
                yield f"{name} ends resolved, but {sorted(wanted.standing)} stand"
        elif {_dot(v) for v in found.versions} != wanted.standing:
            yield f"{name} ends between {list(map(_dot, found.versions))}, not {sorted(wanted.standing)}"
    for conflict in case.history.conflicts:
        pairs = expected[conflict.id].pairs if conflict.id in expected else set()
        known = case.reference.documents.get(conflict.document)
        origins = {} if known is None else known.origins
        for one, other in combinations(conflict.versions, 2):
            if one.value != other.value and frozenset({_dot(one), _dot(other)}) not in pairs:
                yield f"false conflict {'/'.join(conflict.document)}.{conflict.field}: {one} beside {other}"
        for version in (*conflict.versions, *([conflict.decided_by] if conflict.decided_by else [])):
            said = Origin(version.command_id, version.actor, version.append_ms, version.seen)
            if said != origins.get(_dot(version)):  # nobody here says how he decides
                yield f"{'/'.join(conflict.document)}: {version} is not by whom it says"


def _dot(version: Version) -> tuple[str, int]:
    return version.replica, version.seq
