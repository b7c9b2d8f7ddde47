"""A topic that is deleted and made again at once: clients that run may never see that it was gone.

Each leader of a log has a number, its epoch, and those of a new log begin at 0. A client that knows a higher one of the log before takes what it is told of the new one for
outdated (librdkafka 2.16): it asks on with the old number, and is refused.
"""

from __future__ import annotations

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import NewTopic, OffsetSpec

from tests.admin_clients import admin_of
from tests.load.waiting import until


def make_anew(bootstrap: str, topic: NewTopic) -> None:
    """Deleted and made again, empty. Until its leader knows of that, it acknowledges what it then writes into the log that goes away."""
    admin, name = admin_of(bootstrap), topic.topic
    before = [end_of(bootstrap, name, partition) for partition in range(topic.num_partitions)]
    admin.delete_topics([name])[name].result(30)

    def made() -> bool:
        try:
            admin.create_topics([topic])[name].result(30)
        except KafkaException:  # it is not wholly gone yet
            return False
        return True

    def led() -> bool:
        """Somebody may write into the new log already: it is the one that is shorter, where the old one had anything."""
        ends = [end_of(bootstrap, name, partition) for partition in range(topic.num_partitions)]
        return all(end is not None and end < max(old or 0, 1) for end, old in zip(ends, before, strict=True))

    until(made, f"{name} is made again", 30)
    until(
        led,
        "its leaders have the new log",
        30,
        lambda: f"Before: {before}, now: {[end_of(bootstrap, name, one) for one in range(topic.num_partitions)]}",
    )


def end_of(bootstrap: str, topic: str, partition: int) -> int | None:
    """Where the log ends; None while it has no leader."""
    admin, place = admin_of(bootstrap), TopicPartition(topic, partition)
    try:
        return int(admin.list_offsets({place: OffsetSpec.latest()})[place].result(30).offset)
    except KafkaException:  # in more than one way; whoever waits for it has a bound
        admin.list_topics(timeout=10)  # else the client goes on asking who led the log before
        return None
