"""The records by which reactions call for commands in a partition. They stand in no chain: calls are known by their own positions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from driftlog_schemas.batch_codec import MAX_BATCH_BYTES, encode_body
from driftlog_schemas.identity import REACTION_REPLICA
from driftlog_schemas.messages import Batch, Call, Reacting
from driftlog_schemas.reacting_codec import MAX_CALLS

MOST_BYTES = MAX_BATCH_BYTES // 2
_CALL_BYTES = 512
"""What a call takes besides its arguments, at most."""


def calls_bodies(space: str, partition: int, calls: Sequence[Call]) -> Iterator[bytes]:
    """Bodies with these calls, in their order, as few as possible."""
    gathered: list[Call] = []
    size = 0
    for call in calls:
        more = _CALL_BYTES + len(call.arguments.encode())
        if gathered and (len(gathered) == MAX_CALLS or size + more > MOST_BYTES):
            yield _body(space, partition, gathered)
            gathered, size = [], 0
        gathered.append(call)
        size += more
    if gathered:
        yield _body(space, partition, gathered)


def _body(space: str, partition: int, calls: Sequence[Call]) -> bytes:
    return encode_body(Batch(space, partition, REACTION_REPLICA, 0, (), react=Reacting(tuple(calls))))
