"""What has passed in a group of states: of which documents nothing is there any more, which went for good, where a deadline runs, and which
conflicts there are and were.

A store keeps them beside the states. The deleted ones by the number of their newest group, which is never below the op that deleted
them: so what may be purged is found by a look at the lowest. Those that went, with the op record by which they did, for as long as
somebody's late word on one may still come: it must not bring back what was there before. The conflicts by the names of their records, for these
do not say whose they are.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from driftlog_schemas.groups import GroupMark

_MARK = b'"presence":{}'
"""Stands in the bytes of every state of which nothing is there, so the others need not be decoded."""


@dataclass(slots=True)
class Passed:
    """Of one write of a store."""

    dead: dict[bytes, int] = field(default_factory=dict)
    """key of a deleted document -> number of the group"""
    gone: dict[bytes, int] = field(default_factory=dict)
    """key -> offset of the op record that purged it"""
    due: dict[bytes, int] = field(default_factory=dict)
    """key of a document in conflict -> the first deadline there"""
    disputes: dict[bytes, Collection[bytes]] = field(default_factory=dict)
    """key of a document -> the names of its conflicts' records, all of them; none where it may have had some"""
    ends: Mapping[bytes, bytes] = field(default_factory=dict)
    """name of a conflict's record -> that record, of a conflict that has ended"""

    def take(self, key: bytes, value: bytes | None, mark: GroupMark, deleted: Callable[[bytes, bytes], bool]) -> None:
        """A state record as it goes into a store."""
        self.dead.pop(key, None)
        if mark.due_ms:
            self.due[key] = mark.due_ms
        if value is None:
            self.gone[key] = mark.purged or mark.number
        elif _MARK in value and deleted(key, value):
            self.dead[key] = mark.number

    def take_there(self, states: Mapping[bytes, bytes], number: int, deleted: Callable[[bytes, bytes], bool]) -> None:
        """State records of one group as they go into a store: each of another document, none without a value or with a deadline."""
        if self.dead:
            for key in states:
                self.dead.pop(key, None)
        for key in [key for key, value in states.items() if _MARK in value]:
            if deleted(key, states[key]):
                self.dead[key] = number
