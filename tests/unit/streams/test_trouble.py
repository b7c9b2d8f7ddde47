"""What stands in the way is said when it begins and when it changes."""

from __future__ import annotations

from typing import Any

from driftlog_streams.telling.trouble import Trouble


class Said(list[dict[str, Any]]):
    def warning(self, event: str, /, **facts: Any) -> None:
        self.append({"event": event, **facts})


def test_it_is_said_once_until_it_is_another_one_or_was_over() -> None:
    said = Said()
    trouble = Trouble(said, "it cannot be told")
    for error in (OSError("away"), OSError("away"), OSError("full")):
        trouble.met(error)
    trouble.over()
    trouble.met(OSError("full"))
    assert [one["error"] for one in said] == ["away", "full", "full"]
    assert {one["event"] for one in said} == {"it cannot be told"}
