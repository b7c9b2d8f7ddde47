"""What a rebuild keeps on disk grows with the documents that there are, and not with the log: what passed and is forgotten leaves nothing."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest

from driftlog_streams.faust_driver.partition_store import WorkerStore
from driftlog_streams.replaying import rebuild
from driftlog_streams.replaying.rebuild import Rebuild
from tests.unit.streams.cloud import PARTITION, change, command, count, ledger, stock
from tests.unit.streams.test_replaying import OTHER, Log

MINE = "store-1.1"


def rounds(number: int) -> Log:
    """Each has a conflict that is decided, a document that is deleted and comes back, and one that is purged; then the partition forgets."""
    log, batch = Log(), 0

    def append(*commands: object, replica: str = MINE) -> None:
        value = log.cloud.batch(*commands, replica=replica, read=len(log.ops) - 1)  # type: ignore[arg-type]
        log.append(value)

    for batch in range(number):
        mine, theirs, passing = 2 * batch, batch, ledger(f"day-{batch}")
        seen = {name: seq for name, seq in ((MINE, mine), (OTHER, theirs)) if seq}
        append(command("a", change(stock(), "price", "set", 1, mine + 1, context=seen)))
        rival = change(stock(), "price", "set", 2, theirs + 1, replica=OTHER, context=seen)
        append(command("b", rival), replica=OTHER)
        both = {MINE: mine + 1, OTHER: theirs + 1}
        append(command("c", change(stock(), "price", "set", 3, mine + 2, context=both)))
        for name, document, seq in (("kept", ledger("kept"), mine), ("passing", passing, 0)):
            append(command(name, count(document, 1, seq + 1)))
            append(command(f"no {name}", change(document, "", "delete", None, seq + 2, context={MINE: seq + 1})))
        log.append(log.cloud.forgetting(len(log.ops) - 1, passing))
    return log


def kept(log: Log, folder: Path) -> Counter[bytes]:
    """How many keys of each kind the store has."""
    with closing(WorkerStore(folder)) as stores:
        store = stores.partition(PARTITION)
        made = Rebuild(log.cloud.rules, PARTITION, store, log.cloud.devices)
        for record in log.ops:
            made.take(record)
        assert not made.end()
        return Counter(key.split(b"/")[0] for key, _ in store._scan(store._prefix))


def test_it_grows_with_the_documents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rebuild, "SEAL_RECORDS", 1)
    monkeypatch.setattr(rebuild, "FORGET_RECORDS", 1)
    few, many = rounds(3), rounds(12)
    assert sum(1 for one in many.cloud.conflicts() if one.status.value != "open") >= 12
    assert kept(many, tmp_path / "many") == kept(few, tmp_path / "few")
