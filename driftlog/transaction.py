"""What a command function is given: documents of one scope, to read and to change."""

from __future__ import annotations

from typing import TypeVar

from driftlog.document import Document
from driftlog_schemas.contract import Editor, InvalidInput

D = TypeVar("D", bound=Document)


class Transaction:
    """One running command. Its changes take effect together or not at all."""

    __slots__ = ("_editor", "_scope")

    def __init__(self, editor: Editor) -> None:
        self._editor = editor
        self._scope: str | None = None

    def edit(self, kind: type[D], scope: str, id: str) -> D:
        """The document as this replica sees it, to read and change; it need not exist yet.

        Raises:
            InvalidInput: another scope than the command's first, or a class that is no collection.
        """
        contract = getattr(kind, "__driftlog__", None)
        if contract is None:
            raise InvalidInput(
                "collection", f"{kind.__name__} is not a collection; decorate it with @space.collection(...)"
            )
        if self._scope is None:
            self._scope = scope
        elif scope != self._scope:
            raise InvalidInput(contract.scope_field, f"a command stays in one scope: {self._scope!r}, not {scope!r}")
        return kind(self._editor.open(contract.name, scope, id))
