"""Plausible mistakes in what has partitions forget."""

from __future__ import annotations

from tests.mutation.rims.mistake import DRIVER, READING, Mistake

FORGETTER = ("tests/unit/streams/driver/test_forgetter.py",)

FORGETTING: tuple[Mistake, ...] = (
    Mistake(
        "forgetter: the floor lies beyond what is committed",
        f"{DRIVER}/forgetter.py",
        "floor, known = min(floor, self._committed(partition) - 1), self._row(partition)",
        "known = self._row(partition)",
        FORGETTER,
    ),
    Mistake(
        "forgetter: the floor lies beyond the newest group that readers had",
        f"{READING}/past_reader.py",
        "found[place.partition] = min(ops - 1, group)",
        "found[place.partition] = ops - 1",
        FORGETTER,
    ),
    Mistake(
        "forgetter: a life that was heard of is retired",
        f"{DRIVER}/forgetter.py",
        "            self._active,\n            alive,\n",
        "            self._active,\n",
        FORGETTER,
    ),
    Mistake(
        "forgetter: whoever was ever heard of lives for ever",
        f"{READING}/lately_heard.py",
        "if at == UNTIMED or at >= append_ms",
        "if at >= UNTIMED",
        FORGETTER,
    ),
    Mistake(
        "forgetter: a stranger's heartbeat counts",
        f"{READING}/lately_heard.py",
        "if not self._known(heartbeat.device_id) or device_of(",
        "if device_of(",
        FORGETTER,
    ),
    Mistake(
        "forgetter: who has just begun to listen has heard of nobody",
        f"{READING}/lately_heard.py",
        "if listened else EVERYBODY",
        "if append_ms else EVERYBODY",
        FORGETTER,
    ),
    Mistake(
        "forgetter: names that find no room are of nobody",
        f"{READING}/lately_heard.py",
        "self._full_ms = max(at_ms, self._full_ms)",
        "self._full_ms = -1",
        FORGETTER,
    ),
    Mistake(
        "forgetter: a heartbeat under another device's name counts",
        f"{READING}/lately_heard.py",
        "if record.key != heartbeat.device_id.encode():",
        "if not record.key:",
        FORGETTER,
    ),
    Mistake(
        "forgetter: no time passes where nobody writes",
        f"{DRIVER}/forgetter.py",
        "        pass_time(self._publisher)\n",
        "",
        FORGETTER,
    ),
    Mistake(
        "forgetter: times of writers are believed",
        f"{DRIVER}/broker_time.py",
        "heartbeats.settings.get(topics.TIMES) == topics.APPEND_TIME",
        "True",
        FORGETTER,
    ),
    Mistake(
        "forgetter: what was planned on an older row is written",
        f"{DRIVER}/forgetter.py",
        "if found is not None and partition in self._stores() and self._row(partition) == known:",
        "if found is not None:",
        FORGETTER,
    ),
    Mistake(
        "forgetter: what is committed is known only from a further record",
        f"{DRIVER}/pump.py",
        "return max(merger.committed, told)",
        "return merger.committed",
        ("tests/unit/streams/driver/test_flights.py",),
    ),
    Mistake(
        "forgetter: one failed look is the last",
        f"{DRIVER}/forgetter.py",
        "except (KafkaException, RecoveryFailed, ContractError, TimeoutError) as error:",
        "except (RecoveryFailed, ContractError, TimeoutError) as error:",
        FORGETTER,
    ),
)
