"""Documents of every field type under both delete policies, and one that is written as a whole: what the shop in `app` is too small for.

Fields are called as in `properties/cases.py`, so that the reference model knows what each shows. Who takes stock locks a document, and the
guard refuses in the cloud what others still write then: changes of every type are refused later, with what was built on them.
A text holds words of three characters, each brought once, so that its edits can be told apart.
"""

from __future__ import annotations

import string
from collections.abc import Sequence
from random import Random
from typing import Any, Literal

from driftlog import (
    AddWinsSet,
    BoundedCounter,
    Counter,
    Custom,
    Document,
    Flag,
    GrowCounter,
    GrowSet,
    List,
    Map,
    Max,
    Min,
    MultiValue,
    Ranked,
    Refused,
    Register,
    RemoveWinsSet,
    Text,
    Transaction,
    field,
)

STAGES = ("open", "packed", "shipped")
BODIES = ("text", "list")
NOWHERE = ("x", "x")
"""The street and the city of no address."""
WORD = 3
"""Characters of a word."""
_DIGITS = string.digits + string.ascii_lowercase


def sums(base: int, left: int, right: int) -> int:
    return left + right - base


class Job(Document):
    """Every type there is; a delete takes it whatever others are doing to it."""

    store: str
    sku: str
    locked: Flag
    counter: Counter
    grow_counter: GrowCounter
    bounded_counter: BoundedCounter
    register: Register[str] = field(default="none", on_conflict="record")
    ranked: Ranked[Literal["open", "packed", "shipped"]] = field(on_conflict="review")
    multi_value: MultiValue[str] = field(on_conflict="record")
    enable_wins_flag: Flag = field(on_conflict="record")
    disable_wins_flag: Flag = field(wins="disable", on_conflict="review")
    custom: Custom[int] = field(merge=sums, default=0, on_conflict="record")
    add_wins_set: AddWinsSet[str]
    remove_wins_set: RemoveWinsSet[str]
    grow_set: GrowSet[str]
    max: Max[int]
    min: Min[int]
    map_of_counters: Map[Counter]
    map_of_registers: Map[Register[str | None]] = field(on_conflict="record")
    map_of_flags: Map[Flag] = field(on_conflict="review")
    map_of_max: Map[Max[int]]
    text: Text
    list: List[str]


class Tool(Document):
    """Every type that a delete may take only in part; a delete takes what its writer had seen."""

    store: str
    sku: str
    locked: Flag
    counter: Counter
    grow_counter: GrowCounter
    register: Register[str] = field(default="none", on_conflict="record")
    ranked: Ranked[Literal["open", "packed", "shipped"]] = field(on_conflict="record")
    multi_value: MultiValue[str] = field(on_conflict="review")
    enable_wins_flag: Flag = field(on_conflict="review")
    disable_wins_flag: Flag = field(wins="disable", on_conflict="record")
    custom: Custom[int] = field(merge=sums, default=0, on_conflict="review")
    add_wins_set: AddWinsSet[str]
    remove_wins_set: RemoveWinsSet[str]
    grow_set: GrowSet[str]
    max: Max[int]
    min: Min[int]
    map_of_counters: Map[Counter]
    map_of_registers: Map[Register[str | None]] = field(on_conflict="review")
    map_of_flags: Map[Flag] = field(on_conflict="record")
    map_of_max: Map[Max[int]]
    text: Text
    list: List[str]


class Address(Document):
    """Written as one record."""

    store: str
    sku: str
    street: Register[str] = field(default="none", on_conflict="record")
    city: Register[str] = field(default="none", on_conflict="review")


LOCKABLE: dict[str, type[Document]] = {"Job": Job, "Tool": Tool}


def not_while_locked(before: Any, after: Any) -> None:
    """A guard: who locks it has it alone."""
    if before.locked.value and after.locked.value:
        raise Refused("locked", "stock is being taken")


def a_place_there_is(before: Any, after: Any) -> None:
    """A guard on what no edge looks at."""
    if (after.street.value, after.city.value) == NOWHERE:
        raise Refused("no_such_place")


