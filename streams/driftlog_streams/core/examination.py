"""What is against a command before anybody looks at a document: what this release declares, what its device may do, what its ops say.

Most of that hangs on little: on the device as it stood when the record was appended, on the command's name, and of each op on the
collection, the field and the kind. These come again and again, so what was found good once is remembered, by just those; then only the scope
is looked at, and dots and values. Whatever is not remembered, and whatever is found bad, goes the whole way: the verdict is always made
there, and what is remembered comes from there alone.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeAlias

from driftlog_crdt import DOCUMENT, AlgebraError, Op
from driftlog_schemas import bounds
from driftlog_schemas.devices import Standing
from driftlog_schemas.messages import Command
from driftlog_schemas.support import VERSION_UNSUPPORTED, release_of, version_of
from driftlog_streams.core.arrival import Arrival
from driftlog_streams.core.rights import forbidden, heirs, scope_granted, unpublished, untouched
from driftlog_streams.core.rules import SpaceRules

Found: TypeAlias = "tuple[str, str] | None"
"""Code and reason."""
Checks: TypeAlias = tuple[Callable[[Op], None], Callable[[Op], None]]
"""What the algebra and the declaration demand of the op itself."""
Good: TypeAlias = dict[tuple[str, str, str], Checks]
"""(collection, field, kind) that commands of a name may hold. Only what is declared stands here, so there are only so many."""

MAX_STANDINGS = 4096
MAX_NAMES = 256
"""Of commands, declared or not, of one device: a writer may call them what it likes."""


class Examiner:
    """Of one partition."""

    def __init__(self, rules: SpaceRules) -> None:
        self._rules = rules
        self._granted: dict[Standing, dict[str, Good]] = {}
        """Names of commands that were found good, of a device as it stood."""
        self._device: Standing | None = None
        self._names: dict[str, Good] = {}
        """The same of the device that was asked for last."""
        self._good: dict[str, Good] = {}
        """By the name of a declared command; of all others, which may do the same, under the empty one."""

    def nothing_against(self, arrival: Arrival) -> bool:
        """Is it known that there is nothing? Else `not_now` and `objection` say."""
        command, device = arrival.command, arrival.device
        if device is not self._device:
            self._device, self._names = device, self._granted.get(device, {})
        good = self._names.get(command.name)
        if good is None or arrival.strangers or not scope_granted(command.scope, device):
            return False
        if self._unsupported(arrival) is not None:
            return False
        try:
            for document, op in command.ops:
                checks = good.get((document.collection, op.field, op.kind))
                if checks is None:
                    return False
                algebra, declaration = checks
                algebra(op)
                declaration(op)
        except AlgebraError:
            return False
        return True

    def found_good(self, arrival: Arrival) -> None:
        """`not_now` and `objection` had nothing to say. What an op of the document itself may be hangs on its value as well."""
        command, rules = arrival.command, self._rules
        good = self._good.setdefault(command.name if command.name in rules.commands else "", {})
        for document, op in command.ops:
            if (
                op.field != DOCUMENT and document.collection not in rules.coming_down
            ):  # which hangs on the device as well
                collection = rules.collections[document.collection]
                good[document.collection, op.field, op.kind] = collection.type.check, collection.check
        if len(self._granted) >= MAX_STANDINGS:
            self._granted.clear()
        self._names = self._granted.setdefault(arrival.device, {})
        if len(self._names) < MAX_NAMES:
            self._names[command.name] = good

    def not_now(self, arrival: Arrival) -> Found:
        """Why this release, or this permit, leaves a command for later."""
        if arrival.device.expired:
            return "expired", "the device's permit had ended"
        unsupported = self._unsupported(arrival)
        if unsupported is not None:
            return unsupported
        for document, op in arrival.command.ops:
            collection = self._rules.collections.get(document.collection)
            if collection is None:
                return _undeclared(f"collection {document.collection!r}")
            field = collection.undeclared(op)
            if field is not None:
                return _undeclared(f"field {field!r} of {document.collection}")
        return self._of_another_release(arrival)

    def _unsupported(self, arrival: Arrival) -> Found:
        """Is its device's version of the app too old, by when the log took it? It is sent again by whichever runs there then."""
        floor = self._rules.unmet(arrival.batch, arrival.device.device_id)
        if floor is None or arrival.append_ms < floor.from_ms:
            return None
        version = version_of(arrival.batch.app_version)
        what = f"version {bounds.cut(version, 40)!r} of the app" if version else "an app that names no version"
        day = datetime.fromtimestamp(floor.from_ms / 1000, UTC).date()
        return (
            VERSION_UNSUPPORTED,
            f"{what} is not supported since {day}: update the device to {floor.version} or newer",
        )

    def _of_another_release(self, arrival: Arrival) -> Found:
        """What another release of the app lets its commands do is not for this one to reject: a worker of that release may come."""
        if release_of(arrival.batch.app_version) in ("", self._rules.release):
            return None
        command, rules = arrival.command, self._rules
        against = (
            unpublished(command, arrival.device, rules) or untouched(command, rules.commands) or self._unusual(command)
        )
        if against is None:
            return None
        reason = f"this release of the worker does not know such a change: {against}"
        return "undeclared", bounds.cut(reason, bounds.MAX_REASON)

    def objection(self, arrival: Arrival) -> Found:
        """Why this command of a known device cannot be merged. What it writes to is declared."""
        against = forbidden(arrival.command, arrival.device, self._rules)
        if against is not None:
            return "forbidden", against
        against = self._unusual(arrival.command) or self._lost(arrival)
        return None if against is None else ("invalid", against)

    def _lost(self, arrival: Arrival) -> str | None:
        """To whom it gives rights that nobody would have."""
        strangers = arrival.strangers
        heir = (
            next((one for one in heirs(arrival.command, self._rules) if one in strangers), None) if strangers else None
        )
        if heir is None:
            return None
        name = bounds.cut(heir, bounds.MAX_REPLICA)
        return f"{name!r} is no life of an enrolled device: what is given to it would be lost; name one that is there"

    def _unusual(self, command: Command) -> str | None:
        """What in a command this release of the app has no use for: an op that its field does not know, a value that it does not take."""
        collections = self._rules.collections
        try:
            for document, op in command.ops:
                collection = collections[document.collection]
                collection.type.check(op)
                collection.check(op)
        except AlgebraError as error:
            return str(error)
        return None


def _undeclared(what: str) -> Found:
    reason = f"this release of the worker does not declare {what}; run one that does"
    return "undeclared", bounds.cut(reason, bounds.MAX_REASON)
