"""That a space goes on with another number of partitions is the operator's word; and what the space is called then."""

from __future__ import annotations

from dataclasses import replace

import pytest

from driftlog_schemas import device_lines
from driftlog_schemas.device_lines import DeviceLines
from driftlog_schemas.devices import Device
from driftlog_schemas.generations import InForce, ever_in_force, in_force, switched
from driftlog_schemas.moves import (
    Moved,
    announced,
    announcing,
    declared_name,
    following_name,
    moved,
    moving,
    number_of,
    present,
    present_app,
)
from driftlog_schemas.topics import SpaceTopics, laid, space_topics, wanted_topics
from tests.unit.edge.shop import app
from tests.unit.schemas.test_device_lines import NOW, read, signed

SPACE = next(iter(app.contract.spaces.values()))
TO = Moved(2, 7, 41, (0, 12, 40))


def line() -> Device:
    return switched(None, "retail", InForce(3, 3), NOW)


def test_a_line_tells_where_its_space_goes_on_and_keeps_its_generations() -> None:
    said = moving(line(), TO, NOW)
    assert moved(said) == TO and moved(line()) is None and moved(None) is None
    assert in_force(said) == InForce(3, 3) and ever_in_force(said) == {1, 3}
    assert (said.version, moving(said, TO, NOW).version) == (2, 3), "cut off behind the line, it is said once more"
    lines = read(signed(line()), signed(said))
    assert lines.moved("retail") == TO and lines.moved("other") is None
    assert lines.moves() == {"retail": TO} and read(signed(line())).moves() == {}


def test_a_space_moves_once() -> None:
    said = moving(line(), TO, NOW)
    with pytest.raises(ValueError, match="has moved"):
        moving(said, TO._replace(partitions=9), NOW)
    with pytest.raises(ValueError, match="goes on in other topics"):
        switched(said, "retail", InForce(4, 3), NOW)


def test_what_is_about_to_be_is_said_before_it_is_done() -> None:
    soon = announcing(line(), 7, NOW)
    assert announced(soon) == 7 and moved(soon) is None and announced(line()) is announced(None) is None
    assert read(signed(soon)).moving() == {"retail": 7} and read(signed(line())).moving() == {}
    assert announced(announcing(soon, 9, NOW)) == 9, "nothing is laid yet"
    with pytest.raises(ValueError, match="goes on in other topics"):
        switched(soon, "retail", InForce(4, 3), NOW)
    back = announcing(soon, None, NOW)
    assert (
        announced(back) is None
        and back.version == 3
        and in_force(switched(back, "retail", InForce(4, 3), NOW)) == InForce(4, 3)
    )
    done = moving(soon, TO, NOW)
    assert announced(done) is None and moved(done) == TO and read(signed(done)).moving() == {}
    with pytest.raises(ValueError, match="has moved"):
        announcing(done, 7, NOW)


@pytest.mark.parametrize(
    "said",
    [
        "_moved:1:7:41:0",
        "_moved:2:0:41:0",
        "_moved:2:10001:41:0",
        "_moved:2:7:0:0",
        "_moved:2:7:41:41",
        "_moved:2:7:41:-1",
        "_moved:2:7:41",
        "_moved:2:7:x:0",
        "_moved:2:7:41:",
        "_moving:0",
        "_moving:x",
    ],
)
def test_a_line_that_names_no_place_changes_nothing(said: str) -> None:
    good = line()
    bad = replace(good, version=5, terms=(good.latest._replace(permissions=(*good.latest.permissions, said)),))
    lines: DeviceLines = read(signed(good), signed(bad))
    assert lines.moved("retail") is None and lines.generations("retail") == InForce(3, 3)
    assert lines.ignored[device_lines.UNREADABLE] == 1


def test_two_places_are_none() -> None:
    good = moving(line(), TO, NOW)
    twice = (*good.latest.permissions, TO._replace(number=3).encode())
    bad = replace(good, version=5, terms=(good.latest._replace(permissions=twice),))
    assert read(signed(good), signed(bad)).moved("retail") == TO
    twice = (*good.latest.permissions, "_moving:3", "_moving:4")
    bad = replace(good, version=5, terms=(good.latest._replace(permissions=twice),))
    assert read(signed(good), signed(bad)).moving() == {}


def test_all_topics_of_a_moved_space_are_its_own() -> None:
    later = present(SPACE, {SPACE.name: TO}.get)
    assert (later.name, later.partitions) == (f"{SPACE.name}.p2", 7)
    assert (
        {one.space for one in later.collections.values()}
        == {one.space for one in later.commands.values()}
        == {later.name}
    )
    assert later.release == SPACE.release, "what its commands may write is the same"
    before, after = SpaceTopics(SPACE.name), SpaceTopics(later.name)
    for name in ("ops", "state", "receipts", "conflicts", "parked", "quarantine", "group"):
        assert getattr(before, name) != getattr(after, name)


def test_a_space_may_move_again_and_never_back() -> None:
    there = {SPACE.name: TO, f"{SPACE.name}.p2": Moved(3, 2, 90, (0,) * 7)}
    assert (present(SPACE, there.get).name, present(SPACE, there.get).partitions) == (f"{SPACE.name}.p3", 2)
    in_a_circle = {SPACE.name: TO, f"{SPACE.name}.p2": Moved(2, 3, 90, (0,) * 7)}
    assert present(SPACE, in_a_circle.get).name == f"{SPACE.name}.p2"
    assert (declared_name("retail.p3"), number_of("retail.p3"), number_of("retail")) == ("retail", 3, 1)
    assert (following_name("retail.p2", 3), following_name("retail.p2", 1)) == ("retail.p3", "retail")


def test_an_app_has_its_spaces_as_they_are_now() -> None:
    contract = app.contract
    assert present_app(contract, lambda space: None) == contract
    now = present_app(contract, {SPACE.name: TO}.get)
    assert now.spaces.keys() == {f"{SPACE.name}.p2", *contract.spaces} - {SPACE.name}
    for name in SPACE.collections:
        assert now.spaces[now.collection(name).space].name == f"{SPACE.name}.p2"


def test_the_topics_of_a_space_that_has_moved_are_wanted_as_they_are() -> None:
    name = SPACE.name
    declared = wanted_topics(app.contract)
    there = {topic.name: topic.partitions for topic in declared}
    assert wanted_topics(app.contract, existing=there) == declared
    moved_there = there | {f"{name}.p2.ops": 7, f"{name}.p10.ops": 2, f"{name}x.p2.ops": 5, f"{name}.px.ops": 5}
    assert laid(name, SPACE.partitions, moved_there) == [
        (name, SPACE.partitions),
        (f"{name}.p2", 7),
        (f"{name}.p10", 2),
    ]
    wanted = {topic.name: topic.partitions for topic in wanted_topics(app.contract, existing=moved_there)}
    assert wanted == there | {
        topic.name: n for at, n in ((f"{name}.p2", 7), (f"{name}.p10", 2)) for topic in space_topics(at, n)
    }
    assert laid(name, 7, moved_there)[0] == (name, SPACE.partitions), "the app may declare by now what it has moved to"
    assert laid(name, 7, there) == [(name, 7)], "that is refused"
