"""What a command function is given: documents of one scope, to read and to change."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TypeVar

from driftlog.document import Document
from driftlog_schemas.contract import Editor, InvalidInput

D = TypeVar("D", bound=Document)


class Transaction:
    """One running command. Its changes take effect together or not at all."""

    __slots__ = ("_editor",)

    def __init__(self, editor: Editor) -> None:
        self._editor = editor

    @property
    def now(self) -> datetime:
        """When the command began, by the device's clock, in UTC; the same all through the command."""
        return datetime.fromtimestamp(self._editor.now_ms / 1000, UTC)

    @property
    def command_id(self) -> str:
        """The id by which the command is idempotent: what to derive ids of new documents from."""
        return self._editor.command_id

    @property
    def actor(self) -> str:
        """On whose behalf the command runs, as its caller said; empty if nobody said."""
        return self._editor.actor

    def edit(self, kind: type[D], scope: str, id: str) -> D:
        """The document as this replica sees it, to read and change; it need not exist yet.

        Raises:
            InvalidInput: another scope than the command's first, or a class that is no collection.
        """
        name = _collection(kind)
        return kind(self._editor.open(name, scope, id))

    def list(self, kind: type[D], scope: str) -> Iterator[D]:
        """The scope's documents of a collection, in id order, each to read and change. Raises like `edit`."""
        name = _collection(kind)
        return (kind(self._editor.open(name, scope, id)) for id in self._editor.ids(name, scope))


def _collection(kind: type[Document]) -> str:
    contract = getattr(kind, "__driftlog__", None)
    if contract is None:
        raise InvalidInput(
            "collection", f"{kind.__name__} is not a collection; decorate it with @space.collection(...)"
        )
    return str(contract.name)
