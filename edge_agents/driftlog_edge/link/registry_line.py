"""What the operator says of this device, as its own line in the device registry tells it, and of the spaces that it holds, as theirs do.

The agent reads the topic like any other, with a cursor, and believes what a worker would believe: lines that the operator signed, under
the root that enrolment pinned in the identity file, the highest version, and none older than one that was seen before, over restarts too.
Without a pinned root nothing is believed, so nothing is read. Lines of other devices are passed over, but for what they tell of operators.

Nothing is decided here about a command; the cloud does that. The line says why it will: the permit ends soon or has ended, the key is not the
newest, the device was revoked. When it changes, what the cloud had put off is sent again, from the moment on in which the change counts.
The line of a space says which generation of its read model is in force (`generation_route` goes there).
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import structlog

from driftlog_edge.errors import UNWRITABLE
from driftlog_edge.ports import Clock, Family, Place, Record, Store, Writes
from driftlog_edge.store import keys
from driftlog_edge.store.cursors import cursor_of, moved
from driftlog_edge.store.journal import Journal
from driftlog_schemas import topics
from driftlog_schemas.device_lines import UNKNOWN_SCHEMA, DeviceLines, Line
from driftlog_schemas.devices import NOTICE_MS, PUBLISH, Device, DeviceStatus, Terms
from driftlog_schemas.errors import RegistryUnreachable
from driftlog_schemas.generations import InForce, line_name, names_space
from driftlog_schemas.moves import Moved, declared_name
from driftlog_schemas.operator_keys import DAY_MS
from driftlog_schemas.record_codecs import RecordCodecs
from driftlog_schemas.signing import Identity
from driftlog_schemas.sparing import Sparing

log = structlog.get_logger()

PLACE = (topics.DEVICES, 0)
WARN_MS = 7 * DAY_MS
"""How long before its end a permit is spoken of."""
RELEASE_SLACK_SECONDS = 0.5
_STATE = (Family.META, keys.REGISTRY)


class RegistryLine:
    """The line of one device. `open` it first; `learn` verifies and may block, so it runs in a thread, one call at a time."""

    def __init__(
        self, identity: Identity, records: RecordCodecs, journal: Journal, clock: Clock, spaces: Iterable[str] = ()
    ) -> None:
        self._identity = identity
        self._journal = journal
        self._clock = clock
        self._spaces = tuple(spaces)
        self._declared = tuple(dict.fromkeys(map(declared_name, self._spaces)))
        names = [identity.device_id, *map(line_name, self._declared)]
        self._lines = DeviceLines(records, identity.root, only=names)
        self._append_ms = 0
        """When the line that stands was said, by the broker."""
        self._unread: dict[str, tuple[bytes, int]] = {}
        """The lines that an earlier start has kept, with when they were said, while no schema registry tells how to read them."""
        self._space_times: dict[str, int] = {}
        """When the line of a space was said, by its name."""
        self._complete = False
        """Was the topic read to its end since the start?"""
        self._release_at: float | None = None
        self._not_believed = Sparing(log, "a record of the device registry is not believed")

    @property
    def followed(self) -> bool:
        """Is there a root whose word can be believed?"""
        return self._identity.root is not None

    @property
    def device(self) -> Device | None:
        """This device as the registry has it; None while that is not known."""
        return self._lines.find(self._identity.device_id)

    @property
    def line(self) -> Line | None:
        """The same with the record that said it."""
        return self._lines.line(self._identity.device_id)

    @property
    def generations(self) -> Mapping[str, InForce]:
        """Which generations of each space are in force."""
        return {space: self._lines.generations(space) for space in self._spaces}

    def moved(self, space: str) -> Moved | None:
        """Where a space, by its name on the wire, goes on with another number of partitions; None while it has not moved."""
        return self._lines.moved(space)

    @property
    def moving(self) -> Mapping[str, int]:
        """The spaces, by their names on the wire, that are being given another number of partitions, and which."""
        return self._lines.moving()

    @property
    def publishes(self) -> bool:
        """May the device write what only comes down, as far as is known here? The cloud decides."""
        device = self.device
        return device is not None and PUBLISH in device.latest.permissions

    @property
    def wiped(self) -> bool:
        """Is this folder to be erased? Said only when the topic was read to its end: an older line may stand before the one that counts."""
        return self._complete and self.device is not None and self.device.wiped(self._identity.key_id)

    # -- reading

    def open(self, store: Store) -> None:
        """Take up what was known. Another root or device has another line: then the topic is read from its start."""
        raw = store.get(*_STATE)
        kept = {} if raw is None else json.loads(raw)
        if (kept.get("device"), kept.get("root")) != self._believed():
            self._read_anew(store, {_STATE: None, (Family.META, keys.cursor_key(*PLACE)): None})
            return
        self._lines.oldest = kept["oldest"]
        spaces = kept.get("spaces", {})
        looked_for = spaces.keys() >= {*self._declared}, kept.get("successors", False)
        if not all(looked_for):  # nobody has looked for the lines of these, or of where they go on
            self._read_anew(store, {(Family.META, keys.cursor_key(*PLACE)): None})
        if kept["line"]:
            self._unread[self._identity.device_id] = (base64.b64decode(kept["line"]), kept["append_ms"])
        for space, line in spaces.items():
            if line is not None and declared_name(space) in self._declared:
                self._unread[line_name(space)] = (base64.b64decode(line["line"]), line["append_ms"])
        try:
            self._take_up()
        except RegistryUnreachable as error:  # tried again before anything is learnt
            log.warning("what the device registry said cannot be read yet", reason=str(error))

    def _read_anew(self, store: Store, writes: Writes) -> None:
        try:
            store.write(writes, sync=True)
        except UNWRITABLE as error:
            log.warning("the device registry is not read anew yet", reason=str(error))

    def sign_with(self, identity: Identity) -> None:
        """The device has another key: what was refused for the old one goes out again."""
        self._identity = identity
        self._release_at = self._clock.monotonic()

    def learn(self, records: Sequence[Record]) -> None:
        """Read what came. Raises `RegistryUnreachable` where a schema must be asked for."""
        self._take_up()
        own = self._identity.device_id.encode()
        for record in records:
            before, name = self.line, record.key.decode(errors="replace")
            known = self._lines.line(name)
            why = self._lines.take(record.key, record.value, record.timestamp_ms if record.appended else None)
            if why and (record.key == own or names_space(name)):
                self._not_believed(why=why, offset=record.offset)
            if names_space(name) and self._lines.line(name) is not known:
                self._space_times[name] = record.timestamp_ms
            if self.line is not before and self.line is not None:
                self._changed(self.line.device, record.timestamp_ms)

    def written(self, records: Sequence[Record]) -> dict[Place, bytes | None]:
        """What to write when these were learnt."""
        writes: dict[Place, bytes | None] = {}
        if records:
            cursor = cursor_of(self._journal, *PLACE)
            writes.update(moved(*PLACE, cursor._replace(offset=records[-1].offset + 1)))
        state = self._state()
        if not self._unread and self._journal.get(*_STATE) != state:
            writes[_STATE] = state
        return writes

    def reached(self) -> None:
        """The topic's end: what stands now is what the operator says."""
        self._complete = True

    def release_due(self, now: float) -> bool:
        """Does a change of the line begin to count now? True once for each."""
        if self._release_at is None or now < self._release_at:
            return False
        self._release_at = None
        return True

    def _take_up(self) -> None:
        for name, (value, append_ms) in list(self._unread.items()):
            if names_space(name):
                self._space_times[name] = append_ms
            else:
                self._append_ms = append_ms
            if self._lines.take(name.encode(), value, append_ms) != UNKNOWN_SCHEMA:
                del self._unread[name]  # else the registry may still learn it; until then what was kept stays kept

    def _changed(self, device: Device, append_ms: int) -> None:
        self._append_ms = append_ms
        ahead = min(max(device.latest.from_ms - append_ms, 0), NOTICE_MS)
        self._release_at = self._clock.monotonic() + ahead / 1000 + RELEASE_SLACK_SECONDS
        log.info("the device registry says", status=device.latest.status.value, version=device.version)

    def _believed(self) -> tuple[str, str]:
        return self._identity.device_id, (self._identity.root or b"").hex()

    def _state(self) -> bytes:
        device, root = self._believed()
        line = self.line
        return json.dumps(
            {
                "device": device,
                "root": root,
                "oldest": self._lines.oldest,
                "append_ms": self._append_ms,
                "line": "" if line is None else base64.b64encode(line.value).decode(),
                "spaces": {space: self._kept(line_name(space)) for space in (*self._declared, *self._successors())},
                "successors": True,
            }
        ).encode()

    def _successors(self) -> list[str]:
        """What the spaces are called where they go on, as far as that has a line."""
        return [space for space in self._lines.of_spaces() if space not in self._declared]

    def _kept(self, name: str) -> dict[str, Any] | None:
        line = self._lines.line(name)
        if line is None:
            return None
        return {"line": base64.b64encode(line.value).decode(), "append_ms": self._space_times[name]}

    # -- telling

    def facts(self, now_ms: int) -> dict[str, Any] | None:
        """For `/v1/status`, as of a moment by the broker's clock; None where nothing is known."""
        device = self.device
        if device is None:
            return None
        terms = device.terms_at(now_ms) or device.latest
        return {
            "status": terms.status.value,
            "version": device.version,
            "scopes": list(terms.scopes),
            "permissions": list(terms.permissions),
            "key_counts": device.key_at(self._identity.key_id, now_ms) is not None,
            "permit_ends": terms.not_after_ms or None,
            "permit_honoured_until": terms.not_after_ms + terms.grace_ms if terms.not_after_ms else None,
        }

    def refusal(self, now_ms: int) -> str:
        """Why nothing that this device writes is taken, in words; empty when all is well."""
        device = self.device
        if device is None:
            lacks = self._complete and self.followed
            return "this device is not enrolled here (`driftlog devices enrol`)" if lacks else ""
        terms = device.terms_at(now_ms) or device.latest
        if terms.status is not DeviceStatus.ACTIVE:
            word = "revoked" if terms.status is DeviceStatus.REVOKED else "told to be wiped"
            return f"this device was {word} at {_day(terms.from_ms)}: nothing that it writes is taken any more"
        if self._complete and device.key_at(self._identity.key_id, now_ms) is None:
            return (
                f"the key {self._identity.key_id} of this identity file counts no more: put the newest identity file of"
                " this device in its place"
            )
        if terms.ended_at(now_ms):
            return (
                f"the permit ended at {_day(terms.not_after_ms)}: what is written waits here until it is renewed"
                f" (`driftlog devices renew {device.device_id}`)"
            )
        return ""

    def warning(self, now_ms: int) -> str:
        """What will be so soon; empty when nothing."""
        terms = None if self.device is None else self.device.terms_at(now_ms)
        if terms is None or not terms.not_after_ms or terms.not_after_ms - now_ms > WARN_MS:
            return ""
        return _ending(terms, now_ms)


def _ending(terms: Terms, now_ms: int) -> str:
    left = terms.not_after_ms - now_ms
    if left <= 0:
        return f"the permit has ended, and is honoured until {_day(terms.not_after_ms + terms.grace_ms)}"
    days, hours = left // DAY_MS, left // (DAY_MS // 24)
    when = f"{days} days" if days > 1 else f"{hours} hours" if hours > 1 else f"{max(1, left // 60_000)} minutes"
    return f"the permit ends in {when} (`driftlog devices renew`)"


def _day(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="minutes")
