"""Which life of a topic is there: one that is made anew has another id.

Kafka's client (confluent-kafka 2.16) keeps one reference too many to the id in each description of a topic, so each id stays in memory for ever: a hundred
bytes. An agent looks at its topics all the time, also where nobody uses it, and would grow by some MiB a day. So an id is taken as text, here, and that reference is given
back. Whether there is one is counted each time, beside an id that only we hold: nothing is taken from a client that keeps none.

Must never happen: an id of which somebody else knows, for his reference would be taken for the one too many. So whoever is given a description asks for
its id here, once, and hands on the text alone.
"""

from __future__ import annotations

import ctypes
import sys

from confluent_kafka import Uuid
from confluent_kafka.admin import TopicDescription

_let_go = ctypes.pythonapi.Py_DecRef
_let_go.argtypes, _let_go.restype = [ctypes.py_object], None


class _Own:
    """Holds an id as a description does."""

    def __init__(self) -> None:
        self.topic_id = Uuid(0, 0)


def id_of(described: TopicDescription) -> str:
    """The id in a description that nobody else has, to be asked for once."""
    name = str(described.topic_id)
    if isinstance(described.topic_id, Uuid) and _references(described) == _references(_Own()) + 1:
        _let_go(described.topic_id)
    return name


def _references(holder: TopicDescription | _Own) -> int:
    return sys.getrefcount(holder.topic_id)
