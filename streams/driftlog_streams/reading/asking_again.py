"""Asking a broker again for a while, where it refuses what it answers a moment later: who leads or coordinates is moving."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import ParamSpec, TypeVar

from confluent_kafka import KafkaException
from tenacity import retry, retry_if_exception, stop_after_delay, wait_exponential_jitter

P = ParamSpec("P")
R = TypeVar("R")

AGAIN_SECONDS = 30.0
"""One answer may take half of it."""


def while_refused_with(codes: Collection[int]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A decorator: a function that raises KafkaException with one of these codes is called again for so long; then what it raised goes on."""
    return retry(
        retry=retry_if_exception(lambda error: isinstance(error, KafkaException) and error.args[0].code() in codes),
        stop=stop_after_delay(AGAIN_SECONDS),
        wait=wait_exponential_jitter(multiplier=0.1, max=2.0),
        reraise=True,
    )
