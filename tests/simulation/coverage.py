"""What the worlds of a run have covered. A law that was never in danger has not been tested, so each named situation has a least number.

Most are read from the history, as the laws are. What leaves no trace there (a full disk that was met, a state that recovery joined) is
counted where it happens, through `History.situation`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from itertools import pairwise

from driftlog_schemas.identity import DocumentId
from driftlog_schemas.messages import ConflictStatus
from tests.simulation.app import SPACE
from tests.simulation.case import Case
from tests.simulation.operator import BARRED
from tests.simulation.reference import REPEATED

WORLDS = 200
"""For how many worlds the numbers below are meant."""
SURE = 2
"""The least that few worlds can owe."""

CONFLICTING = (
    *("register", "ranked", "multi_value", "flag", "custom"),
    *("map of registers", "map of flags", "record"),
)
TYPES = (
    *("counter", "grow_counter", "bounded_counter", "max", "min", "add_wins_set", "remove_wins_set", "grow_set"),
    *("map of counters", "map of max", "text", "list", *CONFLICTING),
)
"""Field types. Both delete policies are met as deletes, which only the writers of update-wins ones see refused."""

AT_LEAST: Mapping[str, int] = {
    "a command was accepted": 5_000,
    "a command was rejected: recount": 300,
    "a command was rejected: forbidden": 150,
    "a command had no effect": 20,
    "a command was sent more than once": 200,
    "an urgent command went before an earlier one": 500,
    "a conflict opened": 100,
    "a conflict was resolved": 40,
    "a forgery with changes in it was refused": 120,
    "recovery joined a late state": 60,
    "a worker began on a torn group": 10,
    "a command was half seen": 20,
    "a late state ended no group": 10,
    "somebody else had the last word in retail.conflicts": 20,
    "a worker met a full disk": 50,
    "a command met a full disk": 200,
    "a worker thawed after its session": 50,
    "a power cut": 80,
    "a disk was set back": 30,
    "an edge could compare a scope at the end": 200,
    "a bit flipped in a stored prev": 30,
    "a folder was copied and both ran": 60,
    "an identity was used twice": 30,
    "a command came by two lives and counted once": 5,
    "an edge caught up over holes": 200,
    "a command was rejected: locked": 100,
    "a command was sent as one with others": 100,
    "a device was revoked": 60,
    "a device was restricted": 30,
    BARRED: 30,
    "nothing was seen of a command": 50,
    "a batch came from a device that was shut out": 60,
    "a command came when the permit had ended": 40,
    "a line of the registry was put back": 15,
    "a worker asked who may write before it went on": 40,
    "a worker ended because it did not know the devices": 3,
    "a command was rejected: builds_on_refused": 10,
    **{f"{name}: accepted": 60 for name in TYPES},
    **{f"{name}: {fate}": 1 for name in TYPES for fate in ("concurrent", "refused", "rebased")},
    **{f"{name}: in conflict": 1 for name in CONFLICTING},
}
"""situation -> how often so many worlds must meet it"""
SPREAD: Mapping[str, int] = {"concurrent": 16, "refused": 16, "rebased": 16, "in conflict": 5}
"""fate -> how many of the field types must have met it after few worlds; after as many as above each has. One type may miss one
by chance, most types never do."""


def covered(case: Case) -> Counter[str]:
    """Of one world."""
    history = case.history
    found = Counter(history.situations)
    sent: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for decision in case.decisions.values():
        found[_fate(decision.verdict, decision.code)] += 1
        sent[decision.replica].append((decision.offset, decision.command.hlc))
    for commands in sent.values():
        stamps = [hlc for _, hlc in sorted(commands, key=lambda entry: entry[0])]
        found["an urgent command went before an earlier one"] += sum(a > b for a, b in pairwise(stamps))
    for conflict in history.conflicts:
        resolved = conflict.status is ConflictStatus.RESOLVED
        found["a conflict was resolved" if resolved else "a conflict opened"] += 1
    found.update(_of_types(case))
    chains = case.reference.chains.values()
    joined = [told_as != name for c in chains for told in c.commands.values() for name, told_as in told.items()]
    found["a command was sent as one with others"] += sum(joined)
    found["a command was sent more than once"] += case.reference.repeated
    brought = [decision.code == REPEATED for decision in case.reference.decisions.values()]
    found["a command came by two lives and counted once"] += sum(brought)
    found["nothing was seen of a command"] += len(case.reference.unseen)
    found["a batch came from a device that was shut out"] += case.reference.shut_out
    found["a command came when the permit had ended"] += case.reference.put_off
    found["an edge caught up over holes"] += sum(cut.catching_up for cut in history.cuts)
    return found


def _of_types(case: Case) -> Iterator[str]:
    """What each type went through: written beside an op that its writer cannot have seen, in conflict, refused, taken into a new life."""
    answers = {answer.command_id: answer for answer in case.history.answers}
    for document, meaning in case.reference.documents.items():
        for event in meaning.events:
            name = _type_name(document, event.field)
            if event.refused:
                yield f"{name}: refused"
                continue
            yield f"{name}: accepted"
            command = meaning.origins[event.dot].command_id
            answer = answers.get(command)
            if answer is None:
                continue  # it went into the log, and its edge died before it could say so
            if answer.replica != event.replica:
                yield f"{name}: rebased"
            if any(
                other.field == event.field
                and other.replica != event.replica
                and not other.refused
                and other.dot not in event.past
                and meaning.origins[other.dot].append_ms >= answer.at_ms
                for other in meaning.events[: meaning.events.index(event)]
            ):
                yield f"{name}: concurrent"
    for conflict in case.reference.conflicts.values():
        yield f"{_type_name(conflict.document, conflict.field)}: in conflict"


def _type_name(document: DocumentId, field: str) -> str:
    kind = SPACE.collections[document.collection].document
    if not field:
        return "record" if kind.unit == "record" else f"delete, {kind.on_delete}"
    return f"{field.replace('_', ' ')}" if field.startswith("map_") else kind.fields[field].type.name


def _fate(verdict: str, code: str) -> str:
    return {
        "rejected": f"a command was rejected: {code}",
        "no_effect": "a command had no effect",
    }.get(verdict, f"a command was {verdict}")


def missing(found: Mapping[str, int], worlds: int) -> list[str]:
    """What so many worlds should have met more often. Fewer worlds owe half of their share, and nothing where that is less than twice: chance is
    greater among few, and a rare situation comes several times in one world and not in the next thirty.
    """
    part = 1.0 if worlds >= WORLDS else worlds / WORLDS / 2
    owed = {situation: int(least * part) for situation, least in AT_LEAST.items()}
    if worlds < WORLDS:
        owed = {situation: least for situation, least in owed.items() if least >= SURE}
    owed |= {f"types {fate}": least for fate, least in SPREAD.items()}
    met = {**found, **{f"types {fate}": sum(bool(found.get(f"{name}: {fate}")) for name in TYPES) for fate in SPREAD}}
    return [f"{what}: {met.get(what, 0)} of {least}" for what, least in owed.items() if met.get(what, 0) < least]


def table(found: Mapping[str, int]) -> str:
    """For people."""
    names = sorted({*found, *AT_LEAST})
    return "\n".join(f"{found.get(name, 0):8}  {name}" for name in names)
