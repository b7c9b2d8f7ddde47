"""Running the commands that reactions call for on what is merged, each on what those before it have left: they become one batch (`calls`).

A command that fails, whatever its function raises, is told with code and reason; the others go on.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from driftlog_crdt import AlgebraError, HybridClock
from driftlog_schemas import bounds
from driftlog_schemas.batch_codec import MAX_BATCH_BYTES, MAX_BATCH_OPS, encode_command
from driftlog_schemas.contract import CollectionContract, InvalidInput, Refused, Undeclared
from driftlog_schemas.copied_views import CopiedViews
from driftlog_schemas.errors import TooBig
from driftlog_schemas.identity import REACTION_REPLICA, DocumentId
from driftlog_schemas.messages import Call, Command, Failed
from driftlog_schemas.partitioning import partition_of
from driftlog_schemas.running import Run, View, Writer, run_declared
from driftlog_streams.core.emitting import FAILED
from driftlog_streams.core.partition import Partition
from driftlog_streams.core.trial import Watch

REFUSED = "reaction_refused"
BATCH_BYTES = MAX_BATCH_BYTES // 2


@dataclass(slots=True)
class Done:
    """A batch in the making: the commands of calls that were run, and which calls they answer by index."""

    end: int
    views: dict[bytes, View] = field(default_factory=dict)
    clock: HybridClock = field(default_factory=HybridClock)
    commands: list[Command] = field(default_factory=list)
    depths: list[int] = field(default_factory=list)
    indices: list[int] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)
    ops: int = 0
    size: int = 0

    def full(self, command: Command, size: int) -> bool:
        """Has it no room for this command of so many bytes?"""
        return self.ops + len(command.ops) > MAX_BATCH_OPS or self.size + size > BATCH_BYTES

    def add(self, index: int, call: Call, command: Command, size: int, touched: Mapping[bytes, View]) -> None:
        """One more call was run, and has left the documents so."""
        self.commands.append(command)
        self.depths.append(call.depth)
        self.indices.append(index)
        self.ops += len(command.ops)
        self.size += size
        self.views.update(touched)


class CallRunner:
    """Of one partition."""

    def __init__(self, partition: Partition, watch: Watch) -> None:
        self._at = partition
        self._watch = watch

    def run(self, calls: Sequence[Call], first: int, now_ms: int) -> Done:
        """From the call with this index on, until a batch is full or one must wait for those before it to be merged."""
        done = Done(first)
        for index, call in enumerate(calls[first:], first):
            if call.command and not self._run_one(index, call, done, now_ms):
                break
            done.end = index + 1
        return done

    def _run_one(self, index: int, call: Call, done: Done, now_ms: int) -> bool:
        """False where it must wait for those before it to be merged."""
        views = _Views(self._at, done.views)
        writer = Writer(REACTION_REPLICA, ())
        actor = bounds.cut(f"reaction:{call.reaction}", bounds.MAX_NAME)
        run = Run(views, self._at.rules.name, lambda *_: writer, done.clock, now_ms, None, call.id, actor, lambda: True)
        try:
            declared = self._at.rules.commands.get(call.command)
            if declared is None:
                raise Undeclared("command", f"{call.command!r} is not declared here")
            with self._watch(call.command, call.id):
                run_declared(declared, run, declared.validate(json.loads(call.arguments)))
            command, size = self._command(call, run, actor)
        except MemoryError:
            raise
        except (Exception, SystemExit) as error:  # noqa: BLE001  # the app's own: the others go on
            done.failed.append(Failed(index, *_against(error)))
            return True
        finally:
            run.end()
        if command is None:
            return True
        if done.commands and (done.full(command, size) or any(map(self._depends(done), run.touched.values()))):
            return False
        done.add(index, call, command, size, run.touched)
        return True

    def _depends(self, done: Done) -> Callable[[View], bool]:
        """May a guard refuse what is before it on a document, so that it would have been written on nothing?"""
        collections = self._at.rules.collections
        return lambda view: view.key in done.views and collections[view.document.collection].asked

    def _command(self, call: Call, run: Run[View], actor: str) -> tuple[Command | None, int]:
        """The command as it is sent; None where it changes nothing. Raises `InvalidInput`, `TooBig`."""
        if run.scope is None or not run.ops:
            return None, 0
        rules = self._at.rules
        if partition_of(run.scope, rules.partitions) != self._at.number:
            raise InvalidInput(
                call.command, f"opened a document of scope {run.scope!r}, and another one when it was called for"
            )
        hlc = max(op.hlc for _, op in run.ops)
        command = Command(call.id, call.command, run.scope, hlc, tuple(run.ops), actor)
        return command, len(encode_command(command, rules.name, REACTION_REPLICA, rules.release))


class _Views(CopiedViews):
    """The documents of a partition as a command sees them: copies of what is merged."""

    def __init__(self, partition: Partition, before: Mapping[bytes, View]) -> None:
        super().__init__()
        self._at = partition
        self._before = before

    def collection(self, name: str) -> CollectionContract:
        declared = self._at.rules.space.collections.get(name)
        if declared is None:
            raise Undeclared("collection", f"{name!r} is not declared in space {self._at.rules.name!r}")
        return declared

    def _copied(self, document: DocumentId, key: bytes) -> View:
        collection = self.collection(document.collection)
        entry = self._at.cache.get(document, self._at.rules.collections[document.collection])
        before = self._before.get(key)
        state = entry.state if before is None else before.state
        view = View(document, key, collection, collection.document.copy(state), entry.size)
        view.known = dict(entry.state.vector)
        return view

    def documents(self, collection: str, scope: str) -> Iterator[DocumentId]:
        return self._at.documents(collection, scope)


def _against(error: BaseException) -> tuple[str, str]:
    """Code and reason."""
    if isinstance(error, Refused):
        code, reason = REFUSED, str(error)
    elif isinstance(error, InvalidInput | AlgebraError | TooBig):
        code, reason = REFUSED, f"invalid: {error}"
    else:
        code, reason = FAILED, f"{type(error).__name__}: {error}"
    return code, bounds.cut(reason, bounds.MAX_REASON)
