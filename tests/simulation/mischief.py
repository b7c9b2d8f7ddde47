"""What goes wrong in a world, and when: everything is drawn and planned before the world begins to move."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from driftlog_crdt import Op
from driftlog_schemas import groups
from driftlog_schemas.batch_codec import BatchCodec, encode_body
from driftlog_schemas.identity import DocumentId, replica_id
from driftlog_schemas.messages import Batch, Command, DocumentOp, SignedBatch
from driftlog_schemas.partitioning import partition_of
from driftlog_schemas.topics import conflicts_topic, ops_topic, parked_topic, receipts_topic, state_topic
from tests.simulation.app import EDGES
from tests.simulation.clock import HOUR_MS
from tests.simulation.group import SESSION_MS
from tests.simulation.log import LogRecord
from tests.simulation.scheduler import EPOCH_MS

if TYPE_CHECKING:
    from tests.simulation.edge_node import EdgeNode
    from tests.simulation.world import World

KINDS = (state_topic, receipts_topic, conflicts_topic, parked_topic)
"""Topics of a space that are compacted, and what the owner of a partition has the last word in."""


TORN_EVERY, TORN_AT, TEARS = 10, 4, 8
"""One world in ten has its groups torn, so often for each worker: of a command of two documents one is out, the other is not."""


def plan(world: World) -> None:
    """Put the faults of this world into its future."""
    scheduler, faults = world.scheduler, world.faults
    if faults.cuts:
        for name in (*world.edges, "worker-1", "worker-2"):
            _plan_cuts(world, name)
    for edge in world.edges.values():
        if faults.edge_crashes:
            _some(world, 3, f"{edge.name} crash", edge.crash_soon)
        if faults.edge_power_cuts:
            _some(world, 2, f"{edge.name} power cut", edge.power_cut)
        if faults.disk_full:
            _some(world, 2, f"{edge.name} disk full", lambda e=edge: e.disk_full(scheduler.between(1_000, 120_000)))
        if faults.clocks:
            _some(
                world,
                2,
                f"{edge.name} clock set",
                lambda e=edge: e.clock.set_skew(scheduler.between(-2 * HOUR_MS, 2 * HOUR_MS)),
            )
        if faults.restores:
            _some(world, 2, f"{edge.name} backup", edge.backup)
            _some(world, 2, f"{edge.name} restore", edge.restore)
        if faults.clones:
            _some(world, 1, f"{edge.name} clone", lambda e=edge: clone(world, e))
            _some(world, 1, f"{edge.name} clone goes away", lambda e=edge: clone_that_was_away(world, e))
            _some(world, 1, f"{edge.name} twin", lambda e=edge: twin_of(world, e))
        if faults.flips:
            _some(world, 1, f"{edge.name} flip", edge.flip)
    for worker in world.workers:
        if faults.worker_crashes:
            _some(world, 4, f"{worker.name} crash", lambda w=worker: w.crash_soon())
        if world.history.seed % TORN_EVERY == TORN_AT:
            for _ in range(TEARS):
                at = EPOCH_MS + scheduler.between(1_000, world.length_ms)
                scheduler.at(at, f"{worker.name} tears a group", worker.tear_soon)
        if faults.disk_full:
            _some(world, 1, f"{worker.name} disk full", lambda w=worker: w.disk_full(scheduler.between(1_000, 60_000)))
        if faults.freezes:
            _some(world, 2, f"{worker.name} freeze", lambda w=worker: w.freeze(scheduler.between(100, 3 * SESSION_MS)))
        if faults.stalls:
            _some(world, 3, f"{worker.name} stall", lambda w=worker: w.stall_registry(scheduler.between(1_000, 60_000)))
    if faults.registry:
        for name in EDGES:
            _plan_lines(world, name)
    if faults.freezes:
        _some(world, 6, "late record", lambda: late_record(world, scheduler.random.choice(KINDS)))
        for kind in KINDS:  # and once when nobody may come after it
            scheduler.at(EPOCH_MS + world.length_ms - 1, "late record", lambda k=kind: late_record(world, k))
    if faults.rebalances:
        _some(world, 4, "rebalance", lambda: world.group.rebalance("somebody asked"))
    if faults.compaction:
        for kind in KINDS:
            label = f"compact {kind(world.present.name)}"
            _some(world, 4, label, lambda k=kind: world.log.compact(k(world.present.name)))
    if faults.forgeries:
        _some(world, 2, "forgery", lambda: forge(world))
    for name in EDGES:
        for _ in range(world.bars):
            at = scheduler.between(1_000, world.length_ms)
            scheduler.after(at, f"{name} may send nothing", lambda n=name: world.operator.bar(n, _for_long(world)))


def clone(world: World, edge: EdgeNode) -> None:
    """A folder is copied while it has no way to the cloud; both write on, and find the way at about the same time."""
    scheduler, network = world.scheduler, world.network
    length = scheduler.between(2_000, max(4_000, world.length_ms // 4))
    if network.healed or not network.cut_off(edge.name, length):
        return

    def copied() -> None:
        twin = edge.cloned(empty=False, start_ms=1)
        network.cut_off(twin.name, length - length // 2 + scheduler.between(0, 2_000))

    scheduler.after(length // 2, f"{edge.name} is copied", copied)


def clone_that_was_away(world: World, edge: EdgeNode) -> None:
    """A copy that nobody starts for a long time."""
    if not world.network.healed:
        edge.cloned(empty=False, start_ms=world.scheduler.between(world.length_ms // 2, world.length_ms))


def twin_of(world: World, edge: EdgeNode) -> None:
    """A second agent is given the identity file."""
    if not world.network.healed:
        edge.cloned(empty=True, start_ms=1)


def _some(world: World, most: int, label: str, action) -> None:  # type: ignore[no-untyped-def]  # any callable will do
    scheduler = world.scheduler
    for _ in range(scheduler.between(0, most)):
        scheduler.after(scheduler.between(1_000, world.length_ms), label, action)


def _plan_cuts(world: World, node: str) -> None:
    """Short and long partitions of the network, one after the other."""
    scheduler = world.scheduler
    at = EPOCH_MS + scheduler.between(0, world.length_ms // 2)
    for _ in range(scheduler.between(0, 3)):
        longest = world.length_ms // 2 if node in world.edges else 30_000
        end = at + scheduler.between(100, max(200, longest))
        world.network.cut(node, at, end)
        edge = world.edges.get(node)
        if edge is not None and world.faults.flips and scheduler.chance(0.4):  # when much waits to be sent
            scheduler.at(scheduler.between(at, end), f"{node} flip", edge.flip)
        at = end + scheduler.between(1_000, max(2_000, world.length_ms // 3))


def _plan_lines(world: World, name: str) -> None:
    """What the operator says of a device while it is in the field, and what a stranger does."""
    operator, length = world.operator, partial(_for_long, world)
    _some(world, 2, f"{name} is shut out", lambda: operator.shut_out(name, length()))
    _some(
        world,
        1,
        f"{name} has a permit",
        lambda: operator.let_end(name, length(), world.scheduler.between(0, 9_000), length()),
    )
    _some(world, 1, f"{name} may not sell", lambda: operator.restrict(name, "sell", length()))
    _some(world, 1, f"{name} may send nothing", lambda: operator.bar(name, length()))
    _some(world, 1, f"{name} is written over", lambda: operator.write_over(name))


def _for_long(world: World) -> int:
    return world.scheduler.between(1_000, max(30_000, world.length_ms // 6))


def forge(world: World) -> None:
    """Stock out of nothing: in a device's name that did not sign it, from an unknown device; and noise."""
    scheduler = world.scheduler
    codec = BatchCodec(world.ids)
    victim = scheduler.random.choice(list(world.identities.values()))
    space = world.present
    topic = ops_topic(space.name)
    partition = scheduler.between(0, space.partitions - 1)
    replica = replica_id(victim.device_id, "aaaaaaaa")
    scope = next((s for s in ("s1", "s2", "s4", "shared") if partition_of(s, space.partitions) == partition), "s1")
    stolen = Op(replica, 1, scheduler.now << 16, "on_hand", "increment", 1_000)
    ops = (DocumentOp(DocumentId("Stock", scope, "a"), stolen),)
    command = Command(f"forged-{scheduler.events}", "receive", scope, scheduler.now << 16, ops)
    body = encode_body(Batch(space.name, partition, replica, 1, (command,)))
    stranger = SignedBatch("stranger", "k1", bytes(64), body)
    forged = SignedBatch(victim.device_id, victim.key_id, bytes(64), body)
    for value in (codec.envelope(stranger), codec.envelope(forged)):
        record = world.log.append(topic, partition, victim.device_id.encode(), value)
        world.forged.add((space.name, partition, record.offset))
    world.log.append(topic, partition, victim.device_id.encode(), b"noise")


def late_record(world: World, kind: Callable[[str], str]) -> None:
    """A worker that was cut off long ago writes an older state, row or conflict over a newer one, often the middle of a group that it
    never ends; often nobody lives to see it come.
    """
    scheduler, log, topic = world.scheduler, world.log, kind(world.present.name)
    overwritten = [r for p in range(world.present.partitions) for r in _overwritten(log.history(topic, p))]
    if world.retention_ms:  # whoever was cut off for longer is dead
        overwritten = [r for r in overwritten if r.timestamp_ms >= scheduler.now - world.retention_ms]
    if not overwritten or world.network.healed:
        return
    old = scheduler.random.choice(overwritten)
    partition = old.partition
    log.append(topic, partition, old.key, old.value, old.headers)
    world.history.situation(f"somebody else had the last word in {topic}")
    if kind is state_topic and not groups.parse(old.headers).last:
        world.history.situation("a late state ended no group")
    if scheduler.chance(0.7):
        for worker in world.workers:
            worker.died("killed")


def _overwritten(records: Sequence[LogRecord]) -> list[LogRecord]:
    """Those that say something else than the last one of their key."""
    last = {record.key: record.value for record in records}
    return [record for record in records if record.value != last[record.key]]
