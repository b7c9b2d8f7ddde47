"""How near a partition is to the lives that it can remember without a row is told as a metric: by who recovers it, and whenever one more goes."""

from __future__ import annotations

from driftlog_schemas.identity import CLOUD, OVER_REPLICA
from tests.unit.streams.cloud import count, stock
from tests.unit.streams.driver.life import OPS, Life, Lives
from tests.unit.streams.driver.test_flights import merging, send


def told(life: Life) -> float | None:
    return life.host.metrics.registry.get_sample_value("driftlog_worker_removed_lives", {"space": "retail"})


def over(lives: Lives, life: str, heir: str) -> None:
    """One life writes, the other ends it; after a while its row goes."""
    send(lives, life, count(stock(life), 1, 1, replica=life), replica=life)
    append = lives.broker.append
    append(OPS, 0, heir.encode(), lives.cloud.batch(replica=heir, ends=(life,), read=1 << 20))
    end = append(OPS, 0, b"stranger", b"noise")
    append(OPS, 0, CLOUD.encode(), lives.cloud.forgetting(end, over=(life,)))


async def test_lives_without_a_row_are_counted(lives: Lives) -> None:
    life = await merging(lives)
    await life.quiet()
    assert told(life) == 0
    over(lives, "store-1.1", "store-1.2")
    await life.quiet()
    assert life.pump.mergers[0].removed_lives == 1
    await life.until(lambda: told(life) == 1)
    await life.die()

    life = await merging(lives, "empty")
    assert told(life) == 1, "whoever takes it over knows"
    over(lives, "store-2.1", "store-2.2")
    await life.quiet()
    await life.until(lambda: told(life) == 2)
    assert life.pump.mergers[0]._at.book.held(OVER_REPLICA) is not None
    life.pump.revoke()
    assert told(life) == 0
