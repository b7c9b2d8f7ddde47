"""One operation: one change of one field of one document.

An op is named by its dot, says what its writer wanted (`field`, `kind`, `value`), when (`hlc`), and, where the
meaning depends on it, what the writer had seen (`context`). Ops whose effects commute need no context. The writer's
own earlier ops are always seen, so a context leaves out the writer's own entry: it is `seq - 1` by definition.

An op may stand for earlier ones of its writer that were never sent (see `collapsing`): it takes their dots with it. `span` says how many dots
it takes, its own the last; nobody else ever sees a dot in between.

Seen is not decided: what a writer did itself may yet be refused. `unsure` says how many of its own ops just before this one had no
known outcome when it wrote; of those up to `seq - 1 - unsure` it knew which had an effect and which were refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from driftlog_crdt.causal import PAST, Vector
from driftlog_crdt.errors import BadOperation
from driftlog_crdt.plain import Plain

if TYPE_CHECKING:
    from driftlog_crdt.field_type import Write

DOCUMENT = ""
"""The `field` of ops that concern the document itself."""

DELETE = "delete"
"""The kind of the op that deletes the document."""


class Decision(NamedTuple):
    """How it was decided between writes that competed, where a write does that on purpose."""

    how: str
    """By what means: `page`, `cli`, `api` for people, `deadline` for what nobody had decided in time."""
    reason: str = ""
    settled: tuple[Write, ...] = ()
    """Of a settlement (see `settling`): the writes for which it stands, by rank."""


class Origin(NamedTuple):
    """Who caused an op, as the envelope around it says: kept with a write where people may have to decide about it."""

    command_id: str
    actor: str
    append_ms: int
    """When the log took it; 0 where it did not say."""
    seen: int
    """How many changes of the document its writer had seen."""
    decision: Decision | None = None
    """Only of a write that decides a conflict."""


class Op(NamedTuple):
    """An operation, as merged and as sent. Document, scope and command stand in the envelope around it."""

    replica: str
    seq: int
    hlc: int
    field: str
    kind: str
    value: Plain
    context: Vector | None = None
    unsure: int = 0
    origin: Origin | None = None
    """Never sent: a merge agent sets it from the envelope, for fields whose conflicts are published."""
    span: int = 1

    @property
    def before(self) -> int:
        """The seq that the writer's last op before this one has; 0 where there is none."""
        return self.seq - self.span


def check_dot(op: Op) -> None:
    """Raise `BadOperation` unless this is an op's name, and what its writer had seen came before it."""
    writer, own, _, name, _, _, context, _, _, span = op
    if writer == PAST:
        raise BadOperation(name, f"no replica is called {PAST!r}: it stands for those who are over")
    if type(own) is not int or own < 1:
        raise BadOperation(name, f"seq {own}: the first op of a replica has seq 1")
    if type(span) is not int or not 1 <= span <= own:
        raise BadOperation(name, f"seq {own} takes {span} dots: its own and earlier ones, from 1 up")
    for replica, seq in (context or {}).items():
        if type(seq) is not int or seq < 1 or (replica == writer and seq > own - span):
            raise BadOperation(name, "the context holds more than the op's own predecessor, or no whole number")
