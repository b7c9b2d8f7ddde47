"""The same where the edge bounds its queue, moves it fairly, and forgets what is done."""

from __future__ import annotations

from tests.mutation.rims.mistake import EDGE, Mistake

CONSISTENCY = ("tests/unit/edge/test_consistency.py",)
COLLAPSED = ("tests/unit/edge/test_collapsed.py",)
COMMANDS = ("tests/unit/edge/test_commands.py",)
INTAKE = ("tests/unit/edge/rim/test_intake.py",)
HANDOVER = ("tests/unit/edge/test_handover.py",)
LEFT = ("tests/unit/edge/test_left_behind.py",)
HELD_MOMENTS = ("tests/unit/edge/test_held_moments.py",)
FLOW = ("tests/unit/edge/test_flow.py",)
MOMENTS = ("tests/unit/edge/test_moments.py",)
POWER = ("tests/unit/edge/test_power.py",)
SETTINGS = ("tests/unit/edge/test_settings_change.py",)
HEALTH = ("tests/unit/edge/test_health.py",)
LINEAR = ("tests/unit/edge/test_linear.py",)
OUTBOX = ("tests/unit/edge/test_outbox.py",)
PRUNING = ("tests/unit/edge/test_pruning.py",)
SHIPPER = ("tests/unit/edge/test_shipper.py",)

