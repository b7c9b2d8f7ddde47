"""`driftlog edge catch-up`: wait until a replica has all that the cloud has, and see how far it is."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from driftlog.cli.calling import Url, call
from driftlog.cli.drawing import emit, err, facts
from driftlog.cli.terminal import Json, fail, told
from driftlog.client.sending import DEFAULT_URL

LOOK_SECONDS = 0.5
AWAY_SECONDS = 60.0
"""For how long an agent that has answered may be gone: it starts again meanwhile."""


@told
def catch_up(
    timeout: Annotated[float, typer.Option(min=0, help="Seconds to wait at most; 0 waits as long as it takes.")] = 0,
    url: Url = DEFAULT_URL,
    json: Json = False,
) -> None:
    """Wait until the replica has all that the cloud has, with a bar for each partition. Example: driftlog edge catch-up --timeout 600

    At a first start, after an outage, and while a partition is read again as a snapshot. The agent may be stopped and started meanwhile: it goes on where it
    was, and so does this.
    """
    began = time.monotonic()
    status = call("GET", url, "/v1/status")
    with Bars() as bars:
        while lacks := missing(status):
            bars.show(status["catching_up"])
            if timeout and time.monotonic() - began >= timeout:
                fail(f"not in step after {timeout:g} s: {lacks}", "ask again, or see `driftlog edge status`")
            time.sleep(LOOK_SECONDS)
            status = call("GET", url, "/v1/status", away_seconds=AWAY_SECONDS)
    found = {
        "in_step": True,
        "seconds": round(time.monotonic() - began, 1),
        "scopes": {name: scope["synced_at"] for name, scope in status["scopes"].items()},
    }
    emit(
        found,
        as_json=json,
        table=lambda: facts("in step", {"after": f"{found['seconds']} s", "scopes": ", ".join(status["scopes"])}),
    )


def missing(status: dict[str, Any]) -> str:
    """Why the replica is not known to have everything; empty when it is."""
    if "catching_up" not in status:
        fail("this agent does not say how far it is", "it is of an older release; see `driftlog edge status`")
    if status["connection"] != "ONLINE":
        return f"{status['connection']}" + (f", {status['problem']}" if status["problem"] else "")
    return ", ".join(f"{name} {_how_far(place)}" for name, place in status["catching_up"].items())


def _how_far(place: dict[str, Any]) -> str:
    of = "" if place["ends"] is None else f" of {place['ends']}"
    return f"at {place['offset']}{of}" + (f", read again: {place['again']}" if place["again"] else "")


class Bars:
    """One for each partition of which something is missing, full when nothing is any more. Nothing is drawn where nobody looks."""

    def __init__(self) -> None:
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        self._progress = Progress(*columns, console=err, disable=not err.is_terminal)
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Bars:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, places: dict[str, dict[str, Any]]) -> None:
        """As the status has them now."""
        for name in places.keys() | self._tasks.keys():
            if name not in self._tasks:
                self._tasks[name] = self._progress.add_task(name, total=None)
            task = self._tasks[name]
            if (place := places.get(name)) is None:
                total = self._progress.tasks[self._progress.task_ids.index(task)].total
                self._progress.update(task, completed=total)
            elif place["ends"] is not None:
                begins = place["begins"]
                done, of = max(0, place["offset"] - begins), max(0, place["ends"] - begins)
                words = f"{name}, again" if place["again"] else name
                self._progress.update(task, description=words, completed=min(done, of), total=of)
