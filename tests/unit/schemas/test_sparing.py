"""What a stranger can provoke is told a few times a minute, and then how often it was not."""

from __future__ import annotations

from typing import Any

from driftlog_schemas.sparing import MOST, WINDOW_SECONDS, Sparing


class Log:
    def __init__(self) -> None:
        self.lines: list[dict[str, Any]] = []

    def warning(self, event: str, /, **facts: Any) -> None:
        self.lines.append({"event": event, **facts})


def test_of_many_lines_some_are_told_and_then_how_many_were_not() -> None:
    log, seconds = Log(), [0.0]
    say = Sparing(log, "odd", lambda: seconds[0])
    for offset in range(MOST + 7):
        say(offset=offset)
    assert log.lines == [{"event": "odd", "offset": offset} for offset in range(MOST)]

    seconds[0] += WINDOW_SECONDS
    say(offset=100)
    say(offset=101)
    assert log.lines[MOST:] == [{"event": "odd", "offset": 100, "left_out": 7}, {"event": "odd", "offset": 101}]
