"""The same in the edge's rims, and in what both sides share."""

from __future__ import annotations

from tests.mutation.rims.mistake import EDGE, SCHEMAS, Mistake

SHIPPING = ("tests/unit/edge/rim/test_shipping.py",)
ASKING = ("tests/unit/edge/rim/test_asker.py",)
FEED = ("tests/unit/edge/rim/test_feed.py",)
SHARED_LIVES = ("tests/unit/edge/test_shared_lives.py",)
HELD = ("tests/unit/edge/test_held.py", "tests/unit/edge/test_pump.py")
PUMP = ("tests/unit/edge/test_pump.py",)
SEALED = ("tests/unit/edge/test_sealed_batches.py",)
STEPS = ("tests/unit/schemas/test_avro_steps.py",)

EDGES: tuple[Mistake, ...] = (
    # -- what the cloud has deferred
    Mistake(
        "held: the first batch that is deferred ends the round",
        f"{EDGE}/outgoing/held.py",
        "        pause = self._pauses.get(partition)\n        if",
        "        pause = self._pauses.get(partition)\n        self._rounds.pop(partition, None)\n        if",
        HELD,
    ),
    Mistake(
        "held: a round tries again what was deferred in it",
        f"{EDGE}/outgoing/held.py",
        "self._rounds[partition].tried = lsn",
        "self._rounds[partition].tried = 0",
        HELD,
    ),
    Mistake(
        "held: what stands behind a deferred command is sent all the same",
        f"{EDGE}/outgoing/held.py",
        "self._rounds[partition].blocked |= documents",
        "pass",
        HELD,
    ),
    Mistake(
        "pump: it stops where it only passed by",
        f"{EDGE}/outgoing/pump.py",
        "return found or self._shipper.passing",
        "return found",
        HELD,
    ),
    Mistake(
        "pump: a batch is sent before the write that sealed it is synced",
        f"{EDGE}/outgoing/pump.py",
        "(ahead[0].synced is None or ahead[0].synced.done())",
        "True",
        PUMP,
    ),
    Mistake(
        "pump: any number is sealed while the disk syncs",
        f"{EDGE}/outgoing/pump.py",
        "if more and len(ahead) < AHEAD:",
        "if more:",
        PUMP,
    ),
    Mistake(
        "pump: what the client gives up goes again before it is synced",
        f"{EDGE}/outgoing/pump.py",
        "        except (ContractError, EdgeError, Unreachable):\n            await _synced(ahead)\n            raise\n",
        "",
        PUMP,
    ),
    Mistake(
        "pump: where the connection is another, what is not synced goes again at once",
        f"{EDGE}/outgoing/pump.py",
        "self._move(ahead, shipping)\n            await _synced(ahead)\n",
        "self._move(ahead, shipping)\n",
        PUMP,
    ),
    Mistake(
        "sealed: the lowest open batch is looked for behind what was open before a failed write",
        f"{EDGE}/store/sealed.py",
        "if number < self._lowest.get((space, partition), 0):",
        "if False:",
        SEALED,
    ),
    # -- verdicts
    Mistake(
        "verdicts: as many as the batch has are taken for those that it has, though some were sent as one",
        f"{EDGE}/incoming/verdicts.py",
        "not batch.speakers and ",
        "",
        ("tests/unit/edge/test_collapsed.py",),
    ),
    Mistake(
        "renewal: what another copy had sent in vain is named as seen",
        f"{EDGE}/outgoing/taking_along.py",
        "self._partition, key, self.writes).get(self._old)",
        "self._partition, key).get(self._old)",
        ("tests/unit/edge/test_unseen.py",),
    ),
    Mistake(
        "renewal: a life of its own follows in each partition",
        f"{EDGE}/store/lives.py",
        "if chain.fork in SHARED and",
        "if False and",
        SHARED_LIVES,
    ),
    Mistake(
        "renewal: a life follows that ended for another reason",
        f"{EDGE}/store/lives.py",
        "newest.why == chain.fork and ",
        "",
        SHARED_LIVES,
    ),
    Mistake(
        "renewal: a life follows itself",
        f"{EDGE}/store/lives.py",
        "newest.replica != chain.replica and ",
        "",
        SHARED_LIVES,
    ),
    Mistake(
        "renewal: a life follows that somebody else speaks for",
        f"{EDGE}/store/lives.py",
        " and not common:",
        ":",
        SHARED_LIVES,
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
        "self._delivered(placed, None if error is None else str(error))",
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
        "except (KafkaException, BufferError, RuntimeError) as error:",
        "except (KafkaException, RuntimeError) as error:",
        SHIPPING,
    ),
    Mistake(
        "edge: a client that was closed stays connected",
        f"{EDGE}/link/kafka_rim.py",
        "            self._producer.purge()\n            self._producer.close()\n",
        "            self._producer.purge()\n",
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
        "edge: offsets are asked of topics that are not there",
        f"{EDGE}/link/kafka_asker.py",
        "        await self._described(names)\n        starts",
        "        starts",
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
        "edge: what the asking client says is kept for ever",
        f"{EDGE}/link/kafka_asker.py",
        "        client.poll(0)\n",
        "        pass\n",
        ASKING,
    ),
    Mistake(
        "edge: the asking client stays on the network",
        f"{EDGE}/link/kafka_rim.py",
        "if self._asker is not None and self._asker.leave():",
        "if self._asker is None:",
        ASKING,
    ),
    Mistake(
        "edge: who asks on brings the asking client back",
        f"{EDGE}/link/kafka_asker.py",
        "        self._connection = None\n",
        "",
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
        f"{EDGE}/link/kafka_records.py",
        "headers = tuple(headers_of(message))",
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
        "self._store.write(writes, sync=True)",
        "self._store.write(writes, sync=False)",
        ("tests/unit/edge/rim/test_durability.py",),
    ),
    Mistake(
        "edge: what is not synced yet is read",
        f"{EDGE}/store/rocks.py",
        "if before is not None and (family, key) in before.writes:",
        "if False:",
        ("tests/unit/edge/rim/test_durability.py",),
    ),
    Mistake(
        "edge: a large command is not tried before it is logged",
        f"{EDGE}/store/logged.py",
        "if len(raw) > SURELY_FITS:",
        "if False:",
        ("tests/unit/edge/test_logged.py", "tests/unit/edge/test_commands.py"),
    ),
    Mistake(
        "edge: commands that do not fit together are never sent",
        f"{EDGE}/outgoing/outbox.py",
        "most = filling.count // 2",
        "raise",
        ("tests/unit/edge/test_outbox.py",),
    ),
    Mistake(
        "edge: the cursor moves before what was read is applied",
        f"{EDGE}/incoming/intake.py",
        "            done = self._stage(pulled)\n",
        '            cursors = {at: v for at, v in pulled.writes.items() if at[1].startswith(b"cursor")}\n'
        "            await self._committer.stage(cursors, sync=False)\n"
        "            done = self._stage(pulled)\n",
        ("tests/unit/edge/rim/test_intake.py",),
    ),
    Mistake(
        "edge: the digest leaves the vector out",
        f"{SCHEMAS}/digests.py",
        '+ b"\\x00" + version',
        '+ b"\\x00"',
        ("tests/unit/edge/test_puller.py",),
    ),
    Mistake(
        "both: stepping over a column counts a text's bytes twice",
        f"{SCHEMAS}/avro_steps.py",
        "at += 1 + (length >> 1)",
        "at += 1 + length",
        STEPS,
    ),
    Mistake(
        "both: of a row with something behind it a version is told",
        f"{SCHEMAS}/digests.py",
        "if deleted <= 1 and at + size == len(value) else None",
        "if deleted <= 1 else None",
        STEPS,
    ),
    Mistake(
        "both: a partition by mask, right for powers of two only",
        f"{SCHEMAS}/partitioning.py",
        "& 0x7FFFFFFF) % partitions",
        "& 0x7FFFFFFF) & (partitions - 1)",
        ("tests/unit/schemas/test_partitioning.py",),
    ),
    Mistake(
        "both: a port that cuts every connection is tried ten times a second",
        f"{SCHEMAS}/connection.py",
        ', "reconnect.backoff.ms": RECONNECT_MS}',
        "}",
        ("tests/unit/schemas/test_reconnects.py",),
    ),
)
