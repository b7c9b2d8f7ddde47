"""Commands whose ops stand in columns: a sequence for each of their parts, as a batch has them.

A log keeps ops as rows of plain values, a batch carries them in columns. Whoever only moves commands from the one to the other makes no op of them:
for each that would be three objects, and most of what it costs to seal it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain, repeat
from typing import Any, NamedTuple

from driftlog_crdt import Decision, Plain
from driftlog_crdt.causal import Vector
from driftlog_schemas.messages import Command
from driftlog_schemas.tuples import maker


class OpColumns(NamedTuple):
    """The ops of one replica, in order; all columns are as long as there are ops."""

    documents: Sequence[tuple[str, str, str]] = ()
    """(collection, scope, id)."""
    seqs: Sequence[int] = ()
    hlcs: Sequence[int] = ()
    fields: Sequence[str] = ()
    kinds: Sequence[str] = ()
    values: Sequence[Plain] = ()
    contexts: Sequence[Vector | None] = ()
    unsures: Sequence[int] = ()
    spans: Sequence[int] = ()


class ColumnCommand(NamedTuple):
    """A `messages.Command` but for its ops."""

    id: str
    name: str
    scope: str
    hlc: int
    ops: OpColumns
    actor: str = ""
    root: str = ""
    written: int | None = None
    decision: Decision | None = None
    stands_for: tuple[bytes, ...] = ()


_columns_of = maker(OpColumns)


def in_columns(command: Command, replica: str) -> ColumnCommand:
    """The same command; its ops are those of `replica`."""
    id, name, scope, hlc, _, actor, root, written, decision, stands_for = command
    return ColumnCommand(id, name, scope, hlc, _columns(command, replica), actor, root, written, decision, stands_for)


def _columns(command: Command, replica: str) -> OpColumns:
    if not command.ops:
        return OpColumns()
    documents, ops = zip(*command.ops, strict=True)
    parts: Iterable[tuple[Any, ...]] = zip(*ops, strict=True)
    replicas, seqs, hlcs, fields, kinds, values, contexts, unsures, _, spans = parts
    assert {replica}.issuperset(replicas), "a batch carries the ops of one replica"
    return OpColumns(documents, seqs, hlcs, fields, kinds, values, contexts, unsures, spans)


def of_rows(scope: str, rows: Sequence[Sequence[Any]]) -> OpColumns:
    """The ops of a command of this scope as a log has them, one row each: collection, id, seq, hlc, field, kind, value, context, unsure.

    Raises ValueError, TypeError for what are not such rows.
    """
    if not rows:
        return OpColumns()
    parts: Iterable[tuple[Any, ...]] = zip(*rows, strict=True)
    collections, ids, seqs, hlcs, fields, kinds, values, contexts, unsures = parts
    documents = tuple(zip(collections, repeat(scope), ids, strict=False))
    return _columns_of((documents, seqs, hlcs, fields, kinds, values, contexts, unsures, (1,) * len(rows)))


def together(columns: Sequence[OpColumns]) -> OpColumns:
    """The ops of many commands, one after another."""
    return OpColumns(*(tuple(chain.from_iterable(column)) for column in zip(*columns, strict=True)))
