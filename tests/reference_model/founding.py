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


def nobody(replica: str) -> bool:
    """Whose life is known to be over: nobody's."""
    return False


def within_rights(lower: int, upper: int, initial: int, holder: str, over: Callable[[str], bool] = nobody) -> Founded:
    """Escrow: what a replica made and was given, less what it used and gave away. What lives of its device that are over have not
    used of theirs is its own too, less what others of them took of that.
    """

    def founded(event: Event, past: list[Event]) -> bool:
        down = event.kind in ("decrement", "transfer")
        amount = event.value[1] if isinstance(event.value, list) else event.value
        distance = initial - lower if down else upper - initial
        own = (distance if event.replica == holder else 0) + _balance(event.replica, down, past)
        given = {e.value[0] for e in past if isinstance(e.value, list)}
        device = event.replica.rpartition(".")[0]
        lives = {r for r in {e.replica for e in past} | given if device and r.rpartition(".")[0] == device}
        others = {life: _balance(life, down, past) for life in lives - {event.replica}}
        shared = sum(rest for life, rest in others.items() if rest < 0 or over(life))
        return bool(amount <= own + (shared if over(event.replica) else max(0, shared)))

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
