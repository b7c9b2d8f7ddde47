"""One space in one process: the Faust app, the agent that merges, the table, and what they share.

The order of a life: topics checked, schemas registered, the device registry read to its end; then Faust joins the group. On every
assignment the stores are recovered before anything is read. On every revocation what was begun is delivered and
acknowledged (`wait_empty`), and only then forgotten.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import structlog
from yarl import URL

from driftlog_schemas.asking import AskingClient
from driftlog_schemas.identity import CLOUD
from driftlog_schemas.signing import Identity
from driftlog_schemas.topics import of_generation
from driftlog_schemas.topics_admin import TopicsAdmin
from driftlog_streams.core.changelog_record import ChangelogRecord
from driftlog_streams.core.recovered import Recovered
from driftlog_streams.core.rules import SpaceRules
from driftlog_streams.errors import GenerationOver, SetupProblem
from driftlog_streams.faust_driver.broker_credentials import broker_credentials
from driftlog_streams.faust_driver.broker_time import BrokerTime
from driftlog_streams.faust_driver.fleet_watch import FleetWatch
from driftlog_streams.faust_driver.forgetter import Forgetter
from driftlog_streams.faust_driver.guard_watch import GuardWatch
from driftlog_streams.faust_driver.overrides import BoundedTables, FaustApp, PromptWorker
from driftlog_streams.faust_driver.owned_watch import OwnedWatch
from driftlog_streams.faust_driver.partition_store import PartitionStore, WorkerStore
from driftlog_streams.faust_driver.publisher import Publisher
from driftlog_streams.faust_driver.pulse import Pulse
from driftlog_streams.faust_driver.pump import MergePump
from driftlog_streams.faust_driver.reactor import Reactor
from driftlog_streams.faust_driver.recovery import ChangelogRecovery, topic_lives
from driftlog_streams.faust_driver.settler import Settler
from driftlog_streams.faust_driver.standby import Standby
from driftlog_streams.faust_driver.sudden_end import die
from driftlog_streams.faust_driver.table import CrdtTable
from driftlog_streams.faust_driver.topic_watch import TopicWatch
from driftlog_streams.reading.changelog_reader import ChangelogReader
from driftlog_streams.reading.device_words import DeviceWords
from driftlog_streams.reading.lately_heard import LatelyHeard
from driftlog_streams.reading.past_reader import PastReader
from driftlog_streams.reading.workers import KNOWS_ENDS
from driftlog_streams.registry.cloud_identity import KeyWatch
from driftlog_streams.registry.device_view import DeviceView
from driftlog_streams.settings import WorkerSettings
from driftlog_streams.telling.health import BEAT_SECONDS, Health
from driftlog_streams.telling.idle_spin import IdleSpin
from driftlog_streams.telling.logs import library_logs
from driftlog_streams.telling.metrics import WorkerMetrics

log = structlog.get_logger()

HEARTBEAT_SECONDS = 1.0
TAKE_OVER_SECONDS = 300.0
"""How long the group waits for a member that takes partitions over and lives, when another one joins meanwhile."""
LONGEST_TAKE_OVER_SECONDS = 24 * 3600.0
"""A member that reads nothing for longer leaves the group. Whether one stands still is `Pulse`'s and health's to notice."""


class WorkerHost:
    """Builds and runs the worker of one space."""

    def __init__(self, rules: SpaceRules, settings: WorkerSettings, slot: str, devices: DeviceView) -> None:
        """`devices` was read to its end: by it the generation of `rules` is in force."""
        self._rules = rules
        self._settings = settings
        self._folder = settings.data_dir / rules.name / slot
        (self._folder / "faust").mkdir(parents=True, exist_ok=True)
        self._slot = slot
        self.metrics = WorkerMetrics(rules.name)
        self.health = Health()
        self.health.generation = rules.topics.generation
        self.metrics.generation.set(rules.topics.generation)
        self._devices = devices
        self._cloud = rules.cloud
        self._key_watch = None if rules.cloud is None else KeyWatch(rules.cloud, reacting=rules.reacting)
        self._recovery = ChangelogRecovery(settings.kafka, rules, lambda: self._asking)
        self._store: WorkerStore | None = None
        self._recovered: dict[int, Recovered] = {}
        self._pulse: Pulse | None = None
        self._publisher: Publisher | None = None
        self._runner: asyncio.Task[None] | None = None
        self._filling = asyncio.Lock()
        """Held while stores are opened and recovered."""
        self.pump: MergePump | None = None
        self.app = self._faust_app()

    def run(self) -> None:
        """Until SIGTERM. Does not return: Faust's worker exits the process."""
        log.info("devices known", count=len(self._devices), generation=self._rules.topics.generation)
        (self._folder / "worker.pid").write_text(str(os.getpid()))
        self._pulse = Pulse(self._settings.session_timeout - 2 * HEARTBEAT_SECONDS)
        self._pulse.start()
        worker: Any = PromptWorker(
            self.app,
            lambda: self.health.owned is None,
            loglevel=logging.WARNING,
            quiet=True,
            stdout=sys.stderr,
            redirect_stdouts=False,
            logging_config=library_logs(),
        )
        logging.disable(logging.DEBUG)
        try:
            worker.work()
        except Exception as error:  # noqa: BLE001  # else it would be told by nothing but the exit code 1
            die(error)

    def _faust_app(self) -> FaustApp:
        settings, space, topics = self._settings, self._rules.space, self._rules.topics
        app = FaustApp(
            topics.group,
            broker=[URL(f"kafka://{address}") for address in settings.kafka.bootstrap.split(",")],
            broker_credentials=broker_credentials(settings.kafka),
            store="memory://",
            datadir=str(self._folder / "faust"),
            topic_partitions=space.partitions,
            topic_allow_declare=False,
            topic_disable_leader=True,
            web_enabled=False,
            key_serializer="raw",
            value_serializer="raw",
            consumer_auto_offset_reset="earliest",
            broker_client_id=KNOWS_ENDS,
            consumer_group_instance_id=f"{topics.group}-{self._slot}",
            broker_session_timeout=settings.session_timeout,
            broker_heartbeat_interval=HEARTBEAT_SECONDS,
            broker_commit_interval=1.0,
            broker_rebalance_timeout=TAKE_OVER_SECONDS,
            broker_max_poll_interval=LONGEST_TAKE_OVER_SECONDS,
            broker_request_timeout=max(40.0, settings.session_timeout * 2),
            stream_wait_empty=True,
            stream_recovery_delay=0.0,
            stream_buffer_maxsize=256,
            table_standby_replicas=0,
            Table=CrdtTable,
            TableManager=BoundedTables,
        )
        source = app.topic(
            topics.ops, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="raw",
            partitions=space.partitions,
        )  # fmt: skip
        CrdtTable.state_topic = topics.state
        table: Any = app.Table("state", key_type=bytes, value_type=bytes, partitions=space.partitions)
        table.host = self

        async def merge(stream: Any) -> None:
            await self._merge(stream)

        app.agent(source, name="merge", concurrency=1)(merge)
        revoked: Any = self._revoked
        app.on_partitions_revoked.connect(revoked, weak=False)
        return app

    # -- merging

    async def _merge(self, stream: Any) -> None:
        records = stream.noack()
        async for _ in records:
            event = records.current_event
            pump = self._working_pump()
            try:
                await pump.take(event)
                if pump.congested:
                    await pump.wait_room()
            except (asyncio.CancelledError, GeneratorExit):
                raise
            except BaseException as error:  # noqa: BLE001  # Faust would restart the agent past this record; a library in Rust may panic
                die(error)

    def _working_pump(self) -> MergePump:
        if self.pump is None:
            loop = asyncio.get_running_loop()
            assert self._pulse is not None
            self._publisher = Publisher(self._settings.kafka, self._settings.session_timeout, loop)
            self.pump = MergePump(
                self._rules,
                self._devices,
                self._publisher,
                self._pulse,
                self.metrics,
                self._changelogs(),
                self._settings.window_ms,
                self._require_times,
                GuardWatch(self._folder),
                self._settings.cache_mb << 20,
            )
            consumer: Any = self.app.consumer
            consumer.manual.add(self._rules.topics.ops)
            self.pump.consumer = consumer
            self._runner = loop.create_task(self._run_pump(self.pump))
        return self.pump

    @cached_property
    def _asking(self) -> AskingClient:
        """The one client for all questions. Faust's own keeps the password that it was made with, so a worker that is not let in ends, and the next process reads it anew."""
        return AskingClient(self._settings.kafka, ends_locked_out=True)

    @cached_property
    def _topics_admin(self) -> TopicsAdmin:
        return TopicsAdmin(self._settings.kafka, asking=self._asking)

    def _changelogs(self) -> ChangelogReader:
        return ChangelogReader(self._settings.kafka, self._asking)

    def _require_times(self) -> None:
        self._topics_admin.require_times([self._rules.topics.ops])

    async def _run_pump(self, pump: MergePump) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(pump.run())
                tasks.create_task(pump.mender.run())
                if self._cloud is not None and self._publisher is not None:
                    tasks.create_task(self._forgetter(pump, self._cloud, self._publisher).run())
                    tasks.create_task(self._settler(pump, self._cloud, self._publisher).run())
                    tasks.create_task(self._reactor(pump, self._cloud, self._publisher).run())
                if self._settings.standby:
                    tasks.create_task(self.standby(pump).run())
                tasks.create_task(self._fleet_watch(pump).run())
                tasks.create_task(self._owned_watch(pump).run())
                tasks.create_task(self._topic_watch().run())
                tasks.create_task(self._beat(pump))
        except BaseExceptionGroup as failed:  # a flight that cannot go on must stop everything
            die(failed.exceptions[0])

    def _forgetter(self, pump: MergePump, identity: Identity, publisher: Publisher) -> Forgetter:
        kafka = self._settings.kafka
        return Forgetter(
            self._rules,
            self._devices,
            identity,
            PastReader(kafka, self._rules.topics, self._asking),
            LatelyHeard(
                kafka, self._rules.records, lambda device: self._devices.find(device) is not None, self._asking
            ),
            self._topics_admin,
            publisher,
            pump.open_stores,
            pump.committed,
            pump.forgotten,
        )

    def _settler(self, pump: MergePump, identity: Identity, publisher: Publisher) -> Settler:
        kafka = self._settings.kafka
        told = BrokerTime(PastReader(kafka, self._rules.topics, self._asking), self._topics_admin, publisher)
        return Settler(self._rules, identity, told, publisher, pump.open_stores, pump.forgotten)

    def _fleet_watch(self, pump: MergePump) -> FleetWatch:
        kafka, rules = self._settings.kafka, self._rules

        def listen() -> DeviceWords:
            return DeviceWords(kafka, rules.records, rules.name, self._devices.find, self._asking)

        return FleetWatch(rules.space, listen, self.metrics, pump.open_stores)

    def _owned_watch(self, pump: MergePump) -> OwnedWatch:
        return OwnedWatch(
            self._rules.topics.ops,
            self._changelogs(),
            pump.open_stores,
            pump.committed,
            lambda: 0 if self._store is None else self._store.size,
            self.metrics,
        )

    def _topic_watch(self) -> TopicWatch:
        asker, topics = self._changelogs(), self._rules.topics
        return TopicWatch(lambda: self._recovery.topic_ids, lambda: topic_lives(asker, topics))

    def standby(self, pump: MergePump) -> Standby:
        """What keeps the stores of the partitions that are not ours."""
        partitions, taken = self._rules.space.partitions, self.metrics.kept_up.inc
        return Standby(self._recovery, partitions, pump.open_stores, self._opened, self._filling, taken)

    def _reactor(self, pump: MergePump, identity: Identity, publisher: Publisher) -> Reactor:
        return Reactor(self._rules, self._devices, identity, publisher, self._changelogs(), pump)

    async def _beat(self, pump: MergePump) -> None:
        spin = IdleSpin(BEAT_SECONDS)
        while True:
            self.health.beat()
            self._require_generation()
            self._require_key()
            spent = spin.beat(time.process_time(), pump.taken)
            if spent is not None and self.health.owned is not None:
                log.warning("busy without anything to do: does a client reconnect without pause?", cpu_seconds=spent)
                self.metrics.idle_spins.inc()
            await asyncio.sleep(BEAT_SECONDS)

    def _require_generation(self) -> None:
        """Whoever merges another generation than the one in force is read by nobody: the next life begins in that one."""
        own, name = self._rules.topics.generation, self._rules.name
        if (moved := self._devices.moved(name)) is not None:
            die(GenerationOver(f"{name} goes on with {moved.partitions} partitions in other topics"))
        merged = self._devices.generations(name).merged
        if merged != own:
            die(GenerationOver(f"the operator has put generation {merged} of {name} in force, after {own}"))

    def _require_key(self) -> None:
        """Before its end comes: what is signed after that is refused."""
        if self._key_watch is not None:
            try:
                self._key_watch.require(self._devices.find(CLOUD))
            except SetupProblem as error:
                die(error)

    # -- assignments

    async def take_over(self, partitions: list[int]) -> None:
        """Open and recover these partitions; the pump owns them from now on.

        What waits there is judged by how its device stood when it came, and whoever admitted it may have known more than we do.
        """
        pump = self._working_pump()
        loop = asyncio.get_running_loop()
        async with self._filling:
            began = time.monotonic()
            stores = await loop.run_in_executor(None, self._open, partitions, dict(pump.open_stores()))
            self._recovered = await loop.run_in_executor(None, self._recovery.recover, stores)
            records = sum(r.records for r in self._recovered.values())
            log.info("recovered", partitions=len(stores), records=records, seconds=round(time.monotonic() - began, 2))
            await pump.admitting.know_devices()
            devices = self._devices
            await loop.run_in_executor(None, self._recovery.without_false_ends, stores, devices, devices.catch_up)
            pump.assign(stores, self._recovered)
        self.health.owned = partitions
        self.metrics.recoveries.inc()
        self.metrics.recovered.inc(records)
        log.info("partitions", space=self._rules.name, slot=self._slot, partitions=partitions)

    def _open(self, partitions: list[int], opened: Mapping[int, PartitionStore]) -> dict[int, PartitionStore]:
        return {p: opened.get(p) or self._opened(p) for p in partitions}

    def _opened(self, partition: int) -> PartitionStore:
        if self._store is None:
            self._store = WorkerStore(self._folder / of_generation("states", self._rules.topics.generation))
        return self._store.partition(partition)

    def position(self, partition: int) -> int | None:
        """How far the partition's states are known: they were read when it was assigned, or are ours."""
        store = None if self.pump is None else self.pump.open_stores().get(partition)
        if store is None:
            return None
        known = max(store.mark.position, self._recovered[partition].read.states)
        return None if known < 0 else known

    def take_late(self, late: Mapping[int, list[ChangelogRecord]]) -> None:
        """Changelog records that somebody published while we recovered. Nothing is merged yet."""
        if self.pump is None:
            return
        try:
            for partition, records in late.items():
                store, recovered = self.pump.open_stores()[partition], self._recovered[partition]
                recovered.late.update(record.key for record in records)
                self._recovery.restoration.take(store, recovered, records)
                self._recovery.restoration.count(store, recovered)
            self.pump.assign(dict(self.pump.open_stores()), self._recovered)
        except Exception as error:  # noqa: BLE001  # called by Faust's recovery, which would only log it
            die(error)

    async def _revoked(self, app: Any, revoked: Any, **_: Any) -> None:
        self.health.owned = None
        try:
            if self.pump is not None:
                self.pump.revoke()
        except Exception as error:  # noqa: BLE001  # a signal's receiver: Faust would only log it
            die(error)
