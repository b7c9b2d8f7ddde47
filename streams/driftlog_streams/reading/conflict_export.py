"""Conflicts and what was decided about them for other programs, and commands that wait at devices: JSON, JSON lines, and CSV for a spreadsheet.

CSV is opened by spreadsheets, and printed on terminals, and a text in it may have been written by anybody: what one would take for a formula begins
with an apostrophe, and what would drive the other is shown as its code.
"""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

from driftlog_crdt import Plain, canonical
from driftlog_schemas.identity import device_of
from driftlog_schemas.messages import Conflict, ConflictStatus, Version
from driftlog_streams.core.changelog_record import UNTIMED
from driftlog_streams.reading.waiting_commands import Entry, Unnamed, data_of

Format: TypeAlias = Literal["csv", "jsonl"]
MEDIA: dict[Format, str] = {"csv": "text/csv; charset=utf-8", "jsonl": "application/x-ndjson"}
RULE, DEADLINE, WAITS = "rule", "deadline", "waits"
COLUMNS = (
    "id", "collection", "scope", "document", "field", "status", "value", "how", "actor", "device", "reason", "decided",
    "command_id", "stood", "against", "rule", "opened", "detected", "deadline", "kind", "code", "count",
)  # fmt: skip
CONFLICT = "conflict"
"""The kind of what is no command at a device."""
MOST_EXACT = (1 << 53) - 1
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def as_json(conflict: Conflict) -> dict[str, Any]:
    """All that there is to say of it. Times are ISO 8601 in UTC, None where there is none; values as `exact` has them."""
    by = conflict.decided_by
    return {
        "id": conflict.id,
        "collection": conflict.document.collection,
        "scope": conflict.document.scope,
        "document": conflict.document.id,
        "field": conflict.field,
        "versions": [_version(v) for v in conflict.versions],
        "omitted": conflict.omitted,
        "policy": conflict.policy,
        "rule": conflict.rule,
        "opened": _time(conflict.opened_ms),
        "detected": _time(conflict.detected_ms),
        "deadline": _time(conflict.deadline_ms),
        "status": conflict.status.value,
        "how": how(conflict),
        "decided_by": None if by is None else _version(by),
    }


def exact(value: Plain) -> Plain:
    """The same for JSON: whole numbers beyond 2^53, which many a reader of it rounds, are text."""
    match value:
        case bool():
            return value
        case int():
            return value if abs(value) <= MOST_EXACT else str(value)
        case list() | tuple():
            return [exact(one) for one in value]
        case dict():
            return {name: exact(one) for name, one in value.items()}
        case _:
            return value


def how(conflict: Conflict) -> str:
    """By what means it came to its end: `page`, `cli`, `api`, `deadline` or `rule`; empty for an ordinary write that had seen the versions, and
    where a person is still to decide.
    """
    by = conflict.decided_by
    if conflict.status is ConflictStatus.RECORDED:
        return RULE
    if conflict.status is ConflictStatus.SETTLED:
        return DEADLINE
    return "" if by is None else by.how


def head(kind: Format) -> str:
    """What stands before the first line."""
    return _csv(COLUMNS) if kind == "csv" else ""


def line(conflict: Conflict, kind: Format) -> str:
    """One conflict, with the end of its line."""
    return _csv(_row(conflict)) if kind == "csv" else _json({"kind": CONFLICT, **as_json(conflict)})


def command_line(entry: Entry, reason: str, kind: Format) -> str:
    """One command that waits at its device, `reason` why it does, with the end of its line."""
    told = entry.command
    if kind == "jsonl":
        return _json(
            {
                **data_of(entry),
                "reason": reason,
                "given": _time(told.at_ms),
                "heard": _heard(entry.heard_ms),
                "count": 1,
            }
        )
    return _csv_of(
        {
            "id": entry.id,
            "collection": told.collection,
            "scope": told.scope,
            "document": told.document,
            "status": WAITS,
            "actor": told.actor,
            "device": entry.device_id,
            "reason": reason,
            "command_id": told.command_id,
            "opened": _time(told.at_ms),
            "detected": _heard(entry.heard_ms),
            "kind": told.kind,
            "code": told.code,
            "count": 1,
        }
    )


def unnamed_line(one: Unnamed, kind: Format) -> str:
    """Commands of one kind that wait at a device and that it has not named: how many, with the end of the line."""
    if kind == "jsonl":
        told = {"device_id": one.device_id, "kind": one.kind, "command_id": None, "count": one.count}
        return _json({**told, "heard": _heard(one.heard_ms)})
    cells = {"status": WAITS, "device": one.device_id, "kind": one.kind, "count": one.count}
    return _csv_of({**cells, "detected": _heard(one.heard_ms)})


def _json(told: dict[str, Any]) -> str:
    return json.dumps(told, default=str) + "\n"


def _heard(ms: int) -> str | None:
    return None if ms == UNTIMED else _time(ms)


def _row(conflict: Conflict) -> tuple[object, ...]:
    by, stands = conflict.decided_by, conflict.winner
    nobody = by is None or by.how == DEADLINE
    value = by.value if by is not None else stands.value
    return (
        conflict.id,
        *conflict.document,
        conflict.field,
        conflict.status.value,
        "" if conflict.status is ConflictStatus.OPEN else canonical(value),
        how(conflict),
        "" if by is None else by.actor,
        "" if by is None or nobody else device_of(by.replica),
        "" if by is None else by.reason,
        None if by is None else _time(by.append_ms),
        "" if by is None else by.command_id,
        _told(stands),
        "; ".join(map(_told, conflict.versions[1:])),
        conflict.rule,
        _time(conflict.opened_ms),
        _time(conflict.detected_ms),
        _time(conflict.deadline_ms),
        CONFLICT,
        "",
        1,
    )


def _told(version: Version) -> str:
    device = device_of(version.replica)
    return (
        f"{canonical(version.value)} by {version.actor} at {device}"
        if version.actor
        else f"{canonical(version.value)} by {device}"
    )


def _csv(cells: tuple[object, ...]) -> str:
    out = io.StringIO()
    csv.writer(out).writerow([_harmless(cell) for cell in cells])
    return out.getvalue()


def _csv_of(told: dict[str, object]) -> str:
    """A line by its columns; those that are not named are empty."""
    return _csv(tuple((dict.fromkeys(COLUMNS) | told).values()))


def _harmless(cell: object) -> str:
    text = "" if cell is None else str(cell)
    if not text.isprintable():
        text = "".join(
            sign if sign.isprintable() or sign in "\n\t" else sign.encode("unicode_escape").decode() for sign in text
        )
    return f"'{text}" if text.startswith(_FORMULA) and not _number(text) else text


def _number(text: str) -> bool:
    return text.removeprefix("-").replace(".", "", 1).isdecimal()


def _version(version: Version) -> dict[str, Any]:
    return {
        "value": exact(version.value),
        "replica": version.replica,
        "seq": version.seq,
        "time": _time(version.hlc >> 16),
        "logged": _time(version.append_ms),
        "command_id": version.command_id,
        "actor": version.actor,
        "seen": version.seen,
        "how": version.how,
        "reason": version.reason,
    }


def _time(ms: int) -> str | None:
    if not ms:
        return None
    try:
        return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):  # one that no calendar has, as a stranger may have written it
        return f"{ms} ms"
