"""App and spaces: where a module declares its collections, commands and guards.

Declaring compiles at once, so that whatever cannot work fails at import. The result, `App.contract`, is all that edge and
cloud ever see of the module.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Literal, ParamSpec, TypeVar, cast, get_type_hints, overload

from pydantic import BaseModel, ConfigDict, ValidationError, create_model
from pydantic.errors import PydanticUserError

from driftlog.app_versions import check_version, compile_floors
from driftlog.document import Document, compile_collection
from driftlog.errors import DeclarationError
from driftlog.fields.options import duration_ms
from driftlog.reactions import Emit, compile_reaction
from driftlog.transaction import Transaction
from driftlog.values import explain, numeric, to_json
from driftlog_crdt import DocumentState
from driftlog_schemas.contract import (
    AppContract,
    CollectionContract,
    CommandContract,
    Editor,
    GuardContract,
    InvalidInput,
    Json,
    ReactionContract,
    SpaceContract,
    Touches,
)

D = TypeVar("D", bound=Document)
P = ParamSpec("P")
R = TypeVar("R")

_NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9_-]{0,99}\Z")
_RUN_LATER = (inspect.iscoroutinefunction, inspect.isasyncgenfunction, inspect.isgeneratorfunction)
"""Calling such a function does nothing yet."""
PRIORITIES = ("critical", "high", "normal", "low")


class App:
    """Everything one module declares."""

    def __init__(
        self, name: str, *, version: str = "", oldest_supported: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        """Name an app.

        `version`           what its devices call themselves, "2.0": ordered as Python packages are (PEP 440)
        `oldest_supported`  {"1.4": "2027-03-01"}: from that day (UTC) on the cloud takes nothing of a device with an older version, or with none,
                            until it is updated. Its agent warns 30 days ahead; nothing is lost. An entry whose day is over stays: what was taken before
                            it is taken again when the log is replayed.
        """
        _require_name("App", name)
        check_version(name, version)
        self.name = name
        self.version = version
        self._floors = compile_floors(name, version, oldest_supported)
        self._spaces: dict[str, Space] = {}

    def space(self, name: str, *, partitions: int = 64) -> Space:
        """Declare documents that share topics and causal order.

        `partitions` is how many the space begins with, and stays as it is declared: a space is given another number by `driftlog topics repartition`, and everybody
        learns that from the device registry.
        """
        _require_name("space", name)
        if name in self._spaces:
            raise DeclarationError(f"space {name!r}", "is declared twice", "give each space its own name")
        if partitions < 1:
            raise DeclarationError(f"space {name!r}", f"partitions={partitions}", "use at least 1; hundreds are usual")
        space = self._spaces[name] = Space(self, name, partitions)
        return space

    @property
    def contract(self) -> AppContract:
        """What edge and cloud are given."""
        spaces = {name: space.contract for name, space in self._spaces.items()}
        return AppContract(self.name, spaces, self.version, self._floors)


class Space:
    """Collections, commands and guards that belong together."""

    def __init__(self, app: App, name: str, partitions: int) -> None:
        self._app = app
        self.name = name
        self.partitions = partitions
        self._collections: dict[str, CollectionContract] = {}
        self._commands: dict[str, CommandContract] = {}
        self._functions: dict[str, Callable[..., Any]] = {}
        """Of each command the function that declares it."""
        self._guards: dict[str, list[GuardContract]] = {}
        self._reactions: dict[str, list[ReactionContract]] = {}

    @property
    def contract(self) -> SpaceContract:
        """This space, compiled."""
        return SpaceContract(
            self.name,
            self.partitions,
            dict(self._collections),
            dict(self._commands),
            {k: tuple(v) for k, v in self._guards.items()},
            {k: tuple(v) for k, v in self._reactions.items()},
            self._app.version,
            self._app._floors,
        )

    def collection(
        self,
        *,
        scope: str,
        id: str,
        on_delete: str = "delete-wins",
        unit: str = "field",
        max_bytes: int = 0,
        history: str = "full",
        priority: str = "normal",
        max_age: str = "",
        sync: str = "now",
        direction: str = "both",
        evict: str = "normal",
        evict_after: str = "",
        keep: str = "",
        offline_limit: str = "",
    ) -> Callable[[type[D]], type[D]]:
        """Class decorator: a document family whose `scope` and `id` fields name a document.

        `on_delete`  "delete-wins" or "update-wins", against concurrent changes
        `unit`       what concurrent writes compete for: each "field" by itself, or the whole "record" (registers only)
        `max_bytes`  size guard of a document's state; if not given 64 KiB, 480 KiB for documents with a text or a list
        `history`    "full", or "collapsed": commands of one name that wait for the network are sent as one for each document, with what they come
                     to; they are merged or refused together, and a guard sees only that
        `priority`   of writes without a declared command: critical, high, normal, low
        `max_age`    "10m": older than this, what a replica has of it is stale; reads say so, and commands may refuse to run on it
        `sync`       when what was written on a device leaves it: "now", together every "5m" (any duration), or "on_wifi", over a network that
                     costs nothing. Commands of the classes critical and high never wait; one that touches several collections goes with the
                     most urgent of them
        `evict`      which documents make room on a device whose `disk_budget` is used up: those of "first" before "normal" before "last"; "never"
        `evict_after`  "30d": what nobody on the device has used for so long, and nobody has changed, goes before the rest of its class
        `direction`  "both"; "down": devices read it and may not write it, except those that were enrolled with `--may-publish`; "up": a device
                     holds of it only what it has written itself
        `keep`       "7d": for how long it holds that when the cloud has confirmed it, with `direction="up"`; if not given, the agent's `keep_hours`
        `offline_limit`  "7d": what was written on a device that was away for longer waits for a person when it comes back, on the device's review list
        """

        def declare(cls: type[D]) -> type[D]:
            for space in self._app._spaces.values():
                if cls.__name__ in space._collections:
                    raise DeclarationError(
                        cls.__name__, f"is declared twice (space {space.name!r} has it)", "rename one of them"
                    )
            if not (isinstance(cls, type) and issubclass(cls, Document)):
                raise DeclarationError(
                    getattr(cls, "__name__", repr(cls)), "is not a Document", "derive it from driftlog.Document"
                )
            _require_priority(cls.__name__, priority)
            self._collections[cls.__name__] = compile_collection(
                cls,
                self.name,
                scope=scope,
                id=id,
                on_delete=on_delete,
                unit=unit,
                max_bytes=max_bytes,
                history=history,
                priority=priority,
                max_age=max_age,
                sync=sync,
                direction=direction,
                evict=evict,
                evict_after=evict_after,
                keep=keep,
                offline_limit=offline_limit,
            )
            return cls

        return declare

    @overload
    def command(self, function: Callable[P, R]) -> Callable[P, R]: ...
    @overload
    def command(
        self,
        *,
        name: str = "",
        priority: str = "normal",
        touches: Mapping[type[Document], Sequence[str]] | None = None,
        requires_fresh: str | bool = False,
    ) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
    def command(
        self,
        function: Callable[..., Any] | None = None,
        *,
        name: str = "",
        priority: str = "normal",
        touches: Mapping[type[Document], Sequence[str]] | None = None,
        requires_fresh: str | bool = False,
    ) -> Any:
        """Function decorator: a validated, atomic intent. The first parameter is the Transaction.

        `touches`  what it may change, `{Stock: ["on_hand"]}`: fields, `"delete"`, or `"*"` for all of a document. The cloud refuses
                   anything else under its name. Without it a right to this command is a right to write all of its space.
        `requires_fresh`  "10m": run only where the replica surely was in step that lately, else refuse with `stale`; True for the `max_age` of
                   the collections that it opens.
        """

        def declare(function: Callable[..., Any]) -> Callable[..., Any]:
            called = name or function.__name__
            command = replace(
                _compile_command(function, self.name, called, priority),
                touches=None if touches is None else self._touches(called, touches),
                requires_fresh=_freshness(called, requires_fresh),
            )
            for space in self._app._spaces.values():
                if command.name in space._commands:
                    raise DeclarationError(command.name, "is declared twice as a command", "rename one of them")
            self._commands[command.name], self._functions[command.name] = command, function
            return function

        return declare if function is None else declare(function)

    def _touches(self, command: str, touches: Mapping[type[Document], Sequence[str]]) -> Touches:
        found: dict[str, frozenset[str]] = {}
        for kind, places in touches.items():
            contract = getattr(kind, "__driftlog__", None)
            if contract is None or contract.name not in self._collections:
                fact = (
                    f"touches {getattr(kind, '__name__', repr(kind))}, which is not a collection of space {self.name!r}"
                )
                raise DeclarationError(command, fact, "declare it first")
            unknown = set(places) - contract.document.fields.keys() - {"*", "delete"}
            if unknown or isinstance(places, str):
                fact = f"touches {', '.join(sorted(unknown)) or places!r} of {contract.name}"
                raise DeclarationError(command, fact, f"name fields of {contract.name}, 'delete' or '*', in a list")
            found[contract.name] = frozenset(places)
        return found

    def guard(self, kind: type[D]) -> Callable[[Callable[[D, D], None]], Callable[[D, D], None]]:
        """Function decorator: a rule `(before, after)` that the cloud checks on the merged state of `kind`."""
        contract = self._declared(kind)

        def declare(function: Callable[[D, D], None]) -> Callable[[D, D], None]:
            def check(scope: str, id: str, before: DocumentState, after: DocumentState) -> None:
                function(contract.view(scope, id, before), contract.view(scope, id, after))

            name = getattr(function, "__name__", "guard")
            self._guards.setdefault(contract.name, []).append(GuardContract(name, contract.name, check))
            return function

        return declare

    def on_change(
        self, kind: type[D], *, name: str = ""
    ) -> Callable[[Callable[[D | None, D | None], Iterable[Emit] | None]], Callable[..., Iterable[Emit] | None]]:
        """Function decorator: what follows in the cloud when a document of `kind` has changed, `(before, after)`; None where it is not there.

        It may return or yield `Emit(command, argument=...)`, a command of this space in any scope. Each takes effect once, whatever happens to
        the workers. `name` (the function's, if not given) is a part of the commands' ids: keep it when the function is renamed. The
        function should depend on its two documents alone.
        """
        contract = self._declared(kind)

        def declare(
            function: Callable[[D | None, D | None], Iterable[Emit] | None],
        ) -> Callable[[D | None, D | None], Iterable[Emit] | None]:
            called = name or getattr(function, "__name__", "reaction")
            _require_name("reaction", called)
            if any(called == one.name for declared in self._reactions.values() for one in declared):
                raise DeclarationError(called, "is declared twice as a reaction", "rename one of them")
            reaction = compile_reaction(function, called, contract, self._command_name)
            self._reactions.setdefault(contract.name, []).append(reaction)
            return function

        return declare

    def _command_name(self, command: Callable[..., Any] | str) -> str | None:
        """The name under which this space declares it."""
        if isinstance(command, str):
            return command if command in self._commands else None
        return next((name for name, function in self._functions.items() if function is command), None)

    def _declared(self, kind: type[Document]) -> CollectionContract:
        contract: CollectionContract | None = getattr(kind, "__driftlog__", None)
        if contract is None or contract.name not in self._collections:
            raise DeclarationError(
                getattr(kind, "__name__", repr(kind)), f"is not a collection of space {self.name!r}", "declare it first"
            )
        return contract


def _compile_command(function: Callable[..., Any], space: str, name: str, priority: str) -> CommandContract:
    _require_name("command", name)
    _require_priority(name, priority)
    written = inspect.unwrap(function)  # under whatever decorates it
    if any(later(written) for later in _RUN_LATER):
        raise DeclarationError(
            name,
            "is not a plain function: a command runs from its begin to its end on one view",
            "write def, not async def",
        )
    try:
        hints = get_type_hints(function, include_extras=True)
    except NameError as error:
        raise DeclarationError(
            name, f"an annotation cannot be read: {error}", "import the name at the module's top"
        ) from error
    parameters = list(inspect.signature(function).parameters.values())
    if not parameters or hints.get(parameters[0].name) is not Transaction:
        raise DeclarationError(name, "does not take a Transaction first", f"write def {name}(tx: Transaction, ...)")
    arguments: dict[str, Any] = {}
    for parameter in parameters[1:]:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD) or parameter.name not in hints:
            raise DeclarationError(
                f"{name}.{parameter.name}", "has no type", "annotate every argument; *args cannot be sent"
            )
        default = ... if parameter.default is parameter.empty else parameter.default
        arguments[parameter.name] = (numeric(hints[parameter.name]), default)
    try:
        model: type[BaseModel] = create_model(name, __config__=ConfigDict(extra="forbid"), **cast(Any, arguments))
    except (PydanticUserError, TypeError, NameError) as error:
        raise DeclarationError(
            name, f"arguments cannot be validated: {error}", "use types that pydantic knows"
        ) from error
    names = tuple(arguments)

    def validate(raw: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            checked = model.model_validate(raw)
        except ValidationError as error:
            first = error.errors()[0]["loc"]
            raise InvalidInput(str(first[0]) if first else "arguments", explain(error)) from error
        return {n: getattr(checked, n) for n in names}

    def run(editor: Editor, arguments: Mapping[str, Any]) -> Json:
        result = function(Transaction(editor), **arguments)
        return result if type(result) in (int, str, bool, type(None)) else to_json(result)

    return CommandContract(
        name, space, validate, run, model.model_json_schema(), inspect.getdoc(function) or "", priority
    )


def _freshness(command: str, given: str | bool) -> float | Literal["max_age"] | None:
    if isinstance(given, bool):
        return "max_age" if given else None
    return duration_ms(command, given, "requires_fresh") / 1000


def _require_name(what: str, name: str) -> None:
    if not _NAME.match(name):
        raise DeclarationError(
            f"{what} {name!r}", "is not a name", "use letters, digits, '-' and '_', beginning with a letter"
        )


def _require_priority(place: str, priority: str) -> None:
    if priority not in PRIORITIES:
        raise DeclarationError(place, f"priority={priority!r} is not a class", f"choose one of {', '.join(PRIORITIES)}")
