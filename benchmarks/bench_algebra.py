"""Merging one op into a live document, and its bytes, in units of an empty method call and of plain JSON.

The document is a shop's article with five replicas (see `catalogue`). Ops come prepared, as a worker has them after decoding, and
are applied in order to a fresh copy of the state in each batch.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from benchmarks.case import Aim, Case, Ground, Sides, at_most
from benchmarks.catalogue import SAMPLES, STOCK, Intent, follow, live_stock, texts_of
from benchmarks.timing import EMPTY_CALL, empty_calls, per_batch
from driftlog_crdt import FIELD_TYPES, DocumentState, DocumentType, Field, Op

APPLY_AIM = at_most(5, "us")
CODEC_AIM = at_most(10, "us")
_plain_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode

assert FIELD_TYPES.keys() == SAMPLES.keys(), "every field type has a sample"


def _ops(ground: Ground) -> int:
    return 50 if ground.quick else 1000


def _batches(ground: Ground) -> int:
    return 1 if ground.quick else 15


def _applying(ground: Ground, document: DocumentType, state: DocumentState, ops: Sequence[Op], checked: bool) -> Sides:
    batches = _batches(ground)

    def merge(state: DocumentState, op: Op) -> None:
        document.check(op)
        document.apply(state, op)

    def ours() -> list[float]:
        states = (document.copy(state) for _ in range(batches))
        return per_batch(merge if checked else document.apply, states, ops)

    context = ops[-1].context
    facts = {} if context is None else {"replicas in the context": len(context)}
    return Sides(ours, lambda: empty_calls(len(ops), batches), facts)


def _stock(name: str, field: str, intent: Intent, *, context: bool, checked: bool = False) -> Case:
    @contextmanager
    def opened(ground: Ground) -> Iterator[Sides]:
        state = live_stock()
        ops = follow(STOCK, state, field, lambda n: intent, _ops(ground))
        if context:
            ops = _with_contexts(state, ops)
        yield _applying(ground, STOCK, state, ops, checked)

    return Case(name, "us", opened, EMPTY_CALL, APPLY_AIM)


def _with_contexts(state: DocumentState, ops: Sequence[Op]) -> list[Op]:
    """The same ops by writers who say what they had seen, as they must once a document was deleted."""
    view, result = dict(state.vector), []
    for op in ops:
        result.append(op._replace(context={r: s for r, s in view.items() if r != op.replica}))
        view[op.replica] = op.seq
    return result


def _field(name: str) -> Case:
    @contextmanager
    def opened(ground: Ground) -> Iterator[Sides]:
        document = DocumentType("Sample", {"it": Field(SAMPLES[name].type)}, max_bytes=1 << 30)
        intent = SAMPLES[name].intent
        state = document.new()
        for op in follow(document, state, "it", intent, 20):
            document.apply(state, op)
        ops = follow(document, state, "it", lambda n: intent(n + 20), _ops(ground))
        yield _applying(ground, document, state, ops, checked=False)

    aim: Aim | None = None if name in ("list", "text") else APPLY_AIM  # a sequence's work is Yjs's: see bench_text
    return Case(f"field/{name}", "us", opened, EMPTY_CALL, aim)


@contextmanager
def _encode(ground: Ground) -> Iterator[Sides]:
    state = live_stock()
    data = STOCK.encode(state)
    plain = json.loads(texts_of(data))
    loops = [None] * _ops(ground)
    batches = _batches(ground)
    yield Sides(
        lambda: per_batch(lambda s, _: STOCK.encode(s), [state] * batches, loops),
        lambda: per_batch(lambda p, _: _plain_json(p).encode(), [plain] * batches, loops),
        {"bytes": len(data)},
    )


@contextmanager
def _decode(ground: Ground) -> Iterator[Sides]:
    data = STOCK.encode(live_stock())
    texts = texts_of(data)
    loops = [None] * _ops(ground)
    batches = _batches(ground)
    yield Sides(
        lambda: per_batch(lambda d, _: STOCK.decode(d), [data] * batches, loops),
        lambda: per_batch(lambda t, _: json.loads(t), [texts] * batches, loops),
        {"bytes": len(data)},
    )


@contextmanager
def _copy(ground: Ground) -> Iterator[Sides]:
    state = live_stock()
    loops = [None] * _ops(ground)
    batches = _batches(ground)
    yield Sides(
        lambda: per_batch(lambda s, _: STOCK.copy(s), [state] * batches, loops),
        lambda: empty_calls(len(loops), batches),
    )


_COUNT, _PRICE = Intent("increment", 1), Intent("set", "13.50")

CASES = [
    _stock("apply/counter", "on_hand", _COUNT, context=False),
    _stock("apply/counter+context", "on_hand", _COUNT, context=True),
    _stock("apply/register", "price", _PRICE, context=True),
    _stock("checked/counter", "on_hand", _COUNT, context=False, checked=True),
    _stock("checked/counter+context", "on_hand", _COUNT, context=True, checked=True),
    _stock("checked/register", "price", _PRICE, context=True, checked=True),
    Case("encode", "us", _encode, "plain json of the same", CODEC_AIM),
    Case("decode", "us", _decode, "plain json of the same", CODEC_AIM),
    Case("copy", "us", _copy, EMPTY_CALL),
    *(_field(name) for name in SAMPLES),
]
