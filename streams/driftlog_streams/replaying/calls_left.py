"""What reactions had called for in a closed space and nobody has answered there: it is answered where the space goes on.

A change that a log has before its end was reacted to before the workers confirmed that end, and what it called for is in the logs by then (`core.emitting`): before
the end of the partition that it went to, or behind it, where nobody takes it. So what is left of a partition is what its row says that waits, and what stands
behind its end and is no repetition, in the order of the log. A call that a batch had answered before the end is in neither. What was written of
answers behind the end counts for nothing.

All of it becomes records of the successor's op logs, in the partitions that their commands have now, and its workers find it there before anything else. Their positions
lie below all that changes there can have, and so they are no repetitions, and make none.

What had failed and may be sent again is set aside there once more, and named open in the row. What a person has sent again behind the end is sent again there.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from operator import attrgetter

import structlog

from driftlog_schemas.batch_codec import decode_body
from driftlog_schemas.contract import Wanted
from driftlog_schemas.errors import Undecodable, UnknownSchema
from driftlog_schemas.identity import CLOUD, REACTION_REPLICA, DocumentId
from driftlog_schemas.messages import Call, ChainRow, Quarantined, Reactions
from driftlog_schemas.partitioning import partition_of
from driftlog_schemas.reacting import calls_bodies
from driftlog_schemas.row_columns import short_name
from driftlog_schemas.signing import Identity
from driftlog_streams.core.admission import Admitted, admit
from driftlog_streams.core.chain import NO_REACTIONS
from driftlog_streams.core.changelog_record import ChangelogRecord
from driftlog_streams.core.emitting import place_of
from driftlog_streams.core.reaction_book import MAX_OPEN, failures, repeated, with_taken
from driftlog_streams.core.rules import Devices, SpaceRules
from driftlog_streams.core.work import OutRecord
from driftlog_streams.errors import RecoveryFailed
from driftlog_streams.faust_driver.partition_store import PartitionStore
from driftlog_streams.reading.set_aside import Names, taken_off
from driftlog_streams.replaying.logs import Logs
from driftlog_streams.replaying.predecessors import Closed

log = structlog.get_logger()


@dataclass
class CallsLeft:
    """Of one closed space."""

    waiting: list[Call] = field(default_factory=list)
    """Commands that were called for, those of each partition in its order."""
    again: list[Call] = field(default_factory=list)
    """What had failed, and a person has sent again behind the end."""
    failed: list[tuple[Call, Quarantined]] = field(default_factory=list)
    """What may be sent again, as it was set aside."""

    def __bool__(self) -> bool:
        return bool(self.waiting or self.again or self.failed)


def calls_left(rules: SpaceRules, logs: Logs, devices: Devices, before: Sequence[Closed]) -> CallsLeft:
    """What is left in the partitions of a closed space; `rules` are its own, and its workers have confirmed the ends of its logs.

    Raises:
        RecoveryFailed: of what waits it cannot be read what it is.
        BrokerUnreachable
    """
    left = CallsLeft()
    for number, (store, ended_at) in enumerate(before):
        row = store.row(REACTION_REPLICA)
        known = NO_REACTIONS if row is None else rules.records.decode_chain_row(row).reactions
        _take_waiting(rules, logs, devices, left, number, ended_at, known)
        _take_failed(rules, logs, left, number, known)
        _take_unlisted(rules, logs, devices, left, number, known)
    return left


def _take_waiting(
    rules: SpaceRules, logs: Logs, devices: Devices, left: CallsLeft, number: int, ended_at: int, known: Reactions
) -> None:
    waiting, asked = dict(known.waiting), set[str]()
    for record in _records(logs, rules.topics.ops, number, min([ended_at + 1, *waiting])):
        first = waiting.pop(record.offset, None)
        if first is None and (record.offset <= ended_at or record.key != CLOUD.encode()):
            continue
        calls = _calls_of(record, number, rules, devices)
        if first is not None:
            if not calls:
                raise RecoveryFailed(
                    f"{rules.topics.ops}[{number}] at {record.offset} does not say any more what waits"
                )
            left.waiting += [call for call in calls[first:] if call.command]
        elif calls and calls[0].again:
            call = calls[0]
            if short_name(call.id) in known.open and call.id not in asked:
                asked.add(call.id)
                left.again.append(call)
        elif calls and (fresh := calls[repeated(known, calls) :]):
            left.waiting += fresh
            known = with_taken(known, fresh)
    for offset in waiting:
        log.error(
            "calls of reactions are lost: their record is gone from the op topic", partition=number, offset=offset
        )


def _take_failed(rules: SpaceRules, logs: Logs, left: CallsLeft, number: int, known: Reactions) -> None:
    kept: dict[str, tuple[Call, Quarantined]] = {}
    names = Names()
    for record in _records(logs, rules.topics.quarantine, number, 0) if known.open else ():
        if record.value is None:
            for name in taken_off(record):
                kept.pop(name, None)
            continue
        try:
            aside = rules.records.decode_quarantined(record.value)
            name = names.name(aside.offset, aside.record)
            react = (
                decode_body(rules.batches.open(aside.record).body).react if aside.replica == REACTION_REPLICA else None
            )
        except (Undecodable, UnknownSchema, ValueError):  # anybody's tool may write to a topic
            continue
        for call in () if react is None else react.calls[:1]:
            if short_name(call.id) in known.open:
                kept[name] = call, aside
    left.failed += {call.id: (call, aside) for call, aside in kept.values()}.values()


def _take_unlisted(
    rules: SpaceRules, logs: Logs, devices: Devices, left: CallsLeft, number: int, known: Reactions
) -> None:
    """What failed while the last worker did not know yet what it says, so that it has set nothing aside."""
    listed = {call.id for call, _ in left.failed}
    for offset, failed in groupby(known.unlisted, attrgetter("offset")):
        record = next(_records(logs, rules.topics.ops, number, offset), None)
        if record is None or record.offset != offset:
            log.error("a failed call is lost: its record is gone from the op topic", partition=number, offset=offset)
            continue
        if not (calls := _calls_of(record, number, rules, devices)):
            raise RecoveryFailed(f"{rules.topics.ops}[{number}] at {offset} does not say any more what has failed")
        for call, code, reason in failures(calls, failed):
            if call.id not in listed:
                aside = Quarantined(code, reason, number, offset, record.append_ms, REACTION_REPLICA, b"")
                left.failed.append((call._replace(again=True, position=0), aside))


def _records(logs: Logs, topic: str, partition: int, start: int) -> Iterator[ChangelogRecord]:
    for block in logs.blocks(topic, partition, start):
        yield from block


def _calls_of(record: ChangelogRecord, number: int, rules: SpaceRules, devices: Devices) -> tuple[Call, ...]:
    admission = admit(record.value, record.append_ms, number, rules, devices)
    react = admission.batch.react if isinstance(admission, Admitted) else None
    return () if react is None else react.calls


class Carried:
    """The same in the successor that `rules` are of, signed by the workers' `cloud`."""

    def __init__(self, rules: SpaceRules, cloud: Identity, left: CallsLeft) -> None:
        self._rules, self._cloud = rules, cloud
        self._waiting: dict[int, list[Call]] = {}
        for position, call in enumerate(left.waiting):
            place = _place(rules, call)
            self._waiting.setdefault(place, []).append(call._replace(source=place, position=position, again=False))
        self._again = [(_place(rules, call), call) for call in left.again]
        self._failed = [(_place(rules, call), call, aside) for call, aside in left.failed]

    def write_open(self, stores: Sequence[PartitionStore]) -> None:
        """Name in the rows of these, one for each partition, what may be sent again."""
        names: dict[int, dict[bytes, None]] = {}
        for place, call in (*((place, call) for place, call, _ in self._failed), *self._again):
            names.setdefault(place, {})[short_name(call.id)] = None
        for place, open_here in names.items():
            known = Reactions(open=tuple(open_here)[-MAX_OPEN:])
            row = ChainRow(CLOUD, REACTION_REPLICA, self._rules.name, place, 0, b"", 1, (), reactions=known)
            stores[place].write((), stores[place].mark, [(REACTION_REPLICA, self._rules.records.encode_chain_row(row))])

    def records(self) -> Iterator[OutRecord]:
        """What is set aside once more, and the first records of the op logs."""
        topics, key = self._rules.topics, CLOUD.encode()
        for number, (place, call, aside) in enumerate(self._failed):
            (record,) = self._sealed(place, [call])
            again = replace(aside, partition=place, offset=number, record=record)
            yield OutRecord(topics.quarantine, place, key, self._rules.records.encode_quarantined(again))
        for place, calls in self._waiting.items():
            for value in self._sealed(place, calls):
                yield OutRecord(topics.ops, place, key, value)
        for place, call in self._again:
            for value in self._sealed(place, [call]):
                yield OutRecord(topics.ops, place, key, value)

    def _sealed(self, place: int, calls: Iterable[Call]) -> Iterator[bytes]:
        there = [call._replace(source=place) for call in calls]
        return (self._rules.batches.seal(body, self._cloud) for body in calls_bodies(self._rules.name, place, there))


def _place(rules: SpaceRules, call: Call) -> int:
    """The partition that takes it: of its command, or where it is a reaction that failed, of its document."""
    arguments = json.loads(call.arguments)
    if not call.command:
        return partition_of(DocumentId(*arguments["document"]).scope, rules.partitions)
    try:
        return place_of(rules, Wanted(call.command, arguments))
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001  # the app's own: a worker meets it as well, wherever it is, and sets the call aside
        log.warning("where a call goes is not known", call=call.id, command=call.command, error=repr(error))
        return partition_of(call.id, rules.partitions)
