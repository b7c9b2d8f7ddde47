"""Reactions: functions that the cloud runs on merged changes, and that may call for commands in any scope of their space.

@retail.on_change(Transfer)
def goods_arrive(before: Transfer | None, after: Transfer | None) -> Iterator[Emit]:
    if before is None and after is not None:
        yield Emit(receive, store=after.to_store.value, sku=after.sku.value, qty=after.qty.value)
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any

from driftlog.document import Document
from driftlog.errors import DeclarationError
from driftlog.values import to_json
from driftlog_crdt import DocumentState
from driftlog_schemas.contract import CollectionContract, InvalidInput, ReactionContract, Wanted


class Emit:
    """A command that a reaction calls for: the declared function (or its name), and its arguments."""

    __slots__ = ("arguments", "command")

    def __init__(self, command: Callable[..., Any] | str, /, **arguments: Any) -> None:
        self.command = command
        self.arguments = arguments

    def __repr__(self) -> str:
        name = self.command if isinstance(self.command, str) else getattr(self.command, "__name__", self.command)
        return f"Emit({name}, {self.arguments})"


def compile_reaction(
    function: Callable[[Any, Any], Iterable[Emit] | None],
    name: str,
    contract: CollectionContract,
    name_of: Callable[[Callable[..., Any] | str], str | None],
) -> ReactionContract:
    """`name_of` gives the name under which the space declares a command. Raises `DeclarationError`."""
    written = inspect.unwrap(function)
    if inspect.iscoroutinefunction(written) or inspect.isasyncgenfunction(written):
        raise DeclarationError(name, "is not a plain function: a reaction runs from its begin to its end", "write def")
    try:
        inspect.signature(function).bind(None, None)
    except TypeError as error:
        raise DeclarationError(
            name, f"does not take two documents: {error}", f"write def {name}(before, after)"
        ) from error

    def view(scope: str, id: str, state: DocumentState | None) -> Document | None:
        return None if state is None else contract.view(scope, id, state)

    def run(scope: str, id: str, before: DocumentState | None, after: DocumentState | None) -> Iterable[Wanted]:
        for emitted in function(view(scope, id, before), view(scope, id, after)) or ():
            if not isinstance(emitted, Emit):
                raise InvalidInput(name, f"gave {type(emitted).__name__}; give Emit(command, argument=...)")
            command = name_of(emitted.command)
            if command is None:
                raise InvalidInput(name, f"{emitted!r} is no command of space {contract.space!r}; declare it there")
            yield Wanted(command, {key: to_json(value) for key, value in emitted.arguments.items()})

    return ReactionContract(name, contract.name, run)
