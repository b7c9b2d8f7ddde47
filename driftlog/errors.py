"""What the public face raises.

DeclarationError   an app that cannot work; raised at import, names the class and the field
Refused            a business rule says no (from the contract)
InvalidInput       arguments that cannot be used (from the contract)
"""

from __future__ import annotations

from driftlog_schemas.contract import InvalidInput, Refused

__all__ = ["DeclarationError", "InvalidInput", "Refused"]


class DeclarationError(TypeError):
    """A declaration that cannot work. `place` is `Class.field`, `Class`, or the function's name."""

    def __init__(self, place: str, fact: str, remedy: str) -> None:
        super().__init__(f"{place}: {fact}; {remedy}")
        self.place = place
