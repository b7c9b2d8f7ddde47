"""Do an agent's digests agree with the state topic? Compared at one position of the log: where the agent says that it stands.

The agent goes on meanwhile. So it is asked, the topic is counted up to exactly where it was, and what does not settle is asked again, for a bounded time:

- *same*: at that offset both have the same documents at the same versions;
- *different*: they have not, and the agent had read all that there is; or so twice, at two offsets. Once is not enough behind the end: what was
  compacted away because of a later record is missing when one counts up to an earlier one;
- *not in step*: there was no common position.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

from driftlog_schemas.digests import text_of

Verdict: TypeAlias = Literal["same", "different", "not in step"]
PAUSE_SECONDS = 0.5


class Counted(Protocol):
    """One partition of a state topic, counted up to a position."""

    position: int

    def end(self) -> int: ...
    def read_to(self, offset: int) -> None: ...
    def of(self, scope: str) -> tuple[int, int]: ...


@dataclass(slots=True)
class Line:
    """One scope in one partition."""

    scope: str
    place: str
    """`space/partition`"""
    verdict: Verdict = "not in step"
    edge: str = ""
    cloud: str = ""
    documents: int = 0
    offset: int = 0
    differed_at: int = -1
    settled: bool = False


def verify(
    status: Callable[[], Mapping[str, Any]],
    counted: Callable[[str], Counted],
    seconds: float,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> list[Line]:
    """Every scope that the agent holds, in order. `counted` gives the topic's partition of a `space/partition`."""
    lines: dict[tuple[str, str], Line] = {}
    end = clock() + seconds
    while True:
        for scope, facts in status()["scopes"].items():
            for place, digests in facts["digests"].items():
                line = lines.setdefault((scope, place), Line(scope, place))
                if not line.settled:
                    _compare(line, digests, counted(place))
        if all(line.settled for line in lines.values()) or clock() >= end:
            return [lines[key] for key in sorted(lines)]
        pause(PAUSE_SECONDS)


def _compare(line: Line, digests: Mapping[str, Any], counted: Counted) -> None:
    offset, end = digests["offset"], counted.end()
    line.edge, line.offset = digests["digest"], offset
    if not counted.position <= offset <= end:
        return
    counted.read_to(offset)
    digest, line.documents = counted.of(line.scope)
    line.cloud = text_of(digest)
    if line.cloud == line.edge:
        line.verdict, line.settled = "same", True
    elif offset == end or -1 < line.differed_at < offset:
        line.verdict, line.settled = "different", True
    else:
        line.differed_at = offset
