"""A client that reads partitions where it is told to: in no group, and nothing is committed."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from confluent_kafka import Consumer

from driftlog_schemas.connection import KafkaSettings, kafka_at

_AS_IT_IS: Mapping[str, Any] = MappingProxyType({})


def plain_reader(kafka: KafkaSettings | str, name: str, settings: Mapping[str, Any] = _AS_IT_IS) -> Consumer:
    """It tells where a partition ends, and begins at the start where an offset is not there, unless `settings`, by the client's own names, say otherwise.

    `name` is what a broker's log calls it, or the group whose commits it asks for. Raises `BadSetting`.
    """
    return Consumer(
        {
            **kafka_at(kafka).reader(),
            "group.id": name,  # never joined
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 50,
            "log_level": 0,
            **settings,
        }
    )
