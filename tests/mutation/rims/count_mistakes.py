"""Mistakes with partition counts that are not those that were declared."""

from __future__ import annotations

from tests.mutation.rims.mistake import EDGE, Mistake

COUNTED = ("tests/unit/edge/test_counts.py",)

COUNTS: tuple[Mistake, ...] = (
    Mistake(
        "counts: batches leave before the topics were compared",
        f"{EDGE}/link/sync.py",
        "return self.clients.shipping if self.counts.passed else None",
        "return self.clients.shipping",
        COUNTED,
    ),
    Mistake(
        "counts: nobody asks the broker",
        f"{EDGE}/link/ends.py",
        "if beginning and asker is not None:",
        "if False:",
        COUNTED,
    ),
    Mistake(
        "counts: those of another generation's topics are asked",
        f"{EDGE}/link/generation_route.py",
        "there = {self._names.get(name, name): name for name in names}",
        "there = {name: name for name in names}",
        ("tests/unit/edge/test_generation_route.py",),
    ),
    Mistake(
        "counts: what a folder has agreed with the cloud is moved",
        f"{EDGE}/store/counts.py",
        "if known.met or sent",
        "if sent",
        COUNTED,
    ),
    Mistake(
        "counts: what a folder has sent is moved",
        f"{EDGE}/store/counts.py",
        "if known.met or sent",
        "if known.met",
        COUNTED,
    ),
    Mistake(
        "counts: a folder that is moved is taken for one that is not",
        f"{EDGE}/store/counts.py",
        "    known[space.name] = Count(0)\n",
        "",
        COUNTED,
    ),
    Mistake(
        "counts: what is moved begins a chain of its own",
        f"{EDGE}/store/counts.py",
        "store.write({**ended, **began}, sync=True)",
        "store.write(ended, sync=True)",
        COUNTED,
    ),
    Mistake(
        "counts: the rows of a folder of an older release are not looked at",
        f"{EDGE}/store/counts.py",
        "        _require_rows(store, space)\n",
        "",
        COUNTED,
    ),
    Mistake(
        "counts: a folder is salvaged by whatever is declared",
        f"{EDGE}/salvage/run.py",
        "        require_same(counts_of(remains), contract)\n",
        "",
        ("tests/unit/edge/test_salvage.py",),
    ),
    Mistake(
        "counts: a generation is made by whatever is declared",
        "streams/driftlog_streams/replaying/new_generation.py",
        "        require_declared(self._admin, SpaceTopics(name, now.read), self._contract.partitions)\n",
        "",
        ("tests/unit/streams/test_new_generation.py",),
    ),
)
