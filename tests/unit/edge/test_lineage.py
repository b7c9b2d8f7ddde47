"""What a chain holds, walked from its head: of a command that stands in it several times the newest batch tells."""

from __future__ import annotations

import pytest

from driftlog_crdt import Op
from driftlog_edge.outgoing.lineage import lineage
from driftlog_schemas.batch_codec import SHORT_DIGEST_BYTES, batch_digest, encode_body
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.messages import Batch, ChainEntry, ChainRow, Command, CommandOutcome, DocumentOp, Verdict

REPLICA = "store-1.aaaaaaaa"
COMMAND = Command("c", "sell", "s1", 1, (DocumentOp(DocumentId("Stock", "s1", "a"), Op(REPLICA, 1, 1, "n", "set", 1)),))


def chain(*outcomes: CommandOutcome | None) -> tuple[ChainRow, list[bytes]]:
    """A batch with the command for each outcome. The row has forgotten all but the last of them, as its floor had asked."""
    bodies: list[bytes] = []
    for number in range(1, len(outcomes) + 1):
        prev = batch_digest(bodies[-1]) if bodies else b""
        bodies.append(encode_body(Batch("retail", 0, REPLICA, number, (COMMAND,), prev=prev, floor=number)))
    head, last = batch_digest(bodies[-1]), outcomes[-1]
    entry = ChainEntry(len(bodies), head[:SHORT_DIGEST_BYTES], len(bodies), () if last is None else (last,))
    return ChainRow("store-1", REPLICA, "retail", 0, len(bodies), head, len(bodies), (entry,)), bodies


DEFERRED = CommandOutcome("c", Verdict.DEFERRED, "expired", "the device's permit had ended")
REJECTED = CommandOutcome("c", Verdict.REJECTED, "builds_on_refused", "")


def test_what_was_put_off_again_and_again_is_undecided() -> None:
    """The row tells of the last time only; that the times before were no better follows from there being a last time."""
    row, bodies = chain(DEFERRED, DEFERRED, DEFERRED)
    assert lineage(row, bodies, set()).commands == {}


@pytest.mark.parametrize("last", [None, REJECTED])
def test_what_was_put_off_and_then_decided_is_decided(last: CommandOutcome | None) -> None:
    row, bodies = chain(DEFERRED, last)
    (found,) = lineage(row, bodies, set()).commands.values()
    assert found[:2] == (COMMAND, last or CommandOutcome("c", Verdict.ACCEPTED))
