"""What is known of power and network, and how it is told: three facts, each of which may be unknown.

It comes as a JSON object `{"mains": true, "battery_percent": 80, "metered": false}` from a file, a command or a caller. What is left out or null is
unknown; a name that is not among these is nonsense, because it is usually one of them misspelt, and whoever wrote it believes that it counts.
"""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, StrictBool, ValidationError

from driftlog_edge.errors import EdgeError

MOST_BYTES = 4096
"""A source that gives more is no source of this."""


class HookFailed(EdgeError):
    """The device could not be asked, or said nonsense."""

    code = "hook_failed"


class Power(BaseModel):
    """How a device is fed, and what its network costs. None where nobody knows."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    mains: StrictBool | None = Field(default=None, description="Is it fed from outside?")
    battery_percent: float | None = Field(default=None, ge=0, le=100, strict=True, allow_inf_nan=False)
    metered: StrictBool | None = Field(default=None, description="Does its network cost something?")

    def is_low(self, below: float) -> bool:
        """Is it so low on battery, and on a network so dear, that only what is urgent leaves? Not where that is unknown."""
        low = self.mains is False and self.battery_percent is not None and self.battery_percent < below
        return low and self.metered is not False

    def over(self, other: Power) -> Power:
        """What this says, and what that one says where this says nothing."""
        return Power(**{name: getattr(other, name) if own is None else own for name, own in self})

    @classmethod
    def read(cls, text: bytes, source: str) -> Self:
        """Raises `HookFailed`."""
        if len(text) > MOST_BYTES:
            raise HookFailed(f"{source} gives more than {MOST_BYTES} bytes", _REMEDY)
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False)[0]
            field = ".".join(map(str, first["loc"]))
            raise HookFailed(f"{source}: {field + ': ' if field else ''}{first['msg']}", _REMEDY) from error


UNKNOWN = Power()
_REMEDY = 'let it give {"mains": true, "battery_percent": 80, "metered": false}; what is unknown may be left out'
