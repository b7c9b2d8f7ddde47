"""What a partition forgets, gives up and settles, inside the body of the batch that says so."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any

from driftlog_crdt import Plain, Vector, Write, canonical
from driftlog_schemas import bounds
from driftlog_schemas.identity import device_id, device_of, is_replica_of, parse_document_key
from driftlog_schemas.messages import Due, Forgetting

MAX_RETIRED = 4096
MAX_OVER = 1000
SEEN_BYTES = 8
MAX_DROP = 500
MAX_SETTLE = 200
MAX_PLACE = 4096
"""A key of a map is as long as its writer likes; a conflict at a longer one stays open."""
MAX_PURGE = 2000
"""A group of states has so many null records then, in one flight."""
_MAX_PARKED_NAME = bounds.MAX_REPLICA + bounds.MAX_COMMAND_ID + len("/9223372036854775807/")


def encoded(forgetting: Forgetting) -> dict[str, Any]:
    """As it stands in the body; replicas in order, so that equal ones give equal bytes."""
    retired = sorted(forgetting.retired)
    return {
        "floor": forgetting.floor,
        "retired": retired,
        "heirs": [forgetting.retired[replica] for replica in retired],
        "purge": sorted(forgetting.purge),
        "seen": b"".join(forgetting.purge[key] for key in sorted(forgetting.purge)),
        "over": list(forgetting.over),
        "drop": list(forgetting.drop),
        "settle": [due._asdict() for due in forgetting.settle],
    }


def decoded(record: dict[str, Any]) -> Forgetting:
    """Inverse of `encoded`, of a record that was checked."""
    retired = dict(zip(record["retired"], record["heirs"], strict=True))
    seen = record["seen"]
    purge = {
        key: seen[at : at + SEEN_BYTES]
        for key, at in zip(record["purge"], range(0, len(seen), SEEN_BYTES), strict=True)
    }
    settle = tuple(Due(**due) for due in record["settle"])
    return Forgetting(record["floor"], retired, purge, tuple(record["drop"]), settle, tuple(record["over"]))


def digest_of(vector: Vector) -> bytes:
    """What a tombstone is known by: a change since it was chosen changes this."""
    return hashlib.blake2b(canonical(dict(vector)).encode(), digest_size=SEEN_BYTES).digest()


def digest_of_writes(writes: Iterable[Write]) -> bytes:
    """What a conflict is known by: another write that joins, or one that goes, changes this."""
    dots: Plain = [[replica, seq] for replica, seq in sorted(write[:2] for write in writes)]
    return hashlib.blake2b(canonical(dots).encode(), digest_size=SEEN_BYTES).digest()


def check(record: dict[str, Any]) -> None:
    """Raise `OutOfBounds` for what the cloud does not write."""
    retired, heirs, purge, drop = record["retired"], record["heirs"], record["purge"], record["drop"]
    over, settle = record["over"], record["settle"]
    if record["floor"] < -1 or (record["floor"] < 0 and (retired or purge or over or not (drop or settle))):
        raise bounds.OutOfBounds("floor", f"{record['floor']} is no offset")
    _check_due(settle)
    if len(drop) > MAX_DROP or len(set(drop)) < len(drop):
        raise bounds.OutOfBounds("drop", f"{len(drop)} commands, each once and at most {MAX_DROP}")
    bounds.check_texts("drop", drop, _MAX_PARKED_NAME, least=1)
    if len(retired) > MAX_RETIRED or len(set(retired)) < len(retired) or len(heirs) != len(retired):
        raise bounds.OutOfBounds(
            "retired", f"{len(retired)} with {len(heirs)} heirs, each once and at most {MAX_RETIRED}"
        )
    if len(over) > MAX_OVER or len(set(over)) < len(over):
        raise bounds.OutOfBounds("over", f"{len(over)} lives, each once and at most {MAX_OVER}")
    _check_lives("retired", retired)
    _check_lives("over", over)
    for heir in filter(None, heirs):
        bounds.check_text("heirs", heir, bounds.MAX_REPLICA)
        _check_device("heirs", heir)
    if len(purge) > MAX_PURGE or len(set(purge)) < len(purge) or len(record["seen"]) != SEEN_BYTES * len(purge):
        raise bounds.OutOfBounds(
            "purge", f"{len(purge)} documents, each once and at most {MAX_PURGE}, with a digest each"
        )
    for key in purge:
        _check_key("purge", key)


def _check_due(settle: Sequence[dict[str, Any]]) -> None:
    if len(settle) > MAX_SETTLE or len({(due["key"], due["place"]) for due in settle}) < len(settle):
        raise bounds.OutOfBounds("settle", f"{len(settle)} conflicts, each once and at most {MAX_SETTLE}")
    bounds.check_numbers("settle", [due["due_ms"] for due in settle], 1, bounds.MAX_MS)
    for due in settle:
        _check_key("settle", due["key"])
        bounds.check_text("settle", due["place"], MAX_PLACE)
        if len(due["seen"]) != SEEN_BYTES:
            raise bounds.OutOfBounds("settle", f"{len(due['seen'])} bytes are no digest")


def _check_lives(name: str, replicas: Sequence[str]) -> None:
    for replica in replicas:
        bounds.check_text(name, replica, bounds.MAX_REPLICA, least=1)
        device = device_of(replica)
        _check_device(name, device)
        if not is_replica_of(replica, device):
            raise bounds.OutOfBounds(name, f"{replica!r} is no replica")


def _check_device(name: str, device: str) -> None:
    try:
        device_id(device)
    except ValueError as error:
        raise bounds.OutOfBounds(name, str(error)) from error


def _check_key(field: str, key: bytes) -> None:
    try:
        collection, scope, name = parse_document_key(key)
    except ValueError as error:
        raise bounds.OutOfBounds(field, bounds.cut(str(error), bounds.MAX_REASON)) from error
    bounds.check_text(field, collection, bounds.MAX_NAME, least=1)
    bounds.check_text(field, scope, bounds.MAX_SCOPE, least=1)
    bounds.check_text(field, name, bounds.MAX_ID, least=1)
