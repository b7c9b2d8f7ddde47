"""What a folder has of a space that has moved is carried over whole, whatever cuts it off, and no older release opens it then."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from driftlog_edge.errors import DiskFull, OtherPartitions
from driftlog_edge.ports import Family, Place, Writes
from driftlog_edge.salvage.run import salvage
from driftlog_edge.store import carrying, counts, generations, keys
from driftlog_edge.store.carrying import carry
from driftlog_edge.store.cursors import Cursor, cursor_of, moved
from driftlog_edge.store.evicted import Marker, Trace
from driftlog_edge.store.holdings import Held
from driftlog_edge.store.lives import FORKED, MOVED, Chain
from driftlog_edge.store.logged import Logged, decode_logged, encode_logged, logged
from driftlog_edge.store.moves import Move, Stage, destined, move_of, present, written
from driftlog_edge.store.rocks import RocksStore
from driftlog_schemas.identity import parse_document_key
from driftlog_schemas.messages import CommandOutcome, Verdict
from driftlog_schemas.moves import Moved
from driftlog_schemas.partitioning import partition_of
from driftlog_schemas.registry import FixedIds
from driftlog_schemas.signing import Identity
from tests.unit.edge.cloud import Cloud
from tests.unit.edge.replica import EPOCH_MS, Replica
from tests.unit.edge.shop import CONTRACT, PARTITIONS

SCOPES = tuple(f"s{number}" for number in range(1, 9))
TO = Moved(2, 7, 500, (20, 20, 20, 20))
NEW = "retail.p2"
FIRST_LIFE = "store-1.before"
Dump = dict[tuple[Family, bytes], bytes]


@pytest.fixture
def packed(lives: Callable[..., Replica], cloud: Cloud, tmp_path: Path) -> Path:
    """A folder with rows, commands that wait, and all else that lies by partition; closed, and packed."""
    replica = lives(scopes=SCOPES)
    for scope in SCOPES:
        replica.do("receive", f"merged/{scope}", store=scope, sku="tea", qty=5)
    for batch in replica.ship():
        cloud.merge(batch)
    for at in range(PARTITIONS):
        replica.pull_receipts(cloud.of("retail.receipts", at), at)
        replica.pull_states(cloud.of("retail.state", at), at)
    place = {(Family.META, keys.HOLDINGS): Held((), SCOPES, ()).encode()}
    replica.store.write(place, sync=True)
    chains = [at for at, _ in replica.lives.chains("retail")]
    replica.journal.stage(replica.renewal.close("retail", Move(TO, Stage.CLOSED)), sync=True)
    replica.commit()
    for at in chains:
        known = replica.renewal.known("retail", at, [])
        assert replica.renewal.over("retail", at)
        for step in replica.renewal.gathered("retail", at, known):
            replica.renewed(at, step)
        begun = list(_drained(replica, at, known))
        assert begun
        replica.take_along(at)
    assert replica.renewal.packed("retail")
    for number, scope in enumerate(SCOPES):
        replica.do("receive", f"waits/{scope}", store=scope, sku="tea", qty=1)
        if number % 2:
            replica.do("receive", f"waits too/{scope}", store=scope, sku="tea", qty=1)
    replica.store.write(_besides(replica) | written("retail", Move(TO, Stage.PACKED)), sync=True)
    folder = replica.store._folder
    replica.close()
    return folder


def _drained(replica: Replica, at: int, known: object) -> Iterator[object]:
    work = replica.renewal.begun("retail", at, known)  # type: ignore[arg-type]
    while True:
        try:
            next(work)
        except StopIteration as done:
            replica.renewed(at, done.value)
            yield done.value
            return


def _besides(replica: Replica) -> dict[Place, bytes | None]:
    """What a longer life would have left."""
    s1, s2 = (partition_of(scope, PARTITIONS) for scope in ("s1", "s2"))
    row = keys.confirmed_prefix("retail", s1, 0) + b"Stock/s1/rum"
    stale = keys.confirmed_prefix("retail", s2, 3) + b"Stock/s2/old"
    chain = replace(replica.lives.chain("retail", s1), over=(FIRST_LIFE, "store-1.second"))
    return {
        (Family.META, keys.evicted_key(row)): Marker(17, 99, {"office.1": 2}).encode(),
        (Family.META, keys.trace_key(keys.confirmed_prefix("retail", s1, 0) + b"Stock/s1/tea")): Trace(4, 77).encode(),
        (Family.META, keys.EVICTING): b"",
        (Family.CONFIRMED, stale): b"of a generation that nobody reads",
        (Family.UNREAD, keys.confirmed_prefix("retail", s2, 0) + b"Newer/s2/x"): b"of a newer release",
        (Family.META, keys.unseen_key("retail", s1, b"Stock/s1/gin")): b'{"store-1.before": [1, 2]}',
        (Family.META, keys.note_key("retail", s2, b"Reading/s2/t")): b"note",
        (Family.META, keys.healed_key("retail", s1)): keys.pack_number(1),
        (Family.META, keys.support_key("retail", s1)): b"[]",
        (Family.META, keys.chain_key("retail", s1)): chain.encode(),
        **moved("retail.ops", s1, Cursor(3, "id")),
    }


class Dies(RocksStore):
    """A store of a process that is killed after so many writes, or whose disk is full then."""

    left = 1 << 30

    def write(self, writes: Writes, *, sync: bool) -> None:
        if not self.left:
            raise DiskFull("no space left", "free some")
        self.left -= 1
        super().write(writes, sync=sync)


def dump(store: RocksStore) -> Dump:
    return {(family, key): value for family in Family for key, value in store.scan(family, b"")}


def carried(folder: Path) -> Dump:
    store = RocksStore(folder)
    try:
        contract = carry(store, CONTRACT, EPOCH_MS)
        assert {space.name: space.partitions for space in contract.spaces.values()} == {NEW: 7, "audit": 1}
        return dump(store)
    finally:
        store.close()


def of_space(found: Dump, space: str) -> set[tuple[Family, bytes]]:
    """Entries whose keys name it, but for where it goes on."""
    name = re.escape(space.encode())
    topic = rb"/" + name + rb"(\.(state|receipts|conflicts|ops))?/"
    return {place for place in found if re.search(rb"(^|/)" + name + rb"\0|" + topic, place[1])}


def test_all_that_the_folder_has_lies_by_the_new_count(packed: Path) -> None:
    store = RocksStore(packed)
    before = dump(store)
    store.close()
    after = carried(packed)
    assert not of_space(after, "retail")
    waiting = [{keys.parse_lsn(key) for family, key in one if family is Family.OUTBOX} for one in (before, after)]
    assert waiting[0] == waiting[1] and len(waiting[0]) == len(SCOPES) + len(SCOPES) // 2
    for family, key in after:
        if family is Family.OUTBOX:
            space, _, partition, lsn = keys.parse_outbox(key)
            scope = _logged(after, lsn).command.scope
            assert (space, partition) == (NEW, partition_of(scope, 7))
            assert keys.unpack_number(after[family, key]) == _logged(after, lsn).size, (
                "what is sealed gives back as much"
            )
        elif family in (Family.CONFIRMED, Family.UNREAD):
            space, partition, generation = keys.parse_confirmed(key)
            document = keys.document_of_confirmed(key)
            assert document != b"Stock/s2/old"
            assert (space, partition, generation) == (NEW, partition_of(parse_document_key(document).scope, 7), 0)
            old = partition_of(parse_document_key(document).scope, PARTITIONS)
            assert after[family, key] == before[family, keys.confirmed_prefix("retail", old, 0) + document]
    rows = [sum(family in (Family.CONFIRMED, Family.UNREAD) for family, _ in one) for one in (before, after)]
    assert rows[1] == rows[0] - 1, "all but the one of another generation"
    s1, s2 = partition_of("s1", 7), partition_of("s2", 7)
    rum = keys.confirmed_prefix(NEW, s1, 0) + b"Stock/s1/rum"
    assert Marker.decode(after[Family.META, keys.evicted_key(rum)]) == Marker(-1, 99, {"office.1": 2})
    tea = keys.confirmed_prefix(NEW, s1, 0) + b"Stock/s1/tea"
    assert Trace.decode(after[Family.META, keys.trace_key(tea)]) == Trace(-1, 77)
    assert after[Family.META, keys.unseen_key(NEW, s1, b"Stock/s1/gin")] == b'{"store-1.before": [1, 2]}'
    assert after[Family.META, keys.note_key(NEW, s2, b"Reading/s2/t")] == b"note"
    for (family, key), value in before.items():
        if family in (Family.PENDING, Family.COMMANDS):
            assert after[family, key] == value


def _logged(found: Dump, lsn: int) -> Logged:
    return decode_logged(found[Family.OPLOG, keys.lsn_key(lsn)])


def test_each_partition_goes_on_under_the_new_life_and_is_read_beside_what_readers_have(packed: Path) -> None:
    after = carried(packed)
    held = {partition_of(scope, 7) for scope in SCOPES}
    found = {
        keys.parse_place(k, keys.CHAINS): Chain.decode(v) for (f, k), v in after.items() if k.startswith(keys.CHAINS)
    }
    assert found.keys() == {(NEW, at) for at in held}
    for chain in found.values():
        assert (chain.number, chain.fork) == (0, "")
        assert {FIRST_LIFE, "store-1.second"} < {*chain.over} and chain.replica not in chain.over
    store = RocksStore(packed)
    for at in held:
        under_way = generations.return_of(store, NEW, at)
        assert under_way is not None and (under_way.generation, under_way.anew) == (1, False)
        assert generations.serving(store, NEW, at) == 0
        assert cursor_of(store, f"{NEW}.state", at) == under_way.cursor == Cursor(group=TO.begins - 1)
    store.close()


def test_rows_of_a_later_generation_that_lie_there_already_are_looked_at_once(packed: Path) -> None:
    """As a folder has them that has followed before; it was asked for the same one for ever."""
    store = RocksStore(packed)
    at = keys.confirmed_prefix(NEW, 6, 9) + b"Stock/s1/left"
    store.write({(Family.CONFIRMED, at): b"of a generation that nobody reads"}, sync=True)
    store.close()
    assert (Family.META, keys.chain_key(NEW, 6)) in carried(packed)


@pytest.mark.parametrize("whole", [True, False])
def test_what_writers_had_read_is_told_so_that_it_holds_there(packed: Path, whole: bool) -> None:
    """What waits rests on all of before, if that was read. When it was first written is told by its old partition's numbers."""
    store = RocksStore(packed)
    before = {keys.parse_lsn(key): logged(store, keys.parse_lsn(key)) for key, _ in store.scan(Family.OUTBOX, b"")}
    for lsn, found in before.items():
        early = found.command._replace(written=2 if lsn % 2 else 3)
        before[lsn] = found._replace(command=early)
        raw = encode_logged(early, "retail", early.ops[0].op.replica, found.read, found.release, alone=found.alone)
        store.write({(Family.OPLOG, keys.lsn_key(lsn)): raw}, sync=False)
    since = tuple(3 if at == partition_of("s1", PARTITIONS) else 0 for at in range(PARTITIONS))
    store.write(written("retail", Move(TO._replace(since=since), Stage.PACKED, whole)), sync=True)
    store.close()
    after, told = carried(packed), set()
    for lsn, found in before.items():
        now = _logged(after, lsn)
        assert now.read == (TO.begins - 1 if whole else found.read)
        old = partition_of(found.command.scope, PARTITIONS)
        first = found.command.written or 0
        assert now.command.written == (TO.begins - 1 if first >= since[old] else first)
        assert now.command._replace(written=None) == found.command._replace(written=None)
        assert (now.alone, now.release) == (found.alone, found.release)
        told.add(now.command.written)
    assert told == {2, TO.begins - 1}


