"""What would have to change on a broker: create and alter, never delete, and nothing at all where order or data would be lost."""

from __future__ import annotations

from dataclasses import replace

import pytest

from driftlog import App
from driftlog_schemas.topics import (
    DESK,
    DEVICES,
    HEARTBEATS,
    OPS_RETENTION_MS,
    RETENTION,
    Plan,
    Topic,
    judged_by_time,
    ops_topic,
    plan,
    remembering,
    replicated,
    state_topic,
    wanted_topics,
)

app = App("shop")
app.space("retail", partitions=8)
app.space("depot", partitions=3)
WANTED = wanted_topics(app.contract)
THERE = {topic.name: topic for topic in WANTED}


def test_every_space_has_its_topics_in_one_partition_count() -> None:
    counts = {topic.name: topic.partitions for topic in WANTED}
    for space, partitions in (("retail", 8), ("depot", 3)):
        names = [f"{space}.{what}" for what in ("ops", "state", "receipts", "conflicts", "parked", "quarantine")]
        assert [counts.pop(name) for name in names] == [partitions] * 6
    assert counts == {DEVICES: 1, HEARTBEATS: 1, DESK: 1}


def test_ops_are_kept_for_years_and_stamped_by_the_broker() -> None:
    settings = THERE[ops_topic("retail")].settings
    assert settings["cleanup.policy"] == "delete"
    assert settings["message.timestamp.type"] == "LogAppendTime"
    assert int(settings["retention.ms"]) == OPS_RETENTION_MS >= 5 * 365 * 86_400_000


@pytest.mark.parametrize("name", THERE)
def test_every_topic_is_stamped_by_the_broker(name: str) -> None:
    """Else a broker takes nothing of a worker whose clock is an hour ahead."""
    assert THERE[name].settings["message.timestamp.type"] == "LogAppendTime"


def test_nobody_waits_for_the_topics_to_be_applied_where_no_reader_goes_by_their_times() -> None:
    assert {name for name in THERE if judged_by_time(name)} == {"retail.ops", "depot.ops", DEVICES, HEARTBEATS, DESK}


@pytest.mark.parametrize("name", [state_topic("retail"), "retail.conflicts", "retail.parked", DEVICES, HEARTBEATS])
def test_what_is_asked_by_key_is_compacted(name: str) -> None:
    assert THERE[name].settings["cleanup.policy"] == "compact"


def test_an_empty_broker_gets_everything() -> None:
    assert plan(WANTED, {}) == Plan(WANTED, [], [])


def test_where_all_is_as_it_should_be_nothing_is_done() -> None:
    assert plan(WANTED, THERE).empty


def test_a_brokers_other_settings_are_left_alone() -> None:
    found = {n: replace(t, settings={**t.settings, "flush.ms": "7"}) for n, t in THERE.items()}
    assert plan(WANTED, found).empty


def test_topics_that_are_not_ours_are_left_alone() -> None:
    assert plan(WANTED, {**THERE, "orders": Topic("orders", 99, {})}).empty


def test_a_differing_setting_is_altered_and_told_with_both_values() -> None:
    ops = THERE[ops_topic("retail")]
    found = {**THERE, ops.name: replace(ops, settings={**ops.settings, "retention.ms": "1000"})}
    made = plan(WANTED, found)
    (alteration,) = made.alter
    assert (alteration.topic, dict(alteration.settings)) == (
        ops.name,
        {"retention.ms": ("1000", str(OPS_RETENTION_MS))},
    )
    assert not made.create
    assert not made.refuse


@pytest.mark.parametrize("partitions", [1, 7, 9, 64])
def test_another_partition_count_is_refused_in_either_direction(partitions: int) -> None:
    state = THERE[state_topic("retail")]
    made = plan(WANTED, {**THERE, state.name: replace(state, partitions=partitions)})
    (refusal,) = made.refuse
    assert refusal.topic == state.name
    assert f"has {partitions} partitions, the app declares 8" in refusal.fact
    assert f"partitions={partitions}" in refusal.remedy
    assert not made.empty


def test_what_is_acknowledged_outlives_any_one_broker() -> None:
    for topic in replicated(WANTED, 3):
        assert (topic.replication, topic.settings["min.insync.replicas"]) == (3, "2")
    for topic in replicated(WANTED, 1):
        assert (topic.replication, topic.settings["min.insync.replicas"]) == (1, "1")


def test_a_topic_from_when_there_was_one_broker_goes_on_taking_writes_in_a_cluster_that_has_grown() -> None:
    """With all of `min.insync.replicas` to be had nowhere, no write with acks=all would be taken any more."""
    one = {topic.name: topic for topic in replicated(WANTED, 1)}
    made = plan(replicated(WANTED, 3), one)
    assert (made.create, made.alter, made.refuse) == ([], [], [])
    assert {left.topic for left in made.leave} == one.keys()
    assert "is on 1 of the 3 brokers" in made.leave[0].fact
    assert "kafka-reassign-partitions" in made.leave[0].remedy
    two = {topic.name: topic for topic in replicated(WANTED, 2)}
    assert not plan(replicated(WANTED, 3), two).alter


def test_a_topic_that_was_moved_to_more_brokers_is_acknowledged_by_more() -> None:
    moved = {name: replace(topic, replication=3) for name, topic in ((t.name, t) for t in replicated(WANTED, 1))}
    made = plan(replicated(WANTED, 3), moved)
    assert [dict(change.settings) for change in made.alter] == [{"min.insync.replicas": ("1", "2")}] * len(WANTED)
    assert not made.leave


def test_a_topic_that_keeps_its_writers_times_is_altered() -> None:
    name = ops_topic("retail")
    settings = {**THERE[name].settings, "message.timestamp.type": "CreateTime"}
    made = plan(WANTED, {**THERE, name: replace(THERE[name], settings=settings)})
    assert [(a.topic, dict(a.settings)) for a in made.alter] == [
        (name, {"message.timestamp.type": ("CreateTime", "LogAppendTime")})
    ]


def test_a_topic_goes_on_remembering_for_as_long_as_it_does_unless_it_is_told_otherwise() -> None:
    name = state_topic("retail")
    assert THERE[name].settings[RETENTION] == str(30 * 24 * 3600 * 1000)
    there = {**THERE, name: replace(THERE[name], settings={**THERE[name].settings, RETENTION: "7000"})}
    assert plan(remembering(WANTED, there), there).empty
    altered = next(a for a in plan(wanted_topics(app.contract, 9000), there).alter if a.topic == name)
    assert (altered.topic, dict(altered.settings)) == (name, {RETENTION: ("7000", "9000")})
    assert plan(remembering(WANTED, {}), {}).create
