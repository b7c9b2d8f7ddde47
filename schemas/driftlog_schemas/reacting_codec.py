"""What reactions call for, and what became of it, inside the body of the batch that says so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from driftlog_schemas import bounds
from driftlog_schemas.messages import Call, Failed, Ran, Reacting

MAX_CALLS = 100
"""In one record."""
MAX_ARGUMENTS = 16 * 1024
"""Of a command that a reaction calls for."""
MAX_TOLD = 700 * 1024
"""Of a reaction that failed: its document, before and after."""
MAX_DEPTH = 8
"""So many reactions may follow one from another."""


def encoded(reacting: Reacting) -> dict[str, Any]:
    """As it stands in the body."""
    ran = reacting.ran
    told = None if ran is None else {**ran._asdict(), "failed": [failed._asdict() for failed in ran.failed]}
    return {"calls": [call._asdict() for call in reacting.calls], "ran": told}


def decoded(record: dict[str, Any]) -> Reacting:
    """Inverse of `encoded`, of a record that was checked."""
    ran = record["ran"]
    if ran is not None:
        failed = tuple(Failed(**one) for one in ran["failed"])
        ran = Ran(
            ran["offset"], ran["first"], ran["end"], tuple(ran["depths"]), tuple(ran["calls"]), failed, ran["more"]
        )
    return Reacting(tuple(Call(**call) for call in record["calls"]), ran)


def check(record: dict[str, Any]) -> None:
    """Raise `OutOfBounds` for what the cloud does not write."""
    calls, ran = record["calls"], record["ran"]
    if (ran is None) is not bool(calls) or len(calls) > MAX_CALLS:
        raise bounds.OutOfBounds("calls", f"{len(calls)} calls, 1 to {MAX_CALLS} or what became of some")
    bounds.check_texts("call id", [call["id"] for call in calls], bounds.MAX_COMMAND_ID, least=1)
    bounds.check_texts("reaction", [call["reaction"] for call in calls], bounds.MAX_NAME, least=1)
    bounds.check_texts("command", [call["command"] for call in calls], bounds.MAX_NAME)
    for call in calls:
        bounds.check_text("arguments", call["arguments"], MAX_ARGUMENTS if call["command"] else MAX_TOLD, least=2)
    bounds.check_numbers("depth", [call["depth"] for call in calls], 1, MAX_DEPTH + 1)
    bounds.check_numbers("source", [call["source"] for call in calls], 0, bounds.MAX_LONG)
    bounds.check_numbers("position", [call["position"] for call in calls], 0, bounds.MAX_LONG)
    if ran is not None:
        _check_ran(ran)


def _check_ran(ran: dict[str, Any]) -> None:
    bounds.check_numbers("offset", [ran["offset"]], 0, bounds.MAX_LONG)
    if not 0 <= ran["first"] < ran["end"] <= MAX_CALLS:
        raise bounds.OutOfBounds("ran", f"calls {ran['first']} to {ran['end']} of at most {MAX_CALLS}")
    bounds.check_numbers("depths", ran["depths"], 1, MAX_DEPTH + 1)
    _check_indices([*ran["calls"], *(failed["call"] for failed in ran["failed"])], range(ran["first"], ran["end"]))
    if len(ran["calls"]) != len(ran["depths"]):
        raise bounds.OutOfBounds("ran", f"{len(ran['calls'])} calls with {len(ran['depths'])} depths")
    bounds.check_texts("code", [failed["code"] for failed in ran["failed"]], bounds.MAX_CODE, least=1)
    bounds.check_texts("reason", [failed["reason"] for failed in ran["failed"]], bounds.MAX_REASON)


def _check_indices(indices: Sequence[int], there: range) -> None:
    """A call becomes one command, or fails, or changes nothing."""
    if len(set(indices)) < len(indices) or any(index not in there for index in indices):
        raise bounds.OutOfBounds("ran", "each call once, of those that are meant")
