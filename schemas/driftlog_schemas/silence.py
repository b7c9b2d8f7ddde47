"""Of all that Kafka's client may say: does it mean that nobody answers, or nobody who leads? Then the same question is good a little later."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from confluent_kafka import KafkaError, KafkaException

_SILENCE = frozenset(
    {
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._MSG_TIMED_OUT,
        KafkaError._TIMED_OUT,
        KafkaError._TIMED_OUT_QUEUE,
        KafkaError._TRANSPORT,
        KafkaError._WAIT_COORD,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NETWORK_EXCEPTION,
        KafkaError.NOT_COORDINATOR,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.OFFSET_NOT_AVAILABLE,
        KafkaError.REQUEST_TIMED_OUT,
        KafkaError.UNKNOWN_LEADER_EPOCH,
    }
)


def nobody_answers(error: KafkaException) -> bool:
    """Is it that, and no refusal?"""
    return bool(error.args) and error.args[0].code() in _SILENCE


_LOCKED_OUT = {
    KafkaError._AUTHENTICATION: "check kafka.sasl_mechanism, kafka.sasl_username and its password",
    KafkaError._SSL: "check kafka.ca_file, whether the certificate is for the name in kafka.bootstrap, and kafka.certificate_file if one is asked for",
}


class LockedOut(NamedTuple):
    """A broker is there, and does not let us in."""

    why: str
    remedy: str


def locked_out(said: Iterable[KafkaError]) -> LockedOut | None:
    """Is it that, by what a client has said meanwhile (`error_cb`)? To whom it asks it only says that nobody answers."""
    for error in said:
        if error.code() in _LOCKED_OUT:
            why = error.str().partition(": ")[2].partition(" (after ")[0]
            return LockedOut(why, _LOCKED_OUT[error.code()])
    return None
