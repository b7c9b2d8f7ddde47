"""The headers of many messages: what cannot be read costs its own record only, and nothing is asked twice."""

from __future__ import annotations

from typing import Any, cast

import pytest
from confluent_kafka import Message

from driftlog_schemas.groups import Headers
from driftlog_schemas.record_headers import headers_of_each


class Sent:
    """A message whose headers are these, or that raises."""

    def __init__(self, found: Headers | Exception | None) -> None:
        self._found, self.asked = found, 0

    def headers(self) -> Headers | None:
        self.asked += 1
        if isinstance(self._found, Exception):
            raise self._found
        return self._found

    def topic(self) -> str:
        return "t"

    def offset(self) -> int:
        return 7


HOLE = SystemError("<method 'headers'> returned a result with an exception set")
NO_TEXT = UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte")
GOOD: Headers = [("driftlog.group", b"7")]


@pytest.mark.parametrize(
    "found",
    [[], [GOOD], [None, GOOD], [HOLE], [GOOD, HOLE, GOOD], [HOLE, NO_TEXT, GOOD, HOLE]],
    ids=["none", "one", "without", "hole", "between", "many"],
)
def test_each_has_its_own_and_is_asked_once(found: list[Headers | Exception | None]) -> None:
    sent = [Sent(one) for one in found]
    told = headers_of_each(cast("list[Message]", sent))
    assert told == [() if one is None or isinstance(one, Exception) else one for one in found]
    assert [one.asked for one in sent] == [1] * len(found)


def test_what_is_wrong_otherwise_is_raised() -> None:
    sent: Any = [Sent(GOOD), Sent(MemoryError())]
    with pytest.raises(MemoryError):
        headers_of_each(sent)
