"""Holding other scopes while the agent runs: new ones are fetched, left ones go from the disk. One change at a time (see `lasting`).

What a change means for the store is `store/holdings`; here it is carried out while nothing comes in.
"""

from __future__ import annotations

from collections.abc import Sequence

from driftlog_edge.asking.conflict_book import ConflictBook
from driftlog_edge.errors import EdgeError, Unconfirmed
from driftlog_edge.link.sync import Sync
from driftlog_edge.store.changes import ANEW
from driftlog_edge.store.committer import Committer
from driftlog_edge.store.holdings import Change, Holdings
from driftlog_edge.store.housekeeping import Housekeeping
from driftlog_edge.store.views import Views
from driftlog_schemas import bounds
from driftlog_schemas.contract import InvalidInput


class ScopeChange:
    """Changes which scopes one agent holds."""

    def __init__(
        self,
        holdings: Holdings,
        committer: Committer,
        views: Views,
        conflicts: ConflictBook,
        sync: Sync,
        housekeeping: Housekeeping,
    ) -> None:
        self._holdings = holdings
        self._committer = committer
        self._views = views
        self._conflicts = conflicts
        self._sync = sync
        self._housekeeping = housekeeping

    async def hold(self, scopes: Sequence[str]) -> None:
        """See `EdgeAgent.hold`."""
        _check(scopes)
        self._changed(scopes)  # refused before anything is stopped for it
        async with self._sync.apart(), self._committer.turn:
            await self._remove()  # what a change that was cut off has left behind
            await self._write(scopes)
            await self._remove()

    def _changed(self, scopes: Sequence[str]) -> Change:
        change = self._holdings.change(scopes)
        if stuck := change.left & self._holdings.pending_scopes():
            raise Unconfirmed(
                f"commands in scope {min(stuck)!r} are not confirmed by the cloud yet",
                "wait until nothing is pending",
            )
        return change

    async def _write(self, scopes: Sequence[str]) -> None:
        change = self._changed(scopes)
        # Who watches a scope that is left learns of it by reading.
        written = self._committer.stage(change.writes, changed=ANEW if change.left else ())
        # Nothing comes in between: from here on no command is taken into a scope that is left.
        self._holdings.take(change)
        self._sync.follow(change.scopes, change.again)
        try:
            await written
        except EdgeError:
            self._sync.follow(self._holdings, ())  # which are as they were
            raise

    async def _remove(self) -> None:
        for writes in self._holdings.removals():
            await self._committer.stage(writes, sync=False)
            self._conflicts.pulled(writes)
            self._views.forget_all()
            self._housekeeping.give_back()


def _check(scopes: Sequence[str]) -> None:
    if not scopes:
        raise InvalidInput("scopes", "name at least one")
    for scope in scopes:
        try:
            bounds.check_text("scopes", scope, bounds.MAX_SCOPE, least=1)
        except bounds.OutOfBounds as error:
            raise InvalidInput("scopes", str(error)) from error
