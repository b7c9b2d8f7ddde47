"""Whether a folder gathers: holds what only goes up of all devices, and for good, as consoles do. Others hold what their device has written, for a while.

Records of others passed by a folder that did not gather. So when it begins to, each partition is read again. It does not go back: nobody would say which of its rows
are to go.
"""

from __future__ import annotations

from driftlog_edge.ports import Family, Place, Source
from driftlog_edge.store import generations, keys
from driftlog_edge.store.cursors import cursor_of
from driftlog_schemas import topics
from driftlog_schemas.contract import AppContract, InvalidInput


def begun(source: Source, contract: AppContract, gathers: bool, wall_ms: int) -> dict[Place, bytes | None]:
    """The writes by which a folder begins to gather; none where it does, or is not to. Raises `InvalidInput` where it is to stop."""
    place = (Family.META, keys.GATHERS)
    known = source.get(*place) is not None
    if known and not gathers:
        raise InvalidInput(
            "gathers",
            "this folder holds what only goes up of all devices; set it to true, or begin with an empty data_dir",
        )
    if known or not gathers:
        return {}
    writes: dict[Place, bytes | None] = {place: b""}
    for space in contract.spaces.values():
        if not any(collection.direction == "up" for collection in space.collections.values()):
            continue
        state, conflicts = topics.state_topic(space.name), topics.conflicts_topic(space.name)
        for partition in range(space.partitions):
            cursor = cursor_of(source, state, partition)
            if cursor.offset:
                why = "the folder begins to gather"
                writes.update(
                    generations.begun(source, space.name, partition, cursor.topic_id, why, wall_ms, anew=False)
                )
                writes[Family.META, keys.cursor_key(conflicts, partition)] = None
    return writes
