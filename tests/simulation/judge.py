"""The judge: a pure function from the history of a run to the laws that it broke.

Nothing here looks at a running system; everything is decided from what was recorded, against the reference fold of the op topic.
Each law is one function that yields sentences; an empty judgement means that the run was lawful.

Source: Jepsen's checkers (record everything, judge afterwards).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from driftlog_crdt import AlgebraError
from tests.simulation import laws, laws_of_reads, laws_of_records, laws_of_states
from tests.simulation.case import Case, Meaningless
from tests.simulation.history import History


@dataclass(frozen=True, slots=True)
class Violation:
    """A law and how it was broken."""

    law: str
    fact: str

    def __str__(self) -> str:
        return f"{self.law}: {self.fact}"


MAX_TOLD = 5
"""Of each law, so that a broken run stays readable."""


LAWS: dict[str, Callable[[Case], Iterator[str]]] = {
    check.__name__.replace("_", " "): check
    for check in (
        laws.no_process_ends_unplanned,
        laws.everything_comes_to_rest,
        laws.nothing_acknowledged_is_lost,
        laws.a_command_takes_effect_once,
        laws_of_states.all_agree_with_the_log,
        laws_of_states.edges_agree_with_the_cloud,
        laws_of_states.a_state_is_what_its_vector_says,
        laws_of_states.a_document_shows_what_its_ops_mean,
        laws_of_states.texts_and_lists_have_one_order,
        laws_of_states.rights_are_never_overdrawn,
        laws.a_command_is_atomic,
        laws.outcomes_reach_their_device,
        laws_of_records.chain_rows_say_what_the_log_says,
        laws_of_records.conflicts_are_true,
        laws_of_states.the_store_is_never_ahead,
        laws_of_reads.what_was_shown_stays,
        laws_of_reads.a_read_is_as_fresh_as_it_was_promised,
        laws_of_reads.what_is_read_is_what_its_vector_says,
    )
}


def judge(history: History) -> list[Violation]:
    """All broken laws, each told at most `MAX_TOLD` times."""
    try:
        return broken(Case(history))
    except Meaningless as error:
        return [Violation("the log has one meaning", str(error))]


def broken(case: Case) -> list[Violation]:
    """The same, of a history whose meaning is worked out."""
    found = []
    for law, check in LAWS.items():
        try:
            facts = list(check(case))
        except AlgebraError as error:
            facts = [f"what was merged is no state or no op at all: {error}"]
        found += [Violation(law, fact) for fact in facts[:MAX_TOLD]]
        if len(facts) > MAX_TOLD:
            found.append(Violation(law, f"... and {len(facts) - MAX_TOLD} more"))
    return found
