"""The merge once more, slow and plain: what the op topic means, by the words of the design alone.

It folds the log into decisions, and the ops of each document into what they mean (`meaning`); it shares no code with the merge worker, its
cache or its parking. What it shares is the reading of bytes (the codecs) and the declaration of the app. Its answer is what
every edge, the state topic, the receipts and the conflicts are compared with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat

from driftlog_crdt import Op, Origin
from driftlog_schemas import row_room
from driftlog_schemas.batch_codec import BatchCodec, batch_digest, decode_body
from driftlog_schemas.devices import Device, DeviceStatus
from driftlog_schemas.errors import Undecodable
from driftlog_schemas.identity import CLOSER, DocumentId
from driftlog_schemas.messages import Batch, Command
from driftlog_schemas.partitioning import partition_of
from driftlog_schemas.record_codecs import conflict_id
from driftlog_schemas.registry import SchemaIds
from driftlog_schemas.row_columns import short_name
from driftlog_schemas.signing import verify
from tests.reference_model import fields
from tests.reference_model.history import Dot, Event
from tests.simulation.all_types import BODIES, LOCKABLE, NOWHERE
from tests.simulation.app import SPACE
from tests.simulation.history import Intent, Place
from tests.simulation.log import LogRecord
from tests.simulation.meaning import BUILDS_ON_REFUSED, Meaning

REPEATED = "repeated"
NO_RIGHTS = "no_rights"
GONE = "gone"
COME_AGAIN = ("builds_on_refused", "purged", NO_RIGHTS, GONE)
CLOCK_BOUND_MS = 5 * 60 * 1000


@dataclass(slots=True)
class Decision:
    """What became of a command. `verdict` is accepted, rejected or parked."""

    command: Command
    replica: str
    offset: int
    verdict: str
    code: str = ""


@dataclass(slots=True)
class ExpectedConflict:
    """A place where differing writes have met: which pairs of them ever did, and the writes that compete there in the end."""

    id: str
    document: DocumentId
    field: str
    place: str
    """the field, or a key in it"""
    pairs: set[frozenset[Dot]] = field(default_factory=set)
    standing: frozenset[Dot] = frozenset()


@dataclass(slots=True)
class Chain:
    """The batches of one replica in one partition that were taken, by number.

    The verdict of a batch stands: what was put off with it is not decided when the same batch comes again.
    """

    digests: dict[int, bytes] = field(default_factory=dict)
    commands: dict[int, dict[str, str]] = field(default_factory=dict)
    """By number: every command that came -> the one that stands for it."""
    put_off: set[int] = field(default_factory=set)
    """Numbers of batches that came when their device's permit had ended."""
    ended: bool = False
    first: int = 0
    """The oldest number that its row may still have to answer."""

    def takes(
        self, batch: Batch, digest: bytes, told_as: Mapping[str, str], waits: Callable[[Iterable[str]], bool]
    ) -> bool:
        """Is this the next one with room in its row, or one that was taken before? `told_as`: by which command each of it is told; `waits`: does one of these
        commands?
        """
        number = batch.number
        if number in self.digests:
            return self.digests[number] == digest
        if self.ended:
            return False
        if not self.digests and number > max(batch.floor, 1):
            return False
        if self.digests:
            last = max(self.digests)
            if number != last + 1 or batch.prev != self.digests[last]:
                return False
            first = max(self.first, min(self.digests))
            while first <= last and first < batch.floor and not waits(self.commands[first].values()):
                first += 1
            if last + 1 - first >= row_room.MAX_ENTRIES:
                return False
            self.first = first
        self.digests[number] = digest
        self.commands[number] = dict(told_as)
        return True


@dataclass(slots=True)
class _Waiting:
    command: Command
    replica: str
    append_ms: int
    offset: int


