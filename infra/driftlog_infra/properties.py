"""Values and texts of Java's properties files, in which a backslash begins an escape and anything but ASCII is read as Latin-1 (`java.util.Properties.load`)."""

from __future__ import annotations

from pathlib import Path


def path_value(path: Path) -> str:
    """A path as a value: it is read as it stands."""
    return str(path).replace("\\", "\\\\").replace("\n", "\\n")


def in_ascii(text: str) -> str:
    """The text of a whole file, each other character by its number; Java counts in UTF-16."""
    return "".join(letter if letter.isascii() else _escaped(letter) for letter in text)


def _escaped(letter: str) -> str:
    units = letter.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