def work(tx: Transaction, store: str, sku: str, kind: str, place: str, op: str, args: list[Any]) -> None:
    """Change one field."""
    document: Any = tx.edit(LOCKABLE[kind], store, sku)
    if document.locked.value:
        raise Refused("locked_here", "stock is being taken")
    handle = getattr(document, place)
    if place in BODIES:
        _edit(handle, op, *args)
    else:
        handle.mutate(op, args)


def _edit(handle: Any, op: str, word: str, after: str = "") -> None:
    step = WORD if isinstance(handle.value, str) else 1
    words = words_of(handle.value)
    if op == "insert":
        handle.insert((words.index(after) + 1) * step if after in words else 0, word)
    elif word in words:
        handle.delete(words.index(word) * step, step)
    else:
        raise Refused("nothing_there")


def lock(tx: Transaction, store: str, sku: str, kind: str) -> None:
    document: Any = tx.edit(LOCKABLE[kind], store, sku)
    (document.locked.disable if document.locked.value else document.locked.enable)()


def scrap(tx: Transaction, store: str, sku: str, kind: str) -> None:
    document = tx.edit(LOCKABLE[kind], store, sku)
    if not document.exists:
        raise Refused("nothing_there")
    document.delete()


def move(tx: Transaction, store: str, sku: str, place: Literal["street", "city"], name: str) -> None:
    address: Any = tx.edit(Address, store, sku)
    getattr(address, place).set(name)


COMMANDS = (work, lock, scrap, move)


def word(number: int) -> str:
    """One of a world's words; they begin with characters of one, two and four bytes."""
    high, low = divmod(number, len(_DIGITS))
    return f"{'aé😀'[number % 3]}{_DIGITS[high]}{_DIGITS[low]}"


def words_of(body: Sequence[str]) -> list[str]:
    """Of a text or a list."""
    return [body[at : at + WORD] for at in range(0, len(body), WORD)] if isinstance(body, str) else list(body)


PLACES = [
    (kind, place)
    for kind, document in LOCKABLE.items()
    for place in sorted(document.__annotations__.keys() - {"store", "sku", "locked"})
] + [("Job", "bounded_counter")] * 2  # it stands in one document only, and asks for rights


def favourites(seed: int) -> list[tuple[str, str]]:
    """The places that the users of a world are at most of the time: so they meet there."""
    first = seed * 2 % len(PLACES)
    return [PLACES[first], PLACES[(first + 1) % len(PLACES)]]


def drawn(
    chance: Random, at: tuple[str, str], word: str, earlier: Sequence[str], lives: Sequence[str]
) -> dict[str, Any]:
    """Arguments of `work`. `word` is new; `earlier` are words that may be there, `lives` may be given rights."""
    kind, place = at
    op, args = _change(chance, place, word, earlier, lives)
    return {"kind": kind, "place": place, "op": op, "args": args}


def _change(
    chance: Random, place: str, word: str, earlier: Sequence[str], lives: Sequence[str]
) -> tuple[str, list[Any]]:
    name, number, key = chance.choice("xy"), chance.randint(1, 4), chance.choice("kkl")
    match place:
        case "counter":
            return chance.choice(("increment", "decrement")), [number]
        case "grow_counter":
            return "increment", [number]
        case "bounded_counter":
            if lives and chance.random() < 0.3:
                return "transfer", [chance.choice(lives), 1]
            return chance.choice(("increment", "increment", "decrement")), [number]
        case "register" | "multi_value":
            return "set", [name]
        case "ranked":
            return "set", [chance.choice(STAGES)]
        case "enable_wins_flag" | "disable_wins_flag":
            return chance.choice(("enable", "disable")), []
        case "custom":
            return "set", [number]
        case "add_wins_set" | "remove_wins_set":
            return chance.choice(("add", "remove")), [name]
        case "grow_set":
            return "add", [name]
        case "max":
            return "raise_to", [number]
        case "min":
            return "lower_to", [number]
        case "text" | "list":
            if earlier and chance.random() < 0.4:
                return "delete", [chance.choice(earlier)]
            return "insert", [word, chance.choice(earlier) if earlier else ""]
        case _ if chance.random() < 0.3:
            return "remove", [key]
        case "map_of_counters":
            return chance.choice(("increment", "decrement")), [key, number]
        case "map_of_registers":
            return "set", [key, name]
        case "map_of_flags":
            return chance.choice(("enable", "disable")), [key]
        case _:
            return "raise_to", [key, number]