@pytest.mark.parametrize("at_once", [1, 3])
def test_it_is_cut_off_at_every_write_and_goes_on(packed: Path, at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carrying, "AT_ONCE", at_once)
    copy = packed.with_name("copy")
    shutil.copytree(packed, copy)
    whole, cuts = carried(copy), 0
    store = Dies(packed)
    while True:
        store.left = 2  # the first says each time that it has begun
        try:
            carry(store, CONTRACT, EPOCH_MS)
        except DiskFull:
            cuts += 1
            continue
        break
    store.close()
    assert cuts > 20 / at_once
    assert carried(packed) == whole


@pytest.mark.parametrize("missing", [False, True])
def test_what_lies_there_is_as_old_as_the_oldest_of_what_it_comes_from(packed: Path, missing: bool) -> None:
    """Who goes offline over it is still away since then."""
    states = sorted({partition_of(scope, PARTITIONS) for scope in SCOPES})
    steps = [["retail.state", at, 1_000 - at, 10.0 + at, at != 1] for at in states[missing:]]
    other = ["audit.state", 0, 5, 6.0, True]
    kept = {"wall_ms": 1, "at": 2.0, "boot": "b", "steps": [other, *steps]}
    store = RocksStore(packed)
    store.write({(Family.META, keys.FRESHNESS): json.dumps(kept).encode()}, sync=True)
    store.close()
    after = json.loads(carried(packed)[Family.META, keys.FRESHNESS])
    there = sorted({partition_of(scope, 7) for scope in SCOPES})
    oldest = states[-1]
    wanted = [[f"{NEW}.state", at, 1_000 - oldest, 10.0 + oldest, False] for at in there]
    assert after == {**kept, "steps": [other] if missing else [other, *wanted]}
    assert states == [0, 1, 3]


