"""What stops a worker, as one tree. Verdicts on batches and commands are values, not errors.

WorkerError
├── DeliveryFailed    the broker did not take an outcome or a state
├── OrderBroken       a record came out of its order; going on could skip ops
├── DevicesUnknown    the device registry could not be read to its end
├── RecoveryFailed    the changelog could not be read to its end
├── StoreLocked       another process holds the data folder
├── GuardHangs        a guard of the app cannot be ended
├── StoreFailed       the store of the states gave nothing or took nothing
└── SetupProblem      something that the worker needs is not there: one line, exit 1
"""

from __future__ import annotations


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


class StoreLocked(WorkerError):
    """Another process holds the data folder."""


class StoreFailed(WorkerError):
    """The disk or the store on it is in trouble. No record is to blame for that."""


class GuardHangs(WorkerError):
    """The app's code holds the process up, whatever interrupts it."""


class SetupProblem(WorkerError):
    """A worker cannot start like this."""
