"""Mistakes beside the rims: each undoes one mend, or breaks one law, where a review once found it broken.

The same as a slip in a rim: a text in a file, another in its place, and the tests that must notice.
"""

from __future__ import annotations

from tests.mutation.rims.mistake import CORE, EDGE, SCHEMAS, Mistake

CHAIN = ("tests/unit/streams/test_chain.py",)
NET = ("tests/unit/streams/test_net.py",)
CONFLICTS = ("tests/unit/streams/test_conflicts.py",)
PARKING = ("tests/unit/streams/test_parking.py",)
MERGE = ("tests/unit/streams/test_merge.py",)
BUILT = ("tests/unit/streams/test_built_on_refused.py",)
TAKEN = ("tests/unit/streams/test_taken.py",)
HANDOVER = ("tests/unit/edge/test_handover.py",)
RENEWAL = ("tests/unit/edge/test_renewal.py",)
FORGOTTEN = ("tests/unit/edge/test_forgotten_verdicts.py",)
ACCESS = ("tests/unit/edge/test_closed_api.py",)
AGES = ("tests/unit/edge/test_freshness.py",)
SCOPES = ("tests/unit/edge/test_scopes.py",)
GROUPS = ("tests/unit/edge/test_groups.py", "tests/unit/schemas/test_groups.py")
SHOWN = ("tests/unit/edge/test_durable_reads.py",)
LINES = ("tests/unit/schemas/test_device_lines.py",)
LEFT = ("tests/unit/edge/test_left_behind.py",)
BACK = ("tests/unit/streams/test_rights_that_come_back.py",)
ALONG = ("tests/unit/streams/test_taken_along.py",)
INTAKE = ("tests/unit/edge/rim/test_intake.py",)
ASKER = ("tests/unit/edge/rim/test_asker.py",)
DIGESTS = ("tests/unit/streams/test_scope_digests.py",)
AGREEMENT = ("tests/unit/edge/test_agreement.py",)

