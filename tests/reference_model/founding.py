"""Which ops cannot stand without a refused op of their writer's, although they were honestly meant."""

from __future__ import annotations

from collections.abc import Callable

from tests.reference_model.history import Event

Founded = Callable[[Event, list[Event]], bool]
"""Given an op and those that had an effect on its field in its past: does it stand although its writer believed in others?"""


def always(event: Event, past: list[Event]) -> bool:
    """It means the same on any view."""
    return True


def never(event: Event, past: list[Event]) -> bool:
    """Its value was made from all that its writer saw."""
    return False


def unless_removing(event: Event, past: list[Event]) -> bool:
    """A remove of a counter says what its writer saw."""
    return event.kind != "remove"


def within_rights(lower: int, upper: int, initial: int, holder: str) -> Founded:
    """Escrow: what a replica made and was given, less what it used and gave away."""

    def founded(event: Event, past: list[Event]) -> bool:
        down = event.kind in ("decrement", "transfer")
        amount = event.value[1] if isinstance(event.value, list) else event.value
        distance = initial - lower if down else upper - initial
        return bool(amount <= (distance if event.replica == holder else 0) + _balance(event.replica, down, past))

    return founded


def _balance(replica: str, down: bool, past: list[Event]) -> int:
    makes, uses, gives = ("increment", "decrement", "transfer") if down else ("decrement", "increment", "transfer_room")
    total = 0
    for event in past:
        if event.replica == replica and event.kind == makes:
            total += event.value
        elif event.replica == replica and event.kind == uses:
            total -= event.value
        elif event.kind == gives:
            to, amount = event.value
            total += amount * ((to == replica) - (event.replica == replica))
    return total
