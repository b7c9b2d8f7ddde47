"""How a rule that was found in past decisions is put into force: what to declare, and what is checked before.

A rule is part of the app, so it comes into force with the release that declares it. What a field is merged by cannot change under its name: the
registry would refuse it, for old writes would mean something else. So some rules are an option of the field as it is, one is another merge function of
a `Custom`, and the others take a new field beside the old one, which the app then writes and reads.
"""

from __future__ import annotations

from dataclasses import dataclass

from driftlog_crdt import Custom, Flag, Plain, Ranked, Register
from driftlog_schemas.contract import AppContract
from driftlog_streams.reading.conflict_rules import RuleName, Tried, declared_of

WORDS: dict[RuleName, str] = {
    "standing": "let stand what stands: ask nobody",
    "larger": "the larger number stands",
    "smaller": "the smaller number stands",
    "ranked": "the value further along an order stands",
    "later": "what the later clock wrote stands",
}
_PYTHON = {
    "text": "str",
    "bool": "bool",
    "int": "int",
    "float": "float",
    "decimal": "Decimal",
    "time": "datetime",
    "date": "date",
    "uuid": "UUID",
}
REPLAY = "driftlog replay --app new:app --diff"


@dataclass(frozen=True, slots=True)
class Change:
    """What to declare."""

    lines: tuple[str, ...]
    """Python, as it is to stand in the app; empty where no declaration says this."""
    how: str
    """What the lines are, in words."""
    check: str
    """A dry run of the new declaration over the whole log; empty where it would show nothing."""


def change_of(contract: AppContract, collection: str, field: str, tried: Tried) -> Change:
    """What puts this rule into force."""
    declared = declared_of(contract, collection, field)
    if not field:
        return Change((), "the record is written as one, and no field of it can have a rule for all of it", "")
    if not declared:
        return Change((), f"{collection}.{field} is not declared any more", "")
    kind, _, of = declared.partition(" of ")
    if tried.rule == "standing":
        line = f'{field}: {_annotation(declared)} = field({_kept(contract, collection, field)}on_conflict="record")'
        how = f"In {collection} this line takes the place of the one that declares {field}. Leave its type as it is there; its deadline goes."
        return Change((line,), how, REPLAY)
    if tried.rule in ("larger", "smaller"):
        return _merged(contract, collection, field, kind, of, "max" if tried.rule == "larger" else "min")
    if tried.rule == "ranked":
        new = f'{field}_ranked: Ranked[str] = field(order={list(tried.order)!r}, on_conflict="record")'
    else:
        new = f'{field}_latest: Register[{_PYTHON.get(of, "...")}] = field({_kept(contract, collection, field)}on_conflict="record")'
    return Change((new,), _beside(collection, field), "")


def _merged(contract: AppContract, collection: str, field: str, kind: str, of: str, function: str) -> Change:
    name = "larger" if function == "max" else "smaller"
    merge = (f"def {name}(base, left, right):", f"    return {function}(left, right)")
    kept = _kept(contract, collection, field)
    options = f'{kept}on_conflict="record", merge={name}'
    if kind == Custom.name:
        how = f"In {collection} this takes the place of the line that declares {field}: the same field with another merge function."
        line = f"{field}: Custom[{_PYTHON.get(of, '...')}] = field({options})"
        return Change((*merge, line), f"{how} All workers and devices must run it.", REPLAY)
    line = f"{field}_{name}: Custom[{_PYTHON.get(of, '...')}] = field({options})"
    return Change((*merge, line), _beside(collection, field), "")


def _beside(collection: str, field: str) -> str:
    return (
        f"A new field of {collection} beside {field}: what {field} is merged by cannot change under its name. "
        f"Let the app write and read the new one; {field} keeps what it holds."
    )


def _annotation(declared: str) -> str:
    """As a declaration has it: `Map[Register[str]]`."""
    kind, _, of = declared.partition(" of ")
    name = "".join(part.capitalize() for part in kind.partition(" where ")[0].split("_"))
    inner = "" if not of else f"[{_PYTHON[of] if of in _PYTHON else _annotation(of) if kind == 'map' else '...'}]"
    return name + inner


def _value(value: Plain, declared: str) -> str:
    """As Python: what is no JSON is a text on the wire."""
    python = _PYTHON.get(declared.rpartition(" of ")[2], "")
    if python in ("Decimal", "UUID"):
        return f"{python}({value!r})"
    return f"{python}.fromisoformat({value!r})" if python in ("datetime", "date") else repr(value)


def _kept(contract: AppContract, collection: str, field: str) -> str:
    """Options that stay."""
    found = contract.collection(collection)
    algebra, texts = found.document.fields[field].type, list[str]()
    if isinstance(algebra, Register | Ranked | Custom) and algebra.default is not None:
        texts.append(f"default={_value(algebra.default, declared_of(contract, collection, field))}")
    if isinstance(algebra, Flag) and algebra.wins != "enable":
        texts.append(f"wins={algebra.wins!r}")
    if isinstance(algebra, Ranked):
        texts.append(f"order={list(algebra.order)!r}")
    mask = found.masked.get(field)
    if mask is not None:
        texts.append("masked=True" if mask == "all" else f"masked={mask!r}")
    return "".join(f"{text}, " for text in texts)
