"""Topics on a broker: read what is there, carry out a plan, and check before work begins."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple, TypeVar

from confluent_kafka import KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ClusterMetadata,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from driftlog_schemas.asking import AskingClient
from driftlog_schemas.connection import KafkaSettings, kafka_at
from driftlog_schemas.errors import BrokerUnreachable, TopicProblem
from driftlog_schemas.silence import locked_out, nobody_answers
from driftlog_schemas.topic_ids import id_of
from driftlog_schemas.topics import APPEND_TIME, TIMES, Plan, Topic, judged_by_time

T = TypeVar("T")


TIMEOUT_SECONDS = 15.0
ANSWER_SECONDS = 5.0
"""How long a broker may take to say what it has; one that is there answers at once."""


class Cluster(NamedTuple):
    """Which cluster, and how many brokers it has."""

    id: str
    bootstrap: str
    brokers: int

    def __str__(self) -> str:
        return f"cluster {self.id or '(no id)'} at {self.bootstrap}"


class TopicsAdmin:
    """The topics of one cluster."""

    def __init__(
        self, kafka: KafkaSettings | str, timeout: float = TIMEOUT_SECONDS, asking: AskingClient | None = None
    ) -> None:
        """`asking` is the client of a program that asks for as long as it runs; else it has one of its own, and hears who does not let it in."""
        found = kafka_at(kafka)
        self._bootstrap = found.bootstrap
        self._timeout = timeout
        self._said: deque[KafkaError] = deque(maxlen=10)
        self._asking = asking
        config: dict[str, Any] = {**found.client(), "log_level": 0, "error_cb": self._said.append}
        self._own = AdminClient(config) if asking is None else None

    @property
    def _admin(self) -> AdminClient:
        if self._own is not None:
            return self._own
        assert self._asking is not None, "it has one or the other"
        return self._asking.client

    def existing(self, names: Sequence[str] | None = None) -> dict[str, Topic]:
        """What is there, with settings, of `names` or of all. Raises `BrokerUnreachable`."""
        there = self._metadata().topics
        found = [n for n in (names if names is not None else there) if n in there and there[n].error is None]
        if not found:
            return {}
        futures = self._admin.describe_configs([ConfigResource(ResourceType.TOPIC, n) for n in found])
        result = {}
        for resource, future in futures.items():
            entries = self._result(future, f"to describe topic {resource.name}") or {}
            settings = {name: entry.value for name, entry in entries.items()}
            partitions = there[resource.name].partitions
            replication = min((len(p.replicas) for p in partitions.values()), default=1)
            result[resource.name] = Topic(resource.name, len(partitions), settings, replication)
        return result

    def partition_counts(self) -> dict[str, int]:
        """Topic -> partitions, without settings. Raises `BrokerUnreachable`."""
        return {name: len(t.partitions) for name, t in self._metadata().topics.items() if t.error is None}

    def cluster(self) -> Cluster:
        """Which cluster this is. Raises `BrokerUnreachable`."""
        metadata = self._metadata()
        return Cluster(metadata.cluster_id or "", self._bootstrap, len(metadata.brokers))

    def _metadata(self) -> ClusterMetadata:
        try:
            return self._asked(lambda admin: admin.list_topics(timeout=min(self._timeout, ANSWER_SECONDS)))
        except KafkaException as error:
            while self._admin.poll(0):  # hands over what was said meanwhile
                pass
            raise _silent(self._bootstrap, self._said) from error

    def _asked(self, question: Callable[[AdminClient], T]) -> T:
        return question(self._admin) if self._asking is None else self._asking.ask(question)

    def require(self, wanted: Sequence[Topic]) -> None:
        """Raise `TopicProblem` if a topic is missing, has another partition count, or keeps its writers' times."""
        counts = self.partition_counts()
        for topic in wanted:
            found = counts.get(topic.name)
            if found is None:
                raise TopicProblem(
                    f"topic {topic.name} does not exist", "create it with `driftlog topics apply --app ...`"
                )
            if found != topic.partitions:
                raise TopicProblem(
                    f"topic {topic.name} has {found} partitions, the app declares {topic.partitions}",
                    f"declare partitions={found}, or give the space another count: `driftlog topics repartition`",
                )

        self.require_times([topic.name for topic in wanted if judged_by_time(topic.name)])

    def require_times(self, names: Sequence[str]) -> None:
        """Raise `TopicProblem` unless these topics have the broker's own time in every record."""
        for topic in self.existing(names).values() if names else ():
            if topic.settings.get(TIMES) != APPEND_TIME:
                raise TopicProblem(
                    f"topic {topic.name} keeps its writers' times ({TIMES}={topic.settings.get(TIMES)}): none can be believed",
                    "run `driftlog topics apply --app ...`",
                )

    def apply(self, plan: Plan) -> None:
        """Carry out a plan; returns when the cluster shows the new topics.

        Raises `TopicProblem` on any refusal, ours or the broker's; the broker is asked about all topics before the first is made.
        """
        if plan.refuse:
            first = plan.refuse[0]
            raise TopicProblem(f"topic {first.topic} {first.fact}", first.remedy)
        if plan.create:
            new = [NewTopic(t.name, t.partitions, t.replication, config=dict(t.settings)) for t in plan.create]
            for rehearsal in (True, False):
                made = self._admin.create_topics(new, operation_timeout=self._timeout, validate_only=rehearsal)
                for name, future in made.items():
                    self._result(future, f"to make topic {name}", unless="TOPIC_ALREADY_EXISTS")
            self._wait_for(plan.create)
        resources = [
            ConfigResource(
                ResourceType.TOPIC,
                change.topic,
                incremental_configs=[
                    ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
                    for name, (_, value) in change.settings.items()
                ],
            )
            for change in plan.alter
        ]
        if resources:
            for resource, future in self._admin.incremental_alter_configs(resources).items():
                self._result(future, f"to change the settings of topic {resource.name}")

    def topic_ids(self, names: Sequence[str]) -> list[str]:
        """Which life of each topic is there, in this order: one that was made anew has another; empty for none. Raises `TopicProblem`, `BrokerUnreachable`."""
        asked = self._admin.describe_topics(TopicCollection([*names]), request_timeout=self._timeout)
        found = [self._result(asked[name], f"which {name} it has", unless="UNKNOWN_TOPIC_OR_PART") for name in names]
        return ["" if one is None else id_of(one) for one in found]

    def remove(self, names: Sequence[str]) -> None:
        """Delete topics, those of them that are there; returns when the cluster shows them no more. Raises `TopicProblem`, `BrokerUnreachable`."""
        there = [name for name in names if name in self.partition_counts()]
        if not there:
            return
        for name, future in self._admin.delete_topics(there, operation_timeout=self._timeout).items():
            self._result(future, f"to delete topic {name}", unless="UNKNOWN_TOPIC_OR_PART")
        self._wait_until(lambda: not self.partition_counts().keys() & {*there}, f"topics do not go: {', '.join(there)}")

    def forget_before(self, topic: str, offsets: Mapping[int, int]) -> None:
        """Delete what a topic has before these offsets of its partitions, which then begin there. Raises `TopicProblem`, `BrokerUnreachable`."""
        asked = self._admin.delete_records(
            [TopicPartition(topic, partition, offset) for partition, offset in offsets.items()]
        )
        for place, future in asked.items():
            self._result(future, f"to delete what {topic}[{place.partition}] has before {place.offset}")

    def _result(self, future: Future[T], what: str, unless: str = "") -> T | None:
        """What the broker answered; None for the refusal named by `unless`. Raises `TopicProblem`, `BrokerUnreachable`."""
        try:
            return future.result(self._timeout)
        except KafkaException as error:
            refusal: KafkaError = error.args[0]
            if refusal.name() == unless:
                return None
            if nobody_answers(error):  # no refusal: it went away after it had said which topics there are
                raise self._silent(what) from error
            raise TopicProblem(f"the broker refuses {what}: {refusal.str()}", "see the broker's log") from error
        except TimeoutError as error:
            raise self._silent(what) from error

    def _silent(self, what: str) -> BrokerUnreachable:
        return BrokerUnreachable(
            f"the broker at {self._bootstrap} does not answer when it is asked {what}", "see the broker's log"
        )

    def _wait_for(self, topics: Sequence[Topic]) -> None:
        names = {t.name for t in topics}
        fact = f"created topics do not appear: {', '.join(sorted(names))}"
        self._wait_until(lambda: names <= self.partition_counts().keys(), fact)

    def _wait_until(self, done: Callable[[], bool], fact: str) -> None:
        end = time.monotonic() + self._timeout
        while not done():
            if time.monotonic() > end:
                raise TopicProblem(fact, "see the broker's log")
            time.sleep(0.1)


def _silent(bootstrap: str, said: Iterable[KafkaError]) -> BrokerUnreachable:
    """Nobody answers, or somebody does not let us in."""
    found = locked_out(said)
    if found is not None:
        return BrokerUnreachable(f"the Kafka broker at {bootstrap} does not let us in: {found.why}", found.remedy)
    return BrokerUnreachable(
        f"no Kafka broker answers at {bootstrap}",
        "check --bootstrap and kafka.security_protocol, or start one with `driftlog broker up`",
    )