def test_a_disk_that_is_full_from_the_start_leaves_all_as_it_was(packed: Path) -> None:
    store = Dies(packed)
    store.left, before = 0, dump(store)
    assert carry(store, CONTRACT, EPOCH_MS) == CONTRACT
    assert dump(store) == before
    assert present(store, CONTRACT) == CONTRACT and set(destined(store, CONTRACT).spaces) == {NEW, "audit"}
    store.close()


def test_an_older_release_does_not_open_it_and_loses_nothing(packed: Path) -> None:
    after = carried(packed)
    store = RocksStore(packed)
    with pytest.raises(OtherPartitions, match="another number of partitions"):
        counts.settle(store, CONTRACT)  # all that a release did that knew of no moves
    assert dump(store) == after
    store.close()


@pytest.mark.parametrize("cut_at", [2, 5])
def test_nor_while_it_is_half_carried(packed: Path, cut_at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carrying, "AT_ONCE", 1)
    store = Dies(packed)
    store.left = cut_at
    with pytest.raises(DiskFull):
        carry(store, CONTRACT, EPOCH_MS)
    store.left = 1 << 30
    with pytest.raises(OtherPartitions):
        counts.settle(store, CONTRACT)
    store.close()


def test_what_waits_under_another_life_than_the_newest_comes_along_first(packed: Path) -> None:
    store = RocksStore(packed)
    at = partition_of("s1", PARTITIONS)
    chain = Chain.decode(store.get(Family.META, keys.chain_key("retail", at)) or b"")
    other = replace(chain, fork=FORKED)
    store.write({(Family.META, keys.chain_key("retail", at)): other.encode()}, sync=True)
    before = dump(store)
    assert carry(store, CONTRACT, EPOCH_MS) == CONTRACT
    move = move_of(store, "retail")
    assert move is not None and move.stage is Stage.CLOSED
    assert {p: v for p, v in dump(store).items() if not p[1].startswith(keys.MOVES)} == {
        p: v for p, v in before.items() if not p[1].startswith(keys.MOVES)
    }
    store.close()


