"""What the remains of a folder mean, as writes for a new one.

Nobody knows all that the old folder had sent, nor whether what can be read is the last word on it. So no verdict is believed but a final one, and
of all other commands it is taken for possible that the cloud has them. The old life is over in every partition that has such (`lives.SALVAGED`), they wait under its
name, and the agent does what it does with the life of a copied folder (`outgoing/renewal`): it ends that life, learns from its chain what the cloud has, from the
first batch on, and takes the rest into a new life under the same ids. So each counts once. What stands under a still earlier life and
has no final verdict goes to the review list: of that chain nothing more is asked.

A folder may have followed a space to where that goes on with another number of partitions, and have lost the word of that (`store/moves`). Then it follows once more, and
of what is undecided nobody asks the cloud where it was sent: that is for a person, too.

A command is read from the op log, or else from the sealed batch that holds it. One of which only the question is left (its arguments, in the command log) is
for a person as well: it may have been counted.

The rows come along to be read meanwhile, as the old generation of partitions that are read again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from typing import Protocol

from driftlog_edge.errors import StoreDamaged
from driftlog_edge.incoming.outcome_codes import MAYBE_COUNTED
from driftlog_edge.ports import Family, Place
from driftlog_edge.salvage.report import NAMED, Report, gaps, runs
from driftlog_edge.store import generations, keys
from driftlog_edge.store.command_log import Entry, Status
from driftlog_edge.store.counts import ELSEWHERE, Count, counts_of
from driftlog_edge.store.counts import written as counts_written
from driftlog_edge.store.cursors import Cursor
from driftlog_edge.store.generations import Return
from driftlog_edge.store.lives import KEPT, SALVAGED, Chain, Life
from driftlog_edge.store.logged import Logged, decode_logged, encode_logged
from driftlog_edge.store.moves import Stage, moves_of
from driftlog_edge.store.moves import written as moves_written
from driftlog_edge.store.pending import Fate, Mark
from driftlog_edge.store.pruning import KEEP_LAST
from driftlog_edge.store.sealed import Open
from driftlog_schemas.batch_codec import decode_body
from driftlog_schemas.contract import AppContract, Undeclared
from driftlog_schemas.errors import ContractError
from driftlog_schemas.identity import device_of, document_key, new_life, parse_document_key, replica_id
from driftlog_schemas.messages import Command
from driftlog_schemas.moves import declared_name, number_of
from driftlog_schemas.partitioning import partition_of
from driftlog_schemas.support import release_of

CHANGES_LOST = "changes_lost"
NOBODY = "nobody.0"
_NORMAL = keys.CLASSES.index("normal")
_KEPT = (keys.OFFLINE, keys.HOLDINGS, keys.OBSERVED, keys.GATHERS)
"""What of `meta` says nothing of a life, a chain or a cursor."""
_UNREADABLE = (ContractError, ValueError, TypeError, KeyError, IndexError)


class Readable(Protocol):
    """What is left of a folder. Values are those that were once written there, if perhaps not the last."""

    unreadable: list[tuple[Family, bytes]]

    def get(self, family: Family, key: bytes) -> bytes | None: ...

    def scan(self, family: Family, prefix: bytes = b"") -> Iterator[tuple[bytes, bytes]]: ...


class Rescue:
    """Of one folder. `write` takes what is written to the new one, in any order."""

    def __init__(
        self,
        remains: Readable,
        contract: AppContract,
        wall_ms: int,
        write: Callable[[dict[Place, bytes | None]], None],
    ) -> None:
        self._remains = remains
        self._contract = contract
        self._wall_ms = wall_ms
        self._write = write
        self._numbers: set[int] = set()
        """Of the commands that can be read."""
        self._last: dict[tuple[str, int], tuple[int, str]] = {}
        """(space, partition) -> the newest undecided command there, and the life under which it stands."""
        self._stamp = 0
        self._moves = moves_of(remains)
        self._met = set(counts_of(remains))
        """Spaces that something speaks of, by their names on the wire."""
        self._replicas: dict[str, int] = {}
        """Lives that have written, and the highest number of each."""
        self.report = Report()

    def run(self) -> Report:
        """All of it. Raises `StoreDamaged` where nothing at all can be read."""
        self._rows()
        self._met |= {keys.parse_outbox(key)[0] for key, _ in self._remains.scan(Family.OUTBOX)}
        self._met |= {keys.parse_sealed(key)[0] for key, _ in self._remains.scan(Family.SEALED)}
        bodies = dict(self._bodies())
        for lsn, found in self._logged(bodies):
            self._note(lsn, found)
        self._left = {keys.parse_lsn(key) for key, _ in self._remains.scan(Family.META, keys.LEFT)}
        self._again = {keys.parse_lsn(key) for key, _ in self._remains.scan(Family.META, keys.AGAIN)}
        for lsn, found in self._logged(bodies):
            self._take(lsn, found)
        self._questions()
        self._meta()
        self._lost()
        return self.report

    # -- commands

    def _logged(self, bodies: dict[int, Logged]) -> Iterator[tuple[int, Logged]]:
        """Every command that can be read, once."""
        met: set[int] = set()
        for key, raw in self._remains.scan(Family.OPLOG):
            try:
                lsn, found = keys.parse_lsn(key), decode_logged(raw)
            except _UNREADABLE:
                continue
            met.add(lsn)
            yield lsn, found
        yield from ((lsn, found) for lsn, found in bodies.items() if lsn not in met)

    def _bodies(self) -> Iterator[tuple[int, Logged]]:
        """What the sealed batches hold of them."""
        for key, raw in self._remains.scan(Family.BODIES):
            try:
                batch = decode_body(raw)
                sealed = self._remains.get(Family.SEALED, key)
                lsns = () if sealed is None else Open.decode(key, sealed).lsns
            except _UNREADABLE:
                continue
            for number, command in enumerate(batch.commands):
                entry = self._entry(command.id)
                lsn = entry.lsn if entry else lsns[number] if len(lsns) == len(batch.commands) else 0
                if lsn:
                    raw = encode_logged(command, batch.space, batch.replica, batch.read, release_of(batch.app_version))
                    yield lsn, decode_logged(raw)

    def _entry(self, command_id: str) -> Entry | None:
        raw = self._remains.get(Family.COMMANDS, command_id.encode())
        try:
            return None if raw is None else Entry.decode(raw)
        except _UNREADABLE:
            return None

    def _note(self, lsn: int, found: Logged) -> None:
        """Which lives there were, and under which the newest undecided command of a partition stands."""
        self._numbers.add(lsn)
        command = found.command
        self._stamp = max(self._stamp, command.hlc)
        if not command.ops:
            return
        replica = command.ops[0].op.replica
        self._replicas[replica] = max(lsn, self._replicas.get(replica, 0))
        place, entry = self._place(command), self._entry(command.id)
        if place is not None and (entry is None or not entry.status.final) and lsn > self._last.get(place, (0, ""))[0]:
            self._last[place] = lsn, replica

    def _place(self, command: Command) -> tuple[str, int] | None:
        """None for what this release does not declare."""
        try:
            space = self._contract.spaces[self._contract.collection(command.ops[0].document.collection).space]
        except (Undeclared, IndexError):
            return None
        return space.name, partition_of(command.scope, space.partitions)

    def _take(self, lsn: int, found: Logged) -> None:
        command, place = found.command, self._place(found.command)
        entry = self._entry(command.id)
        if entry is not None and entry.lsn > lsn:  # it ran again, under a number of its own
            self._put({}, lsn, found)
            return
        if entry is None or entry.lsn != lsn:
            dots = tuple((document_key(document).decode(), op.replica, op.seq) for document, op in command.ops)
            entry = Entry(lsn, command.name, "", Status.PENDING, None, dots, command.hlc >> 16)
        if entry.status.final:
            self.report.decided += 1
            self._put(_kept(command.id, entry) | self._unseen(lsn, entry), lsn, found)
        elif entry.status is Status.REVIEW:
            self._review(lsn, found, entry)
        elif lsn in self._again and entry.asked is not None:
            self.report.undecided += 1
            again: dict[Place, bytes | None] = {(Family.META, keys.again_key(lsn)): command.id.encode()}
            self._put(again | _kept(command.id, entry), lsn, found)
        elif place is not None and self._was_further(place[0]):
            why = "it may have been sent where its space goes on, and what was known of that is lost"
            self._review(lsn, found, entry.with_status(Status.REVIEW, MAYBE_COUNTED, why))
        elif lsn in self._left:
            self._parked(lsn, found, entry)
        elif place is None or command.ops[0].op.replica != self._last[place][1]:
            why = "it stood under a life of this folder of which nothing more is known"
            self._review(lsn, found, entry.with_status(Status.REVIEW, MAYBE_COUNTED, why))
        else:
            self._waits(lsn, found, entry, place)

    def _was_further(self, space: str) -> bool:
        """Had the folder followed a space to where that goes on, of which it has lost the word?"""
        declared, number = declared_name(space), number_of(space)
        return any(declared_name(name) == declared and number_of(name) > number for name in self._met)

    def _unseen(self, lsn: int, entry: Entry) -> dict[Place, bytes | None]:
        """What says that nobody has looked at it yet since it was rejected."""
        key = keys.rejected_key(lsn)
        mark = self._remains.get(Family.META, key) if entry.status is Status.REJECTED else None
        return {} if mark is None else {(Family.META, key): mark}

    def _waits(self, lsn: int, found: Logged, entry: Entry, place: tuple[str, int]) -> None:
        """It goes out under the next life, unless the cloud has it."""
        self.report.undecided += 1
        writes = _kept(found.command.id, entry.with_status(Status.PENDING)) | _marks(lsn, found, Fate.UNKNOWN)
        raw = self._encoded(found)
        writes[Family.OUTBOX, keys.outbox_key(place[0], _NORMAL, place[1], lsn)] = keys.pack_number(len(raw))
        self._write(writes | {(Family.OPLOG, keys.lsn_key(lsn)): raw})

    def _parked(self, lsn: int, found: Logged, entry: Entry) -> None:
        """An earlier life has left it in the cloud, which may yet decide."""
        self.report.undecided += 1
        self._put(_kept(found.command.id, entry) | _marks(lsn, found, Fate.TAKEN), lsn, found)

    def _review(self, lsn: int, found: Logged, entry: Entry) -> None:
        self.report.review += 1
        writes = _kept(found.command.id, entry)
        writes[Family.META, keys.review_key(lsn)] = found.command.id.encode()
        self._put(writes, lsn, found)

    def _put(self, writes: dict[Place, bytes | None], lsn: int, found: Logged) -> None:
        self._write(writes | {(Family.OPLOG, keys.lsn_key(lsn)): self._encoded(found)})

    def _encoded(self, found: Logged) -> bytes:
        command = found.command
        replica = command.ops[0].op.replica if command.ops else next(iter(self._replicas), NOBODY)
        return encode_logged(command, "", replica, found.read, found.release)

    def _questions(self) -> None:
        """What the command log has besides: answers, and commands of which only the arguments are left."""
        for key, raw in self._remains.scan(Family.COMMANDS):
            try:
                entry, command_id = Entry.decode(raw), key.decode()
            except _UNREADABLE:
                continue
            if entry.lsn in self._numbers:
                continue
            if entry.status.final:
                self._answered(command_id, entry)
            elif entry.dots and entry.asked is not None:
                self._only_asked(command_id, entry)

    def _answered(self, command_id: str, entry: Entry) -> None:
        """A repeated key is answered as it was. One without a command in the op log is forgotten by its time."""
        self.report.decided += 1
        self._numbers.add(entry.lsn)
        self._write(
            _kept(command_id, entry._replace(lsn=0)) | {(Family.META, keys.answered_key(entry.at_ms, command_id)): b""}
        )

    def _only_asked(self, command_id: str, entry: Entry) -> None:
        scope = parse_document_key(entry.dots[0][0].encode()).scope
        command = Command(command_id, entry.name, scope, entry.at_ms << 16, ())
        self._numbers.add(entry.lsn)
        why = "what it changed cannot be read any more, only what was asked; it may have been counted"
        found = Logged(command, 0, -1, "")
        self._review(entry.lsn, found, entry.with_status(Status.REVIEW, CHANGES_LOST, why))

    # -- the rest

    def _rows(self) -> None:
        """Those that readers had, what stands in the place of evicted ones, and that they are to be read again."""
        served: dict[tuple[str, int], int] = {}
        for family, kind in ((Family.CONFIRMED, b""), (Family.UNREAD, b""), (Family.META, keys.EVICTED)):
            for key, value in self._remains.scan(family, kind):
                space, partition, generation = keys.parse_confirmed(key[len(kind) :])
                self._met.add(space)
                if space not in self._contract.spaces:
                    continue  # nobody would read again what lies under a name of before, or under one that is not reached yet
                place = (space, partition)
                if place not in served:
                    raw = self._remains.get(Family.META, keys.generation_key(*place))
                    served[place] = generation if raw is None else keys.unpack_number(raw)
                if generation == served[place]:
                    self.report.rows += 1
                    self._write({(family, key): value, **({(Family.META, keys.EVICTING): b""} if kind else {})})
        for (space, partition), generation in served.items():
            again = Return(generation + 1, "the folder was salvaged", False, self._wall_ms, Cursor())
            writes = generations.written(space, partition, again)
            self._write(writes | generations.serve(space, partition, generation))
        for family, key in self._remains.unreadable:
            if family is Family.CONFIRMED:
                self.report.refetched_count += 1
                if len(self.report.refetched) < NAMED:
                    self.report.refetched.append(keys.document_of_confirmed(key).decode(errors="replace"))

    def _meta(self) -> None:
        writes: dict[Place, bytes | None] = {(Family.META, keys.SALVAGED): b""}
        for key in _KEPT:
            if (value := self._remains.get(Family.META, key)) is not None:
                writes[Family.META, key] = value
        for prefix in (keys.LEFT, keys.GOING_UP, keys.DUE):
            writes.update(((Family.META, key), value) for key, value in self._remains.scan(Family.META, prefix))
        writes.update(self._followed())
        lives = self._lives()
        writes[Family.META, keys.LIVES] = json.dumps([asdict(life) for life in lives]).encode()
        for place, (_, replica) in self._last.items():
            raw = self._remains.get(Family.META, keys.chain_key(*place))
            chain = Chain(replica, fork=SALVAGED, over=() if raw is None else Chain.decode(raw).over)
            writes[Family.META, keys.chain_key(*place)] = chain.encode()
        stamp, number = keys.unpack_pair(self._remains.get(Family.META, keys.CLOCK))
        self.report.newest = max(number, *self._numbers, 0)
        writes[Family.META, keys.CLOCK] = keys.pack_pair(max(stamp, self._stamp), self.report.newest)
        self._write(writes)

    def _followed(self) -> dict[Place, bytes | None]:
        """Where its spaces go on. What was packed is there: the new folder has all by the new count."""
        writes: dict[Place, bytes | None] = {}
        counts = dict(self._counts())
        for space, move in self._moves.items():
            if move.stage is Stage.PACKED:
                move = move._replace(stage=Stage.THERE)
                counts[space] = ELSEWHERE
            writes.update(moves_written(space, move))
        return writes | (counts_written(counts) if counts else {})

    def _counts(self) -> Iterator[tuple[str, Count]]:
        """All lies by the counts that its spaces have now. Of names that a space may get again nothing is said."""
        spaces = self._contract.spaces
        declared = set(map(declared_name, spaces))
        for name, count in counts_of(self._remains).items():
            if name in spaces:
                yield name, count._replace(partitions=spaces[name].partitions)
            elif name in self._moves or declared_name(name) not in declared:
                yield name, count

    def _lives(self) -> list[Life]:
        """Those of the folder, and the one that begins with the new one."""
        raw = self._remains.get(Family.META, keys.LIVES)
        lives = [] if raw is None else [Life(**plain) for plain in json.loads(raw)]
        known = {life.replica for life in lives}
        by_age = sorted(self._replicas, key=lambda replica: self._replicas[replica])
        lives += [Life(replica, 0) for replica in by_age if replica not in known]
        if not lives:
            raise StoreDamaged(
                "nothing in the folder can be read, not even whose it is",
                "begin with an empty data_dir: the cloud has what it confirmed",
            )
        last = replace(lives[-1], replica=replica_id(device_of(lives[-1].replica), new_life()), since_ms=self._wall_ms)
        return [*lives, replace(last, why=SALVAGED, rebased=0, review=self.report.review)][-KEPT:]

    def _lost(self) -> None:
        """Commands that something speaks of and that cannot be read. Of older ones than all that can be read nothing speaks: they may have been forgotten as done,
        but for the newest, which are kept whatever became of them.
        """
        first, named = min(self._numbers, default=1), self._named()
        kept = max(1, self.report.newest - KEEP_LAST + 1)
        self.report.lost = runs(({*range(max(first, kept), self.report.newest + 1)} | named) - self._numbers)
        if kept < first:
            self.report.unknown = gaps(named, first)

    def _named(self) -> set[int]:
        """By what says that a command is not done."""
        found = {keys.parse_lsn(key) for key, _ in self._remains.scan(Family.OUTBOX)}
        found |= {keys.parse_lsn(key) for key, _ in self._remains.scan(Family.PENDING)}
        for key, raw in self._remains.scan(Family.SEALED):
            found |= set(Open.decode(key, raw).lsns)
        return found


def _kept(command_id: str, entry: Entry) -> dict[Place, bytes | None]:
    return {(Family.COMMANDS, command_id.encode()): entry.encode()}


def _marks(lsn: int, found: Logged, fate: Fate) -> dict[Place, bytes | None]:
    highest: dict[bytes, int] = {}
    for document, op in found.command.ops:
        highest[document_key(document)] = op.seq
    replica = found.command.ops[0].op.replica
    return {
        (Family.PENDING, keys.pending_key(key, lsn)): Mark(lsn, fate, replica, seq).encode()
        for key, seq in highest.items()
    }
