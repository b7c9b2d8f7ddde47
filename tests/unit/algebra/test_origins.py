"""Who wrote stays with a write: through joins, copies, and the bytes of a state."""

from __future__ import annotations

from driftlog_crdt import Custom, DocumentState, DocumentType, Field, Map, Op, Origin, Place, Register

KIND = DocumentType(
    "Thing",
    {
        "name": Field(Register(), "record"),
        "labels": Field(Map(Register()), "record"),
        "sum": Field(Custom(lambda base, left, right: left + right - base, 0), "record"),
    },
)
PLACES = {Place("name"): ("set", "x"), Place("labels", "left"): ("set", ["left", "x"]), Place("sum"): ("set", 5)}


def of(op: Op) -> Origin:
    return Origin(f"command-{op.replica}{op.seq}", f"person-{op.replica}", 1_000 + op.seq, op.seq - 1)


def written(replica: str, after: DocumentState | None = None) -> DocumentState:
    state = KIND.new() if after is None else KIND.copy(after)
    for place, (kind, value) in PLACES.items():
        op = KIND.prepare(state, replica, 1, place.field, kind, value)  # type: ignore[arg-type]  # a plain value
        KIND.apply(state, op._replace(origin=of(op)))
    return state


def origins(state: DocumentState) -> set[tuple[Place, Origin | None]]:
    return {(place, w.origin) for place in PLACES for w in KIND._standing(state, place)}


def test_both_sides_of_a_join_keep_who_wrote_and_so_do_their_bytes() -> None:
    left, right = written("a"), written("b")
    joined = KIND.join(left, right)
    assert origins(joined) == origins(left) | origins(right)
    again = KIND.decode(KIND.encode(joined))
    assert (origins(again), KIND.encode(again)) == (origins(joined), KIND.encode(joined))
    assert KIND.encode(KIND.join(right, left)) == KIND.encode(joined)


def test_what_a_later_write_has_replaced_is_gone_with_its_origin() -> None:
    later = written("c", written("a"))
    assert {origin.actor for _, origin in origins(later) if origin} == {"person-c"}
    assert origins(KIND.join(written("a"), later)) == origins(later)
