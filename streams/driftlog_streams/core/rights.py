"""What a device may do, judged by what a command does and not by what it is called.

A command declares what it touches; one that sends more under its name is refused. A command that declares nothing may write all of
its space, so a right to it is a right to that. Where a device has no right at all nothing of it is counted as seen: it makes
no document, grows no vector, and nothing of it waits.

What only comes down (`direction="down"`) takes the right to publish besides, which `*` does not contain: it is asked of what an op changes, under
whatever name it comes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from driftlog_schemas.contract import CommandContract, touches_op
from driftlog_schemas.devices import PUBLISH
from driftlog_schemas.identity import device_of, is_life
from driftlog_schemas.messages import Batch, Command
from driftlog_streams.core.rules import Devices, SpaceRules

ALL = "*"
DIRECT = "_write"
"""The permission to write without a command."""
FORGET = "_forget"
"""The permission to make a partition forget; `*` does not contain it, and it is a right to no document."""


CLOSE = "_close"
"""The permission to close an op log for good; likewise."""
NOBODY: frozenset[str] = frozenset()


class Rights(Protocol):
    """Scopes and commands that a device may write and send; `*` for all."""

    @property
    def scopes(self) -> Sequence[str]: ...
    @property
    def permissions(self) -> Sequence[str]: ...


def forbidden(command: Command, rights: Rights, rules: SpaceRules) -> str | None:
    """Why the device may not send this command; None if it may. What it writes to is declared."""
    if not scope_granted(command.scope, rights):
        return f"the device may not write scope {command.scope!r}"
    if ALL not in rights.permissions and (command.name or DIRECT) not in rights.permissions:
        return f"the device may not send {command.name or 'direct writes'!r}"
    return unpublished(command, rights, rules) or untouched(command, rules.commands)


def unpublished(command: Command, rights: Rights, rules: SpaceRules) -> str | None:
    """What a command changes that only comes down, of a device that may not publish."""
    if not rules.coming_down or PUBLISH in rights.permissions:
        return None
    changed = next((document for document, _ in command.ops if document.collection in rules.coming_down), None)
    if changed is None:
        return None
    return f"{changed.collection} only comes down to devices: to write it takes {PUBLISH!r}, which '*' does not contain"


def untouched(command: Command, declared: Mapping[str, CommandContract]) -> str | None:
    """What a command sends under its name and does not declare that it touches."""
    contract = declared.get(command.name)
    if contract is None or contract.touches is None:
        return None
    for document, op in command.ops:
        if not touches_op(contract.touches, document.collection, op):
            return f"{command.name!r} does not declare that it touches {document.collection}.{op.field or op.kind}"
    return None


def has_a_right(collection: str, scope: str, rights: Rights, rules: SpaceRules) -> bool:
    """Is there any command by which the device may write documents of this collection and scope?"""
    if not scope_granted(scope, rights):
        return False
    if collection in rules.coming_down and PUBLISH not in rights.permissions:
        return False
    for permission in rights.permissions:
        if permission in (FORGET, PUBLISH, CLOSE):
            continue
        contract = rules.commands.get(permission)
        if contract is None or contract.touches is None or collection in contract.touches:
            return True
    return False


def scope_granted(scope: str, rights: Rights) -> bool:
    """May the device write in this scope?"""
    return ALL in rights.scopes or scope in rights.scopes


def heirs(command: Command, rules: SpaceRules) -> Iterator[str]:
    """To whom a command hands rights over."""
    for document, op in command.ops:
        if op.kind in rules.giving and (collection := rules.collections.get(document.collection)) is not None:
            heir = collection.type.heir(op)
            if heir is not None:
                yield heir


def strangers(batch: Batch, append_ms: int, rules: SpaceRules, devices: Devices) -> frozenset[str]:
    """To whom a batch gives rights and who was no life of an enrolled device when it was appended: with them the rights would be lost."""
    if not rules.giving:
        return NOBODY
    named = {heir for command in batch.commands for heir in heirs(command, rules)}
    return frozenset(heir for heir in named if not _enrolled(heir, append_ms, devices))


def _enrolled(replica: str, append_ms: int, devices: Devices) -> bool:
    device = devices.find(device_of(replica)) if is_life(replica) else None
    return device is not None and device.terms_at(append_ms) is not None
