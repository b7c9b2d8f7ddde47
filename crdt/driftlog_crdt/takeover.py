"""What a new life takes over from an old one of the same device: the same intents, under another name.

Most ops mean the same whoever writes them. Some name their writer in their values, and what they name is taken over too:

| value | names |
|---|---|
| an edit of a text or a list | the clocks of its writer's elements |
| an erase of a counter | how much its writer had counted up to it, what stays with the old life and what comes along |
| a write of a custom field | the writes of its own that its writer saw |

So the ops of a document are taken over in their order, and a `Takeover` remembers what has come along so far.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Takeover:
    """Of one document, one field of it, or one key of a map."""

    old: str
    new: str
    seqs: dict[int, int] = field(default_factory=dict)
    """old seq -> new seq, of the whole document"""
    first_clock: int | None = None
    """Where what comes along begins among the elements that the old life wrote into this body; None until an edit shows it."""
    sums: list[int] = field(default_factory=lambda: [0, 0])
    """What comes along of a counter: up, down."""
    parts: dict[str, Takeover] = field(default_factory=dict)

    def part(self, name: str) -> Takeover:
        """Of a field, or of a key in a map."""
        if name not in self.parts:
            self.parts[name] = Takeover(self.old, self.new, self.seqs)
        return self.parts[name]
