"""How an agent is, as `driftlog edge status` shows it: warnings stand first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
    flat |= {name: words(found[name]) for name, words in _IN_WORDS.items() if name in found}
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


def _lives(lives: list[dict[str, Any]]) -> str:
    """How many the folder has had, and why there is another than the first."""
    last = lives[-1]
    if not last["why"]:
        return str(len(lives))
    taken = f"{last['rebased']} commands came along, {last['review']} wait for a person"
    return f"{len(lives)}, the last since {moment(last['since_ms'])}: {last['why']}; {taken}"


def _registered(line: dict[str, Any] | None) -> str:
    if line is None:
        return "not known yet"
    ends = f", until {moment(line['permit_ends'])}" if line["permit_ends"] else ""
    key = "" if line["key_counts"] else ", and the key of its identity file counts no more"
    return f"{line['status']}, scopes {', '.join(line['scopes'])}; may {', '.join(line['permissions'])}{ends}{key}"


def _waiting(reasons: list[dict[str, Any]]) -> str:
    """How many commands wait, and for what."""
    return ", ".join(
        f"{one['commands']} for {one['for']}" + (f" until {moment(one['until'])}" if one["until"] else "")
        for one in reasons
    )


def _forecast(outlook: dict[str, float | None]) -> str:
    """When the outbox will be full, and when empty."""
    full, drained = outlook["full_in_seconds"], outlook["drained_in_seconds"]
    said = [] if full is None else [f"full in {span(round(full * 1000))}"]
    said += [] if drained is None else [f"sent in {span(round(drained * 1000))}"]
    return ", ".join(said)


def _read_again(partitions: Mapping[str, dict[str, Any]]) -> str:
    return ", ".join(f"{name} ({one['records']} records so far): {one['why']}" for name, one in partitions.items())


def _link(link: dict[str, Any]) -> str:
    measured, limit = link["bytes_per_second"], link["limit"]
    said = "not measured yet" if measured is None else f"{measured:.0f} bytes/s as measured"
    return said + (f", of which {limit} may be used" if limit else "")


def _power(power: dict[str, Any]) -> str:
    """What is known of power and network, and whether that keeps something back."""
    known = [
        {True: "mains", False: "no mains", None: ""}[power["mains"]],
        "" if power["battery_percent"] is None else f"battery at {power['battery_percent']:g} %",
        {True: "a network that costs something", False: "a network that costs nothing", None: ""}[power["metered"]],
        "only what is urgent leaves" if power["saving"] else "",
        power["problem"],
    ]
    return ", ".join(filter(None, known)) or "unknown"


def _encryption(keys: dict[str, Any]) -> str:
    """By which keys the folder is kept."""
    wrapped = f", wrapped by {keys['wrapped_by']}" if keys["wrapped_by"] else ""
    turning = ", another takes its place now" if keys["rotating"] else ""
    trouble = f"; {keys['problem']}" if keys["problem"] else ""
    return f"data key {keys['data_key']} of {moment(keys['made_ms'])}{wrapped}{turning}{trouble}"


def _versions(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


_IN_WORDS: Mapping[str, Callable[[Any], str]] = {
    "lives": _lives,
    "registered": _registered,
    "waiting": _waiting,
    "forecast": _forecast,
    "read_again": _read_again,
    "link": _link,
    "power": _power,
    "encryption": _encryption,
    "versions": _versions,
    "differing": ", ".join,
}
"""What the API tells in parts."""
