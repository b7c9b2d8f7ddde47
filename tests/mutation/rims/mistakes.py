"""Plausible mistakes in the rims: what a careless hand might write there, and the tests that must notice.

A mistake is a text in a file and another in its place. `tests/mutation/test_rim_mistakes.py` says in every run whether the text is
still there; whoever changes such a line changes the mistake with it, and runs `make mistakes`.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[3]


class Mistake(NamedTuple):
    """One of them."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    @property
    def path(self) -> Path:
        return ROOT / self.file

    @property
    def module(self) -> str:
        return ".".join(Path(*Path(self.file).parts[1:]).with_suffix("").parts)

    def source(self) -> str:
        """The module with the mistake in it."""
        return self.path.read_text().replace(self.old, self.new)


DRIVER = "streams/driftlog_streams/faust_driver"
READING = "streams/driftlog_streams/reading"
CORE = "streams/driftlog_streams/core"
EDGE = "edge_agents/driftlog_edge"
SCHEMAS = "schemas/driftlog_schemas"

WORKER_TESTS = "tests/unit/streams/driver"
PUBLISHER = (f"{WORKER_TESTS}/test_publisher.py",)
COMMITS = (f"{WORKER_TESTS}/test_commit_position.py",)
GATE = (f"{WORKER_TESTS}/test_order_gate.py",)
FLIGHTS = (f"{WORKER_TESTS}/test_flights.py",)
RECOVERY = (f"{WORKER_TESTS}/test_recovery.py",)
MENDING = ("tests/unit/streams/test_mending.py",)
STORE = (f"{WORKER_TESTS}/test_partition_store.py",)
DEVICES = (f"{WORKER_TESTS}/test_device_view.py",)
VOUCHING = (f"{WORKER_TESTS}/test_vouching.py",)
SHIPPING = ("tests/unit/edge/rim/test_shipping.py",)
ASKING = ("tests/unit/edge/rim/test_asker.py",)
FEED = ("tests/unit/edge/rim/test_feed.py",)

