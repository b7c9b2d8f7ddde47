"""`driftlog doctor`: what is wrong with this set-up, and how to mend it.

It looks at what a program would find when it starts: the cluster, its topics, the schema registry, the device registry and whom it believes; and
whether what was sent has somebody who merges it.
Each finding has a fact and a way out. What stops work or loses data is *wrong* and ends with exit code 1; what merely should be known is
a *note*. A check whose ground is missing (no broker: no topics) is left out, not guessed.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, NamedTuple

import typer
from confluent_kafka import KafkaException

from driftlog.cli.connected import connected
from driftlog.cli.drawing import emit, rows
from driftlog.cli.operator import trusted_root
from driftlog.cli.schemas import BREAKING, verdicts
from driftlog.cli.terminal import Json, told
from driftlog.cli.texts import moment
from driftlog.cli.topics import Planned
from driftlog.cli.unmerged import unmerged
from driftlog_schemas import avro_files, device_lines, topics
from driftlog_schemas.contract import AppContract
from driftlog_schemas.device_lines import DeviceLines
from driftlog_schemas.errors import BrokerUnreachable, ContractError, UnknownSchema
from driftlog_schemas.identity import CLOUD, NO_DEVICES
from driftlog_schemas.loading import load_contract
from driftlog_schemas.moves import declared_name, following_name, present_app
from driftlog_schemas.operator_keys import WARN_MS
from driftlog_schemas.public_key import key_text
from driftlog_schemas.record_codecs import RecordCodecs
from driftlog_schemas.registry import BRING_BACK, REMEDY, CachedRegistry
from driftlog_schemas.settings import ConnectionSettings
from driftlog_schemas.topics_admin import TopicsAdmin
from driftlog_streams.core.life_watch import MAX_LIVES
from driftlog_streams.errors import WorkerError
from driftlog_streams.reading.births import cloned_devices
from driftlog_streams.reading.fleet import fleet_of, read_heartbeats
from driftlog_streams.reading.followers import Behind, behind
from driftlog_streams.reading.workers import WorkerReader
from driftlog_streams.registry.device_view import DeviceView
from driftlog_streams.registry.in_force import devices_now

app = typer.Typer(no_args_is_help=False)

READ_SECONDS = 15.0
_HARMLESS = {device_lines.OLDER, device_lines.RETIRED}
"""What a rotation or two operators at once leave behind."""
_DISBELIEVED = {
    device_lines.UNTIMED: "run `driftlog topics apply --app ...`, then `driftlog operator rotate`",
    device_lines.UNKNOWN_SCHEMA: f"is this the registry that they were written with? If it was made anew: {BRING_BACK}",
}
"""Reasons that nobody else's writing has."""


class Finding(NamedTuple):
    """Something that should not be so, or should be known."""

    level: str
    """`wrong` or `note`"""
    what: str
    fact: str
    remedy: str


@app.callback(invoke_without_command=True)
@told
@connected
def doctor(
    target: Annotated[
        str | None, typer.Option("--app", envvar="DRIFTLOG_APP", help="MODULE:ATTRIBUTE of the app, for its topics.")
    ] = None,
    *,
    settings: ConnectionSettings,
    json: Json = False,
) -> None:
    """Say what is wrong with this set-up and how to mend it. Example: driftlog doctor --app shop:app"""
    contract = load_contract(target) if target is not None else None
    found = list(findings(settings, contract))
    lines = [(f.level, f.what, f.fact, f.remedy) for f in found]
    emit(
        [f._asdict() for f in found],
        as_json=json,
        table=lambda: rows("findings", ("", "what", "how it is", "what to do"), lines) if found else "nothing is wrong",
    )
    if any(f.level == "wrong" for f in found):
        raise typer.Exit(1)


def findings(settings: ConnectionSettings, contract: AppContract | None) -> Iterator[Finding]:
    """Everything there is to say."""
    registry_answers = True
    for finding in _registry(settings):
        registry_answers = registry_answers and finding.level != "wrong"
        yield finding
    try:
        there = TopicsAdmin(settings.kafka).existing([topics.DEVICES])
    except BrokerUnreachable as error:
        yield Finding("wrong", "cluster", str(error), error.remedy)
        return
    yield from _cluster(settings)
    if contract is not None:
        yield from _topics(settings, contract)
        if registry_answers:
            yield from _schemas(settings, contract)
    if topics.DEVICES not in there:
        yield Finding("wrong", topics.DEVICES, "the topic does not exist", "run `driftlog topics apply --app ...`")
    elif registry_answers:
        yield from _devices(settings)
        if contract is not None:
            yield from _merging(settings, contract)


