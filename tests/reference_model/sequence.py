"""Texts and lists: what is in them, and which edits stand, by the words of the strong list specification.

What an edit did is told by its elements, all different: an insert brought some, a delete took some that its writer saw. So a body holds
what surviving inserts brought and surviving deletes did not take, and in one order that every view agrees with.

A new element is named by its writer's count of elements, so an insert stands only where its writer's elements count as they did when it
was written. A body that a delete of the document has emptied counts from the start; who hears later that the delete was refused has
inserts from then that fit into no count, and sees them without effect.

Source: Attiya et al. 2016, "Specification and complexity of collaborative text editing", section 3.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from tests.reference_model.history import Dot, Event, saw

Edits = Mapping[Dot, Sequence[str]]
"""dot -> the elements that an edit brought or took"""


def elements(events: list[Event], edits: Edits) -> set[str]:
    """What a body holds, given its edits that have an effect."""
    brought = {element for e in events if e.kind == "insert" for element in edits[e.dot]}
    taken = {element for e in events if e.kind == "delete" for element in edits[e.dot]}
    return brought - taken


def agree(views: Collection[Sequence[str]]) -> bool:
    """Do no two elements stand in different orders in two of these?"""
    for one in views:
        for other in views:
            shared = set(one) & set(other)
            if [e for e in one if e in shared] != [e for e in other if e in shared]:
                return False
    return True


def founded(event: Event, seen: list[Event], policy: str) -> bool:
    """Does an edit stand, although its writer believed in some that were refused? `seen` are the ops in its past."""
    believed = [e for e in seen if e.dot in event.believed]
    if policy == "delete-wins" and any(e.field == "" and e.kind == "delete" for e in believed):
        return False
    if event.kind == "delete":
        return True
    return _count(event, seen, policy, event.believed) == _count(event, seen, policy, frozenset())


def _count(insert: Event, seen: list[Event], policy: str, believed: Collection[Dot]) -> int:
    """How many elements its writer had brought into the body that holds of `seen` what stands, or is believed in."""
    held = [e for e in seen if not e.refused or e.dot in believed]
    if policy == "delete-wins":
        deletes = [e for e in held if e.field == "" and e.kind == "delete"]
        held = [e for e in held if all(saw(e, delete) for delete in deletes)]
    count = 0
    for own in held:
        if own.replica == insert.replica and own.field == insert.field and own.kind == "insert":
            before = [e for e in seen if e.dot in own.past]
            if _count(own, before, policy, own.believed) == count:
                count += _length(own.value[1])
    return count


def _length(run: Any) -> int:
    """As Yjs counts: text in UTF-16."""
    return len(run.encode("utf-16-le")) // 2 if isinstance(run, str) else len(run)
