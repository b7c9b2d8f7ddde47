"""A client of Kafka that cannot be made now, while a certificate or a password file is replaced, or no thread can be had: that is no way, like a broker that
does not answer. Whoever wanted it tries again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from confluent_kafka import KafkaException

from driftlog_edge.ports import Unreachable
from driftlog_schemas.errors import BadSetting


@contextmanager
def making() -> Iterator[None]:
    """Raise `Unreachable` where no client can be made within."""
    try:
        yield
    except BadSetting as error:
        raise Unreachable(f"no client can be made: {error}") from error
    except KafkaException as error:
        raise Unreachable(f"no client can be made: {error.args[0]}") from error
