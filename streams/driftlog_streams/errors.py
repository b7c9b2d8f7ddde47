"""What stops a worker, as one tree. Verdicts on batches and commands are values, not errors.

WorkerError
├── DeliveryFailed    the broker did not take an outcome or a state
├── OrderBroken       a record came out of its order; going on could skip ops
├── DevicesUnknown    the device registry could not be read to its end
├── RecoveryFailed    the changelog could not be read to its end
│   └── TopicMadeAnew it ends before the store that was made of it
├── StoreLocked       another process holds the data folder
├── GuardHangs        a guard of the app cannot be ended
├── StoreFailed       the store of the states gave nothing or took nothing
├── GenerationOver    another generation of the read model is in force
└── SetupProblem      something that the worker needs is not there: one line, exit 1
"""

from __future__ import annotations

from driftlog_schemas.errors import BrokerUnreachable, RegistryUnreachable

OUTAGE_EXIT = 75
"""A worker's exit code where `outage` is why it ends."""


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


class StoreLocked(WorkerError):
    """Another process holds the data folder."""


class StoreFailed(WorkerError):
    """The disk or the store on it is in trouble. No record is to blame for that."""


class GuardHangs(WorkerError):
    """The app's code holds the process up, whatever interrupts it."""


class GenerationOver(WorkerError):
    """Another generation of the read model is in force: to be started again is all it takes."""


class SetupProblem(WorkerError):
    """A worker cannot start like this."""


def outage(error: BaseException) -> bool:
    """Is it something around the worker that does not answer? That says nothing about the worker, however often it happens."""
    away = (DeliveryFailed, DevicesUnknown, RecoveryFailed, BrokerUnreachable, RegistryUnreachable)
    return isinstance(error, away) and not isinstance(error, TopicMadeAnew)
