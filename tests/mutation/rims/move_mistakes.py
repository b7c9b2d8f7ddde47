"""Mistakes on the way to another number of partitions."""

from __future__ import annotations

from tests.mutation.rims.mistake import DRIVER, EDGE, SCHEMAS, Mistake

CORE = "streams/driftlog_streams/core"
REPLAYING = "streams/driftlog_streams/replaying"
LINES = ("tests/unit/schemas/test_moves.py",)
CLOSING = ("tests/unit/streams/test_closing.py",)
SPREADING = ("tests/unit/streams/test_spreading.py",)
EDGES = ("tests/unit/edge/test_generation_route.py",)
CARRYING = ("tests/unit/edge/test_carrying.py",)
FOLLOWING = ("tests/unit/edge/test_following_moves.py",)
OPENING = ("tests/unit/edge/test_opening_anew.py",)
STEPS = ("tests/unit/streams/test_repartitioning.py",)

MOVES: tuple[Mistake, ...] = (
    Mistake("moves: a space goes back", f"{SCHEMAS}/moves.py", "and to.number > number_of(space.name):", ":", LINES),
    Mistake("moves: it moves twice", f"{SCHEMAS}/moves.py", "and before.encode() != word:", "and False:", LINES),
    Mistake(
        "moves: a line that names no place is believed",
        f"{SCHEMAS}/device_lines.py",
        "        moved(line)\n        announced(line)\n",
        "",
        LINES,
    ),
    Mistake("closing: the end itself lies behind it", f"{CORE}/closing.py", "end < offset", "end <= offset", CLOSING),
    Mistake(
        "closing: what waits stays",
        f"{CORE}/closing.py",
        "for arrival in self._parking.waiting():",
        "for arrival in ():",
        CLOSING,
    ),
    Mistake(
        "closing: whoever has any right may do it",
        f"{CORE}/admission.py",
        "if CLOSE not in device.permissions or device.expired:",
        "if False:",
        CLOSING,
    ),
    Mistake(
        "closing: anybody's record at that place is the end",
        f"{DRIVER}/recovery.py",
        "record is not None and is_end(record, partition, self._rules, devices)",
        "record is not None",
        ("tests/unit/streams/driver/test_closed_log.py",),
    ),
    Mistake(
        "edge: a folder of before looks for no line of where a space goes on",
        f"{EDGE}/link/registry_line.py",
        'kept.get("successors", False)',
        "True",
        EDGES,
    ),
    Mistake(
        "edge: where a space goes on is forgotten at a start",
        f"{EDGE}/link/registry_line.py",
        "for space in (*self._declared, *self._successors())",
        "for space in self._declared",
        EDGES,
    ),
    Mistake(
        "predecessors: one partition tells what came by later lives",
        f"{REPLAYING}/predecessors.py",
        "{**self.taken, **other.taken}",
        "other.taken",
        SPREADING,
    ),
    Mistake(
        "predecessors: what was purged is forgotten",
        f"{REPLAYING}/predecessors.py",
        "Forgot(last, last if documents else -1, self.purged)",
        "Forgot(last, last, 0)",
        SPREADING,
    ),
    Mistake(
        "predecessors: who has not read it may write",
        f"{REPLAYING}/predecessors.py",
        "Forgot(last, last if documents else -1, self.purged)",
        "Forgot(last, -1, self.purged)",
        SPREADING,
    ),
    Mistake(
        "predecessors: who writes where nothing lies is away for ever",
        f"{REPLAYING}/predecessors.py",
        "last if documents else -1",
        "last",
        SPREADING,
    ),
    Mistake(
        "predecessors: rights of a device that is gone go to it",
        f"{REPLAYING}/predecessors.py",
        "Fit.ENDED if active else Fit.RETIRED",
        "Fit.ENDED",
        SPREADING,
    ),
    Mistake(
        "spreading: digests are left out",
        f"{REPLAYING}/spreading.py",
        "page.digest(scope, store.digest(scope))",
        "pass",
        SPREADING,
    ),
    Mistake(
        "publication: open conflicts are left out",
        f"{REPLAYING}/publication.py",
        "merger.tell_again(key, place)",
        "pass",
        SPREADING,
    ),
    Mistake(
        "repartitioning: closed before all is known to be readable",
        f"{REPLAYING}/repartitioning.py",
        "documents = sum(readable(self._rules, store) for store in stores)",
        "documents = 0",
        STEPS,
    ),
    Mistake(
        "repartitioning: numbers that were given out are given out again",
        f"{REPLAYING}/repartitioning.py",
        "return 1 + max(",
        "return min(",
        STEPS,
    ),
    Mistake(
        "repartitioning: workers that know of no end are not noticed",
        f"{REPLAYING}/repartitioning.py",
        "if row is None:\n            raise",
        "if False:\n            raise",
        STEPS,
    ),
    Mistake(
        "carrying: what waits rests on what it rested on",
        f"{EDGE}/store/carrying.py",
        "if waits and self._move.whole:",
        "if False:",
        CARRYING,
    ),
    Mistake(
        "carrying: a folder of which nothing was read says that it was",
        f"{EDGE}/store/carrying.py",
        "if waits and self._move.whole:",
        "if waits:",
        CARRYING,
    ),
    Mistake(
        "carrying: another partition's numbers count",
        f"{EDGE}/store/carrying.py",
        "(written >= self._to.since[partition] or not self._to.since[partition])",
        "True",
        CARRYING,
    ),
    Mistake(
        "carrying: an older release opens the folder",
        f"{EDGE}/store/carrying.py",
        "{**counts_of(store), old: ELSEWHERE}",
        "counts_of(store)",
        CARRYING,
    ),
    Mistake(
        "carrying: a folder is opened half here and half there",
        f"{EDGE}/store/carrying.py",
        "if begun or counts_of(store).get(space.name) == ELSEWHERE:",
        "if False:",
        CARRYING,
    ),
    Mistake(
        "carrying: a chain that cannot go on goes on",
        f"{EDGE}/store/carrying.py",
        "all([chain.replica] == newest and not chain.fork for chain in chains)",
        "True",
        CARRYING,
    ),
    Mistake(
        "carrying: rights are nobody's",
        f"{EDGE}/store/carrying.py",
        "over=tuple(over)[-KEPT:]",
        "over=()",
        CARRYING,
    ),
    Mistake(
        "following: a life goes on in a closed log",
        f"{EDGE}/outgoing/renewal.py",
        "if chain.fork != MOVED:",
        "if False:",
        CARRYING,
    ),
    Mistake(
        "following: what waits in the closed log is left there",
        f"{EDGE}/outgoing/renewal.py",
        "if any(batch.number <= chain.settled for batch in self._outbox.sealed.of(space, partition)):",
        "if False:",
        CARRYING,
    ),
    Mistake(
        "following: batches go into a log that is about to be closed",
        f"{EDGE}/link/moving.py",
        "closed = [space for space in self._partitions if space in under_way or self.moved(space)]",
        "closed = [space for space in self._partitions if self.moved(space)]",
        FOLLOWING,
    ),
    Mistake(
        "following: topics of before are in step",
        f"{EDGE}/link/ends.py",
        "if self._elsewhere(space):",
        "if False:",
        FOLLOWING,
    ),
    Mistake(
        "edge: what was read of a topic that was made anew since counts",
        f"{EDGE}/link/places.py",
        "return cursor.topic_id == extent.topic_id and (cursor.offset",
        "return (cursor.offset",
        FOLLOWING,
    ),
    Mistake(
        "edge: a group that nobody ends keeps a device at a closed log",
        f"{EDGE}/link/moving.py",
        "return met or self._places",
        "return self._places",
        FOLLOWING,
    ),
    Mistake(
        "edge: what is read counts before the operator's lines are",
        f"{EDGE}/link/ends.py",
        "return self._abreast(found) and self._places",
        "return self._places",
        FOLLOWING,
    ),
    Mistake(
        "edge: a folder is opened anew without a pause where its disk has no room",
        f"{EDGE}/opening_anew.py",
        "            if not there:\n",
        "            if False:\n",
        OPENING,
    ),
    Mistake(
        "repartitioning: what another attempt has put in force is deleted",
        f"{REPLAYING}/repartitioning.py",
        "        self._enrolment.require_here(name)\n",
        "",
        STEPS,
    ),
    Mistake(
        "repartitioning: what another attempt has made anew is put in force",
        f"{REPLAYING}/repartitioning.py",
        "        self._require_laid_here(laid)\n",
        "",
        STEPS,
    ),
    Mistake(
        "fleet: who is in later topics needs those of before",
        "streams/driftlog_streams/reading/followers.py",
        "_oldest(one.heard.word, declared) <= number",
        "_oldest(one.heard.word, declared) <= number + 1",
        ("tests/unit/streams/test_followers.py",),
    ),
)