class Reference:
    """The meaning of one space's op topic."""

    def __init__(self, devices: Mapping[str, Device], intents: Mapping[str, Intent], ids: SchemaIds) -> None:
        self._devices = devices
        self._intents = intents
        self._named = {short_name(command_id): command_id for command_id in intents}
        """Short name -> command id."""
        self._codec = BatchCodec(ids)
        self.documents: dict[DocumentId, Meaning] = {}
        self.decisions: dict[tuple[str, str], Decision] = {}
        """(replica, command id) -> decision"""
        self.conflicts: dict[str, ExpectedConflict] = {}
        self.refused_batches: list[int] = []
        self.shut_out = 0
        """Batches of devices that were revoked then."""
        self.put_off = 0
        """Commands of devices whose permit had ended then."""
        self.given_back = 0
        """Commands that waited when their log ended."""
        self.away = 0
        """Batches of writers who had not read what was laid anew."""
        self.chains: dict[tuple[str, Place], Chain] = {}
        """(replica, where) -> its chain"""
        self._at: Place = "", 0
        """Whose records are folded."""
        self._over: frozenset[str] = frozenset()
        """Lives that wrote where the space was before: all of them are over where it goes on."""
        self._floor = -1
        """Up to which record whoever writes here must have read."""
        self.brought: dict[tuple[str, str], Decision] = {}
        """(life in which it was first written, command id) -> what became of it when a later life brought it first"""
        self.stranded: set[tuple[str, str]] = set()
        """(replica, command id) of what waited when its life ended, and is put off: so says its row, however often the batch comes again"""
        self.unseen: set[tuple[str, str]] = set()
        """(replica, command id) of what was refused with nothing of it seen"""
        self.repeated = 0
        """Commands that came again."""

    def fold(self, place: Place, records: Iterable[LogRecord], partitions: int) -> None:
        """Take one partition's op records, all of them, in order. Where the space was before comes first; here it has so many partitions."""
        self._begin(place)
        begun, last = False, -1
        waiting: dict[tuple[str, str], _Waiting] = {}
        for record in records:
            if record.key == CLOSER.encode():  # nobody else writes there under this name
                self._close(record, waiting)
                break
            if record.value is None and not begun:  # filled in, so that it counts on behind the log of before
                last = record.offset
                continue
            if not begun:
                begun = True
                self._floor = last if self._lies_something(partitions) else -1
            for command, replica in self._open(record, waiting):
                item = _Waiting(command, replica, record.timestamp_ms, record.offset)
                if not self._decide(item):
                    waiting.setdefault((replica, command.id), item)
            self._strand(waiting)
            while (key := next((k for k, item in waiting.items() if self._decide(item)), None)) is not None:
                del waiting[key]
        for item in waiting.values():
            key = (item.replica, item.command.id)
            self.decisions.setdefault(key, Decision(item.command, item.replica, item.offset, "parked"))

    def _begin(self, place: Place) -> None:
        if place[0] != self._at[0]:
            self._over = frozenset(replica for replica, _ in self.chains)
        self._at, self._floor = place, -1

    def _close(self, record: LogRecord, waiting: dict[tuple[str, str], _Waiting]) -> None:
        """The log ends: what waits is given back to its device, and nothing behind it counts."""
        self._open(record, waiting)
        self.given_back += len(waiting)
        waiting.clear()

    def _lies_something(self, partitions: int) -> bool:
        """Was any document laid anew in this partition?"""
        there = (document.scope for document, meaning in self.documents.items() if meaning.seen)
        return any(partition_of(scope, partitions) == self._at[1] for scope in there)

    def _strand(self, waiting: dict[tuple[str, str], _Waiting]) -> None:
        """A life that is over sends nothing any more: what of it waits for a change of it that nobody has sent is put off."""
        for life, command_id in list(waiting):
            item = waiting[life, command_id]
            if not self._is_over(life):
                continue
            sent = {
                (document, op.seq)
                for other in waiting.values()
                for document, op in other.command.ops
                if other.replica == life
            }
            first = [
                (document, op.seq)
                for document, op in item.command.ops
                if (document, op.seq - op.span) not in sent
                and op.seq - op.span > self._document(document).seen.get(life, 0)
            ]
            if first:
                del waiting[life, command_id]
                self.stranded.add((life, command_id))
                self.put_off += 1
                self._strand(waiting)
                return

    def _open(self, record: LogRecord, waiting: Mapping[tuple[str, str], _Waiting]) -> list[tuple[Command, str]]:
        try:
            signed = self._codec.open(record.value or b"")
            device = self._devices.get(signed.device_id)
            key = device.key_at(signed.key_id, record.timestamp_ms) if device else None
            if key is None or not verify(key.public, signed.signature, signed.body):
                raise Undecodable("forged")
            batch = decode_body(signed.body)
            standing = device.standing_at(record.timestamp_ms) if device else None
            if standing is None or standing.status is not DeviceStatus.ACTIVE:
                self.shut_out += 1
                raise Undecodable("shut out")
        except Undecodable:
            self.refused_batches.append(record.offset)
            return []
        if batch.commands and (batch.read if batch.read < record.offset else -1) < self._floor:
            self.away += 1
            return []
        chain = self.chains.setdefault((batch.replica, self._at), Chain())
        known = batch.number in chain.digests
        told_as = {named: command.id for command in batch.commands for named in self._all_of(command)}
        if not chain.takes(
            batch,
            batch_digest(signed.body),
            told_as,
            lambda names: any((batch.replica, name) in waiting for name in names),
        ):
            return []
        for life in batch.ends:
            self.chains.setdefault((life, self._at), Chain()).ended = True
        if standing.expired and not known:
            chain.put_off.add(batch.number)
            self.put_off += len(batch.commands)
        if batch.number in chain.put_off:
            return []
        return [(command, batch.replica) for command in batch.commands]

    def _all_of(self, command: Command) -> list[str]:
        """A command and those that it stands for, in their order."""
        return [*(self._named[name] for name in command.stands_for), command.id]

    def _decided(self, item: _Waiting, verdict: str, code: str = "") -> None:
        """What becomes of a command becomes of all that it stands for."""
        for command_id in self._all_of(item.command):
            decision = Decision(item.command, item.replica, item.offset, verdict, code)
            self.decisions[item.replica, command_id] = decision

    def _decide(self, item: _Waiting) -> bool:
        command = item.command
        if self._barred(item):
            return True
        fresh = [(d, op) for d, op in command.ops if self._document(d).seen.get(op.replica, 0) < op.seq]
        if not fresh:
            self.repeated += 1
            return True
        assert len(fresh) == len(command.ops), f"command {command.id} is half merged in a fold without crashes"
        reached: dict[tuple[DocumentId, str], int] = {}
        for document, op in command.ops:
            seen = self._document(document).seen
            last = reached.get((document, op.replica), seen.get(op.replica, 0))
            if op.seq - op.span != last or any(seen.get(r, 0) < s for r, s in (op.context or {}).items()):
                return False
            reached[document, op.replica] = op.seq
        ops = [(document, self._as_merged(document, op, item)) for document, op in command.ops]
        meant = [(document, self._document(document).meant(op, self._word(command, op))) for document, op in ops]
        first = self._brought_before(item)
        if first is not None:
            for (document, op), (_, event) in zip(ops, meant, strict=True):
                self._document(document).refuse(op, event, REPEATED)  # it has counted before
            self._decided(item, first.verdict, REPEATED)
            return True
        code = self._objection(item, meant, [op for _, op in ops])
        verdict = "rejected" if code else "accepted"
        for (document, op), (_, event) in zip(ops, meant, strict=True):
            if verdict == "rejected":
                self._document(document).refuse(op, event, code)
            elif not self._document(document).accept(op, event):
                code = "no_effect"
            if verdict != "rejected":
                self._expect(document, op)
        if verdict == "accepted" and code:
            verdict = code
        self._decided(item, verdict, code)
        if command.root and code not in COME_AGAIN:
            self.brought[command.root, command.id] = self.decisions[item.replica, command.id]
        return True

    def _barred(self, item: _Waiting) -> bool:
        """Had its device no right to anything when this came first? Then it is refused, and nothing of it is ever seen."""
        name = item.replica, item.command.id
        if name in self.unseen or name in self.stranded:
            self.repeated += 1
            return True
        terms = self._devices[item.replica.rpartition(".")[0]].terms_at(item.append_ms)
        assert terms is not None, "its batch was taken"
        if terms.permissions or name in self.decisions:
            return False
        first = self._brought_before(item)
        if first is None:
            self._decided(item, "rejected", "forbidden")
            if item.command.root:
                self.brought[item.command.root, item.command.id] = self.decisions[name]
        else:
            self._decided(item, first.verdict, REPEATED)
        self.unseen.add(name)
        return True

    def _brought_before(self, item: _Waiting) -> Decision | None:
        """What became of a command of an earlier life when another life brought it."""
        command = item.command
        if not command.root:
            return None
        assert self._is_over(command.root), f"{command.id} comes while {command.root} may still send it"
        return self.brought.get((command.root, command.id))

    def _as_merged(self, document: DocumentId, op: Op, item: _Waiting) -> Op:
        """With its clock bounded, and who wrote it."""
        append_ms, command = item.append_ms, item.command
        if (op.hlc >> 16) > append_ms + CLOCK_BOUND_MS:
            op = op._replace(hlc=append_ms << 16)
        origin = Origin(command.id, command.actor, append_ms, sum((op.context or {}).values()) + op.seq - 1)
        self._document(document).origins[op.replica, op.seq] = origin
        return op if _policy(document, op.field) == "silent" else op._replace(origin=origin)

    def _word(self, command: Command, op: Op) -> str:
        """What a command brings to a text or a list, or takes. Each that does so makes one change: so of several that are sent as one, each has
        a dot, in their order.
        """
        one = self._all_of(command)[-1 if not command.stands_for else op.seq - command.ops[0].op.before - 1 :]
        arguments = self._intents[one[0]].arguments if one and one[0] in self._intents else {}
        return str(arguments["args"][0]) if arguments.get("place") in BODIES else ""

    def _objection(self, item: _Waiting, meant: Sequence[tuple[DocumentId, Event]], ops: Sequence[Op]) -> str:
        terms = self._devices[item.replica.rpartition(".")[0]].terms_at(item.append_ms)
        assert terms is not None, "its batch was taken"
        command = item.command
        if command.scope not in terms.scopes or command.name not in terms.permissions:
            return "forbidden"
        before: dict[DocumentId, list[Event]] = {}
        earlier: dict[DocumentId, list[Op]] = {}
        for (document, event), op in zip(meant, ops, strict=True):
            known, also = self._document(document), before.setdefault(document, [])
            done = earlier.setdefault(document, [])
            against = known.unfounded(event, self._is_over, also)
            if against != BUILDS_ON_REFUSED and command.written is not None and not known.finds(op, done):
                against = GONE  # a life that brings along what another wrote names what that one has seen
            done.append(op)
            if not against and event.kind == "transfer" and not known.moot(event) and self._is_over(event.value[0]):
                against = "invalid"  # nobody could use what is given
            if against:
                return NO_RIGHTS if against == "invalid" and command.root else against
            also.append(event)
        return next(filter(None, map(self._guarded, before, repeat(meant))), "")

    def _is_over(self, replica: str) -> bool:
        chain = self.chains.get((replica, self._at))
        return replica in self._over or (chain is not None and chain.ended)

    def _guarded(self, document: DocumentId, meant: Sequence[tuple[DocumentId, Event]]) -> str:
        """The guards of the app, in other words."""
        known, also = self._document(document), [event for d, event in meant if d == document]
        if document.collection == "Stock":
            return "recount" if fields.counter(known.alive("on_hand", also)) < 0 else ""
        if document.collection == "Address":
            return "no_such_place" if tuple(known.record(also)[part] for part in ("street", "city")) == NOWHERE else ""
        if document.collection in LOCKABLE:
            locked = fields.flag("enable")
            return "locked" if locked(known.alive("locked")) and locked(known.alive("locked", also)) else ""
        return ""

    def _expect(self, document: DocumentId, op: Op) -> None:
        """Remember which writes compete where `op` was merged."""
        if _policy(document, op.field) == "silent":
            return
        for place, top in self._document(document).contested(op.field).items():
            identifier = conflict_id(document, place)
            expected = self.conflicts.setdefault(identifier, ExpectedConflict(identifier, document, op.field, place))
            expected.pairs |= fields.conflicts(top)

    def settle(self) -> None:
        """Say what competes at each place now that everything was folded."""
        for conflict in self.conflicts.values():
            top = self._document(conflict.document).contested(conflict.field).get(conflict.place, ())
            conflict.standing = frozenset(event.dot for event in top)

    def _document(self, document: DocumentId) -> Meaning:
        if document not in self.documents:
            self.documents[document] = Meaning(SPACE.collections[document.collection].document)
        return self.documents[document]


def _policy(document: DocumentId, field_name: str) -> str:
    kind = SPACE.collections[document.collection].document
    return kind.declared(field_name).on_conflict if field_name or kind.unit == "record" else "silent"
