"""Texts and lists: what is in them, and which edits stand, by the words of the strong list specification.

What an edit did is told by its elements, all different: an insert brought some, a delete took some that its writer saw. So a body holds
what surviving inserts brought and surviving deletes did not take, and in one order that every view agrees with.

A new element is named by its writer's count of elements, so an insert stands only if all those counted before it do. A body that a
delete of the document has emptied counts from the start.

Source: Attiya et al. 2016, "Specification and complexity of collaborative text editing", section 3.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

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
    return not any(_counted(e, event, seen, policy) for e in believed if e.kind == "insert" and e.field == event.field)


def _counted(insert: Event, later: Event, seen: list[Event], policy: str) -> bool:
    """Was a refused insert among the elements that the writer of `later` counted?"""
    if insert.dot not in later.believed:
        return False
    deletes = [e for e in seen if e.field == "" and e.kind == "delete" and (not e.refused or e.dot in later.believed)]
    if policy == "delete-wins" and not all(saw(insert, delete) for delete in deletes):
        return False
    ground = [e for e in seen if e.dot in insert.believed and e.kind == "insert" and e.field == insert.field]
    return all(_counted(e, later, seen, policy) for e in ground if _counted(e, insert, seen, policy))
