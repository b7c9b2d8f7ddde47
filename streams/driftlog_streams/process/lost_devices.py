"""A worker that starts where the topic of devices was lost knows nobody, and no generation of a space either: all that devices send would be refused, and read models
that are over would be gone on with.
"""

from __future__ import annotations

from confluent_kafka import KafkaException

from driftlog_schemas import topics
from driftlog_schemas.connection import KafkaSettings
from driftlog_schemas.contract import SpaceContract
from driftlog_schemas.device_lines import DeviceLines
from driftlog_schemas.topics_admin import TopicsAdmin
from driftlog_streams.errors import DevicesUnknown
from driftlog_streams.reading.changelog_reader import ChangelogReader


def require_devices(lines: DeviceLines, space: SpaceContract, kafka: KafkaSettings) -> None:
    """Anything at all was read of the topic, or nothing was ever merged. Raises `DevicesUnknown`, `BrokerUnreachable`."""
    if len(lines) or lines.ignored:
        return
    there = TopicsAdmin(kafka).partition_counts()
    names = [topics.state_topic(name) for name, _ in topics.laid(space.name, space.partitions, there)]
    states = [topic for topic in there if topic in names or topic.startswith(tuple(f"{name}.g" for name in names))]
    try:
        ends = ChangelogReader(kafka).ends([(topic, number) for topic in states for number in range(there[topic])])
    except (KafkaException, TimeoutError) as error:
        raise DevicesUnknown(
            f"the ends of {', '.join(states)} cannot be asked for: {error}", "see whether the broker answers"
        ) from error
    merged = sorted({topic for (topic, _), end in ends.items() if end})
    if merged:
        raise DevicesUnknown(
            f"{topics.DEVICES} is empty, and {merged[0]} has what was merged: the topic of devices was lost",
            "bring the topic back from a backup, or enrol the devices again (docs/lost_topics.md)",
        )
