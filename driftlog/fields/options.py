"""`field(...)`: what a declaration says about a field besides its type."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from dataclasses import fields as dataclass_fields
from typing import Any, Literal

from driftlog.errors import DeclarationError
from driftlog_schemas.contract import Mask
from driftlog_schemas.rhythm import milliseconds

POLICIES = ("silent", "record", "review")


@dataclass(frozen=True, slots=True)
class Options:
    """As given; what was left out is `...`."""

    default: Any = ...
    on_conflict: Any = ...
    deadline: Any = ...
    lower: Any = ...
    upper: Any = ...
    initial: Any = ...
    holder: Any = ...
    order: Any = ...
    wins: Any = ...
    merge: Any = ...
    masked: Any = ...

    def given(self) -> set[str]:
        """The names of the options that the declaration gives."""
        return {f.name for f in dataclass_fields(self) if getattr(self, f.name) is not ...}

    def some(self, *names: str) -> dict[str, Any]:
        """Those of `names` that were given."""
        return {name: getattr(self, name) for name in names if getattr(self, name) is not ...}


def field(
    *,
    default: Any = ...,
    on_conflict: Literal["silent", "record", "review"] = ...,  # type: ignore[assignment]  # ... is "not given"
    deadline: str = ...,  # type: ignore[assignment]
    lower: int | None = ...,  # type: ignore[assignment]
    upper: int | None = ...,  # type: ignore[assignment]
    initial: int = ...,  # type: ignore[assignment]
    holder: str = ...,  # type: ignore[assignment]
    order: Sequence[Any] = ...,  # type: ignore[assignment]
    wins: Literal["enable", "disable"] = ...,  # type: ignore[assignment]
    merge: Callable[[Any, Any, Any], Any] = ...,  # type: ignore[assignment]
    masked: bool | Literal["last4"] = ...,  # type: ignore[assignment]
) -> Any:
    """Declare more about a field than its type.

    `default`                  the value before the first write (`Register`, `Ranked`, `Custom`)
    `on_conflict`, `deadline`  what is done about two concurrent writes: "silent" (the default), "record" (kept for information)
                               or "review" (a person is asked, until the deadline: "48h", "30m", "7d"; what stands then is final)
    `lower`, `upper`, `initial`, `holder`   bounds of a `BoundedCounter`; `holder` is the device that owns what `initial` leaves
    `order`                    values of a `Ranked`, the weakest first; not needed where its type lists them
    `wins`                     which side of a `Flag` wins: "enable" (the default) or "disable"
    `merge`                    of a `Custom`: a pure function of (base, left, right)
    `masked`                   True: the console shows its values only to people with the right `reveal`; "last4": of a text, to all others its last
                               four characters. It changes nothing of what is written, sent or merged, so a release may add it or take it away
    """
    return Options(default, on_conflict, deadline, lower, upper, initial, holder, order, wins, merge, masked)


def mask_of(place: str, options: Options, *, text: bool) -> Mask | None:
    """How the console masks a field; None for not at all. `text`: are its values texts? Raises `DeclarationError`."""
    given = options.masked
    if given is ... or given is False:
        return None
    if given is True:
        return "all"
    if given != "last4":
        raise DeclarationError(
            place, f"masked={given!r} is not known", 'write masked=True, or of a text masked="last4"'
        )
    if not text:
        raise DeclarationError(place, 'is no text, and has no last characters for masked="last4"', "write masked=True")
    return "last4"


def policy_of(place: str, options: Options, *, conflicting: bool, picks: bool) -> tuple[Any, int]:
    """(policy, deadline in ms) of a field. Raises `DeclarationError`."""
    policy = "silent" if options.on_conflict is ... else options.on_conflict
    if policy not in POLICIES:
        raise DeclarationError(place, f"on_conflict={policy!r} is not a policy", f"choose one of {', '.join(POLICIES)}")
    if policy != "silent" and not conflicting:
        raise DeclarationError(place, "has no conflicts: all its changes add up", "leave on_conflict out")
    if options.deadline is ... or options.deadline == "":
        return policy, 0
    if policy != "review":
        raise DeclarationError(place, "has a deadline, but nobody is asked", 'write on_conflict="review" beside it')
    if not picks:
        raise DeclarationError(
            place,
            "has a deadline, but all its values stand until somebody decides: none could become final",
            "leave it out",
        )
    return policy, duration_ms(place, options.deadline)


def duration_ms(place: str, text: object, option: str = "deadline") -> int:
    """Milliseconds of "48h". Raises `DeclarationError`."""
    found = milliseconds(text) if isinstance(text, str) else 0
    if not found:
        raise DeclarationError(place, f"{option}={text!r} is not a duration", 'write "48h", "30m" or "7d"')
    return found
