"""What a person may see of fields that the declaration masks: what pages show goes through the `Eyes` of who asks.

Who has the right `reveal` in a scope sees everything of it, and the log says which documents that were. All others see that there is a value, who wrote it and
when, and may choose between versions by that; they may not write one. Texts that may repeat a value (why something was refused, what a person gave as
a reason) are withheld with it. Nobody can ask for a value, for no filter takes one; keys of masked maps are in no list at all.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from driftlog_console.deciding import Asked, Made
from driftlog_console.history.kept import Moment, Past
from driftlog_console.people import Person, Right
from driftlog_crdt import Plain
from driftlog_edge.asking.answers import Reading
from driftlog_schemas.contract import AppContract, Json, Mask
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.messages import Command, Conflict, Version
from driftlog_streams.reading.conflict_lists import Line
from driftlog_streams.replaying.retelling import Change, Step

HIDDEN = "••••"
WITHHELD = "(withheld: it may repeat a masked value)"
CHANGED = "changed"
"""In place of the op, which may tell as much as a value: `enable`."""
LEAST_FOR_LAST4 = 8
"""Of a shorter text the last four characters would be most of it."""

Masks = Mapping[str, Mask]


def masks_of(contract: AppContract) -> dict[str, Masks]:
    """Collection -> its masked fields, of those that have any."""
    found = {name: one.masked for space in contract.spaces.values() for name, one in space.collections.items()}
    return {name: masks for name, masks in found.items() if masks}


def listed(line: Line, masks: Mapping[str, Masks]) -> Line:
    """As lists have it: a key of a masked map is part of the value, and what is in no list nobody can filter by."""
    name, _, key = line.field.partition(".")
    return line._replace(field=name) if key and name in masks.get(line.document.collection, ()) else line


class Eyes:
    """One person's, for one answer. What they were shown of masked fields is in `revealed`."""

    def __init__(self, masks: Mapping[str, Masks], person: Person) -> None:
        self._all, self.person = masks, person
        self.revealed: dict[DocumentId, None] = {}

    def conflict(self, conflict: Conflict) -> Conflict:
        """The same without the values that the person may not see."""
        place, masks = conflict.field, self._of_place(conflict.document, conflict.field)
        if not masks:
            return conflict
        name, _, key = place.partition(".")
        by = conflict.decided_by
        return replace(
            conflict,
            field=f"{name}.{HIDDEN}" if key else place,
            versions=tuple(_version(one, name, masks) for one in conflict.versions),
            decided_by=None if by is None else _version(by, name, masks),
        )

    def blind(self, conflict: Conflict) -> bool:
        """Is a value of this conflict masked for the person? Then they choose by who wrote it and when, and write none."""
        return bool(self._of_place(conflict.document, conflict.field))

    def made(self, conflict: Conflict, made: Iterable[Made]) -> list[Made]:
        """What was decided here about it."""
        masks, name = self._of_place(conflict.document, conflict.field), conflict.field.partition(".")[0]
        if not masks:
            return list(made)
        return [
            replace(
                one,
                value=_hidden(name, one.value, masks),
                answer=replace(one.answer, reason=_withheld(one.answer.reason)),
            )
            for one in made
        ]

    def asked(self, conflict: Conflict, asked: Asked) -> Asked:
        """What is held of it."""
        masks, name = self._of_place(conflict.document, conflict.field), conflict.field.partition(".")[0]
        if not masks:
            return asked
        return replace(asked, value=_hidden(name, asked.value, masks), reason=_withheld(asked.reason))

    def about(self, conflict: Conflict, text: str) -> str:
        """A text about this conflict that may repeat a value of it."""
        return _withheld(text) if self.blind(conflict) else text

    def of_command(self, command: Command, text: str) -> str:
        """A text about what a command has written."""
        return self.of_documents([document for document, _ in command.ops], text)

    def of_documents(self, documents: Iterable[DocumentId], text: str) -> str:
        """A text about what was written to all these documents."""
        blind = [document for document in documents if self._of(document)]
        return _withheld(text) if blind else text

    def at_device(self, document: DocumentId, text: str, *, alone: bool) -> str:
        """A text about a command that waits at its device and has written this document, alone or with others of its scope that nobody knows here."""
        blind = bool(self._of(document))
        if not alone and self._all:
            blind = not self.person.may(Right.REVEAL, document.scope)
        return _withheld(text) if blind else text

    def of_anything(self, text: str) -> str:
        """A text about nobody knows which documents."""
        return _withheld(text) if self._all and not self.person.may(Right.REVEAL) else text

    def values(self, document: DocumentId, value: Mapping[str, Json]) -> dict[str, Json]:
        """What a reader of the document gets."""
        return _masked_fields(value, self._of(document))

    def reading(self, document: DocumentId, reading: Reading) -> Reading:
        """A document as the replica has it; its typed view is for no page."""
        return replace(reading, value=self.values(document, reading.value))

    def moment(self, document: DocumentId, moment: Moment) -> Moment:
        """A moment of its past."""
        value = None if moment.value is None else self.values(document, moment.value)
        return replace(moment, value=value, steps=tuple(self._step(document, step) for step in moment.steps))

    def past(self, document: DocumentId, past: Past) -> Past:
        """Its past."""
        return past._replace(moments=[self.moment(document, one) for one in past.moments])

    def _step(self, document: DocumentId, step: Step) -> Step:
        masks = self._of(document)
        if not masks:
            return step
        changes = tuple(_change(change, masks) for change in step.changes)
        return replace(step, changes=changes, reason=_withheld(step.reason))

    def _of(self, document: DocumentId) -> Masks:
        """What is masked of it for this person."""
        masks = self._all.get(document.collection, {})
        if masks and self.person.may(Right.REVEAL, document.scope):
            self.revealed[document] = None
            return {}
        return masks

    def _of_place(self, document: DocumentId, place: str) -> Masks:
        """The same, where this place of it is, or holds, a masked field."""
        masks = self._all.get(document.collection, {})
        return self._of(document) if not place or place.partition(".")[0] in masks else {}


def _version(version: Version, name: str, masks: Masks) -> Version:
    return replace(version, value=_hidden(name, version.value, masks), reason=_withheld(version.reason))


def _change(change: Change, masks: Masks) -> Change:
    if change.field and change.field not in masks:
        return change
    op = CHANGED if change.field else change.op
    return change._replace(op=op, value=_hidden(change.field, change.value, masks))


def _hidden(name: str, value: Plain, masks: Masks) -> Plain:
    """The value of a field, or of a record as a whole; that a record was deleted everybody may see."""
    if name:
        return _masked(value, masks[name])
    if value is None:
        return None
    return dict(_masked_fields(value, masks)) if isinstance(value, dict) else HIDDEN


def _masked_fields(value: Mapping[str, Json], masks: Masks) -> dict[str, Json]:
    return {name: _masked(one, masks[name]) if name in masks else one for name, one in value.items()}


def _masked(value: Plain, mask: Mask) -> str:
    shows = mask == "last4" and isinstance(value, str) and len(value) >= LEAST_FOR_LAST4
    return HIDDEN + str(value)[-4:] if shows else HIDDEN


def _withheld(text: str) -> str:
    return WITHHELD if text else ""
