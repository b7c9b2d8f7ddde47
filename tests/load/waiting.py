"""Waiting for a condition, never for a while; and never without a bound."""

from __future__ import annotations

import time
from collections.abc import Callable

from confluent_kafka import Consumer, KafkaException, TopicPartition

from tests.admin_clients import admin_of, kept

PAUSE_SECONDS = 0.1


def until(condition: Callable[[], bool], what: str, seconds: float, explain: Callable[[], str] = lambda: "") -> float:
    """Wait until `condition` holds; how long it took. Raises TimeoutError that says what did not happen."""
    begun = time.monotonic()
    while not condition():
        if time.monotonic() - begun > seconds:
            raise TimeoutError(f"{what} did not happen in {seconds:.0f} s. {explain()}")
        time.sleep(PAUSE_SECONDS)
    return time.monotonic() - begun


class Group:
    """A consumer group from outside: what it has committed, and who owns what."""

    def __init__(self, bootstrap: str, group: str, topic: str, partitions: int) -> None:
        self._group = group
        self._topic = topic
        self._admin = admin_of(bootstrap)
        settings = {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "enable.auto.commit": False,
            "isolation.level": "read_uncommitted",
            "log_level": 0,
        }
        self._consumer = kept(Consumer(settings))
        self._partitions = [TopicPartition(topic, p) for p in range(partitions)]
        self.last = "nothing known"
        """What was seen last, for messages."""

    def committed(self) -> int | None:
        """How many records are committed; None while the broker cannot say."""
        try:
            done = sum(max(tp.offset, 0) for tp in self._consumer.committed(self._partitions, 5))
        except KafkaException:  # restarting, or no coordinator yet; the caller's bound ends the waiting
            return None
        self.last = f"{done} records committed"
        return done

    def position(self, partition: int) -> int:
        """From where a partition is read on."""
        (found,) = self._consumer.committed([self._partitions[partition]], 5)
        return max(found.offset, 0)

    def drained(self) -> bool:
        """Is everything committed that the topic holds?"""
        try:
            end = sum(self._consumer.get_watermark_offsets(tp, 5)[1] for tp in self._partitions)
        except KafkaException:  # as above
            return False
        done = self.committed()
        self.last = f"{done} of {end} records committed"
        return done == end

    def owners(self) -> dict[str, int]:
        """Member (by its instance id) -> how many of the topic's partitions it is assigned."""
        try:
            found = self._admin.describe_consumer_groups([self._group], request_timeout=5)[self._group].result(6)
        except KafkaException:  # as above
            return {}
        owners = {}
        for member in found.members:
            assigned = member.assignment.topic_partitions if member.assignment else []
            owners[member.group_instance_id or member.member_id] = sum(tp.topic == self._topic for tp in assigned)
        self.last = f"owners {owners}"
        return owners

    def await_owners(self, members: int, seconds: float = 60.0, explain: Callable[[], str] = lambda: "") -> None:
        """Wait until the partitions are shared by exactly so many members, all of which own some."""

        def shared() -> bool:
            counts = [count for count in self.owners().values() if count]
            return len(counts) == members and sum(counts) == len(self._partitions)

        until(shared, f"{members} members own all partitions", seconds, lambda: f"{self.last} {explain()}")

    def await_progress(self, records: int, seconds: float = 90.0, explain: Callable[[], str] = lambda: "") -> None:
        """Wait until the group has committed this many records more than now."""
        begun: list[int] = []

        def known() -> bool:
            begun.extend(count for count in [self.committed()] if count is not None)
            return bool(begun)

        until(known, "the group's commits are known", seconds, explain)
        goal = begun[0] + records
        until(
            lambda: (self.committed() or 0) >= goal,
            f"{records} more records committed (to {goal})",
            seconds,
            lambda: f"{self.last} {explain()}",
        )

    def await_drained(self, seconds: float = 120.0, explain: Callable[[], str] = lambda: "") -> float:
        """Wait until everything is committed; how long it took."""
        return until(self.drained, "all op records committed", seconds, lambda: f"{self.last} {explain()}")

    def close(self) -> None:
        self._consumer.close()
