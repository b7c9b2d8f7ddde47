"""A device in a world: its disk, its clock, its user, and the agent's lives on it.

The process dies at any write (before or after it), loses power (unsynced writes go), meets a full disk, is offline for hours; the folder is copied,
set back to an older copy, damaged.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from driftlog_edge.ports import Family
from driftlog_edge.store import keys
from driftlog_edge.store.lives import Chain
from driftlog_schemas.identity import DocumentId
from tests.simulation.app import device_of_node
from tests.simulation.clock import DeviceClock
from tests.simulation.disk import Disk
from tests.simulation.edge_process import EdgeProcess
from tests.simulation.history import Answer, Cut, EdgeEnd, Intent, Known, Read, Restored
from tests.simulation.user import User

if TYPE_CHECKING:
    from tests.simulation.world import World


class EdgeNode:
    """A device: its disk, its clock, its user."""

    def __init__(self, world: World, name: str, scopes: tuple[str, ...]) -> None:
        self.world = world
        self.name = name
        self.scopes = scopes
        self.disk = Disk(world.scheduler, name)
        self.clock = DeviceClock.drawn(world.scheduler) if world.faults.clocks else DeviceClock(world.scheduler)
        self.process: EdgeProcess | None = None
        self.budget = 0
        """Of its disk, in bytes; 0 for none."""
        self._shown: dict[DocumentId, Mapping[str, int]] = {}
        """What readers can see of confirmed documents since the agent started."""
        self._half_carried = False
        """Was the folder on its way to where its space goes on when the agent started?"""
        self.boots = 1
        """How often the device was switched on."""
        self._backup: tuple[int, Any] | None = None
        self._user = User(self)

    def start(self) -> None:
        """The agent starts from its disk."""
        if self.process is not None:
            return
        process = self.process = EdgeProcess(self)
        world = self.world
        world.scheduler.note(f"{self.name} starts")
        world.history.known.append(Known(world.scheduler.now, self.name, frozenset(process.commands())))
        self._half_carried = process.half_carried
        if not self._half_carried:
            self._holds(process.vectors())
        process.begin()

    def wake(self, topic: str, partition: int) -> None:
        """A topic has grown."""
        if self.process is not None:
            self.process.wake(topic, partition)

    # -- what the agent says

    def answered(self, intent: Intent, replica: str) -> None:
        """The agent said: done."""
        self.world.scheduler.note(f"{self.name} answers {intent.command_id}")
        self.world.history.answers.append(Answer(self.world.scheduler.now, self.name, intent.command_id, replica))
        self._user.told(intent)

    def refused(self, intent: Intent, code: str) -> None:
        """The agent said no: for good, unless the user had asked a second time before it said so."""
        if self._user.told(intent):
            self.world.history.refusals.append((self.world.scheduler.now, self.name, intent.command_id, code))

    def opened(self, process: EdgeProcess) -> None:
        """The agent answers for the first time since it started."""
        if self._half_carried:
            self._holds(process.vectors())

    def _holds(self, vectors: Mapping[DocumentId, Mapping[str, int]]) -> None:
        """All that readers can see as the agent starts."""
        self._shown = dict(vectors)
        self.world.history.cuts.append(Cut(self.world.scheduler.now, self.name, False, dict(vectors), restart=True))

    def showed(self, vectors: Mapping[DocumentId, Mapping[str, int]], *, catching_up: bool) -> None:
        """Readers see something new."""
        self._shown.update(vectors)
        self.world.history.cuts.append(Cut(self.world.scheduler.now, self.name, catching_up, vectors))

    def left(self, document: DocumentId) -> None:
        """Readers see nothing of it any more."""
        self._shown.pop(document, None)
        self.world.history.cuts.append(Cut(self.world.scheduler.now, self.name, False, {}, left=frozenset({document})))

    def told(self, read: Read) -> None:
        """A reader was answered."""
        self.world.history.reads.append(read._replace(shown=self._shown.get(read.document, {})))

    # -- faults

    def died(self, why: str, *, power_cut: bool = False) -> None:
        """The process is gone; somebody starts it again."""
        process = self.process
        if process is None:
            return
        scheduler = self.world.scheduler
        scheduler.note(f"{self.name}: {why}")
        self.process = None
        process.bury()
        self._user.cut_off()
        if power_cut:
            self.boots += 1
            self.world.history.situation("a power cut")
            self.disk.after_power_cut()
        else:
            self.disk.after_kill()
        scheduler.after(scheduler.between(100, 60_000), f"{self.name} restart", self.start)

    def failed(self, error: Exception) -> None:
        """The process ended by itself, which nobody planned."""
        self.world.history.crashes.append(f"{self.name} at {self.world.scheduler.now}: {type(error).__name__}: {error}")
        self.died("failed")

    def crash_soon(self) -> None:
        """SIGKILL at one of the next writes, or now."""
        if self.process is None:
            return
        if self.world.scheduler.chance(0.7):
            self.disk.die_within(6)
        else:
            self.died("killed")

    def power_cut(self) -> None:
        """Everything that was not synced may go."""
        self.died("power cut", power_cut=True)

    def backup(self) -> None:
        """Somebody copies the disk."""
        self._backup = (self.world.scheduler.now, self.disk.backup())

    def restore(self) -> None:
        """Somebody puts the older copy back; the user does not ask again what that disk has never heard of."""
        if self._backup is None or self.process is None:
            return
        taken_ms, copy = self._backup
        self.died("set back to an older copy")
        self.disk.restore(copy)
        self._user.forget()
        self.world.history.restored.append(Restored(self.name, taken_ms, self.world.scheduler.now))
        self.world.history.situation("a disk was set back")

    def cloned(self, *, empty: bool, start_ms: int) -> EdgeNode:
        """Somebody copies the folder (or gives away the identity file alone), and a second agent of the device runs beside this one."""
        world = self.world
        copies = sum(device_of_node(name) == device_of_node(self.name) for name in world.edges)
        twin = EdgeNode(world, f"{device_of_node(self.name)}+{copies}", self.scopes)
        world.edges[twin.name] = twin
        if not empty:
            self.disk.sync()
            twin.disk.restore(self.disk.backup())
        world.scheduler.after(start_ms, f"{twin.name} start", twin.start)
        world.history.situation("an identity was used twice" if empty else "a folder was copied and both ran")
        return twin

    def flip(self) -> None:
        """One bit of what a chain's next batch will name as the one before it."""
        family = self.disk.family(Family.META.value)
        chains = [
            (key, value) for key, value in family.scan(keys.CHAINS, keys.CHAINS + b"\xff") if Chain.decode(value).head
        ]
        if not chains or self.process is None:
            return
        self.died("a bit flips")
        key, value = self.world.scheduler.random.choice(chains)
        chain = Chain.decode(value)
        flipped = replace(chain, head=bytes((chain.head[0] ^ 1, *chain.head[1:])))
        self.disk.sync()
        damaged = self.disk.backup()
        damaged[Family.META.value].put(key, flipped.encode())
        self.disk.restore(damaged)
        self.world.history.situation("a bit flipped in a stored prev")

    def disk_full(self, duration_ms: int) -> None:
        """No write succeeds for a while."""
        self.world.scheduler.note(f"{self.name}: disk full for {duration_ms} ms")
        self.disk.full = True

        def space_again() -> None:
            self.disk.full = False

        self.world.scheduler.after(duration_ms, f"{self.name} disk has space", space_again)

    def heal(self) -> None:
        """The user goes home; the agent stays up."""
        self._user.go_home()
        self.disk.make_room()
        self.disk.after_kill()
        self.start()

    def unrest(self) -> str:
        """Why this device is not at rest; empty when it is."""
        return "down" if self.process is None else self.process.unrest()

    def end(self) -> EdgeEnd:
        """How it stands at the end."""
        return EdgeEnd({}, {}, 0, 0, {}) if self.process is None else self.process.end()
