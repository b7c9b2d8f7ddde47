"""What people always pick: rules that would have decided past conflicts as people did, and where each would not have.

Only what people were asked counts (policy `review`) and have decided (`page`, `cli`, `api`), between versions that are all known: of conflicts that
nobody is asked about people decide only those that came out wrong. A rule is proposed for a field where it gives what was
decided in nearly all of many decisions (`LEAST`, `SHARE`); of several the one that explains most, and of equals the one that changes least.

| rule | stands |
|---|---|
| `standing` | what the field's present rule let stand: nobody has to be asked |
| `larger`, `smaller` | the larger or smaller number |
| `ranked` | the value that is further along an order, which follows from what was picked over what |
| `later` | what the later clock wrote, where the present rule is another |
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from graphlib import CycleError, TopologicalSorter
from itertools import pairwise
from typing import Literal, NamedTuple, TypeAlias, get_args

from driftlog_crdt import Plain, canonical
from driftlog_schemas.batch_codec import MEANS
from driftlog_schemas.contract import AppContract
from driftlog_schemas.messages import Conflict, ConflictStatus, Version

RuleName: TypeAlias = Literal["standing", "larger", "smaller", "ranked", "later"]
RULES: tuple[RuleName, ...] = get_args(RuleName)
"""Those that change least first."""
LEAST = 10
"""So many decisions about a field before anything is proposed."""
SHARE = 0.95
"""So much of them a rule must explain."""
MOST = 1_000
"""The newest decisions of a field that are looked at."""
MOST_VALUES = 8
"""Values that an order is made of."""
LEAST_BETWEEN = 3
"""Decisions between each two neighbours of an order."""
NONE_STANDS = frozenset({"custom", "multi_value"})
"""Rules of which a conflict does not say what stood: a merged value, or all of them."""

Pick: TypeAlias = Callable[[Conflict], Version | None]


class Judged(NamedTuple):
    """A past decision beside what a rule would have chosen."""

    conflict: Conflict
    chosen: Version | None
    """None where the rule cannot tell."""
    agrees: bool


@dataclass(frozen=True, slots=True)
class Tried:
    """A rule on all decisions about a field."""

    rule: RuleName
    judged: tuple[Judged, ...]
    """The last decision first."""
    order: tuple[str, ...] = ()
    """Of `ranked`, the weakest value first."""

    @property
    def agreeing(self) -> int:
        """How many it would have decided as people did."""
        return sum(one.agrees for one in self.judged)

    @property
    def share(self) -> float:
        """The part of all that it explains, 0 to 1."""
        return self.agreeing / len(self.judged) if self.judged else 0.0

    @property
    def exceptions(self) -> list[Judged]:
        """Those that it would have decided otherwise, or not at all."""
        return [one for one in self.judged if not one.agrees]


@dataclass(frozen=True, slots=True)
class Studied:
    """What people have decided about one field."""

    collection: str
    field: str
    decisions: int
    """That were looked at."""
    left_out: int
    """Of which not all versions are known."""
    tried: tuple[Tried, ...]
    """The rules that could decide any of them, the best one first."""

    @property
    def proposal(self) -> Tried | None:
        """The rule that is proposed; None where nothing explains enough, or too little was decided."""
        best = self.tried[0] if self.tried else None
        return best if best is not None and len(best.judged) >= LEAST and best.share >= SHARE else None

    def rule(self, name: RuleName) -> Tried | None:
        """That rule on these decisions; None where it could decide none of them."""
        return next((one for one in self.tried if one.rule == name), None)


def study(conflicts: Iterable[Conflict], contract: AppContract) -> list[Studied]:
    """Each field that people have decided about, by name. Takes conflicts of any status, in any order."""
    found: dict[tuple[str, str], list[Conflict]] = {}
    for one in conflicts:
        if _decided_by_a_person(one):
            found.setdefault((one.document.collection, field_of(one)), []).append(one)
    return [_studied(*place, found[place], declared_of(contract, *place)) for place in sorted(found)]


def declared_of(contract: AppContract, collection: str, field: str) -> str:
    """What the field is declared as (`register of int`); empty where it is not any more."""
    for space in contract.spaces.values():
        if collection in space.collections:
            return next((one.declared for one in space.collections[collection].columns if one.name == field), "")
    return ""


def field_of(conflict: Conflict) -> str:
    """The declared field; empty for a record written as one."""
    return conflict.field.partition(".")[0]


def _decided_by_a_person(conflict: Conflict) -> bool:
    by = conflict.decided_by
    asked = conflict.policy == "review" and conflict.status is ConflictStatus.RESOLVED
    return asked and by is not None and by.how in MEANS


def _studied(collection: str, field: str, conflicts: list[Conflict], declared: str) -> Studied:
    newest = sorted(conflicts, key=lambda one: (-_decider(one).append_ms, one.id))[:MOST]
    whole = [one for one in newest if not one.omitted]
    tried = [one for one in _try_all(whole, declared) if any(judged.chosen for judged in one.judged)]
    tried.sort(key=lambda one: (-one.agreeing, RULES.index(one.rule)))
    return Studied(collection, field, len(whole), len(newest) - len(whole), tuple(tried))


def _try_all(conflicts: list[Conflict], declared: str) -> Iterator[Tried]:
    yield _try("standing", conflicts, lambda one: None if one.rule in NONE_STANDS else one.winner)
    if any("." in one.field or not one.field for one in conflicts):
        return  # of a map, or of a record as a whole, no other rule can be declared
    number = Decimal if declared.endswith("decimal") else None
    yield _try("larger", conflicts, lambda one: _extreme(one, number, max))
    yield _try("smaller", conflicts, lambda one: _extreme(one, number, min))
    if declared.endswith("of text") and (order := _order(conflicts)):
        yield _try("ranked", conflicts, lambda one: _furthest(one, order), order)
    if any(one.rule in ("ranked", "custom") for one in conflicts):
        yield _try("later", conflicts, lambda one: max(one.versions, key=lambda v: (v.hlc, v.replica)))


def _try(rule: RuleName, conflicts: list[Conflict], pick: Pick, order: tuple[str, ...] = ()) -> Tried:
    judged = []
    for one in conflicts:
        chosen = pick(one)
        agrees = chosen is not None and canonical(chosen.value) == canonical(_decider(one).value)
        judged.append(Judged(one, chosen, agrees))
    return Tried(rule, tuple(judged), order)


def _decider(conflict: Conflict) -> Version:
    assert conflict.decided_by is not None, "it is decided"
    return conflict.decided_by


def _extreme(
    conflict: Conflict, number: Callable[[str], Decimal] | None, most: Callable[..., Version]
) -> Version | None:
    sizes = {id(version): _size(version.value, number) for version in conflict.versions}
    return None if None in sizes.values() else most(conflict.versions, key=lambda version: sizes[id(version)])


def _size(value: Plain, number: Callable[[str], Decimal] | None) -> Decimal | int | float | None:
    """None for what is no number. A decimal is a text on the wire, which a stranger may have written."""
    if number is not None and isinstance(value, str):
        try:
            size = number(value)
        except ArithmeticError:
            return None
        return size if size.is_finite() else None
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _furthest(conflict: Conflict, order: tuple[str, ...]) -> Version | None:
    if not all(version.value in order for version in conflict.versions):
        return None
    return max(conflict.versions, key=lambda version: order.index(str(version.value)))


def _order(conflicts: Iterable[Conflict]) -> tuple[str, ...]:
    """The one order of the values that most picks follow; empty where there is none, or too few picks say so."""
    over = Counter[tuple[str, str]]()
    for one in conflicts:
        picked, texts = (
            _decider(one).value,
            {version.value for version in one.versions if isinstance(version.value, str)},
        )
        if isinstance(picked, str) and picked in texts:
            over.update((picked, other) for other in texts - {picked})
    values = {value for pair in over for value in pair}
    if not 2 <= len(values) <= MOST_VALUES:
        return ()
    weaker: Mapping[str, set[str]] = {value: {v for v in values if over[value, v] > over[v, value]} for value in values}
    try:
        order = tuple(TopologicalSorter(weaker).static_order())
    except CycleError:
        return ()
    sure = all(over[b, a] > over[a, b] and over[a, b] + over[b, a] >= LEAST_BETWEEN for a, b in pairwise(order))
    return order if sure else ()