def test_a_space_moves_twice(packed: Path) -> None:
    carried(packed)
    store = RocksStore(packed)
    again = Moved(3, 2, 900, (0,) * 7)
    store.write(written(NEW, Move(again, Stage.PACKED)), sync=True)
    contract = carry(store, CONTRACT, EPOCH_MS)
    assert contract.spaces["retail.p3"].partitions == 2
    after = dump(store)
    assert not of_space(after, "retail") and not of_space(after, NEW)
    waiting = [keys.parse_outbox(k) for f, k in after if f is Family.OUTBOX]
    assert waiting and {space for space, *_ in waiting} == {"retail.p3"}
    assert {at for _, _, at, _ in waiting} <= {0, 1}
    store.close()


def test_a_chain_that_a_closed_log_has_ended_says_so(lives: Callable[..., Replica], cloud: Cloud) -> None:
    replica = lives(scopes=SCOPES)
    replica.do("receive", "c1", store="s1", sku="tea", qty=1)
    at = partition_of("s1", PARTITIONS)
    for batch in replica.ship():
        cloud.merge(batch)
    replica.journal.stage(replica.renewal.close("retail", Move(TO, Stage.CLOSED)), sync=True)
    assert replica.lives.chain("retail", at).fork == MOVED
    assert replica.renewal.due == [("retail", at)] and not replica.renewal.packed("retail")