MENDS: tuple[Mistake, ...] = (
    # -- the chain of a replica
    Mistake(
        "chain: a batch that came early is taken when a crash has it read again",
        f"{CORE}/chain.py",
        " or link.offset < row.offset",
        "",
        CHAIN,
    ),
    Mistake("chain: a fork is taken", f"{CORE}/chain.py", "if link.batch.prev != row.head:", "if False:", CHAIN),
    Mistake(
        "chain: another batch of a known number is a repeat",
        f"{CORE}/chain.py",
        "Fit.REPEAT if known.digest == link.digest[:SHORT_DIGEST_BYTES] else Fit.FORKED",
        "Fit.REPEAT",
        CHAIN,
    ),
    Mistake(
        "chain: an entry leaves while a crash could replay it",
        f"{CORE}/chain.py",
        "entry.number >= floor or entry.offset >= committed or _parked(entry)",
        "entry.number >= floor or _parked(entry)",
        CHAIN,
    ),
    Mistake(
        "chain: an entry leaves while a command of it waits",
        f"{CORE}/chain.py",
        "entry.offset >= committed or _parked(entry)",
        "entry.offset >= committed",
        CHAIN,
    ),
    Mistake(
        "chain: a row takes what no record holds",
        f"{CORE}/chain.py",
        "if len(kept) >= MAX_ENTRIES or room > MAX_ROW_BYTES - _HEAD_BYTES:",
        "if False:",
        CHAIN,
    ),
    # -- lives that are over
    Mistake(
        "lives: a command counts again when another copy of the folder brings it",
        f"{CORE}/taken.py",
        "if first is not None and first.offset <= now:",
        "if False:",
        TAKEN,
    ),
    Mistake(
        "lives: a command is taken although the life that wrote it may still send it",
        f"{CORE}/taken.py",
        "if root is None or not root.ended or root.ended_at > now:",
        "if False:",
        TAKEN,
    ),
    Mistake(
        "lives: after a crash a command repeats itself",
        f"{CORE}/taken.py",
        "    if first is not None and first.offset == offset:\n        return None\n",
        "",
        TAKEN,
    ),
    Mistake(
        "lives: a folder given to another device goes on under the old name",
        f"{EDGE}/store/lives.py",
        "if not lives or device_of(lives[-1].replica) != device:",
        "if not lives:",
        RENEWAL,
    ),
    Mistake(
        "lives: a new life has the old one's name",
        f"{EDGE}/store/lives.py",
        "replica_id(device_of(lives[-1].replica), self._draw()), wall_ms, why, rebased",
        "lives[-1].replica, wall_ms, why, rebased",
        RENEWAL,
    ),
    Mistake(
        "renewal: commands leave before the old life is over",
        f"{EDGE}/outgoing/renewal.py",
        'return row is not None and row.ended != "" and self.succession',
        "return row is not None and self.succession",
        RENEWAL,
    ),
    Mistake(
        "renewal: what others wrote in our name is not read",
        f"{EDGE}/outgoing/renewal.py",
        "return chain.offset + 1, row.offset + 1",
        "return None",
        RENEWAL,
    ),
    Mistake(
        "handover: a document is changed under the new name before it has come along",
        f"{EDGE}/store/handover.py",
        "if self.concerns(place, documents):",
        "if False:",
        HANDOVER,
    ),
    Mistake(
        "handover: what the chain holds of ours is not written down",
        f"{EDGE}/outgoing/rebase.py",
        "step.writes.update(self._handovers.held(",
        "str(self._handovers.held(",
        RENEWAL,
    ),
    Mistake(
        "handover: what another copy was told had been put off passes for accepted",
        f"{EDGE}/outgoing/lineage.py",
        "told=refused is not None or batch.number >= row.floor",
        "told=True",
        FORGOTTEN,
    ),
    Mistake(
        "renewal: the states are asked for a forgotten verdict before they are read",
        f"{EDGE}/link/renewing.py",
        "await self._read_to_the_end(topics.state_topic(space), partition)",
        "pass",
        FORGOTTEN,
    ),
    Mistake(
        "handover: batches are sealed before all have come along",
        f"{EDGE}/store/lives.py",
        "return self._over | self.handovers.under_way.keys()",
        "return set(self._over)",
        HANDOVER,
    ),
    Mistake(
        "handover: documents that one command changes come along apart",
        f"{EDGE}/store/handover.py",
        "todo += others",
        "pass",
        HANDOVER,
    ),
    Mistake(
        "handover: all comes along in one step",
        f"{EDGE}/outgoing/rebase.py",
        ".take(AT_ONCE)",
        ".take(1 << 30)",
        HANDOVER,
    ),
    Mistake(
        "rebase: who first wrote a command is forgotten when it moves again",
        f"{EDGE}/outgoing/rebase.py",
        "first = command.root or self._old",
        "first = self._old",
        RENEWAL,
    ),
    Mistake(
        "rebase: the old life's own dots are not named",
        f"{EDGE}/outgoing/rebase.py",
        "if context is not None and settled:",
        "if False:",
        RENEWAL,
    ),
    Mistake(
        "rebase: a custom field names writes of a dead life",
        "crdt/driftlog_crdt/custom.py",
        "if replica == taking.old and seq in taking.seqs else dot",
        "if False else dot",
        ("tests/properties/test_takeover.py",),
    ),
    Mistake(
        "rebase: an erase takes what the old life counted, and not what came along",
        "crdt/driftlog_crdt/counter.py",
        'taking.sums[kind == "decrement"] += value',
        "pass",
        ("tests/properties/test_takeover.py",),
    ),
    Mistake(
        "coverage: what an earlier life has left parked holds up what came after it",
        f"{EDGE}/incoming/coverage.py",
        "                continue",
        "                break",
        LEFT,
    ),
    Mistake(
        "coverage: the dots of an earlier life pass for those of this one",
        f"{EDGE}/incoming/coverage.py",
        "            if mark.replica == writer:\n                highest",
        "            if True:\n                highest",
        LEFT,
    ),
    Mistake(
        "renewal: dots that another copy has used under the same new life are used again",
        f"{EDGE}/outgoing/rebase.py",
        "last = {key: vector.get(replica, 0) for",
        "last = {key: 0 for",
        RENEWAL,
    ),
    Mistake(
        "renewal: lives in vain follow each other at once",
        f"{EDGE}/link/renewing.py",
        "if wait := self._pace.wait(place, asyncio.get_running_loop().time()):",
        "if wait := 0:",
        ("tests/unit/edge/test_pace.py",),
    ),
    Mistake(
        "edge: what was decided and purged unseen waits for its state",
        f"{EDGE}/store/pending.py",
        "self.fate is not Fate.UNKNOWN and 0 <= self.offset <= group",
        "False",
        ("tests/unit/edge/test_puller.py", "tests/unit/edge/test_returning.py"),
    ),
    Mistake(
        "worker: what is early talks over it that its writer is away",
        f"{CORE}/chain.py",
        "if code == Fit.EARLY.value and before is not None and before.code == Fit.AWAY.value:",
        "if False:",
        ("tests/unit/streams/test_forgetting.py",),
    ),
    Mistake(
        "lineage: an older batch tells where the newest put a command off",
        f"{EDGE}/outgoing/lineage.py",
        "if command.id not in met and outcome.verdict",
        "if command.id not in found and outcome.verdict",
        ("tests/unit/edge/test_lineage.py",),
    ),
    # -- the net, the trial
    Mistake(
        "net: a store in trouble is taken for a bad record",
        f"{CORE}/net.py",
        "FATAL = (WorkerError, OSError, MemoryError)",
        "FATAL = (MemoryError,)",
        NET,
    ),
    Mistake(
        "net: documents are not put back",
        f"{CORE}/partition.py",
        "self.cache.put_back(key, entry)",
        "pass",
        NET,
    ),
    Mistake(
        "net: rows are not put back",
        f"{CORE}/partition.py",
        "            self.book.put(replica, row)\n            self.book.landed(replica)\n        return work",
        "            self.book.landed(replica)\n        return work",
        NET,
    ),
    Mistake(
        "net: who was parked by a merge that failed waits on",
        f"{CORE}/net.py",
        "                parking.remove(arrival)",
        "                pass",
        NET,
    ),
    Mistake(
        "net: a row is sent that no record holds",
        f"{CORE}/net.py",
        "self._partition.rules.records.encode_chain_row(row)",
        "pass",
        NET,
    ),
    Mistake(
        "trial: a refused command has left its changes",
        f"{CORE}/trial.py",
        "key: entry.collection.type.copy(entry.state) for",
        "key: entry.state for",
        MERGE,
    ),
    Mistake(
        "trial: an op that stands on another of its command is asked too early",
        f"{CORE}/trial.py",
        "(entry.collection.type.limited or op.replica in entry.state.refused):\n            return True",
        "(entry.collection.type.limited or op.replica in entry.state.refused):\n            return False",
        BUILT,
    ),
    Mistake(
        "trial: rights are not asked in the merge",
        f"{CORE}/trial.py",
        "        kind.permit(state, op, over)\n",
        "        pass\n",
        BUILT,
    ),
    Mistake(
        "trial: what was built on a refused change stands",
        f"{CORE}/trial.py",
        "if kind.builds_on_refused(state, op):",
        "if False:",
        BUILT,
    ),
    Mistake(
        "decision: a command merged in part is merged on",
        f"{CORE}/decision.py",
        "if against is None and fresh < len(steps):",
        "if False:",
        MERGE,
    ),
    # -- laws that hold for every op
    Mistake(
        "law: an op is merged before its predecessor",
        f"{CORE}/survey.py",
        "if seq != before + 1:",
        "if False:",
        PARKING,
    ),
    Mistake(
        "law: an op is merged before what its writer had seen",
        f"{CORE}/survey.py",
        "if context and not rejected:",
        "if False:",
        PARKING,
    ),
    Mistake("law: a device's clock is trusted", f"{CORE}/survey.py", "if op.hlc > latest:", "if False:", MERGE),
    Mistake(
        "law: a conflict that is over stays open",
        f"{CORE}/merge.py",
        "self.work.outcomes += map(self._at.records.conflict, done.ended)",
        "pass",
        CONFLICTS,
    ),
    # -- who may speak
    Mistake(
        "access: any name in Host",
        f"{EDGE}/http_api/access.py",
        "if hosts is not None and _name(host) not in hosts:",
        "if False:",
        ACCESS,
    ),
    Mistake(
        "access: any page in a browser",
        f"{EDGE}/http_api/access.py",
        'if origin is not None and origin not in (f"http://{host}", f"https://{host}"):',
        "if False:",
        ACCESS,
    ),
    Mistake(
        "access: without the token",
        f"{EDGE}/http_api/access.py",
        "if self._access.token and scope",
        "if False and scope",
        ACCESS,
    ),
    Mistake(
        "access: everybody may read the token",
        f"{EDGE}/http_api/access.py",
        "os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600",
        "os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644",
        ACCESS,
    ),
    Mistake(
        "registry: a line that no operator has signed",
        f"{SCHEMAS}/device_lines.py",
        "        if reason:\n            return reason\n        if others:",
        "        if others:",
        LINES,
    ),
    Mistake(
        "registry: an older line over the newer one",
        f"{SCHEMAS}/device_lines.py",
        "(known.generation, known.device.version) >= (generation, device.version)",
        "False",
        LINES,
    ),
    # -- ages, scopes, what is shown
    Mistake(
        "ages: a clock that was set back makes data young",
        f"{EDGE}/link/freshness.py",
        "else:\n        off, sure = max(0.0, by_wall), by_wall >= 0",
        "else:\n        off, sure = max(0.0, by_wall), True",
        AGES,
    ),
    Mistake(
        "ages: another boot's monotonic clock is believed",
        f"{EDGE}/link/freshness.py",
        'found["boot"] and found["boot"] == clock.boot() and at >= found["at"]',
        'at >= found["at"]',
        AGES,
    ),
    Mistake(
        "ages: what is not sure is promised",
        f"{EDGE}/link/freshness.py",
        "moment is not None and moment.sure and age",
        "moment is not None and age",
        AGES,
    ),
    Mistake(
        "scopes: what was passed over is not read again",
        f"{EDGE}/store/holdings.py",
        "again = frozenset(self._partitions(added))",
        "again = frozenset()",
        SCOPES,
    ),
    Mistake(
        "scopes: what was left stays on disk",
        f"{EDGE}/store/holdings.py",
        "                    writes[place] = None\n",
        "                    pass\n",
        SCOPES,
    ),
    Mistake(
        "reads: what is not durable is shown",
        f"{EDGE}/store/shown.py",
        "if key not in self._waiting and not self._swaps:",
        "if True:",
        SHOWN,
    ),
    Mistake(
        "groups: a torn tail ends with any group's end",
        f"{SCHEMAS}/groups.py",
        "if not mark.last or mark.number < self.highest:",
        "if not mark.last:",
        GROUPS,
    ),
    Mistake(
        "groups: a torn tail is not kept",
        f"{EDGE}/incoming/groups.py",
        "        ripe = self._cut.take(groups.parse(record.headers))\n",
        "        mark = groups.parse(record.headers)\n"
        "        if mark.number < self._cut.highest:\n            self._buffer, self._cut = [record], groups.Cut()\n"
        "        ripe = self._cut.take(mark)\n",
        GROUPS,
    ),
    Mistake(
        "outbox: partitions by a number that a release can shift",
        f"{EDGE}/store/keys.py",
        "    prefix = space.encode() + _SEPARATOR\n    if urgency",
        "    prefix = bytes([len(space)]) + _SEPARATOR\n    if urgency",
        ("tests/unit/edge/test_outbox.py",),
    ),
    Mistake(
        "access: a body is waited for",
        f"{EDGE}/http_api/bodies.py",
        "asyncio.timeout(BODY_SECONDS)",
        "asyncio.timeout(None)",
        ACCESS,
    ),
    Mistake(
        "access: a head is waited for",
        f"{EDGE}/http_api/connections.py",
        "self._head_due = self.loop.call_later(HEAD_SECONDS, self.transport.close)",
        "pass",
        ACCESS,
    ),
    Mistake(
        "access: each byte of a head begins its time anew",
        f"{EDGE}/http_api/connections.py",
        "        super().data_received(data)\n        self._await_head()",
        "        super().data_received(data)\n        self._head_is_here()\n        self._await_head()",
        ACCESS,
    ),
    Mistake(
        "access: connections without number",
        f"{EDGE}/http_api/connections.py",
        "if len(self.connections) > MAX_CONNECTIONS:",
        "if False:",
        ACCESS,
    ),
    Mistake(
        "access: other machines without a token",
        f"{EDGE}/http_api/listening.py",
        "if host not in LOOPBACK and config.http_token_file is None:",
        "if False:",
        ACCESS,
    ),
    Mistake(
        "access: a token file that others may read",
        f"{EDGE}/http_api/access.py",
        "loose = path.stat().st_mode & 0o077",
        "loose = 0",
        ACCESS,
    ),
    Mistake(
        "access: a socket that everybody may open",
        f"{EDGE}/http_api/listening.py",
        "mask = os.umask(0o177)",
        "mask = os.umask(0o000)",
        ACCESS,
    ),
    Mistake(
        "access: a foreign file is removed",
        f"{EDGE}/http_api/listening.py",
        "if not stat.S_ISSOCK(mode):",
        "if False:",
        ACCESS,
    ),
    Mistake(
        "access: a live socket is removed",
        f"{EDGE}/http_api/listening.py",
        "            probe.connect(str(path))\n",
        "            raise ConnectionRefusedError\n",
        ACCESS,
    ),
    Mistake(
        "access: who ends removes the socket of another",
        f"{EDGE}/http_api/listening.py",
        "if mark is not None and mark_of(path) == mark:",
        "if True:",
        ACCESS,
    ),
    Mistake(
        "access: two that start at once look at the same time",
        f"{EDGE}/http_api/listening.py",
        "fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)",
        "pass",
        ACCESS,
    ),
    Mistake(
        "access: a folder that others may read",
        f"{EDGE}/store/rocks.py",
        "            folder.chmod(0o700)",
        "            pass",
        ACCESS,
    ),
    Mistake(
        "left: nobody asks what became of it",
        f"{EDGE}/incoming/verdicts.py",
        "            self._left(row, found)\n",
        "",
        LEFT,
    ),
    Mistake(
        "left: an older word of the old life counts",
        f"{EDGE}/incoming/verdicts.py",
        "if left.number > row.last:",
        "if False:",
        LEFT,
    ),
    Mistake(
        "left: what is given back stays in the view",
        f"{EDGE}/incoming/verdicts.py",
        "        self._drop(documents, lsn, found)\n\n    def _kept",
        "\n    def _kept",
        LEFT,
    ),
    Mistake(
        "left: the folder of another device forgets what it left",
        f"{EDGE}/incoming/receipts.py",
        " or record.key in left):",
        "):",
        LEFT,
    ),
    Mistake(
        "rebase: what was read when it was taken along is said of when it was written",
        f"{EDGE}/outgoing/rebase.py",
        "return command._replace(written=found.read) if command.written is None else command",
        "return command._replace(written=found.read)",
        LEFT,
    ),
    Mistake(
        "rebase: another device spends what this one had",
        f"{EDGE}/outgoing/rebase.py",
        "if self._stranger and (why",
        "if False and (why",
        LEFT,
    ),
    Mistake(
        "trial: what was promised is plainly refused",
        f"{CORE}/trial.py",
        'return NO_RIGHTS if arrival.command.root else "invalid", str(error)',
        'return "invalid", str(error)',
        BACK,
    ),
    Mistake(
        "taken: what a person may try again is the last word",
        f"{CORE}/taken.py",
        'frozenset({"builds_on_refused", "purged", NO_RIGHTS, GONE})',
        'frozenset({"builds_on_refused", "purged"})',
        (*BACK, *ALONG),
    ),
    Mistake(
        "memory: what is older than a purge makes the document be there again",
        f"{CORE}/memory.py",
        "return written is not None and 0 <= written < epoch",
        "return False",
        ALONG,
    ),
    Mistake(
        "survey: what is gone leaves a hole",
        f"{CORE}/survey.py",
        "            outlived = document  # its dot is seen\n",
        "            outlived = document\n            continue\n",
        ALONG,
    ),
    Mistake(
        "freshness: the topic is taken for the one that was read after it was asked",
        f"{EDGE}/link/freshness.py",
        "if heard is not None and heard.at <= asked.at:",
        "if heard is not None:",
        AGES,
    ),
    Mistake(
        "intake: what was fetched before moves a cursor that was sent back",
        f"{EDGE}/incoming/intake.py",
        "same = not life or life == self._life(place)",
        "same = True",
        INTAKE,
    ),
    Mistake(
        "edge: clients without number are let go",
        f"{EDGE}/link/kafka_asker.py",
        "if self._freeing >= MOST_FREED_AT_ONCE:",
        "if False:",
        ASKER,
    ),
    Mistake(
        "forgetting: what only refused changes were made on is listed nowhere",
        f"{CORE}/passed.py",
        """_MARK = b'"presence":{}'""",
        """_MARK = b'"grave"'""",
        ("tests/unit/streams/test_forgotten_recovery.py",),
    ),
    # -- digests of scopes
    Mistake(
        "digests: a purge takes the newest record of its scope with it",
        f"{CORE}/partition.py",
        "        self._anchor()\n",
        "",
        DIGESTS,
    ),
    Mistake(
        "digests: a document that comes from the store counts anew",
        f"{CORE}/state_cache.py",
        "                entry.digest = document_digest(",
        "                _ = document_digest(",
        DIGESTS,
    ),
    Mistake(
        "edge: what a late group says of a scope is believed",
        f"{EDGE}/incoming/tally.py",
        "if mark.number >= number:",
        "if True:",
        AGREEMENT,
    ),
    Mistake(
        "edge: what differs is read again and again",
        f"{EDGE}/incoming/agreement.py",
        "return last is None or",
        "return True or",
        AGREEMENT,
    ),
    Mistake(
        "edge: what cannot be read does not count",
        f"{EDGE}/incoming/tally.py",
        "for place in ((Family.UNREAD, row), (Family.CONFIRMED, row)):",
        "for place in ((Family.CONFIRMED, row),):",
        SCOPES,
    ),
)
