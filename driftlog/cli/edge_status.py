"""How an agent is, as `driftlog edge status` shows it: warnings stand first."""

from __future__ import annotations

from typing import Any

from driftlog.cli import edge_catch_up
from driftlog.cli.texts import moment
from driftlog_schemas.spans import span


def shown(found: dict[str, Any]) -> dict[str, Any]:
    """The status as it is told by the API, one line a fact."""
    flat = {k: v for k, v in found.items() if k != "scopes"}
    flat["disk"] = _disk(found)
    if "catching_up" in found:  # not of an agent before it
        flat["catching_up"] = edge_catch_up.missing(found) or "in step"
    flat["snapshot"] = _snapshot(found["snapshot"])
    if support := found.get("support"):  # not of an agent before it
        flat["support"] = _support(support)
    if "generations" in found:  # not of an agent before it
        flat["generations"] = ", ".join(_generation(space, facts) for space, facts in found["generations"].items())
    return flat | {f"scope {name}": _scope(facts) for name, facts in found["scopes"].items()}


def _disk(status: dict[str, Any]) -> str:
    """How the store stands to its budget, the warning first."""
    disk, used = status["disk"], status["disk_bytes"]
    if disk["budget_bytes"] is None:
        return f"{used} bytes, no budget"
    return f"WARNING: {disk['warning']}" if disk["warning"] else f"{used} of {disk['budget_bytes']} bytes"


def _snapshot(snapshot: dict[str, Any]) -> str:
    """How long this device may still be away, the warning first."""
    left = snapshot["needed_in_seconds"]
    if snapshot["warning"] or left is None:
        return f"WARNING: {snapshot['warning']}" if snapshot["warning"] else "not read yet, or read again now"
    return f"needed after {span(round(left * 1000))} more away"


def _support(support: dict[str, Any]) -> str:
    """Until when the cloud takes what this version of the app writes, the warning first."""
    if support["warning"]:
        return f"WARNING: {support['warning']}"
    version = support["version"] or "without a version"
    return version if support["ends"] is None else f"{version}, until {moment(support['ends'])}"


def _generation(space: str, facts: dict[str, int]) -> str:
    """Which one is read, and what is under way."""
    followed, read, merged = facts["followed"], facts["read"], facts["merged"]
    going = f", and {read} from the next connection on" if followed != read else ""
    return f"{space} {followed}{going}" + (f", workers merge {merged}" if merged != read else "")


def _scope(scope: dict[str, Any]) -> str:
    evicted = f", {scope['evicted']} evicted" if scope["evicted"] else ""
    return f"{_age(scope['age_seconds'])}, digest {scope['digest']}{evicted}"


def _age(seconds: float | None) -> str:
    return "never in step" if seconds is None else f"age {seconds:.1f} s"