def test_what_waits_in_the_closed_log_is_waited_for(lives: Callable[..., Replica], cloud: Cloud) -> None:
    replica, at = lives(scopes=SCOPES), partition_of("s1", PARTITIONS)
    assert replica.renewal.silent("retail")
    cloud.parks.add("waits")
    replica.do("receive", "waits", store="s1", sku="tea", qty=1)
    assert replica.renewal.silent("retail")
    (batch,) = replica.ship()
    assert not replica.renewal.silent("retail") and not replica.renewal.unanswered("retail")
    cloud.merge(batch)
    replica.pull_receipts(cloud.of("retail.receipts", at), at)
    assert replica.entry("waits").status.value == "parked"
    assert replica.renewal.unanswered("retail") == f"something waits in retail/{at} that was not given back yet"
    (command,) = cloud.batches[0].commands
    cloud.release(replica.lives.replica, command, CommandOutcome("waits", Verdict.DEFERRED, "closed"))
    replica.pull_receipts(cloud.of("retail.receipts", at)[-1:], at)
    assert not replica.renewal.unanswered("retail")


def test_a_chain_that_begins_late_under_a_life_of_before_is_ended_too(lives: Callable[..., Replica]) -> None:
    """A scope that nobody had written in before the log was closed is written in before the new life is drawn."""
    replica = lives(scopes=SCOPES)
    first, late = partition_of("s1", PARTITIONS), next(s for s in SCOPES if partition_of(s, PARTITIONS) == 3)
    replica.do("receive", "c1", store="s1", sku="tea", qty=1)
    assert first != 3
    replica.ship()
    replica.journal.stage(replica.renewal.close("retail", Move(TO, Stage.CLOSED)), sync=True)
    replica.do("receive", "c2", store=late, sku="tea", qty=1)
    assert not replica.renewal.end_those_of_before("retail"), "it is the newest as yet"
    replica.renew([])
    assert replica.lives.newest.why == MOVED
    assert not replica.renewal.packed("retail")
    replica.journal.stage(replica.renewal.end_those_of_before("retail"), sync=True)
    assert replica.renewal.due == [("retail", 3)]
    replica.renew([])
    assert replica.renewal.packed("retail")
    assert {chain.replica for _, chain in replica.lives.chains("retail")} == {replica.lives.replica}
    assert len(replica.lives.all()) == 2


def test_what_another_copy_of_the_folder_has_sent_before_the_end_counts_once(
    lives: Callable[..., Replica], cloud: Cloud, tmp_path: Path, identity: Identity, ids: FixedIds
) -> None:
    """The closed log still tells what that was."""
    at, replica = partition_of("s1", PARTITIONS), lives(scopes=SCOPES)
    replica.do("receive", "both", store="s1", sku="tea", qty=1)
    replica.close()
    shutil.copytree(replica.store._folder, tmp_path / "copy")
    replica = lives(scopes=SCOPES)
    for batch in replica.ship():
        cloud.merge(batch)
    copy = Replica(tmp_path / "copy", identity, ids, scopes=SCOPES)
    copy.do("receive", "of the copy", store="s1", sku="tea", qty=10)
    copy.pull_receipts(cloud.of("retail.receipts", at), at)
    copy.pull_states(cloud.of("retail.state", at), at)
    assert copy.lives.chain("retail", at).fork == FORKED and not copy.renewal.silent("retail")
    copy.journal.stage(copy.renewal.close("retail", Move(TO, Stage.CLOSED)), sync=True)
    assert copy.lives.chain("retail", at).fork == MOVED
    copy.renew(cloud.of("retail.ops", at))
    assert copy.renewal.packed("retail")
    assert copy.entry("both").status.value == "merged" and copy.entry("of the copy").status.value == "pending"
    assert copy.on_hand("tea") == 11
    waiting = [keys.parse_lsn(key) for key, _ in copy.store.scan(Family.OUTBOX, b"")]
    assert [logged(copy.store, lsn).command.id for lsn in waiting] == ["of the copy"]
    copy.close()


