"""A worker that is busy and merges nothing says so; one that works or rests does not."""

from __future__ import annotations

from driftlog_streams.telling.idle_spin import BEATS, IdleSpin


def told(spin: IdleSpin, share: float, done: int, beats: int = 2 * BEATS, used: float = 0.0) -> list[float]:
    found = (spin.beat(used + share * beat, done) for beat in range(1, beats + 1))
    return [spent for spent in found if spent is not None]


def test_one_that_spins_is_told_once_per_half_minute() -> None:
    spin = IdleSpin(1.0)
    assert spin.beat(0.0, 7) is None
    assert [round(spent, 3) for spent in told(spin, 0.75, 7)] == [BEATS * 0.75] * 2


def test_one_that_rests_is_not() -> None:
    spin = IdleSpin(1.0)
    assert spin.beat(0.0, 7) is None
    assert not told(spin, 0.1, 7)


def test_one_that_merges_may_be_busy() -> None:
    spin = IdleSpin(1.0)
    assert [spin.beat(beat * 0.99, beat) for beat in range(3 * BEATS)] == [None] * (3 * BEATS)
