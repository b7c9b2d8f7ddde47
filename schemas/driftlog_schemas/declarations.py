"""What a row's schema says of the declaration behind it, and which changes of that change a value's meaning.

Avro's rules are not enough: text may become bytes by promotion, so a registry lets `Register[str]` become `Register[Decimal]`, and every
old price is read as a decimal that nobody wrote. So each column carries, as a property of its Avro field that Avro itself does not
look at, what it was declared as: the field's type and the type of its values, in words that stay (`register of decimal`). A field
may come, go and come back, but never as something else: what was written as the one would be read as the other, in old rows and in states
that carry a removed field along.

A row begins with the two fields that name its document, scope and id. Those may not change either: the names of documents stay, and would be shown in other fields.

What of a declaration may change within limits, an order that takes in a new value, a bound that moves outwards, stands beside the words as its
`terms` (see `evolution`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from driftlog_schemas.evolution import Terms, broken

PROPERTY = "driftlog"
TERMS = "driftlog.terms"


class Declared(NamedTuple):
    """A field's declaration as a schema has it; the record's own stands under its name."""

    words: str
    terms: Terms
    named_by: tuple[str, ...] = ()
    """Of a record: its scope and its id."""


def declared(text: str) -> Mapping[str, Declared]:
    """Field -> what it is declared as. Empty for schemas that are no rows of an app."""
    try:
        schema: Any = json.loads(text)
    except ValueError:
        return {}
    if not isinstance(schema, dict) or not isinstance(schema.get("fields"), list):
        return {}
    places = [schema, *(one for one in schema["fields"] if isinstance(one, dict))]
    found = {str(one.get("name")): _read(one) for one in places if isinstance(one.get(PROPERTY), str)}
    row = str(schema.get("name"))
    if row in found:
        names = (str(one.get("name")) for one in schema["fields"][:2] if isinstance(one, dict) and PROPERTY not in one)
        found[row] = found[row]._replace(named_by=tuple(names))
    return found


def _read(place: Mapping[str, Any]) -> Declared:
    terms = place.get(TERMS)
    return Declared(place[PROPERTY], terms if isinstance(terms, dict) else {})


def changes(text: str, earlier: Iterable[str]) -> list[str]:
    """What `text` declares so that values of the earlier schemas (newest first) would be taken for something else: one sentence each."""
    now, found = declared(text), dict[str, str]()
    words: dict[str, str] = {}
    for one in map(declared, earlier):
        for name in now.keys() & one.keys():
            words.setdefault(name, one[name].words)
            if one[name].named_by != now[name].named_by:
                names = [", ".join(each[name].named_by) for each in (one, now)]
                found.setdefault(name, f"{name} had {names[0]} as its scope and id and now has {names[1]}")
            for what in broken(now[name].terms, one[name].terms) if one[name].words == now[name].words else ():
                found.setdefault(name, f"{name} {what}")
    for name, before in words.items():
        if before != now[name].words:
            found[name] = f"{name} was declared as {before} and is now {now[name].words}"
    return [found[name] for name in now if name in found]