QUEUE: tuple[Mistake, ...] = (
    # -- it moves
    Mistake(
        "watchdog: it sees what flies, not what waits",
        f"{EDGE}/link/sync.py",
        "waiting = self._shipper.waiting or not self._shipper.idle",
        "waiting = not self._shipper.idle",
        HEALTH,
    ),
    Mistake(
        "watchdog: what others write moves the own queue",
        f"{EDGE}/link/sync.py",
        "if pulled.answered or self.renewing.due:",
        "if True:",
        HEALTH,
    ),
    Mistake(
        "watchdog: a queue that stands still is told and left standing",
        f"{EDGE}/link/sync.py",
        "self.watchdog.moved(now)\n            await self.clients.reconnect()",
        "self.watchdog.moved(now)",
        HEALTH,
    ),
    Mistake(
        "outbox: the lowest partition goes first, always",
        f"{EDGE}/outgoing/queue.py",
        "        self.schedule.served(space, partition)\n",
        "",
        OUTBOX,
    ),
    Mistake(
        "shipper: what is new waits until all that goes again has gone",
        f"{EDGE}/outgoing/shipper.py",
        "if self._new_first and (",
        "if False and (",
        SHIPPER,
    ),
    # -- who needs the cloud waits for it
    Mistake(
        "reads: a link that begins anew is none",
        f"{EDGE}/asking/reader.py",
        'await self._progress.until(lambda: self._ends.begun, time_left(), "the link has begun anew", check=cloud)',
        "pass",
        CONSISTENCY,
    ),
    Mistake(
        "reads: before the broker's first word there is no way to the cloud",
        f"{EDGE}/link/signal.py",
        "if self.state is Connection.OFFLINE and not self._untried:",
        "if self.state is Connection.OFFLINE:",
        CONSISTENCY,
    ),
    # -- what may wait waits, and no longer
    Mistake(
        "moments: what waits for a network overtakes what waits for its moment",
        f"{EDGE}/outgoing/moments.py",
        "return next(before, urgency) if urgency >= keys.WAITING else urgency",
        "return urgency",
        MOMENTS,
    ),
    Mistake(
        "moments: a moment lasts as long as something comes",
        f"{EDGE}/outgoing/moments.py",
        "self._up_to[urgency] = self._last[urgency]",
        "self._up_to[urgency] = ALL",
        MOMENTS,
    ),
    Mistake(
        "moments: what waited before a restart waits again",
        f"{EDGE}/outgoing/queue.py",
        "            self.entries.fronts.come(key)\n        self.moments.at_once()\n",
        "            self.entries.fronts.come(key)\n",
        MOMENTS,
    ),
    Mistake(
        "power: what a source said before it failed still counts",
        f"{EDGE}/power/hook.py",
        "                self._said = UNKNOWN\n                self.failures",
        "                self.failures",
        POWER,
    ),
    Mistake(
        "power: a caller's word stands for ever",
        f"{EDGE}/power/hook.py",
        "return UNKNOWN if old else self._told",
        "return self._told",
        POWER,
    ),
    Mistake(
        "flow: an app that has little to say makes a link slow",
        f"{EDGE}/outgoing/flow.py",
        "elapsed >= TELLING_SECONDS",
        "True",
        FLOW,
    ),
    Mistake(
        "flow: batches of a slow link are as large as any",
        f"{EDGE}/outgoing/shipper.py",
        "MAX_COMMAND_BYTES if self._flow is None else self._flow.batch_bytes",
        "MAX_COMMAND_BYTES",
        FLOW,
    ),
    Mistake(
        "settings: what does not fit counts as far as it fits",
        f"{EDGE}/settings_change.py",
        "before, config = self.config, self._checked(given)\n        self.config = config",
        "before, config = self.config, self.config.model_copy(update=dict(given))\n        self.config = config",
        SETTINGS,
    ),
    # -- it is bounded
    Mistake(
        "limits: sealed batches do not count",
        f"{EDGE}/outgoing/outbox.py",
        "len(self.queue) + self.sealed.commands, self.queue.bytes + self.sealed.bytes",
        "len(self.queue), self.queue.bytes",
        COMMANDS,
    ),
    Mistake(
        "limits: the bytes of sealed batches do not count",
        f"{EDGE}/outgoing/outbox.py",
        "self.queue.bytes + self.sealed.bytes",
        "self.queue.bytes",
        COMMANDS,
    ),
    Mistake(
        "limits: bytes do not count",
        f"{EDGE}/outgoing/outbox.py",
        '("outbox_bytes", size, limit_bytes)',
        '("outbox_bytes", 0, limit_bytes)',
        COMMANDS,
    ),
    # -- it is forgotten
    Mistake(
        "pruning: the op log is kept for ever",
        f"{EDGE}/store/pruning.py",
        "        writes[Family.OPLOG, keys.lsn_key(lsn)] = None\n",
        "",
        PRUNING,
    ),
    Mistake(
        "pruning: the command log is kept for ever",
        f"{EDGE}/store/pruning.py",
        "            writes[Family.COMMANDS, command.id.encode()] = None\n        writes[Family.OPLOG",
        "        writes[Family.OPLOG",
        PRUNING,
    ),
    Mistake(
        "pruning: answers of commands that changed nothing are kept for ever",
        f"{EDGE}/store/pruning.py",
        "                writes[Family.COMMANDS, command_id.encode()] = None\n",
        "                pass\n",
        PRUNING,
    ),
    Mistake(
        "pruning: what has no verdict is forgotten with the rest",
        f"{EDGE}/store/pruning.py",
        "if not entry.status.final:",
        "if False:",
        PRUNING,
    ),
    Mistake(
        "views: the cache counts views, not their bytes",
        f"{EDGE}/store/views.py",
        "view.size + VIEW_BYTES + PENDING_BYTES * len(view.pending)",
        "1",
        LINEAR,
    ),
    Mistake(
        "views: what a cached view grows by is not counted",
        f"{EDGE}/store/views.py",
        "            self._young_bytes += size\n            self._make_room()",
        "            pass",
        LINEAR,
    ),
    # -- it holds nobody up
    Mistake(
        "coverage: a long queue is looked through in one turn",
        f"{EDGE}/incoming/coverage.py",
        "                return highest\n            yield\n",
        "                return highest\n            if False:\n                yield\n",
        LINEAR,
    ),
    Mistake(
        "rebase: what commands tie together is worked out in one turn",
        f"{EDGE}/outgoing/rebase.py",
        "        yield from work.rewrite(replica)\n",
        "        list(work.rewrite(replica))\n",
        HANDOVER,
    ),
    Mistake(
        "rebase: states come in while a step is worked out",
        f"{EDGE}/link/renewing.py",
        "                async with self._committer.turn:\n                    step = await",
        "                if True:\n                    step = await",
        HANDOVER,
    ),
    Mistake(
        "rebase: what is evicted is not fetched first",
        f"{EDGE}/link/renewing.py",
        "                await self._bring(found.document, FETCH_SECONDS)\n                continue\n",
        "                raise\n",
        ("tests/unit/edge/test_renewed_evicted.py",),
    ),
    Mistake(
        "rebase: a step goes on after a write has failed",
        f"{EDGE}/outgoing/rebase.py",
        "self._handovers.rest.get(place) is not rest or not work.waits",
        "not work.waits",
        HANDOVER,
    ),
    Mistake(
        "intake: what was kept is not told where the connection was given up",
        f"{EDGE}/incoming/intake.py",
        "            done.add_done_callback(lambda kept: kept.exception() or self._pulled(pulled))\n",
        "",
        INTAKE,
    ),
    # -- what had waited in the cloud
    Mistake(
        "verdicts: what had waited counts as decided with its batch",
        f"{EDGE}/incoming/verdicts.py",
        "max(entry.offset, entry.decided_at)",
        "entry.offset",
        LEFT,
    ),
    Mistake(
        "renewal: what had waited counts as decided with its batch",
        f"{EDGE}/outgoing/renewal.py",
        "max(row.offset, *(entry.decided_at for entry in row.entries), -1)",
        "row.offset",
        LEFT,
    ),
    # -- what is sent as one
    Mistake(
        "filling: what was written before a verdict goes with what was written after it",
        f"{EDGE}/outgoing/filling.py",
        "if _decided(first) != _decided(command):",
        "if False:",
        COLLAPSED,
    ),
    Mistake(
        "filling: what had not seen a change of others goes with what had",
        f"{EDGE}/outgoing/filling.py",
        "return all(op.context in seen for _, op in command.ops)",
        "return True",
        COLLAPSED,
    ),
    # -- what is tried again has its rhythm, too
    Mistake(
        "held: power and network are asked the first time only",
        f"{EDGE}/outgoing/schedule.py",
        "until = NEVER if self._moments.shut(urgency) else self",
        "until = self",
        HELD_MOMENTS,
    ),
    Mistake(
        "held: nothing urgent takes along what stays",
        f"{EDGE}/outgoing/schedule.py",
        "if until is None or self._held.goes_along(place, lsn):",
        "if until is None:",
        HELD_MOMENTS,
    ),
    Mistake(
        "held: what was tried does not wait anew",
        f"{EDGE}/outgoing/queue.py",
        "moment_of(urgency), anew=True)",
        "0)",
        HELD_MOMENTS,
    ),
    Mistake(
        "held: what comes back while a round is under way rests with what stays",
        f"{EDGE}/outgoing/held.py",
        "self._rounds[there].kept_until = 0.0",
        "pass",
        HELD_MOMENTS,
    ),
    Mistake(
        "shipper: what goes again asks neither power nor network",
        f"{EDGE}/outgoing/shipper.py",
        "if queue.moments.shut(most_urgent.get(place, 0)) and not queue.schedule.leaves(place)",
        "if False",
        HELD_MOMENTS,
    ),
    Mistake(
        "shipper: what goes again stays although something urgent stands behind it",
        f"{EDGE}/outgoing/shipper.py",
        "shut(most_urgent.get(place, 0)) and not queue.schedule.leaves(place)",
        "shut(most_urgent.get(place, 0))",
        HELD_MOMENTS,
    ),
)
