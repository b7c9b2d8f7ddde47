"""How large a name, a context or a reason may be: one list for everything that travels.

Whoever may write a topic may write anything into it. What is bounded where bytes become objects is bounded everywhere behind that
place: in keys, receipts, logs and the records that repeat it. So a record of ours can never outgrow what a broker takes, whatever it
was made from. The edge asks for the same bounds before it logs a command, so an honest device never meets them here.

Sizes are in UTF-8 bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

MAX_DEVICE = 63
MAX_REPLICA = 80
MAX_SCOPE = 512
MAX_ID = 512
MAX_COMMAND_ID = 128
MAX_NAME = 128
"""Of a collection, field, kind of op, command, actor, key or app version."""
MAX_CONTEXT = 4096
"""Replicas in one context."""
MAX_PLACES = 10_000
"""Partitions, or scopes in them, that a device says something of."""
MAX_TOLD = 100
"""Commands of which a device says that a person should look at them; an agent names fewer."""
MAX_CODE = 64
MAX_REASON = 200
MAX_LONG = (1 << 63) - 1
"""Of Avro, and of what Kafka counts."""
MAX_MS = (1 << 47) - 1
"""The last millisecond whose stamp is still an Avro long."""


class OutOfBounds(ValueError):
    """A text that is too long, empty or impossible. `field` names which."""

    def __init__(self, field: str, fact: str) -> None:
        super().__init__(f"{field}: {fact}")
        self.field = field


def check_text(field: str, text: str, limit: int, *, least: int = 0) -> None:
    """Raise `OutOfBounds` unless `text` has `least` to `limit` bytes and no NUL."""
    size = len(text)
    if not text.isascii():
        try:
            size = len(text.encode())
        except UnicodeEncodeError as error:
            raise OutOfBounds(field, "half a surrogate pair is no text") from error
    if not least <= size <= limit:
        raise OutOfBounds(field, f"{size} bytes, {least} to {limit} are possible")
    if "\x00" in text:
        raise OutOfBounds(field, "holds a NUL")


def check_texts(field: str, texts: Sequence[str], limit: int, *, least: int = 0) -> None:
    """`check_text` for each. Where all are plain ASCII, as nearly always, their lengths and one look at all of them say it."""
    whole = "".join(texts)
    sizes = [*map(len, texts)] or [least]
    if not whole.isascii() or "\x00" in whole or min(sizes) < least or max(sizes) > limit:
        for text in texts:
            check_text(field, text, limit, least=least)


def check_numbers(field: str, numbers: Sequence[int], least: int, most: int) -> None:
    """Raise `OutOfBounds` unless each lies between the two, ends included."""
    if numbers and not (least <= min(numbers) and max(numbers) <= most):
        wrong = next(number for number in numbers if not least <= number <= most)
        raise OutOfBounds(field, f"{wrong}, {least} to {most} are possible")


def cut(text: str, limit: int) -> str:
    """The text, or as much of its beginning as fits with a sign that more was there; in any case one that UTF-8 can say."""
    if len(text) <= limit // 4 and text.isascii():
        return text
    data = text.encode(errors="replace")
    if len(data) <= limit:
        return data.decode()
    return data[: limit - 3].decode(errors="ignore") + "…"