def test_what_the_cloud_said_of_a_life_is_not_taken_for_a_word_of_the_one_that_has_followed_it(
    lives: Callable[..., Replica], cloud: Cloud
) -> None:
    """A life with nothing undecided is followed with the next command, and the log is closed before the cloud has heard of the new one."""
    at, replica = partition_of("s1", PARTITIONS), lives(scopes=SCOPES)
    replica.do("receive", "before", store="s1", sku="tea", qty=1)
    for batch in replica.ship():
        cloud.merge(batch)
    replica.pull_receipts(cloud.of("retail.receipts", at), at)
    replica.pull_states(cloud.of("retail.state", at), at)
    _, writes = replica.lives.begun(replica.clock.ms, "another partition's")
    replica.journal.stage(writes, sync=True)
    forked = replace(replica.lives.chain("retail", at), fork=FORKED)
    replica.journal.stage(replica.lives.written("retail", at, forked), sync=True)
    replica.do("receive", "after", store="s1", sku="tea", qty=10)
    assert replica.lives.chain("retail", at).replica == replica.lives.replica != forked.replica
    replica.journal.stage(
        {**replica.renewal.close("retail", Move(TO, Stage.CLOSED)), **replica.lives.begun(0, "once more")[1]}, sync=True
    )
    replica.journal.stage(replica.renewal.end_those_of_before("retail"), sync=True)
    assert replica.lives.chain("retail", at).fork == MOVED
    replica.renew(cloud.of("retail.ops", at))
    assert replica.renewal.packed("retail") and replica.on_hand("tea") == 11
    assert replica.entry("before").status.value == "merged" and replica.entry("after").status.value == "pending"


def test_what_was_to_end_a_life_of_before_is_sent_no_more(lives: Callable[..., Replica]) -> None:
    replica, at = lives(scopes=SCOPES), partition_of("s1", PARTITIONS)
    replica.do("receive", "c1", store="s1", sku="tea", qty=1)
    replica.ship()
    chain = replace(replica.lives.chain("retail", at), fork=FORKED)
    replica.journal.stage(replica.lives.written("retail", at, chain), sync=True)
    replica.journal.stage(replica.renewal.begin("retail", at), sync=True)
    replica.commit()
    assert replica.renewal.succession("retail", at) is not None
    replica.journal.stage(replica.renewal.close("retail", Move(TO, Stage.CLOSED)), sync=True)
    replica.commit()
    assert replica.renewal.succession("retail", at) is None and not replica.renewal.begin("retail", at)
    replica.renew([])
    assert replica.renewal.packed("retail") and replica.lives.newest.why == MOVED


@pytest.mark.parametrize("half", [False, True])
def test_what_is_salvaged_is_where_the_folder_was_going(packed: Path, half: bool) -> None:
    if half:
        torn = Dies(packed)
        torn.left = 4
        with pytest.raises(DiskFull), pytest.MonkeyPatch.context() as patched:
            patched.setattr(carrying, "AT_ONCE", 2)
            carry(torn, CONTRACT, EPOCH_MS)
        torn.close()
    _none_joins_another(packed)
    to = packed.with_name("salvaged")
    salvage(CONTRACT, packed, to, ())
    store = RocksStore(to)
    assert set(present(store, CONTRACT).spaces) == {NEW, "audit"}
    waiting = {keys.parse_outbox(key): keys.unpack_number(size) for key, size in store.scan(Family.OUTBOX, b"")}
    assert len(waiting) == len(SCOPES) + len(SCOPES) // 2
    for (space, _, partition, lsn), size in waiting.items():
        found = logged(store, lsn)
        assert (space, partition, size) == (NEW, partition_of(found.command.scope, 7), found.size)
    with pytest.raises(OtherPartitions):
        counts.settle(store, CONTRACT)
    assert carry(store, CONTRACT, EPOCH_MS) == present(store, CONTRACT)
    store.close()


def _none_joins_another(folder: Path) -> None:
    """As what ran again or came along from another life is told in the log."""
    store = RocksStore(folder)
    for key, _ in list(store.scan(Family.OPLOG, b"")):
        found = logged(store, keys.parse_lsn(key))
        replica = found.command.ops[0].op.replica
        raw = encode_logged(found.command, "retail", replica, found.read, found.release, alone=True)
        store.write({(Family.OPLOG, key): raw}, sync=False)
    store.close()
