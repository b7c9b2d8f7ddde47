"""Conflicts and what was decided about them for other programs: JSON, JSON lines, and CSV for a spreadsheet.

CSV is opened by spreadsheets, and printed on terminals, and a text in it may have been written by anybody: what one would take for a formula begins
with an apostrophe, and what would drive the other is shown as its code.
"""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

from driftlog_crdt import canonical
from driftlog_schemas.identity import device_of
from driftlog_schemas.messages import Conflict, ConflictStatus, Version

Format: TypeAlias = Literal["csv", "jsonl"]
MEDIA: dict[Format, str] = {"csv": "text/csv; charset=utf-8", "jsonl": "application/x-ndjson"}
RULE, DEADLINE = "rule", "deadline"
COLUMNS = (
    "id", "collection", "scope", "document", "field", "status", "value", "how", "actor", "device", "reason", "decided",
    "command_id", "stood", "against", "rule", "opened", "detected", "deadline",
)  # fmt: skip
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def as_json(conflict: Conflict) -> dict[str, Any]:
    """All that there is to say of it. Times are ISO 8601 in UTC, None where there is none."""
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
    return _csv(_row(conflict)) if kind == "csv" else json.dumps(as_json(conflict), default=str) + "\n"


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
        "value": version.value,
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
