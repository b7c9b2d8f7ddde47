"""Mistakes on the way to another generation of a read model."""

from __future__ import annotations

from tests.mutation.rims.mistake import DRIVER, EDGE, SCHEMAS, Mistake

REPLAYING = "streams/driftlog_streams/replaying"
LINES = ("tests/unit/schemas/test_generations.py",)
SWITCHING = ("tests/unit/streams/test_switching.py",)
STEPS = ("tests/unit/streams/test_new_generation.py",)
WRITTEN = ("tests/unit/streams/test_publication.py",)
HEIR = ("tests/unit/streams/driver/test_new_generation.py",)
REACTIONS = ("tests/unit/streams/test_reactions.py",)
ROOM = ("tests/unit/streams/test_rebuild_room.py",)
VERDICTS = ("tests/unit/streams/test_verdicts.py",)
EDGES = ("tests/unit/edge/test_generation_route.py",)

GENERATIONS: tuple[Mistake, ...] = (
    Mistake(
        "generations: a line that cannot be read is believed",
        f"{SCHEMAS}/device_lines.py",
        "if names_space(name) and not _says_generations(device):",
        "if False:",
        LINES,
    ),
    Mistake(
        "generations: a space is a device",
        f"{SCHEMAS}/device_lines.py",
        "if not names_space(device.device_id)]",
        "]",
        LINES,
    ),
    Mistake(
        "generations: what workers merged and nobody read may be made anew",
        f"{SCHEMAS}/generations.py",
        "for one in _said(terms)",
        "for one in _said(terms)[1:]",
        LINES,
    ),
    Mistake(
        "generations: two switches of one moment are one",
        f"{SCHEMAS}/generations.py",
        "*(terms.from_ms + 1 for terms in earlier)",
        "*(terms.from_ms for terms in earlier)",
        LINES,
    ),
    Mistake(
        "verdicts: what was counted before a cut is counted again",
        f"{REPLAYING}/verdicts.py",
        "self.counts, self._written = Counts(*json.loads(value)), (-1, following - 1)",
        "pass",
        VERDICTS,
    ),
    Mistake(
        "verdicts: only the latest count is kept, which may be ahead of the store",
        f"{REPLAYING}/verdicts.py",
        "for at in before[:1] if",
        "for at in before if",
        VERDICTS,
    ),
    Mistake(
        "verdicts: what was given up and keeps its place waits for ever",
        f"{REPLAYING}/verdicts.py",
        "after = arrival.given_up(following) or CommandOutcome",
        "after = CommandOutcome",
        VERDICTS,
    ),
    Mistake(
        "verdicts: what is told once more is counted once more",
        f"{REPLAYING}/verdicts.py",
        "self._heard[arrival.offset, arrival.command.id] = arrival, after\n\n",
        "self._heard[len(self._heard), arrival.command.id] = arrival, after\n\n",
        VERDICTS,
    ),
    Mistake(
        "verdicts: what a resumed merge looks at again is heard",
        f"{REPLAYING}/verdicts.py",
        "        self._heard.clear()\n        if not following",
        "        if not following",
        VERDICTS,
    ),
    Mistake(
        "rebuild: what the partition has forgotten stays in the store",
        f"{REPLAYING}/rebuild.py",
        "if floor - self._floor >= FORGET_RECORDS:",
        "if False:",
        ROOM,
    ),
    Mistake(
        "rebuild: what a worker would purge is listed for nobody",
        f"{REPLAYING}/rebuild.py",
        "passed = replace(part.passed, dead={}, due={})",
        "passed = part.passed",
        ROOM,
    ),
    Mistake(
        "switching: another one is begun in the middle",
        f"{REPLAYING}/switching.py",
        "if under_way:\n        raise",
        "if False:\n        raise",
        SWITCHING,
    ),
    Mistake(
        "switching: readers follow while the old workers merge",
        f"{REPLAYING}/switching.py",
        "if not behind and clock() - rests_since >= SETTLED_SECONDS:",
        "if not behind:",
        SWITCHING,
    ),
    Mistake(
        "switching: what an attempt before has left is written behind",
        f"{REPLAYING}/switching.py",
        "if wanted in leftovers:",
        "if False:",
        SWITCHING,
    ),
    Mistake(
        "switching: one goes back though the log has a hole",
        f"{REPLAYING}/switching.py",
        "if commits[number] < there.start:",
        "if False:",
        SWITCHING,
    ),
    Mistake(
        "new generation: its group does not know where to begin",
        f"{REPLAYING}/new_generation.py",
        "report.merged_to + 1 for report",
        "report.merged_to for report",
        STEPS,
    ),
    Mistake(
        "new generation: readers go first",
        f"{REPLAYING}/new_generation.py",
        "self._enrolment.switch(name, InForce(wanted, now.read))",
        "self._enrolment.switch(name, InForce(wanted, wanted))",
        STEPS,
    ),
    Mistake(
        "new generation: what differs needs no word",
        f"{REPLAYING}/new_generation.py",
        "if not sure and any(report.differing for report in reports):",
        "if False:",
        STEPS,
    ),
    Mistake(
        "publication: rows are left out",
        f"{REPLAYING}/publication.py",
        "merger.publish_row_again(replica)",
        "pass",
        HEIR,
    ),
    Mistake(
        "publication: digests are left out",
        f"{REPLAYING}/publication.py",
        "digests=ScopeDigests(store.digest, store.keys),",
        "digests=None,",
        WRITTEN,
    ),
    Mistake(
        "publication: what was read back is not looked at",
        f"{REPLAYING}/publication.py",
        "if not same or",
        "if",
        WRITTEN,
    ),
    Mistake(
        "open calls: as they are by now",
        f"{REPLAYING}/open_calls.py",
        "and row.offset <= group",
        "",
        REACTIONS,
    ),
    Mistake(
        "worker: it goes on in a generation that is over",
        f"{DRIVER}/host.py",
        "if merged != own:",
        "if False:",
        ("tests/unit/streams/driver/test_generation_over.py",),
    ),
    Mistake(
        "edge: nobody notices another generation",
        f"{EDGE}/link/sync.py",
        "if self._route.outdated and",
        "if False and",
        EDGES,
    ),
    Mistake(
        "edge: an answer may be of another generation than what comes in",
        f"{EDGE}/link/generation_route.py",
        "return _Asker(asker, self._names) if self._names else asker",
        "return asker",
        EDGES,
    ),
    Mistake(
        "edge: the line of a space is forgotten at a start",
        f"{EDGE}/link/registry_line.py",
        "if line is not None and declared_name(space) in self._declared:",
        "if False:",
        EDGES,
    ),
    Mistake(
        "edge: a folder of before looks for no line of a space",
        f"{EDGE}/link/registry_line.py",
        "spaces.keys() >= {*self._declared}, ",
        "True, ",
        EDGES,
    ),
)
