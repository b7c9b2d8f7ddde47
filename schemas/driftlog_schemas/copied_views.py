"""Views whose changes reach nobody else: what a command would change is tried on copies."""

from __future__ import annotations

from driftlog_schemas.identity import DocumentId, document_key
from driftlog_schemas.running import View


class CopiedViews:
    """Most of `running.Views`: each document is copied when it is first asked for. The copies go with this, so their size has no bound of its own."""

    def __init__(self) -> None:
        self._views: dict[bytes, View] = {}

    def _copied(self, document: DocumentId, key: bytes) -> View:
        """A view of its own of what is held. Raises `Undeclared`."""
        raise NotImplementedError

    def get(self, document: DocumentId) -> View:
        key = document_key(document)
        if key not in self._views:
            self._views[key] = self._copied(document, key)
        return self._views[key]

    def put(self, view: View) -> None:
        self._views[view.key] = view

    def forget(self, key: bytes) -> None:
        self._views.pop(key, None)

    def grew(self, view: View, size: int) -> None:
        """Nobody counts it."""
