"""Which generation is in force is the operator's word, kept like every other; and what a generation calls its topics."""

from __future__ import annotations

from dataclasses import replace

import pytest

from driftlog_schemas import device_lines
from driftlog_schemas.device_lines import DeviceLines
from driftlog_schemas.devices import Device
from driftlog_schemas.generations import FIRST, InForce, ever_in_force, in_force, line_name, switched
from driftlog_schemas.identity import device_id
from driftlog_schemas.operator_keys import OperatorKey
from driftlog_schemas.topics import (
    SpaceTopics,
    generation_topics,
    generations_among,
    space_of_receipts,
    space_topics,
    wanted_topics,
)
from tests.unit.edge.shop import app
from tests.unit.schemas.test_device_lines import CODECS, NEXT, NOW, ROOT, STRANGER, line, read, signed


def switch(*to: InForce) -> Device:
    known: Device | None = None
    for one in to:
        known = switched(known, "retail", one, NOW)
    assert known is not None
    return known


def generation(lines: DeviceLines) -> InForce:
    return lines.generations("retail")


def test_a_line_tells_what_is_in_force_and_keeps_what_was() -> None:
    said = switch(InForce(2, 1), InForce(2, 2), InForce(3, 2))
    assert (in_force(None), in_force(said)) == (FIRST, InForce(3, 2))
    assert ever_in_force(None) == {1} and ever_in_force(said) == {1, 2, 3}
    assert said.version == 3
    times = [terms.from_ms for terms in said.terms]
    assert times == sorted(set(times)), "two switches of one moment are both kept"


def test_no_device_can_be_called_like_a_space() -> None:
    with pytest.raises(ValueError, match="cannot name a device"):
        device_id(line_name("retail"))


def test_the_registry_believes_the_operator_alone_and_the_newest_word() -> None:
    first, second = switch(InForce(2, 1)), switch(InForce(2, 1), InForce(2, 2))
    assert generation(read()) == FIRST
    assert generation(read(signed(second), signed(first))) == InForce(2, 2)
    assert generation(read(signed(second, OperatorKey.create(STRANGER, NOW)))) == FIRST
    lines = read(signed(first), signed(line()))
    assert [device.device_id for device in lines.all()] == ["store-1"], "it is no device"
    assert {device.device_id for device in lines.everything()} == {"store-1", line_name("retail")}
    assert lines.generations("other") == FIRST
    assert read(signed(first)).under_way() == {"retail": InForce(2, 1)} and read(signed(second)).under_way() == {}


def test_the_word_outlives_its_operator_where_it_is_signed_again() -> None:
    said = switch(InForce(2, 2))
    rotated = replace(said, version=2)
    ended = OperatorKey(NEXT.key, ROOT.certify(NEXT.certificate.public, 2, NOW, oldest=2))
    assert generation(read(signed(said), signed(rotated, NEXT), signed(line(), ended))) == InForce(2, 2)


@pytest.mark.parametrize(
    "permissions",
    [(), ("_merged:2",), ("_merged:2", "_read:0"), ("_merged:2", "_read:x"), ("_merged:2", "_merged:3", "_read:2")],
)
def test_a_line_that_says_nothing_readable_changes_nothing(permissions: tuple[str, ...]) -> None:
    good = switch(InForce(2, 2))
    bad = replace(good, version=5, terms=(good.latest._replace(permissions=permissions),))
    lines = read(signed(good), signed(bad))
    assert generation(lines) == InForce(2, 2)
    assert lines.ignored[device_lines.UNREADABLE] == 1


def test_only_the_lines_that_are_asked_for_are_kept() -> None:
    lines = DeviceLines(CODECS, ROOT.public, only=("store-1", line_name("retail")))
    for put in (
        signed(line()),
        signed(line("store-2")),
        signed(switch(InForce(2, 2))),
        signed(switched(None, "x", InForce(3, 3), NOW)),
    ):
        lines.take(*put)
    assert {one.device_id for one in lines.everything()} == {"store-1", line_name("retail")}
    assert generation(lines) == InForce(2, 2)


def test_each_generation_has_states_receipts_and_a_group_of_its_own() -> None:
    first, second = SpaceTopics("retail"), SpaceTopics("retail", 2)
    assert (first.state, first.receipts, first.group) == ("retail.state", "retail.receipts", "driftlog-merge-retail")
    assert (second.state, second.receipts, second.group) == (
        "retail.state.g2",
        "retail.receipts.g2",
        "driftlog-merge-retail.g2",
    )
    assert (first.ops, first.conflicts, first.parked) == (second.ops, second.conflicts, second.parked)
    assert [topic.name for topic in generation_topics("retail", 4, 2)] == [second.state, second.receipts]
    plain = {topic.name for topic in space_topics("retail", 4)}
    assert plain - {topic.name for topic in space_topics("retail", 4, generations=())} == {first.state, first.receipts}


def test_generations_are_found_among_a_clusters_topics() -> None:
    there = [
        "retail.state",
        "retail.state.g2",
        "retail.receipts.g10",
        "retail.state.gx",
        "other.state.g3",
        "retailxstate.g4",
    ]
    assert generations_among(there, "retail") == [2, 10]
    assert space_of_receipts("retail.receipts") == space_of_receipts("retail.receipts.g2") == "retail"
    assert space_of_receipts("retail.state.g2") == space_of_receipts("retail.receipts.old") == ""
    space = next(iter(app.contract.spaces))
    names = {topic.name for topic in wanted_topics(app.contract, existing={f"{space}.state.g2": 3})}
    assert {f"{space}.state", f"{space}.state.g2", f"{space}.receipts.g2"} <= names
