"""What a console refuses, with the way on."""

from __future__ import annotations


class ConsoleError(RuntimeError):
    """A fact and a remedy, as every program's errors have them."""

    status = 500
    """Of the page that says so."""

    def __init__(self, fact: str, remedy: str) -> None:
        super().__init__(fact)
        self.remedy = remedy


class PeopleProblem(ConsoleError):
    """The list of people cannot be used, or what was asked of it makes no sense."""


class TooMany(ConsoleError):
    """More than is decided at once."""


class NothingToShow(ConsoleError):
    """No scope was named, and none is known."""


class SpaceMoved(ConsoleError):
    """What a console reads is not where it was when it was started."""
