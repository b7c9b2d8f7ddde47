"""What stops a worker, as one tree. Verdicts on batches and commands are values, not errors.

WorkerError
├── DeliveryFailed    the broker did not take an outcome or a state
├── OrderBroken       a record came out of its order; going on could skip ops
├── DevicesUnknown    the device registry could not be read to its end
├── RecoveryFailed    the changelog could not be read to its end
│   └── TopicMadeAnew it ends before the store that was made of it
│       └── LogMadeAnew   the op topic counts anew
├── TopicReplaced     a topic was made anew under a worker that runs
├── StoreLocked       another process holds the data folder
├── GuardHangs        a guard of the app cannot be ended
├── StoreFailed       the store of the states gave nothing or took nothing
├── GenerationOver    another generation of the read model is in force
├── Frozen            the process stood still for longer than its membership is safe
└── SetupProblem      something that the worker needs is not there: one line

By its exit code a process says which of them it was, to its supervisor and to whoever runs it (`Exit`, docs/exit_codes.md).
"""

from __future__ import annotations

from enum import IntEnum

from confluent_kafka import KafkaException

from driftlog_schemas.errors import BrokerUnreachable, ContractError, RegistryUnreachable
from driftlog_schemas.silence import nobody_answers


class Exit(IntEnum):
    """How a worker process has ended. A number keeps its meaning: restart policies name it."""

    STOPPED = 0
    """as it was told to"""
    SETUP = 1
    """what it needs is missing, wrong or gone, and a person has to mend it"""
    LAW = 70
    """to go on would have broken a law, or something failed that nobody foresaw"""
    OUTAGE = 75
    """the broker or the registry did not answer in time"""
    FROZEN = 79
    """it stood still for longer than its membership is safe"""
    GENERATION = 80
    """another generation of the read model is in force, or the space goes on in other topics, and the next process merges that"""

    @property
    def counts(self) -> bool:
        """Does it say anything about the worker? Then too many of them in a row are the end of its supervisor, too."""
        return self in (Exit.SETUP, Exit.LAW)


class WorkerError(RuntimeError):
    """The process must end; its supervisor starts it again from what was acknowledged."""

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy


class DeliveryFailed(WorkerError):
    """Published records that did not arrive."""


class OrderBroken(WorkerError):
    """A hole or a jump in the op topic."""


class DevicesUnknown(WorkerError):
    """Who may write is not known, and guessing would refuse honest devices."""


class RecoveryFailed(WorkerError):
    """The states of a partition could not be brought to the changelog's end."""


class TopicMadeAnew(RecoveryFailed):
    """A topic ends before the store that was made of it."""


class LogMadeAnew(TopicMadeAnew):
    """The op topic is not the one that the states were merged from: its numbers say something else."""


class TopicReplaced(WorkerError):
    """A topic of the space has another id than when its partitions were taken over: the next process finds out what that means."""


class StoreLocked(WorkerError):
    """Another process holds the data folder."""


class StoreFailed(WorkerError):
    """The disk or the store on it is in trouble. No record is to blame for that."""


class GuardHangs(WorkerError):
    """The app's code holds the process up, whatever interrupts it."""


class GenerationOver(WorkerError):
    """Another generation of the read model is in force, or the space goes on in other topics: to be started again is all it takes."""


class Frozen(WorkerError):
    """The process did not run for longer than its membership is safe."""


class SetupProblem(WorkerError):
    """A worker cannot start like this."""


def exit_of(error: BaseException) -> Exit:
    """How the process ends for this error."""
    if outage(error):
        return Exit.OUTAGE
    if isinstance(error, Frozen):
        return Exit.FROZEN
    if isinstance(error, GenerationOver):
        return Exit.GENERATION
    return Exit.SETUP if isinstance(error, (ContractError, SetupProblem, StoreLocked, TopicMadeAnew)) else Exit.LAW


def outage(error: BaseException) -> bool:
    """Is it something around the worker that does not answer? That says nothing about the worker, however often it happens."""
    if isinstance(error, KafkaException):
        return nobody_answers(error)
    away = (DeliveryFailed, DevicesUnknown, RecoveryFailed, BrokerUnreachable, RegistryUnreachable)
    return isinstance(error, (*away, ConnectionError, TimeoutError)) and not isinstance(error, TopicMadeAnew)