def _registry(settings: ConnectionSettings) -> Iterator[Finding]:
    with tempfile.TemporaryDirectory() as cache:
        try:
            CachedRegistry(settings.registry, Path(cache)).id_of(avro_files.text("signed_line"))
        except UnknownSchema as error:
            remedy = f"if nothing was written yet, run `driftlog topics apply --app ...`; else {BRING_BACK}"
            yield Finding("wrong", "schema registry", str(error), remedy)
        except ContractError as error:
            yield Finding("wrong", "schema registry", str(error), error.remedy)


def _schemas(settings: ConnectionSettings, contract: AppContract) -> Iterator[Finding]:
    """What `driftlog schemas check` would refuse."""
    try:
        found = verdicts(contract, settings.registry)
    except ContractError as error:
        yield Finding("wrong", "schemas", str(error), error.remedy)
        return
    for name, verdict in found.items():
        if verdict.changes:
            yield Finding("wrong", name, f"its meaning changes: {'; '.join(verdict.changes)}", REMEDY)
        elif not verdict.compatible:
            yield Finding("wrong", name, "it would break readers", BREAKING)


def _cluster(settings: ConnectionSettings) -> Iterator[Finding]:
    cluster = TopicsAdmin(settings.kafka).cluster()
    if cluster.brokers == 1:
        yield Finding(
            "note",
            f"{cluster}",
            "it has one broker: with its disk everything is lost",
            "use three for anything that matters",
        )
    if not settings.kafka.encrypted and not _all_loopback(settings.kafka.bootstrap):
        yield Finding(
            "note", f"{cluster}", "it is spoken to in the clear", "set kafka.security_protocol to ssl or sasl_ssl"
        )


def _all_loopback(bootstrap: str) -> bool:
    hosts = [address.rpartition(":")[0] for address in bootstrap.split(",")]
    return all(host in ("localhost", "[::1]") or host.startswith("127.") for host in hosts)


def _topics(settings: ConnectionSettings, contract: AppContract) -> Iterator[Finding]:
    made = Planned.of(contract, settings.kafka)
    apply = "run `driftlog topics apply --app ...`"
    for refusal in made.plan.refuse:
        yield Finding("wrong", refusal.topic, refusal.fact, refusal.remedy)
    for topic in made.plan.create:
        yield Finding("wrong", topic.name, "the topic does not exist", apply)
    for change in made.plan.alter:
        for name, (have, want) in change.settings.items():
            yield Finding("wrong", change.topic, f"{name} is {have or 'unset'}, it must be {want}", apply)
    for left in made.plan.leave:
        yield Finding("wrong", left.topic, left.fact, left.remedy)


def _merging(settings: ConnectionSettings, contract: AppContract) -> Iterator[Finding]:
    there = TopicsAdmin(settings.kafka).partition_counts()
    with tempfile.TemporaryDirectory() as cache:
        codecs = RecordCodecs(CachedRegistry(settings.registry, Path(cache)))
        try:
            lines = devices_now(settings.kafka, codecs, trusted_root(settings))
            now = present_app(contract, lines.moved).spaces.values()
            laid = [s for s in now if there.get(topics.ops_topic(s.name)) == s.partitions]
            found = {s.name: unmerged(settings.kafka, s, lambda name: lines.generations(name).merged) for s in laid}
        except (BrokerUnreachable, WorkerError) as error:
            yield Finding("wrong", "workers", str(error), error.remedy)
            return
    for name, waiting in found.items():
        if waiting.records:
            yield Finding(
                "wrong",
                f"workers of {name}",
                f"{waiting.records} op records wait in partitions that no worker owns: {', '.join(map(str, waiting.partitions))}",
                "start one: `driftlog worker --app ...`; or see the last `worker ends` in their logs, which says what to do",
            )


