"""Which devices need the topics that a space was in before it was given another number of partitions."""

from __future__ import annotations

from typing import Any

from driftlog_schemas.devices import DeviceStatus, Terms, with_terms
from driftlog_schemas.moves import Moved
from driftlog_streams.reading.fleet import Heard, Member
from driftlog_streams.reading.followers import behind
from tests.unit.streams.test_fleet import NOW, device, word

SECOND, THIRD = Moved(2, 7, 41, (0,)), Moved(3, 1, 99, (0,) * 7)


def member(name: str, **said: Any) -> Member:
    return Member(device(name), Heard(word(device_id=name, **said), NOW) if said else None)


FLEET = [
    member("first", applied={"retail/0": 3}),
    member("second", applied={"retail.p2/0": 3, "audit/0": 1}, heads={"retail.p2/6": 1}),
    member("third", heads={"retail.p3/0": 1}),
    member("only what it sent is left there", heads={"retail/2": 1}, applied={"retail.p3/0": 3}),
    member("of another space", applied={"audit/0": 1, "retailer/0": 1}),
    member("stranger", applied={"retail.px/0": 1, "?": 2}),
    member("new"),
]


def names(members: tuple[Member, ...]) -> list[str]:
    return [one.device.device_id for one in members]


def test_who_is_in_topics_of_before_or_before_those_needs_them() -> None:
    first, second = behind(FLEET, {"retail.p2": THIRD, "retail": SECOND})
    assert (first.space, first.goes_on, first.partitions) == ("retail", "retail.p2", 7)
    assert names(first.devices) == ["first", "only what it sent is left there"]
    assert (second.space, second.goes_on, second.partitions) == ("retail.p2", "retail.p3", 1)
    assert names(second.devices) == ["first", "second", "only what it sent is left there"]
    assert names(first.unheard) == names(second.unheard) == ["new"]
    assert behind(FLEET, {}) == []


def test_a_device_that_may_write_no_more_is_not_waited_for() -> None:
    gone = with_terms(device("first"), Terms(NOW, DeviceStatus.REVOKED, ("*",), ("*",), 0, 0))
    (found,) = behind([Member(gone, FLEET[0].heard), Member(gone)], {"retail": SECOND})
    assert not found.devices and not found.unheard
