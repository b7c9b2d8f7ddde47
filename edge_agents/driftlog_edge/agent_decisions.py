"""What people decide at an agent: conflicts, and commands that nobody can apply, that were rejected, or that the cloud has put off."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress

from driftlog_crdt import Custom, Decision
from driftlog_edge.agent_life import AgentLife
from driftlog_edge.asking.again import Reviewed
from driftlog_edge.asking.answers import DEFAULT_TIMEOUT, Answer
from driftlog_edge.asking.executor import Executed, Tried
from driftlog_edge.asking.op_log import Line
from driftlog_edge.store.views import present
from driftlog_schemas.batch_codec import MEANS
from driftlog_schemas.contract import InvalidInput, Json
from driftlog_schemas.identity import DocumentId
from driftlog_schemas.messages import Conflict, ConflictStatus


class AgentDecisions(AgentLife):
    """The part of an agent that is for people; `EdgeAgent` is the whole of it."""

    # -- conflicts

    def conflicts(self, *, everything: bool = False) -> list[Conflict]:
        """The conflicts of subscribed scopes that are not resolved, or all that are known."""
        return self._conflicts.all(everything=everything)

    async def conflict_page(
        self, limit: int = 100, after: str = "", *, everything: bool = False
    ) -> tuple[list[Conflict], bool]:
        """Some of them, by id from after `after`, and whether there are more. A page ends earlier where its conflicts are large."""
        return await self._conflicts.page(limit, after, everything=everything)

    def conflict(self, conflict_id: str) -> Conflict:
        """Raises `NotFound`."""
        return self._conflicts.get(conflict_id)

    def conflicts_of(self, document: DocumentId) -> tuple[str, ...]:
        """The ids of a document's unresolved conflicts."""
        return self._conflicts.of(document)

    def on_conflict(self, told: Callable[[Conflict], None]) -> None:
        """Call this with each conflict that comes in, before the change of its document is told to watchers. It is not kept yet: read it again then."""
        self._on_conflict.append(told)
        self._conflicts.on_pulled(told)

    async def resolve(
        self,
        conflict_id: str,
        values: Mapping[str, Json] | None = None,
        *,
        command_id: str = "",
        actor: str = "",
        how: str = "api",
        reason: str = "",
    ) -> Answer:
        """Decide: write `values` (field -> value), or accept what stands. The write has seen all versions and ends the conflict; also one that its
        deadline has ended, as long as nobody else has decided it. `how` says by what means: `page`, `cli` or `api`.
        """
        decide = self._resolution(conflict_id, values, command_id, actor, how, reason)
        return await self._submission.take(decide, "disk", DEFAULT_TIMEOUT)

    async def try_resolve(
        self,
        conflict_id: str,
        values: Mapping[str, Json] | None = None,
        *,
        actor: str = "",
        how: str = "api",
        reason: str = "",
    ) -> None:
        """Would `resolve` be taken as things are? Raises like it; nothing has changed either way."""
        decide = self._resolution(conflict_id, values, "", actor, how, reason, only_tried=True)
        with suppress(Tried):
            await self._submission.take(decide, "disk", DEFAULT_TIMEOUT)

    def _resolution(
        self,
        conflict_id: str,
        values: Mapping[str, Json] | None,
        command_id: str,
        actor: str,
        how: str,
        reason: str,
        *,
        only_tried: bool = False,
    ) -> Callable[[], Executed]:
        conflict = self.conflict(conflict_id)
        if conflict.status is ConflictStatus.RESOLVED:
            raise InvalidInput("id", "this conflict is resolved already")
        if how not in MEANS:
            raise InvalidInput("how", f"{how!r} is not one of {', '.join(MEANS)}")
        decision = Decision(how, reason)
        if values is not None and conflict.field not in values:
            raise InvalidInput(conflict.field, 'is what the conflict is about; give its value, or {"accept": true}')

        def decide() -> Executed:
            chosen = {conflict.field: self._standing(conflict)} if values is None else values
            return self._executor.decide(
                conflict.document, chosen, command_id, actor, decision=decision, only_tried=only_tried
            )

        return decide

    def _standing(self, conflict: Conflict) -> Json:
        """What accepting writes: the winner's value, or what the app's own merge has made of them."""
        if conflict.status is ConflictStatus.SETTLED and conflict.decided_by is not None:
            return conflict.decided_by.value
        if conflict.rule != Custom.name:
            return conflict.winner.value
        return present(self._views.get(conflict.document))[conflict.field]

    # -- what waits for a person

    def review(self) -> list[Reviewed]:
        """Commands that were answered here and that nobody can apply without a person: what they changed is gone, or they may
        have been counted already."""
        return list(self._again.review())

    async def review_page(self, limit: int = 100, after: int = 0) -> tuple[list[Reviewed], bool]:
        """Some of them, oldest first from after that number, and whether there are more. A page ends earlier where its commands are large."""
        return await self._again.review_page(limit, after)

    async def review_apply(self, command_id: str) -> Answer:
        """Run one of them on what is there now. Raises `NotFound`, and like `run_with`; then it stays on the list."""
        return await self._looked_at(lambda: self._again.apply(command_id))

    async def review_drop(self, command_id: str) -> Answer:
        """Give one of them up. Raises `NotFound`."""
        return await self._looked_at(lambda: self._again.drop(command_id))

    async def rejected_page(self, limit: int = 100, before: int = 0) -> tuple[list[Line], bool]:
        """Some of the commands that were rejected after they had been answered, and that nobody has looked at: newest first from before that number,
        and whether there are more."""
        return await self._rejections.page(limit, before)

    async def rejected_seen(self, command_id: str) -> Answer:
        """A person has looked at one of them; its answer stays as it is. Raises `NotFound`."""
        return await self._looked_at(lambda: self._rejections.seen(command_id))

    async def _looked_at(self, act: Callable[[], Executed]) -> Answer:
        """Do what a person says of one of them, and let the fleet know that it waits no more."""
        answer = await self._submission.take(act, "disk", DEFAULT_TIMEOUT)
        self._sync.news()
        return answer

    async def deferred_page(self, limit: int = 100, after: int = 0) -> tuple[list[Line], bool]:
        """Some of the commands that the cloud has put off, or that stand behind one that it has; as `review_page`."""
        return await self._deferred.page(limit, after)

    async def deferred_drop(self, command_id: str, reason: str) -> Answer:
        """Give one of them up. What stands behind it goes on. Raises `NotFound`, `InvalidInput`."""
        answer = await self._submission.take(
            lambda: self._deferred.drop(command_id, reason), "disk", DEFAULT_TIMEOUT, order=self._committer.turn
        )
        self._sync.renewing.run()
        return answer
