"""What is not in any one scope, as the topics tell it: the devices, how they last said they are, and what the cloud has set aside.

Reading blocks, so a thread does it, again and again; pages look at what it has put there, and say when that was. What a device says of itself is for
looking, never for deciding.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import structlog
from confluent_kafka import KafkaError, KafkaException

from driftlog_console.at_devices import said
from driftlog_schemas import topics
from driftlog_schemas.connection import KafkaSettings
from driftlog_schemas.devices import Device
from driftlog_schemas.errors import ContractError
from driftlog_schemas.identity import CLOUD, NO_DEVICES
from driftlog_schemas.messages import Heartbeat
from driftlog_schemas.record_codecs import RecordCodecs
from driftlog_schemas.registry import SchemaIds
from driftlog_streams.errors import WorkerError
from driftlog_streams.reading.backlog import LEAST_MS
from driftlog_streams.reading.births import cloned_devices
from driftlog_streams.reading.claims import ClaimTail, Held
from driftlog_streams.reading.fleet import Heard, Member, fleet_of
from driftlog_streams.reading.lately_heard import HeartbeatTail
from driftlog_streams.reading.set_aside import SetAside, read_set_aside
from driftlog_streams.reading.waiting_commands import waiting_in
from driftlog_streams.registry.device_view import DeviceView

log = structlog.get_logger()

LOOK_SECONDS = 2.0
SET_ASIDE_SECONDS = 20.0
"""These topics are read whole at each look."""
COPIES_SECONDS = 300.0
"""So are the receipts, for copied folders."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What was read last. A part that could not be read yet is None, which is not the same as empty."""

    members: Sequence[Member] | None = None
    set_aside: Sequence[SetAside] | None = None
    read_at: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    """Part -> when it was read, in epoch seconds."""
    problem: str = ""
    """Why the last look ended early; empty if it did not."""
    workers: Device | None = None
    """The registry's line of the workers, who are no device of the fleet."""

    def find(self, device_id: str) -> Device | None:
        """The registry's line of a device, or of the workers."""
        if device_id == CLOUD:
            return self.workers
        member = self.member(device_id)
        return None if member is None else member.device

    def member(self, device_id: str) -> Member | None:
        """One device; None also where they are not known yet."""
        return next((one for one in self.members or () if one.device.device_id == device_id), None)

    def age(self, part: str) -> float | None:
        """Seconds since it was read; None if it never was."""
        at = self.read_at.get(part)
        return None if at is None else max(0.0, time.time() - at)


class Hearing(HeartbeatTail):
    """What each device that is enrolled has last said."""

    def __init__(self, kafka: KafkaSettings, codecs: RecordCodecs, known: Callable[[str], bool]) -> None:
        super().__init__(kafka, codecs)
        self._known = known
        self.heard: dict[str, Heard] = {}
        self.before: dict[str, Heartbeat] = {}
        """An earlier one of each, far enough away to tell a pace."""

    def take(self, heartbeat: Heartbeat, at_ms: int) -> None:
        device = heartbeat.device_id
        if not self._known(device):
            return
        last = self.heard.get(device)
        if last is not None and heartbeat.sent_ms - last.word.sent_ms >= LEAST_MS:
            self.before[device] = last.word
        self.heard[device] = Heard(heartbeat, at_ms)

    def anew(self) -> None:
        self.heard.clear()
        self.before.clear()


class FleetView:
    """See the module. `changed` is called on the reading thread, with what has."""

    def __init__(
        self,
        kafka: KafkaSettings,
        ids: SchemaIds,
        spaces: Mapping[str, int],
        root: bytes | None,
        changed: Callable[[str], None],
    ) -> None:
        self.seen = Seen()
        self.claims: Mapping[str, Held] = MappingProxyType({})
        """conflict id -> who looks after it"""
        self.claims_problem = ""
        """Why nobody can say that; empty where everybody who may can."""
        self._kafka = kafka
        self._ids = ids
        self._codecs = RecordCodecs(ids)
        self._spaces = spaces
        self._root = root
        self._changed = changed
        self._copies: Mapping[str, int] = {}
        self._due = {"set aside": 0.0, "copies": 0.0}
        self._told: object = said(waiting_in(()))
        self._met = False
        self._closed = threading.Event()
        self._again = threading.Event()
        self._thread = threading.Thread(target=self._run, name="driftlog-fleet", daemon=True)

    def start(self) -> None:
        """Begin to read; nothing is known until the first look has ended."""
        self._thread.start()

    def close(self) -> None:
        """Stop reading; a look that is under way ends by itself."""
        self._closed.set()
        self._again.set()
        self._thread.join(5.0)

    def look_again(self) -> None:
        """Something was changed that the next look should show."""
        self._due["set aside"] = 0.0
        self._again.set()

    # -- the thread

    def _run(self) -> None:
        devices = DeviceView(self._kafka, self._codecs, self._root)
        claims = ClaimTail(self._kafka, self._codecs, devices.find, lambda: time.time_ns() // 1_000_000)
        tail = Hearing(self._kafka, self._codecs, lambda device: devices.find(device) is not None)
        known = False
        while not self._closed.is_set():
            try:
                if not known:
                    known = self._meet(devices)
                self._look(devices, tail)
                self._look_at_claims(claims)
            except (KafkaException, ContractError, WorkerError, RuntimeError) as error:
                self._failed(str(error))
            self._again.wait(LOOK_SECONDS)
            self._again.clear()
        devices.close()

    def _meet(self, devices: DeviceView) -> bool:
        """The devices are read to the topic's end. A first time that fails has begun the reading all the same: it is waited for anew."""
        if self._met:
            devices.catch_up()
        else:
            self._met = True
            devices.start()
        return True

    def _look_at_claims(self, tail: ClaimTail) -> None:
        try:
            tail.look()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise
            self.claims_problem = f"there is no topic {topics.DESK}"
            return
        before, self.claims, self.claims_problem = self.claims, tail.held, ""
        if before != self.claims:
            self._changed("conflicts")

    def _failed(self, problem: str) -> None:
        before = self.seen
        if problem != before.problem:
            log.warning("the fleet cannot be read", problem=problem)
        self.seen = replace(before, problem=problem)

    def _look(self, devices: DeviceView, tail: Hearing) -> None:
        tail.look()
        now = time.time()
        read_at = dict(self.seen.read_at) | {"members": now}
        if now >= self._due["copies"]:
            self._copies = cloned_devices(self._kafka, self._codecs)
            self._due["copies"] = now + COPIES_SECONDS
        set_aside = self.seen.set_aside
        if now >= self._due["set aside"]:
            set_aside = [
                one
                for space, partitions in self._spaces.items()
                for one in read_set_aside(self._kafka, space, partitions, self._ids)
            ]
            self._due["set aside"], read_at["set aside"] = now + SET_ASIDE_SECONDS, now
        enrolled = [device for device in devices.all() if device.device_id not in NO_DEVICES]
        members = fleet_of(enrolled, tail.heard, self._copies, tail.before)
        before, self.seen = self.seen, Seen(members, set_aside, read_at, workers=devices.find(CLOUD))
        if members != before.members:
            self._changed("fleet")
            told = said(waiting_in(members))
            if told != self._told:
                self._told = told
                self._changed("devices")
        if set_aside != before.set_aside:
            self._changed("waiting")
