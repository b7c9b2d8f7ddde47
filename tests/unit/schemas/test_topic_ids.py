"""The ids of topics, and what Kafka's client forgets to give back of them."""

from __future__ import annotations

import ctypes
import gc

from confluent_kafka import Uuid
from confluent_kafka.admin import TopicDescription

from driftlog_schemas.topic_ids import id_of

_keep = ctypes.pythonapi.Py_IncRef
_keep.argtypes, _keep.restype = [ctypes.py_object], None


def ids_alive() -> int:
    return sum(isinstance(found, Uuid) for found in gc.get_objects())


def described(number: int, *, kept: bool) -> TopicDescription:
    """As the client describes a topic; `kept` is its defect."""
    found = TopicDescription("t", Uuid(0, number), False, [])
    if kept:
        _keep(found.topic_id)
    return found


def test_no_id_stays_where_the_client_keeps_it() -> None:
    before = ids_alive()
    names = {id_of(described(number, kept=True)) for number in range(20)}
    assert len(names) == 20
    assert ids_alive() == before


def test_nothing_is_taken_from_a_client_that_keeps_none() -> None:
    topic = described(7, kept=False)
    assert id_of(topic) == str(topic.topic_id) == str(Uuid(0, 7)), "it is there still"


def test_it_is_given_back_once() -> None:
    topic = described(7, kept=True)
    assert [id_of(topic) for _ in range(3)] == [str(Uuid(0, 7))] * 3