MISTAKES: tuple[Mistake, ...] = (
    # -- the worker's producer
    Mistake(
        "worker: acknowledged by the leader alone",
        f"{DRIVER}/publisher.py",
        '"enable.idempotence": True,\n                "acks": "all",',
        '"acks": 1,',
        PUBLISHER,
    ),
    Mistake("worker: idempotence off", f"{DRIVER}/publisher.py", '"enable.idempotence": True,', "", PUBLISHER),
    Mistake(
        "worker: messages outlive the session",
        f"{DRIVER}/publisher.py",
        "int(timeout_seconds * 1000)",
        "int(timeout_seconds * 10_000)",
        PUBLISHER,
    ),
    Mistake(
        "worker: a message's timeout in seconds, not milliseconds",
        f"{DRIVER}/publisher.py",
        "int(timeout_seconds * 1000)",
        "int(timeout_seconds)",
        PUBLISHER,
    ),
    Mistake(
        "worker: a failed message counts as delivered",
        f"{DRIVER}/publisher.py",
        "if report.error is None:\n                    loop",
        "if True:\n                    loop",
        PUBLISHER,
    ),
    Mistake(
        "worker: a stage is delivered with its first message",
        f"{DRIVER}/publisher.py",
        "if report.left == 0:",
        "if report.left == len(records) - 1:",
        PUBLISHER,
    ),
    Mistake(
        "worker: headers are left out", f"{DRIVER}/publisher.py", "headers=headers or None", "headers=None", PUBLISHER
    ),
    Mistake(
        "worker: a full queue drops the message",
        f"{DRIVER}/publisher.py",
        "time.sleep(0.005)",
        "break",
        PUBLISHER,
    ),
    Mistake(
        "worker: closing does not flush", f"{DRIVER}/publisher.py", "self._producer.flush(seconds)", "pass", PUBLISHER
    ),
    Mistake(
        "worker: key and value change places",
        f"{DRIVER}/publisher.py",
        "produce(topic, value, key, partition",
        "produce(topic, key, value, partition",
        PUBLISHER,
    ),
    # -- the commit position
    Mistake(
        "worker: commits one too many",
        f"{DRIVER}/overrides.py",
        "= message.offset + 1\n        self._n",
        "= message.offset + 2\n        self._n",
        COMMITS,
    ),
    Mistake(
        "worker: commits one too few",
        f"{DRIVER}/overrides.py",
        "= message.offset + 1\n        self._n",
        "= message.offset\n        self._n",
        COMMITS,
    ),
    Mistake(
        "worker: Faust's commit position is used",
        f"{DRIVER}/overrides.py",
        "if tp.topic in self.manual:\n            return self._done.get(tp)",
        "if False:\n            return self._done.get(tp)",
        COMMITS,
    ),
    Mistake(
        "worker: an acknowledgement commits",
        f"{DRIVER}/overrides.py",
        "            message.acked = True\n",
        "            message.acked = True\n            self._done[message.tp] = message.offset + 1\n",
        COMMITS,
    ),
    Mistake(
        "worker: a record of an older generation is done",
        f"{DRIVER}/overrides.py",
        "if message.generation_id != self.app.consumer_generation_id:",
        "if False:",
        COMMITS,
    ),
    Mistake("worker: positions survive a rebalance", f"{DRIVER}/overrides.py", "self._done.clear()", "pass", COMMITS),
    Mistake(
        "worker: positions are not offered for commit",
        f"{DRIVER}/overrides.py",
        "for tp in list(self._done):",
        "for tp in ():",
        COMMITS,
    ),
    Mistake(
        "worker: waits for ever for acknowledgements",
        f"{DRIVER}/overrides.py",
        "asyncio.wait([task], timeout=DRAIN_SECONDS)",
        "asyncio.wait([task])",
        COMMITS,
    ),
    # -- the order gate
    Mistake(
        "worker: the order gate is off",
        f"{DRIVER}/overrides.py",
        "if tp.topic in self.manual and not await self._is_next(tp, message.offset):",
        "if False:",
        GATE,
    ),
    Mistake(
        "worker: records pass before the seek",
        f"{DRIVER}/overrides.py",
        "if self._sought_generation != self.app.consumer_generation_id:",
        "if False:",
        GATE,
    ),
    Mistake(
        "worker: the seek of an older generation opens the gate",
        f"{DRIVER}/overrides.py",
        "        if generation != self.app.consumer_generation_id:\n            return\n        for tp in mine:",
        "        generation = self.app.consumer_generation_id\n        for tp in mine:",
        GATE,
    ),
    Mistake("worker: a hole is accepted", f"{DRIVER}/overrides.py", "if offset > expected:", "if False:", GATE),
    Mistake(
        "worker: a stale prefetch is dropped and not sought again",
        f"{DRIVER}/overrides.py",
        "await self.seek(tp, expected)",
        "pass",
        GATE,
    ),
    Mistake(
        "worker: a gap that closed is remembered",
        f"{DRIVER}/overrides.py",
        "self._holes.pop(tp, None)",
        "pass",
        GATE,
    ),
    Mistake(
        "worker: a record may pass twice",
        f"{DRIVER}/overrides.py",
        "or offset < expected:",
        "or offset < expected - 1:",
        GATE,
    ),
    Mistake(
        "worker: a seek in mid-generation repeats what was done",
        f"{DRIVER}/overrides.py",
        "max(position, self._done.get(tp, 0))",
        "position",
        GATE,
    ),
    Mistake(
        "worker: an uncommitted partition begins at zero",
        f"{DRIVER}/overrides.py",
        "first.get(tp) or 0",
        "0",
        GATE,
    ),
    Mistake(
        "worker: a full agent queue holds up a rebalance",
        f"{DRIVER}/overrides.py",
        "and not self._congested(tp):",
        "and True:",
        GATE,
    ),
    # -- flights
    Mistake(
        "worker: a flight that was not delivered is ignored",
        f"{DRIVER}/pump.py",
        'die(DeliveryFailed(f"the broker did not take a flight: {error}"))',
        "delivered({})",
        FLIGHTS,
    ),
    Mistake(
        "worker: partitions are given up with flights under way",
        f"{DRIVER}/pump.py",
        "        if len(self._deck):\n",
        "        if False:\n",
        FLIGHTS,
    ),
    Mistake(
        "worker: the mark says the flight's states before they are in",
        f"{DRIVER}/partition_store.py",
        "        batch.put(prefix + _META, mark.encode())\n",
        "        early = WriteBatch(raw_mode=True)\n        early.put(prefix + _META, mark.encode())\n        self._db.write(early, self._write)\n",
        STORE,
    ),
    Mistake(
        "worker: the mark moves although the write failed",
        f"{DRIVER}/partition_store.py",
        "        batch, prefix = WriteBatch(raw_mode=True), self._prefix\n",
        "        self.mark = mark\n        batch, prefix = WriteBatch(raw_mode=True), self._prefix\n",
        STORE,
    ),
    Mistake(
        "worker: the mark is not kept",
        f"{DRIVER}/partition_store.py",
        "        batch.put(prefix + _META, mark.encode())\n",
        "",
        STORE,
    ),
    Mistake(
        "worker: a deleted state stays",
        f"{DRIVER}/partition_store.py",
        "                batch.delete(prefix + key)\n",
        "                pass\n",
        STORE,
    ),
    Mistake("worker: the pulse is not felt", f"{DRIVER}/pump.py", "self._pulse.check()", "pass", FLIGHTS),
    Mistake(
        "worker: an event of an older assignment is merged",
        f"{DRIVER}/pump.py",
        "or message.generation_id != self.consumer.app.consumer_generation_id:",
        "or False:",
        FLIGHTS,
    ),
    Mistake(
        "worker: a gap in the offsets is merged over",
        f"{DRIVER}/pump.py",
        "if following is not None and offset != following:",
        "if following is not None and offset < following:",
        FLIGHTS,
    ),
    Mistake(
        "worker: acknowledged, and never committed",
        f"{DRIVER}/pump.py",
        "self.consumer.mark_done(event.message)",
        "pass",
        FLIGHTS,
    ),
    Mistake(
        "worker: committed, and never acknowledged",
        f"{DRIVER}/pump.py",
        "                event.ack()\n                self.consumer",
        "                self.consumer",
        (*FLIGHTS, *COMMITS),
    ),
    Mistake(
        "worker: the append time is cut to seconds",
        f"{DRIVER}/append_time.py",
        "return round(timestamp * 1000)",
        "return int(timestamp) * 1000",
        FLIGHTS,
    ),
    Mistake(
        "worker: an unknown device is refused unasked",
        f"{DRIVER}/pump.py",
        "and admission.code in UNKNOWN",
        "and False",
        FLIGHTS,
    ),
    Mistake(
        "worker: what is merged grows without bound",
        f"{DRIVER}/pump.py",
        "or gathered.sources >= MAX_SOURCES or",
        "or",
        FLIGHTS,
    ),
    Mistake(
        "worker: what a store raises is only logged",
        f"{DRIVER}/pump.py",
        "            except Exception as error:  # noqa: BLE001  # what a callback raises the loop only logs: a store that took nothing\n                die(error)",
        "            finally:\n                pass",
        FLIGHTS,
    ),
    Mistake(
        "worker: a defect in the agent is Faust's to handle",
        f"{DRIVER}/host.py",
        "            except Exception as error:  # noqa: BLE001  # Faust would restart the agent past this record\n                die(error)",
        "            finally:\n                pass",
        FLIGHTS,
    ),
    # -- recovery
    Mistake(
        "worker: what was parked is not restored",
        f"{DRIVER}/pump.py",
        "for parked in found.parked:",
        "for parked in ():",
        RECOVERY,
    ),
    Mistake(
        "worker: what waits no more is restored",
        f"{DRIVER}/recovery.py",
        "waiting[partition].pop(record.key, None)",
        "pass",
        RECOVERY,
    ),
    Mistake(
        "worker: a zombie's late state is put over the newer one",
        f"{CORE}/restoration.py",
        "            if number < highest:",
        "            if False:",
        RECOVERY,
    ),
    Mistake(
        "worker: a joined state is not published again",
        f"{CORE}/restoration.py",
        "                if kept != value:\n                    recovered.stale[key] = begin\n",
        "",
        RECOVERY,
    ),
    Mistake(
        "worker: stale documents are not published",
        f"{DRIVER}/pump.py",
        "for key in sorted(found.stale):",
        "for key in ():",
        RECOVERY,
    ),
    Mistake("worker: a foreign state is taken", f"{CORE}/restoration.py", "if number < 0:", "if False:", RECOVERY),
    Mistake(
        "worker: rows are not kept",
        f"{DRIVER}/partition_store.py",
        "batch.put(prefix + _row_key(replica), row)",
        "pass",
        STORE,
    ),
    Mistake(
        "worker: rows are not read from the topic",
        f"{DRIVER}/recovery.py",
        "self._read_rows(consumer, stores, result)",
        "pass",
        RECOVERY,
    ),
    Mistake(
        "worker: a late row is put over the newer one",
        f"{CORE}/restoration.py",
        "and later(stored, found) is stored",
        "and False",
        RECOVERY,
    ),
    Mistake(
        "worker: the store says that it has rows of flights that are still under way",
        f"{DRIVER}/mender.py",
        "whole = alone or topic != self._receipts_topic",
        "whole = True",
        MENDING,
    ),
    Mistake(
        "worker: a store may go back",
        f"{CORE}/store_mark.py",
        '        assert to.states >= self.position, f"a store never goes back: {self.position} -> {to.states}"\n',
        "",
        STORE,
    ),
    Mistake(
        "worker: holes before the end are waited for",
        f"{READING}/topic_reading.py",
        "elif error.code() == KafkaError._PARTITION_EOF:",
        "elif False:",
        RECOVERY,
    ),
    Mistake(
        "worker: holes before the end are not counted as read",
        f"{DRIVER}/recovery.py",
        "for partition, position in block.read_to.items():\n                self.restoration.ended(stores[partition], result[partition], Positions(states=position - 1))",
        "pass",
        RECOVERY,
    ),
    Mistake(
        "worker: a topic that was made anew is read from its end",
        f"{READING}/topic_reading.py",
        "if start > high:",
        "if False:",
        RECOVERY,
    ),
    Mistake(
        "worker: recovery reads the store's last record again",
        f"{DRIVER}/recovery.py",
        "found.read.states + 1 for p",
        "found.read.states for p",
        (*STORE, *RECOVERY),
    ),
    Mistake(
        "worker: recovery begins behind a record",
        f"{DRIVER}/recovery.py",
        "found.read.states + 1 for p",
        "found.read.states + 2 for p",
        (*STORE, *RECOVERY),
    ),
    Mistake(
        "worker: what came during recovery is lost", f"{DRIVER}/table.py", "self.host.take_late(late)", "pass", RECOVERY
    ),
    Mistake(
        "worker: a range that is looked at holds what came after it",
        f"{READING}/changelog_reader.py",
        "if record.offset < offsets.stop]",
        "]",
        RECOVERY,
    ),
    Mistake(
        "worker: recovery commits for the group",
        f"{DRIVER}/recovery.py",
        '"enable.auto.commit": False,\n',
        "",
        RECOVERY,
    ),
    Mistake(
        "worker: nobody ends the group of a worker that was cut off",
        f"{DRIVER}/mender.py",
        "                self._end_groups()\n",
        "",
        (*MENDING, *RECOVERY),
    ),
    Mistake(
        "worker: a store passes what is not answered yet",
        f"{DRIVER}/mender.py",
        "return known if answer is None else known.before(answer.settled)",
        "return known",
        MENDING,
    ),
    Mistake(
        "worker: a store passes a group that nobody has ended",
        f"{DRIVER}/mender.py",
        "known = known.before(known._replace(states=start - 1))",
        "pass",
        MENDING,
    ),
    Mistake(
        "worker: a late record of a conflict is left as it is",
        f"{DRIVER}/pump.py",
        "merger.heard_conflict(key, value)",
        "pass",
        RECOVERY,
    ),
    Mistake(
        "worker: what is reported without an offset is delivered",
        f"{DRIVER}/publisher.py",
        "if error is None and offset is not None and offset >= 0:",
        "if error is None:",
        PUBLISHER,
    ),
    # -- the device registry
    Mistake(
        "worker: the registry is read from its second line",
        "streams/driftlog_streams/registry/device_view.py",
        "TopicPartition(topics.DEVICES, _PARTITION, 0)",
        "TopicPartition(topics.DEVICES, _PARTITION, 1)",
        DEVICES,
    ),
    Mistake(
        "worker: the registry's end is not waited for",
        "streams/driftlog_streams/registry/device_view.py",
        "while self._position < high:",
        "while False:",
        DEVICES,
    ),
    Mistake(
        "worker: catching up stops one record early",
        "streams/driftlog_streams/registry/device_view.py",
        "self._reached(offset + 1)",
        "self._reached(offset + 2)",
        DEVICES,
    ),
    Mistake(
        "worker: knowledge of the registry never grows old",
        "streams/driftlog_streams/registry/device_view.py",
        "return time.monotonic() - self._known_at < NOTICE_MS / 1000",
        "return True",
        DEVICES,
    ),
    Mistake(
        "worker: a line that was written over is not put back",
        "streams/driftlog_streams/registry/device_view.py",
        "self._producer.produce(topics.DEVICES, line.value, name.encode(), _PARTITION)",
        "pass",
        DEVICES,
    ),
    Mistake(
        "worker: batches are admitted with knowledge that is too old",
        f"{DRIVER}/pump.py",
        "if not self._devices.vouches:",
        "if False:",
        VOUCHING,
    ),
    Mistake(
        "worker: a stranger is refused without asking",
        f"{DRIVER}/pump.py",
        "if not self._doubts.settled(message.tp, message.offset):",
        "if False:",
        FLIGHTS,
    ),
    Mistake(
        "worker: every stranger costs a question",
        f"{DRIVER}/pump.py",
        "if not self._doubts.settled(message.tp, message.offset):",
        "if True:",
        VOUCHING,
    ),
    Mistake(
        "worker: a writer's own time is believed",
        f"{DRIVER}/append_time.py",
        "return bool(message.timestamp_type == LOG_APPEND_TIME)",
        "return True",
        VOUCHING,
    ),
    # -- the edge's clients
    Mistake(
        "edge: acknowledged by the leader alone",
        f"{EDGE}/link/kafka_rim.py",
        '"enable.idempotence": True,\n                "acks": "all",',
        '"acks": 1,',
        SHIPPING,
    ),
    Mistake("edge: idempotence off", f"{EDGE}/link/kafka_rim.py", '"enable.idempotence": True,', "", SHIPPING),
    Mistake(
        "edge: a long outage drops what is queued",
        f"{EDGE}/link/kafka_rim.py",
        '"message.timeout.ms": 0,',
        '"message.timeout.ms": 300_000,',
        SHIPPING,
    ),
    Mistake(
        "edge: a refused batch counts as delivered",
        f"{EDGE}/link/kafka_rim.py",
        "self._delivered(batch, None if error is None else str(error))",
        "self._delivered(batch, None)",
        SHIPPING,
    ),
    Mistake(
        "edge: a closed client goes on sending",
        f"{EDGE}/link/kafka_rim.py",
        "self._producer.purge()",
        "self._producer.flush(0.2)",
        SHIPPING,
    ),
    Mistake(
        "edge: closing does not wait", f"{EDGE}/link/kafka_rim.py", "self._producer.flush(seconds)", "pass", SHIPPING
    ),
    Mistake(
        "edge: a full client is an error of its own",
        f"{EDGE}/link/kafka_rim.py",
        'except (KafkaException, BufferError) as error:\n            raise Unreachable(f"the client',
        'except KafkaException as error:\n            raise Unreachable(f"the client',
        SHIPPING,
    ),
    Mistake(
        "edge: the end of a heartbeat is not told",
        f"{EDGE}/link/kafka_rim.py",
        "_told(self._loop, done)",
        "pass",
        SHIPPING,
    ),
    Mistake(
        "edge: every batch goes to partition 0",
        f"{EDGE}/link/kafka_rim.py",
        "self._produce(batch.topic, batch.partition, batch.key",
        "self._produce(batch.topic, 0, batch.key",
        SHIPPING,
    ),
    Mistake(
        "edge: the feed begins where the topic ends",
        f"{EDGE}/link/kafka_rim.py",
        "TopicPartition(t, p, at or OFFSET_BEGINNING) for (t, p), at in",
        "TopicPartition(t, p) for (t, p), at in",
        FEED,
    ),
    Mistake(
        "edge: the feed begins one further",
        f"{EDGE}/link/kafka_rim.py",
        "TopicPartition(t, p, at or OFFSET_BEGINNING) for (t, p), at in",
        "TopicPartition(t, p, at + 1) for (t, p), at in",
        FEED,
    ),
    Mistake(
        "edge: removed records are jumped to the end over",
        f"{EDGE}/link/kafka_rim.py",
        '"auto.offset.reset": "error"',
        '"auto.offset.reset": "latest"',
        FEED,
    ),
    Mistake(
        "edge: where the log has lost what follows, the feed goes on at its beginning",
        f"{EDGE}/link/kafka_rim.py",
        '"auto.offset.reset": "error"',
        '"auto.offset.reset": "earliest"',
        FEED,
    ),
    Mistake(
        "edge: what was never read is begun at offset 0, which the log may have lost",
        f"{EDGE}/link/kafka_rim.py",
        "at or OFFSET_BEGINNING",
        "at",
        FEED,
    ),
    Mistake(
        "edge: nobody hears that the log has lost what follows",
        f"{EDGE}/link/kafka_rim.py",
        "                lost.add(place)\n",
        "                pass\n",
        FEED,
    ),
    Mistake(
        "edge: every connection asks through a client of its own",
        f"{EDGE}/link/kafka_rim.py",
        "        if self._asker is None:\n            self._asker",
        "        if True:\n            self._asker",
        ASKING,
    ),
    Mistake("edge: ends are not told", f"{EDGE}/link/kafka_rim.py", '"enable.partition.eof": True,', "", FEED),
    Mistake(
        "edge: every look is an end",
        f"{EDGE}/link/kafka_rim.py",
        "Chunk(t, p, records, bool(ends))",
        "Chunk(t, p, records, True)",
        FEED,
    ),
    Mistake(
        "edge: the first record of a look is lost",
        f"{EDGE}/link/kafka_rim.py",
        "for found in [message, *self._consumer.consume(FETCH_BATCH, 0)]:",
        "for found in self._consumer.consume(FETCH_BATCH, 0):",
        FEED,
    ),
    Mistake(
        "edge: reads on while the replica is at work",
        f"{EDGE}/link/kafka_rim.py",
        "                while not self._stop.is_set():\n                    with",
        "                while False:\n                    with",
        FEED,
    ),
    Mistake(
        "edge: the beginning is answered for the end",
        f"{EDGE}/link/kafka_asker.py",
        "OffsetSpec.latest()",
        "OffsetSpec.earliest()",
        ASKING,
    ),
    Mistake(
        "edge: the last offset is answered for the end",
        f"{EDGE}/link/kafka_asker.py",
        ": end.offset for tp",
        ": end.offset - 1 for tp",
        ASKING,
    ),
    Mistake(
        "edge: one partition's end is taken for another's",
        f"{EDGE}/link/kafka_asker.py",
        "for tp, end in zip(asked, found, strict=True)",
        "for tp, end in zip(asked, reversed(found), strict=True)",
        ASKING,
    ),
    Mistake(
        "edge: a question without an answer is asked for ever",
        f"{EDGE}/link/kafka_asker.py",
        "asyncio.timeout(seconds)",
        "asyncio.timeout(None)",
        ASKING,
    ),
    Mistake(
        "edge: no answer is an error of its own",
        f"{EDGE}/link/kafka_asker.py",
        '        except TimeoutError as error:\n            raise Unreachable("the broker does not answer") from error\n',
        "",
        ASKING,
    ),
    Mistake(
        "edge: the client commits for a group", f"{EDGE}/link/kafka_rim.py", '"enable.auto.commit": False,\n', "", FEED
    ),
    Mistake(
        "edge: headers are left out",
        f"{EDGE}/link/kafka_rim.py",
        "headers = tuple(message.headers() or ())",
        "headers = ()",
        FEED,
    ),
    # -- beside the rims
    Mistake(
        "edge: fsync is off",
        f"{EDGE}/store/rocks.py",
        "self._opened.db.flush_wal(True)",
        "self._opened.db.flush_wal(False)",
        ("tests/unit/edge/rim/test_durability.py",),
    ),
    Mistake(
        "edge: the committer does not hand on that a group must be synced",
        f"{EDGE}/store/committer.py",
        "lambda: self._store.write(writes, sync=sync)",
        "lambda: self._store.write(writes, sync=False)",
        ("tests/unit/edge/rim/test_durability.py",),
    ),
    Mistake(
        "edge: the cursor moves before what was read is applied",
        f"{EDGE}/incoming/intake.py",
        "        done = self._committer.stage(pulled.writes, sync=False)\n",
        '        cursors = {at: v for at, v in pulled.writes.items() if at[1].startswith(b"cursor")}\n'
        "        await self._committer.stage(cursors, sync=False)\n"
        "        done = self._committer.stage(pulled.writes, sync=False)\n",
        ("tests/unit/edge/rim/test_intake.py",),
    ),
    Mistake(
        "edge: the digest leaves the vector out",
        f"{EDGE}/store/digests.py",
        "canonical(dict(state.vector)).encode()",
        'b""',
        ("tests/unit/edge/test_puller.py",),
    ),
    Mistake(
        "worker: only a device's first key must have signed",
        f"{CORE}/admission.py",
        "if not verify(key.public, signed.signature, signed.body):",
        "if key == device.keys[0] and not verify(key.public, signed.signature, signed.body):",
        ("tests/unit/streams/test_admission.py",),
    ),
    Mistake(
        "both: a partition by mask, right for powers of two only",
        f"{SCHEMAS}/partitioning.py",
        "& 0x7FFFFFFF) % partitions",
        "& 0x7FFFFFFF) & (partitions - 1)",
        ("tests/unit/schemas/test_partitioning.py",),
    ),
)
