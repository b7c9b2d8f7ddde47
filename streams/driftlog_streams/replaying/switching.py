"""A new generation of a space's read model: which one may be put in force, its topics, what it holds, and the switch.

Nothing is in force before the operator's line says so (`driftlog_schemas.generations`), and that is the last step. Whatever cuts it off before
leaves topics that nobody reads; they are deleted and made again by the next attempt. The switch itself is two lines: the workers are sent over first, go on in the op log
where the new generation ends, and when they are as far as they were before, everybody else is. Cut off in between, the next attempt goes on there.

Old workers and new ones do not meet: each generation has its own states, receipts and consumer group, so whoever wakes up late writes where nobody reads.

To an earlier generation one can go back while the op log has what follows it: its workers go on where their group stood.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from enum import Enum

from driftlog_schemas.generations import InForce
from driftlog_schemas.topics import MIN_INSYNC, Plan, SpaceTopics, Topic, generation_topics, generations_among
from driftlog_schemas.topics_admin import TopicsAdmin
from driftlog_streams.errors import SetupProblem
from driftlog_streams.replaying.commits import Commits
from driftlog_streams.replaying.logs import Logs

SETTLED_SECONDS = 5.0
"""For so long the workers of before must have confirmed nothing: they hear of the switch within a second or two."""
LOOK_SECONDS = 1.0


class Way(Enum):
    """What it takes to have a generation in force."""

    NOTHING = "it is in force"
    FINISH = "its workers merge it, and readers are still to follow"
    RETURN = "it was in force before"
    MAKE = "it is to be made"


def way_to(wanted: int, now: InForce, ever: Collection[int]) -> Way:
    """`ever` are the generations that were in force at some time. Raises `SetupProblem` where it cannot be this one."""
    under_way = now.merged != now.read
    if wanted == now.read and not under_way:
        return Way.NOTHING
    if wanted == now.merged:
        return Way.FINISH
    if wanted in ever and (not under_way or wanted == now.read):
        return Way.RETURN
    if under_way:
        raise SetupProblem(
            f"the switch from generation {now.read} to {now.merged} is not finished",
            f"finish it with --to-generation {now.merged}, or take it back with --to-generation {now.read}",
        )
    following = max(ever) + 1
    if wanted != following:
        raise SetupProblem(
            f"generation {wanted} cannot be made: generation {now.read} is in force, and the next one is {following}",
            f"give --to-generation {following}"
            + ("" if len(ever) == 1 else f", or one that was in force before: {', '.join(map(str, sorted(ever)))}"),
        )
    return Way.MAKE


def lay_topics(admin: TopicsAdmin, logs: Logs, running: SpaceTopics, wanted: int, partitions: int) -> SpaceTopics:
    """Make the topics of a generation that was never in force, empty, as those that run are. What an attempt before has left is deleted.

    Raises `TopicProblem`, `BrokerUnreachable`.
    """
    named = SpaceTopics(running.space, wanted)
    leftovers = generations_among(admin.partition_counts(), running.space)
    if wanted in leftovers:
        admin.remove([named.state, named.receipts])
    there = admin.existing([running.state, running.receipts])
    made = [
        like(there.get(old), new)
        for old, new in zip(
            (running.state, running.receipts), generation_topics(running.space, partitions, wanted), strict=True
        )
    ]
    admin.apply(Plan(made, (), ()))
    for topic in made:
        if any(len(logs.extent(topic.name, number)) for number in range(partitions)):
            raise SetupProblem(
                f"{topic.name} was made just now and is not empty: somebody else does the same",
                "wait until they are done, then look which generation is in force",
            )
    return named


def like(old: Topic | None, new: Topic) -> Topic:
    """The new topic with what was set for the old one."""
    if old is None:
        return new
    kept = {name: old.settings[name] for name in (*new.settings, MIN_INSYNC) if name in old.settings}
    return replace(new, settings={**new.settings, **kept}, replication=old.replication)


def require_declared(admin: TopicsAdmin, running: SpaceTopics, partitions: int) -> None:
    """Raise `TopicProblem` unless what runs has as many partitions as the app declares.

    With another count each batch would be refused as one of another partition: what is rebuilt would be empty, and differ in everything.
    """
    admin.require([Topic(name, partitions, {}) for name in (running.ops, running.state, running.receipts)])


def require_leading_on(
    admin: TopicsAdmin, logs: Logs, to: SpaceTopics, partitions: int, commits: Mapping[int, int]
) -> None:
    """Raise `SetupProblem`, `TopicProblem` unless the workers of an earlier generation can go on where they were."""
    admin.require(generation_topics(to.space, partitions, to.generation))
    for number in range(partitions):
        there = logs.extent(to.ops, number)
        if commits[number] < there.start:
            raise SetupProblem(
                f"generation {to.generation} ends before op {commits[number]} of {to.ops}[{number}], and the log begins at"
                f" {there.start}: what lies between is gone",
                "stay with the one that is in force: a new one is made from the first op record, which is gone as well",
            )


def follow_over(
    commits: Commits,
    old: SpaceTopics,
    new: SpaceTopics,
    seconds: float,
    told: Callable[[int], None] = lambda behind: None,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> None:
    """Wait until the workers of the new generation are as far as those of the old one, and these have come to rest.

    Raises `SetupProblem` where that takes longer than `seconds`.
    """
    before, rests_since, end = commits.read(old), clock(), clock() + seconds
    while True:
        at, reached = commits.read(old), commits.read(new)
        if at != before:
            before, rests_since = at, clock()
        behind = sum(max(0, offset - reached[number]) for number, offset in at.items())
        told(behind)
        if not behind and clock() - rests_since >= SETTLED_SECONDS:
            return
        if clock() > end:
            raise SetupProblem(
                f"the workers of {new.space} are to merge generation {new.generation}, and are {behind} op records behind those of"
                f" generation {old.generation} after {seconds:.0f} s; readers have generation {old.generation} until then",
                f"see that workers run, of a release that knows generations; then --to-generation {new.generation} once more goes on here",
            )
        pause(LOOK_SECONDS)