def _merging_before(settings: ConnectionSettings, lines: DeviceLines) -> Iterator[Finding]:
    """Workers that merge behind the ends of logs, for they know of none."""
    reader = WorkerReader(settings.kafka, lambda name: lines.generations(name).merged)
    for space, to in sorted(lines.moves().items()):
        try:
            members = reader.look(space)
        except KafkaException as error:
            yield Finding(
                "wrong", f"workers of {space}", f"who is there cannot be told: {error}", "see the broker's log"
            )
            continue
        if old := [f"{worker.name} on {worker.host}" for worker in members if not worker.knows_ends]:
            yield Finding(
                "wrong",
                f"workers of {space}",
                f"the space has moved to {following_name(space, to.number)}, and a release that does not know of that merges here what nobody reads: {', '.join(old)}",
                "end them, and start workers of this release; devices that send there need a newer release, too (docs/repartitioning.md)",
            )


def _left_behind(settings: ConnectionSettings, lines: DeviceLines, codecs: RecordCodecs) -> list[Behind]:
    """Moves that devices have not followed yet, as they say."""
    moves = lines.moves()
    if not moves or topics.HEARTBEATS not in TopicsAdmin(settings.kafka).partition_counts():
        return []
    devices = [device for device in lines.all() if device.device_id not in NO_DEVICES]
    members = fleet_of(devices, read_heartbeats(settings.kafka, codecs), ())
    return [one for one in behind(members, moves) if one.devices]


def _devices(settings: ConnectionSettings) -> Iterator[Finding]:
    root = trusted_root(settings)
    with tempfile.TemporaryDirectory() as cache:
        codecs = RecordCodecs(CachedRegistry(settings.registry, Path(cache)))
        view = DeviceView(settings.kafka, codecs, root)
        try:
            view.start(READ_SECONDS)
            lines = view.lines
            cloned = cloned_devices(settings.kafka, codecs)
            left = _left_behind(settings, lines, codecs)
        except WorkerError as error:
            yield Finding("wrong", topics.DEVICES, str(error), error.remedy)
            return
        finally:
            view.close()
    if lines.find(CLOUD) is None:
        yield Finding(
            "note",
            "forgetting",
            "nothing is forgotten: what was deleted and who is gone is kept for ever, what waits for another change waits without end, and no deadline ends a conflict",
            "run `driftlog devices enrol-cloud`, and give its file to every worker with --cloud-identity",
        )
    for reason, count in sorted(lines.ignored.items()):
        yield Finding(
            "note" if reason in _HARMLESS else "wrong",
            topics.DEVICES,
            f"{count} records are not believed: {reason}",
            _DISBELIEVED.get(reason, "see who may write this topic; let only the operator"),
        )
    for space, now in lines.under_way().items():
        yield Finding(
            "wrong",
            f"space {space}",
            f"the switch from generation {now.read} of its read model to {now.merged} is not finished: readers get nothing new",
            f"run `driftlog replay --app ... --space {space} --to-generation {now.merged}`, or {now.read} to take it back",
        )
    for space, count in lines.moving().items():
        yield Finding(
            "wrong",
            f"space {space}",
            f"it is being given {count} partitions, and that is not finished: what devices write waits with them",
            f"run `driftlog topics repartition --app ... --space {declared_name(space)} --partitions {count} --yes`, which goes on",
        )
    yield from _merging_before(settings, lines)
    for one in left:
        yield Finding(
            "note",
            f"topics {one.space}.*",
            f"devices that have not followed the space to {one.goes_on}, and need what is there: {len(one.devices)}",
            "keep them; `driftlog fleet moves` names the devices (docs/repartitioning.md)",
        )
    for name in sorted(lines.covered):
        yield Finding(
            "wrong",
            f"device {name}",
            "its line was written over by somebody else",
            "start a worker: it puts the line back",
        )
    for name, at in sorted(cloned.items()):
        yield Finding(
            "note",
            f"device {name}",
            f"it began more than {MAX_LIVES} lives within an hour, the last one at {moment(at)}",
            f"see whether its folder or identity file was copied; if so: `driftlog devices enrol {name}`",
        )
    if settings.trust.root is None and lines.root is not None:
        yield Finding(
            "note",
            "trust.root",
            "no root is pinned: the first that is met is believed",
            f'write root = "{key_text(lines.root)}" under [trust], if that is yours',
        )
    if lines.operator_until_ms and lines.operator_until_ms < time.time_ns() // 1_000_000 + WARN_MS:
        yield Finding(
            "note",
            "operator",
            f"its certificate counts until {moment(lines.operator_until_ms)}",
            "run `driftlog operator rotate`",
        )
