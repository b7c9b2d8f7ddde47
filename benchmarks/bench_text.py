"""Editing text: two recorded sessions through documents, beside the same edits on raw pycrdt.

`sveltecomponent` has one author and is ASCII; `friendsforever` has two who type at the same time (see
`tests/data/editing-traces`). Raw pycrdt is the floor: the same Yjs updates without a dot, a context, a check of who wrote what, or
text around the bytes.

- *write*: an author's edit, from a position to an op, applied to the author's view
- *merge*: the op of somebody else, decoded, into a live document; *checked*, with the check before it, is what a worker does
  Both in ops a second of processor time.
- *op-bytes* and *state-bytes*: what travels and what is stored
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from time import thread_time
from typing import Any

from pycrdt import Doc
from pycrdt import Text as YText

from benchmarks.case import Case, Ground, Sides, ratio_at_most
from driftlog_crdt import Op, canonical
from tests.unit.algebra.editing_trace import NOTE, Session, Transaction, read_trace

RAW = "raw pycrdt"
AUTHOR = "ann"


@lru_cache(maxsize=4)
def _played(name: str, transactions: int | None) -> tuple[list[Op], list[bytes]]:
    """All ops of a session, and the Yjs updates in them."""
    session = Session(read_trace(name))
    session.play(transactions)
    ops = [op for made in session.ops for op in made]
    return ops, [base64.b64decode(str(op.value)) for op in ops]


def _some(ground: Ground) -> int | None:
    return 200 if ground.quick else None


@contextmanager
def _write(ground: Ground) -> Iterator[Sides]:
    edits = read_trace("sveltecomponent").transactions[: _some(ground)]
    yield Sides(lambda: [_write_ours(edits)], lambda: [_write_raw(edits)], {"edits": _count(edits)})


def _write_ours(transactions: Sequence[Transaction]) -> float:
    view = NOTE.new()
    begun = thread_time()
    for transaction in transactions:
        for position, gone, new in transaction.patches:
            if gone:
                NOTE.apply(view, NOTE.prepare(view, AUTHOR, 0, "body", "delete", [position, gone]))
            if new:
                NOTE.apply(view, NOTE.prepare(view, AUTHOR, 0, "body", "insert", [position, new]))
    return _count(transactions) / (thread_time() - begun)


def _write_raw(transactions: Sequence[Transaction]) -> float:
    doc: Doc[Any] = Doc()
    text = doc.get("s", type=YText)
    sent: list[bytes] = []
    doc.observe(lambda event: sent.append(event.update))
    begun = thread_time()
    for transaction in transactions:
        for position, gone, new in transaction.patches:
            if gone:
                del text[position : position + gone]
            if new:
                text.insert(position, new)
    rate = _count(transactions) / (thread_time() - begun)
    assert len(sent) == _count(transactions), "each edit is one update"
    return rate


def _count(transactions: Sequence[Transaction]) -> int:
    return sum(bool(gone) + bool(new) for t in transactions for _, gone, new in t.patches)


def _merge(name: str, *, checked: bool) -> Case:
    @contextmanager
    def opened(ground: Ground) -> Iterator[Sides]:
        ops, updates = _played(name, _some(ground))
        yield Sides(lambda: [_merge_ours(ops, checked)], lambda: [_merge_raw(updates)], {"ops": len(ops)})

    return Case(f"{'checked' if checked else 'merge'}/{name}", "ops/s", opened, RAW, rounds=5)


def _merge_ours(ops: Sequence[Op], checked: bool) -> float:
    state = NOTE.new()
    begun = thread_time()
    for op in ops:
        if checked:
            NOTE.check(op)
        NOTE.apply(state, op)
    return len(ops) / (thread_time() - begun)


def _merge_raw(updates: Sequence[bytes]) -> float:
    doc: Doc[Any] = Doc()
    doc.get("s", type=YText)
    begun = thread_time()
    for update in updates:
        doc.apply_update(update)
    return len(updates) / (thread_time() - begun)


def _op_bytes(name: str) -> Case:
    """What the op carries as text; the whole op with dot, time and context is a fact beside it."""

    @contextmanager
    def opened(ground: Ground) -> Iterator[Sides]:
        ops, updates = _played(name, _some(ground))
        whole = sum(len(canonical([*op[:6], dict(op.context or {})])) for op in ops) / len(ops)
        yield Sides(
            lambda: [sum(len(str(op.value)) for op in ops) / len(ops)],
            lambda: [sum(map(len, updates)) / len(updates)],
            {"a whole op as JSON": round(whole, 1)},
        )

    return Case(f"op-bytes/{name}", "bytes", opened, RAW, rounds=1, warm_up=False)


def _state_bytes(name: str) -> Case:
    @contextmanager
    def opened(ground: Ground) -> Iterator[Sides]:
        ops, updates = _played(name, _some(ground))
        state = NOTE.new()
        for op in ops:
            NOTE.apply(state, op)
        doc: Doc[Any] = Doc()
        for update in updates:
            doc.apply_update(update)
        data, raw = NOTE.encode(state), len(doc.get_update())
        assert NOTE.encode(NOTE.decode(data)) == data
        ours = len(data)
        characters = len(str(NOTE.values(state)["body"]))
        yield Sides(lambda: [ours], lambda: [raw], {"characters": characters, "ops": len(ops)})

    return Case(f"state-bytes/{name}", "bytes", opened, RAW, aim=ratio_at_most(0.75), rounds=1, warm_up=False)


TRACES = ("sveltecomponent", "friendsforever")

CASES = [
    Case("write/sveltecomponent", "ops/s", _write, RAW, rounds=5),
    *(_merge(name, checked=checked) for name in TRACES for checked in (False, True)),
    *(_op_bytes(name) for name in TRACES),
    *(_state_bytes(name) for name in TRACES),
]
