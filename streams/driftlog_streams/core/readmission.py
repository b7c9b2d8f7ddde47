"""Commands that waited in an earlier life of the partition, taken up again as its parked topic says.

Who writes the topic gives a command no rights: the record of the op topic that brought it is admitted as it was then, once for all that came
with it. One that is not there any more after all are looked at had been released, and its tombstone was lost.
"""

from __future__ import annotations

from driftlog_schemas.errors import Undecodable
from driftlog_schemas.messages import ParkedCommand, parked_name
from driftlog_streams.core.admission import Admission, Refusal, admit
from driftlog_streams.core.parked_claims import by_its_chain
from driftlog_streams.core.partition import Partition
from driftlog_streams.core.rules import Devices
from driftlog_streams.core.waiting import Waiting


class Readmission:
    """Of one partition."""

    def __init__(self, partition: Partition, waiting: Waiting) -> None:
        self._at = partition
        self._waiting = waiting
        self._admitted: dict[tuple[bytes, int], Admission] = {}
        """By the record that brought them, and its time; several may have come together."""
        self._named: list[bytes] = []
        """Their names; what does not wait is taken off the list."""

    def admit(self, parked: ParkedCommand, devices: Devices) -> None:
        """It waits again. Raises `Undecodable`."""
        if min(parked.append_ms, parked.offset) < 0:
            raise Undecodable(f"came at {parked.append_ms} ms with offset {parked.offset}")
        place = parked.record, parked.append_ms
        if place not in self._admitted:
            self._admitted[place] = admit(*place, self._at.number, self._at.rules, devices)
        admission = self._admitted[place]
        if isinstance(admission, Refusal):
            raise Undecodable(f"{admission.code}: {admission.reason}")
        batch = admission.batch
        self._named.append(parked_name(batch.replica, batch.number, parked.command).encode())
        self._waiting.restore(by_its_chain(parked, admission, self._at.book.get(batch.replica)), admission)

    def end(self) -> None:
        """The last one is admitted: the names that are no command's leave the topic."""
        self._admitted.clear()
        strays = dict.fromkeys(name for name in self._named if name not in self._waiting.parking)
        self._at.work.carried += map(self._at.records.released_as, strays)
        self._named.clear()
