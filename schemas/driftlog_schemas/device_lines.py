"""The device registry as it can be believed: every record of the topic goes in, the highest genuine line of each device stands.

A record that is no line of the operator changes nothing and is counted under the reason: a stranger's write or tombstone enrols nobody
and erases nobody. Lines are kept with the bytes they came in, because a signed line may be put back by anybody who has seen it: where a
record that changes nothing has become the last word on a device, `covered` names that device, and whoever owns the
topic's well-being publishes the line again before compaction can forget it.

What stands depends on the records only, not on who reads them when: the root (given, or the first that is met) certifies, the record's
append time decides whether a certificate counted, the highest generation met decides which operators count, and the version decides
between lines.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import NamedTuple

from driftlog_schemas.devices import Device
from driftlog_schemas.errors import Undecodable, UnknownSchema
from driftlog_schemas.generations import InForce, ever_in_force, in_force, line_name, names_space, space_named
from driftlog_schemas.moves import Moved, announced, declared_name, moved
from driftlog_schemas.operator_keys import SignedLine
from driftlog_schemas.record_codecs import RecordCodecs

TOMBSTONE = "tombstone"
UNREADABLE = "unreadable"
UNKNOWN_SCHEMA = "unknown_schema"
"""May become readable when the registry tells; see `again`."""
UNTIMED = "untimed"
FOREIGN = "foreign"
OUT_OF_TIME = "certificate_ended"
RETIRED = "retired_operator"
BAD_SIGNATURE = "bad_signature"
MISPLACED = "misplaced"
OLDER = "older"


class Line(NamedTuple):
    """A device, by whom it was said, and the record that said it."""

    device: Device
    generation: int
    value: bytes


class DeviceLines:
    """The lines of one registry. `root` is the pinned public key; None takes the first that is met.

    With `only`, the lines of these names alone are kept, and of a space among them also those of where it goes on; of the others no more is looked at
    than what they tell of operators.
    """

    def __init__(self, codecs: RecordCodecs, root: bytes | None = None, only: Collection[str] = ()) -> None:
        self._codecs = codecs
        self._only = frozenset(only)
        self.root = root
        self.pinned = root is not None
        """Was the root given, not met?"""
        self._lines: dict[str, Line] = {}
        self.generation = 0
        """Of the newest operator that was met."""
        self.oldest = 0
        """The oldest generation that counts."""
        self.operator_until_ms = 0
        """When the newest operator's certificate ends."""
        self.ignored: Counter[str] = Counter()
        """Reason -> records that changed nothing."""
        self.covered: set[str] = set()
        """Devices whose last record in the topic is not their line."""

    def find(self, device_id: str) -> Device | None:
        line = self._lines.get(device_id)
        return None if line is None else line.device

    def line(self, device_id: str) -> Line | None:
        """The device with the record that said it."""
        return self._lines.get(device_id)

    def all(self) -> list[Device]:
        """Every device, by name."""
        return [device for device in self.everything() if not names_space(device.device_id)]

    def everything(self) -> list[Device]:
        """Every line, by name: those of devices, and those of spaces."""
        return [line.device for _, line in sorted(self._lines.copy().items())]

    def of_spaces(self) -> dict[str, Device]:
        """The lines of spaces, by what those are called on the wire."""
        return {space_named(one.device_id): one for one in self.everything() if names_space(one.device_id)}

    def generations(self, space: str) -> InForce:
        """Which generations of a space are in force."""
        return in_force(self.find(line_name(space)))

    def moved(self, space: str) -> Moved | None:
        """Where a space, by its name on the wire, goes on with another number of partitions; None while it has not moved."""
        return moved(self.find(line_name(space)))

    def under_way(self) -> dict[str, InForce]:
        """The spaces whose workers are at another generation than its readers."""
        said = {space: in_force(line) for space, line in self.of_spaces().items()}
        return {space: now for space, now in said.items() if now.merged != now.read}

    def moving(self) -> dict[str, int]:
        """The spaces that are being given another number of partitions, and which."""
        return {space: count for space, line in self.of_spaces().items() if (count := announced(line)) is not None}

    def moves(self) -> dict[str, Moved]:
        """Where spaces go on that have moved, by what they were called on the wire before; a space that has moved twice is there twice."""
        return {space: to for space, line in self.of_spaces().items() if (to := moved(line)) is not None}

    def __len__(self) -> int:
        return len(self._lines)

    def take(self, key: bytes, value: bytes | None, append_ms: int | None) -> str:
        """One record, with its append time (None: the topic keeps its writers' times). The reason if it changes nothing, else "".

        Raises `RegistryUnreachable` where a foreign schema must be asked for: to pass a line over would forget a device.
        """
        name = key.decode(errors="replace")
        reason = self._judged(name, value, append_ms)
        known = self._lines.get(name)
        if reason:
            self.ignored[reason] += 1
        if known is not None and known.value != value:
            self.covered.add(name)
        else:
            self.covered.discard(name)
        return reason

    def made_anew(self) -> None:
        """The topic is another one from here on, read from its start: what is known stands, and is nobody's last word there until it is met."""
        self.covered.update(self._lines)

    def again(self, key: bytes, value: bytes, append_ms: int | None) -> bool:
        """A record whose schema was not known when it was taken: is that still so? The order of records is of no account."""
        return self._judged(key.decode(errors="replace"), value, append_ms) == UNKNOWN_SCHEMA

    def _judged(self, name: str, value: bytes | None, append_ms: int | None) -> str:
        if value is None:
            return TOMBSTONE
        try:
            line = self._codecs.decode_signed_line(value)
        except Undecodable:
            return UNREADABLE
        except UnknownSchema:
            return UNKNOWN_SCHEMA
        if append_ms is None:
            return UNTIMED
        others = bool(self._only) and _asked_by(name) not in self._only
        if others and not self._news(line):
            return ""
        reason = self._distrust(line, append_ms)
        if reason:
            return reason
        if others:
            self._met(line)
            return ""
        try:
            device = self._codecs.decode_device(line.body)
        except Undecodable:
            return UNREADABLE
        except UnknownSchema:
            return UNKNOWN_SCHEMA
        if device.device_id != name:
            return MISPLACED
        if names_space(name) and not _says_generations(device):
            return UNREADABLE
        self._met(line)
        known = self._lines.get(name)
        if known is not None and known.value == value:
            return ""  # put back by somebody who had seen it
        generation = line.certificate.generation
        if known is not None and (known.generation, known.device.version) >= (generation, device.version):
            return OLDER
        self._lines[name] = Line(device, generation, value)
        return ""

    def _distrust(self, line: SignedLine, append_ms: int) -> str:
        certificate = line.certificate
        if (self.root is not None and certificate.root != self.root) or not certificate.genuine():
            return FOREIGN
        if not certificate.counts_at(append_ms):
            return OUT_OF_TIME
        if certificate.generation < self.oldest:
            return RETIRED
        return "" if line.genuine() else BAD_SIGNATURE

    def _news(self, line: SignedLine) -> bool:
        """Does it name an operator that was not met yet?"""
        return line.certificate.generation > self.generation or line.certificate.oldest > self.oldest

    def _met(self, line: SignedLine) -> None:
        certificate = line.certificate
        self.root = self.root or certificate.root
        if certificate.generation >= self.generation:
            self.generation, self.operator_until_ms = certificate.generation, certificate.until_ms
        if certificate.oldest > self.oldest:
            self.oldest = certificate.oldest
            for name in [n for n, known in self._lines.items() if known.generation < self.oldest]:
                del self._lines[name]


def _asked_by(name: str) -> str:
    """The name by which a line is asked for: that of a space as it is declared."""
    return line_name(declared_name(space_named(name))) if names_space(name) else name


def _says_generations(line: Device) -> bool:
    try:
        moved(line)
        announced(line)
        return bool(in_force(line) and ever_in_force(line))
    except ValueError:
        return False
