"""Mistakes over topics that were deleted and made again."""

from __future__ import annotations

from tests.mutation.rims.mistake import DRIVER, Mistake

SAME_LOG = "streams/driftlog_streams/core/same_log.py"
LOST = ("tests/unit/streams/driver/test_lost_log.py",)

LOST_TOPICS: tuple[Mistake, ...] = (
    Mistake(
        "worker: it goes on in an op log that counts anew",
        f"{DRIVER}/recovery.py",
        "if highest is not None:",
        "if False:",
        LOST,
    ),
    Mistake(
        "worker: rows ahead of a log say nothing of it",
        f"{DRIVER}/recovery.py",
        "self._require_log(consumer, partition, store, result[partition].ahead)",
        "self._require_log(consumer, partition, store, [])",
        LOST,
    ),
    Mistake(
        "worker: a row alone makes the log of a new space another one",
        f"{DRIVER}/recovery.py",
        "if self._was_merged_into(store, result[partition]):",
        "if True:",
        LOST,
    ),
    Mistake(
        "worker: a commit behind the log's end is one of this log",
        f"{DRIVER}/recovery.py",
        "if 0 <= found.committed <= found.ops_end and not",
        "if 0 <= found.committed and not",
        LOST,
    ),
    Mistake(
        "worker: what came back as it was is another log",
        SAME_LOG,
        "batch_digest(rules.batches.open(record.value).body)[:SHORT_DIGEST_BYTES]",
        'b"another"',
        LOST,
    ),
    Mistake(
        "worker: one row of a stranger makes a log another one",
        SAME_LOG,
        "bool(left) and not any(",
        "bool(left) and not all(",
        LOST,
    ),
    Mistake(
        "worker: what lies before a log's beginning makes it another one",
        SAME_LOG,
        "if offset >= first}",
        "}",
        LOST,
    ),
    Mistake(
        "worker: nobody notices that a topic is another one",
        f"{DRIVER}/topic_watch.py",
        "if found != known and",
        "if False and",
        LOST,
    ),
)
