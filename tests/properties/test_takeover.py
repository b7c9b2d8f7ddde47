"""What a new life takes over from an old one means the same under its name: for every field type, also on what came along before it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftlog_crdt import (
    DELETE,
    DOCUMENT,
    BadOperation,
    BadValue,
    Custom,
    DocumentState,
    DocumentType,
    Field,
    Op,
    Outcome,
    Takeover,
    Text,
)
from tests.properties.cases import DOCUMENTS, case_of, documents

ERASABLE = {name: fields for name, fields in DOCUMENTS.items() if fields != ["bounded_counter"]}
OLD, NEW, OTHER = "a.old", "a.new", "b.one"


def write(
    document: DocumentType,
    state: DocumentState,
    replica: str,
    data: st.DataObject,
    unsure: int = 0,
    takes: bool = True,
) -> Op | None:
    """One more op of this replica, applied; None where there is nothing to do. `takes`: it may take away what it names."""
    field, kind, value = DOCUMENT, DELETE, None
    if data.draw(st.integers(0 if takes else 1, 9)):
        field = data.draw(st.sampled_from(list(document.fields)))
        case = case_of(field)
        kind, value = case.fit(document.field_value(state, field), data.draw(case.intents))
    if not takes and kind in ("delete", "remove"):
        return None
    try:
        op = document.prepare(state, replica, data.draw(st.integers(0, 3)), field, kind, value, unsure)
    except (BadOperation, BadValue):
        return None
    assert document.apply(state, op).outcome is Outcome.APPLIED
    return op


@pytest.mark.parametrize("names", [*DOCUMENTS.values()], ids=[*DOCUMENTS])
@given(data=st.data())
def test_what_a_new_life_takes_over_gives_the_same_document(names: list[str], data: st.DataObject) -> None:
    document = data.draw(documents(names))
    state = document.new()
    for replica in data.draw(st.lists(st.sampled_from([OLD, OTHER]), max_size=6)):
        write(document, state, replica, data)
    promised, renewed = document.copy(state), document.copy(state)
    made = (write(document, promised, OLD, data) for _ in range(data.draw(st.integers(1, 6))))

    taking = Takeover(OLD, NEW)
    for seq, op in enumerate(filter(None, made), 1):
        taken_over = document.renamed(op, seq, taking)
        if op.context is not None and OLD in state.vector:
            taken_over = taken_over._replace(context={**op.context, OLD: state.vector[OLD]})
        document.check(taken_over)
        assert document.apply(renewed, taken_over).outcome is Outcome.APPLIED

    assert document.values(renewed) == document.values(promised)
    assert (document.exists(renewed), document.deleted(renewed)) == (
        document.exists(promised),
        document.deleted(promised),
    )
    assert document.decode(document.encode(renewed)).vector == renewed.vector


@pytest.mark.parametrize("lengths", [(5, 9), (9, 5), (5, 5)], ids=str)
def test_an_edit_made_beside_what_a_copy_wrote_under_the_old_name_stands_there(lengths: tuple[int, int]) -> None:
    """Two copies of a folder write under one name until they hear of each other; what one reads of the other it goes on from."""
    document = DocumentType("Patient", {"notes": Field(Text())})
    ours, theirs = ("o" * lengths[0], "t" * lengths[1])
    before = document.new()
    document.apply(before, document.prepare(before, OLD, 0, "notes", "insert", [0, "before,"]))
    read = document.copy(before)
    document.apply(read, document.prepare(read, OLD, 0, "notes", "insert", [7, theirs]))
    waiting = [document.prepare(before, OLD, 0, "notes", "insert", [7, ours])]
    for text in ("after", "more"):
        view = document.copy(read)
        for op in waiting[1:]:
            document.apply(view, op)
        waiting.append(
            document.prepare(view, OLD, 0, "notes", "insert", [len(str(document.field_value(view, "notes"))), text])
        )

    taking = Takeover(OLD, NEW)
    for seq, op in enumerate(waiting, 1):
        renamed = document.renamed(op, seq, taking)._replace(context={OLD: read.vector[OLD]})
        document.check(renamed)
        assert document.apply(read, renamed).outcome is Outcome.APPLIED
    text = str(document.field_value(read, "notes"))
    assert len(text) == len("before,") + len(ours) + len(theirs) + len("aftermore")
    assert text.index(theirs + "aftermore" if lengths[0] != lengths[1] else theirs) > 0


@pytest.mark.parametrize("names", [*ERASABLE.values()], ids=[*ERASABLE])
@given(data=st.data())
def test_a_delete_takes_what_its_writer_did_also_where_a_copy_wrote_under_its_name(
    names: list[str], data: st.DataObject
) -> None:
    """Its view shows what the copy wrote under those dots, and hides what itself wrote there; both go. (What it took away before it had read the
    copy's writes hides those of the same name, too: these stay.)
    """
    document = data.draw(documents(names).filter(lambda document: document.on_delete == "update-wins"))
    before = document.new()
    for replica in data.draw(st.lists(st.sampled_from([OLD, OTHER]), max_size=4)):
        write(document, before, replica, data)
    mine, read = document.copy(before), document.copy(before)
    waiting: list[Op] = []
    for _ in range(data.draw(st.integers(0, 4))):
        op = write(document, mine, OLD, data, unsure=len(waiting), takes=False)
        if op is not None:
            waiting.append(op)
    for _ in range(data.draw(st.integers(0, 4))):
        write(document, read, OLD, data)
    view = document.copy(read)
    for op in waiting:
        document.apply(view, op)
    pending = view.vector.get(OLD, 0) - read.vector.get(OLD, 0)
    for _ in range(data.draw(st.integers(0, 3))):
        op = write(document, view, OLD, data, unsure=pending)
        if op is not None:
            waiting.append(op)
            pending += 1
    waiting.append(document.prepare(view, OLD, 4, DOCUMENT, DELETE, None, unsure=pending))

    taking = Takeover(OLD, NEW)
    first = before.vector.get(OLD, 0)
    for seq, op in enumerate(waiting, 1):
        taking.settled = max(first, min(op.seq - 1 - op.unsure, read.vector.get(OLD, 0)))
        renamed = document.renamed(op, seq, taking)
        if op.context is not None and taking.settled:
            renamed = renamed._replace(context={**op.context, OLD: taking.settled})
        document.check(renamed)
        document.apply(read, renamed)
    assert not document.exists(read), document.values(read)
    assert document.values(read) == document.values(document.new())


@pytest.mark.parametrize("settled", [0, 1, 2])
def test_a_write_of_a_custom_field_names_nothing_that_nobody_else_will_see(settled: int) -> None:
    document = DocumentType("Cart", {"total": Field(Custom(lambda base, left, right: left + right - base, default=0))})
    promised = document.new()
    for value in (5, 6):
        document.apply(promised, document.prepare(promised, OTHER, value, "total", "set", value))
        document.apply(promised, document.prepare(promised, OLD, value, "total", "set", 10 * value))
    document.apply(promised, document.prepare(promised, OTHER, 8, "total", "set", 80))
    op = document.prepare(promised, OLD, 9, "total", "set", 90)
    assert [OLD, 2] in [dot for _, dots, _ in op.value[1] for dot in dots]

    taking = Takeover(OLD, NEW, settled=settled)
    renamed = document.renamed(op, 1, taking)
    renamed = renamed._replace(context={**(op.context or {}), **({OLD: settled} if settled else {})})
    document.check(renamed)
    value, sights = renamed.value
    kept = [sight for sight in op.value[1] if all(name != OLD or seq <= settled for name, seq in sight[1])]
    assert (value, sights) == (90, kept or [[0, [], 0]])
    assert (settled < 2) == (len(sights) < len(op.value[1]))


def test_a_write_of_a_custom_field_names_what_came_along_before_it() -> None:
    document = DocumentType("Cart", {"total": Field(Custom(lambda base, left, right: left + right - base, default=0))})
    promised, taking = document.new(), Takeover(OLD, NEW)
    document.apply(promised, first := document.prepare(promised, OLD, 1, "total", "set", 10))
    document.apply(promised, second := document.prepare(promised, OLD, 2, "total", "set", 20))
    named = [[dot for _, dots, _ in op.value[1] for dot in dots] for op in (first, second)]
    assert named == [[], [[OLD, 1]]]
    along = [document.renamed(op, seq, taking) for seq, op in enumerate((first, second), 7)]
    assert [[dot for _, dots, _ in op.value[1] for dot in dots] for op in along] == [[], [[NEW, 7]]]
