"""GrowSet: elements added, never removed.

| concurrent ops | result |
|---|---|
| add(e) and add(f) | both are in |

State and proof are those of `AddWinsSet` without removes. The dots of the adds stay, one per element and replica that added
it, so that a delete of the document can tell the adds that its writer had seen from later ones.

>>> from driftlog_crdt.ops import Op
>>> seen = GrowSet()
>>> state = seen.new()
>>> _ = seen.apply(state, Op("a", 1, 0, "seen", "add", "x")), seen.apply(state, Op("b", 1, 0, "seen", "add", "y"))
>>> seen.value(state)
['x', 'y']

Source: Shapiro et al. 2011, section 3.3.1 (G-Set).
"""

from __future__ import annotations

from driftlog_crdt.add_wins_set import AddWinsSet


class GrowSet(AddWinsSet):
    """A set of scalars that only grows."""

    __slots__ = ()

    name = "grow_set"
    kinds = frozenset({"add"})
    contextual = frozenset[str]()
