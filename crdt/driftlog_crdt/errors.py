"""What the algebra refuses, as one tree.

    AlgebraError
    ├── BadOperation      an op that this document or field cannot take
    ├── BadValue          a value that cannot be merged: NaN, not hashable, outside its type
    ├── TooLarge          the value or the state exceeds the declared size guard
    └── BadEncoding       bytes that are truncated, foreign, or of an unknown version

Every error names the field it is about (empty for the document itself) and says what to do. The state that was
being changed is whole when one of these leaves the algebra: checks come before the first mutation.
Duplicates and gaps are not errors; they are outcomes (see `document.Outcome`).
"""

from __future__ import annotations


class AlgebraError(ValueError):
    """Base of everything that the algebra refuses. `field` is empty when the whole document is meant."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.field = field
        self.reason = message


class BadOperation(AlgebraError):
    """An op of a kind, field or context that this document cannot take."""


class BadValue(AlgebraError):
    """A value that this field cannot hold."""


class TooLarge(AlgebraError):
    """A value or a state over the declared size guard."""


class BadEncoding(AlgebraError):
    """Bytes that are not an encoding of this type in a known version."""
