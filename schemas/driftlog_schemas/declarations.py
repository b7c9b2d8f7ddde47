"""What a row's schema says of the declaration behind it, and which changes of that change a value's meaning.

Avro's rules are not enough: text may become bytes by promotion, so a registry lets `Register[str]` become `Register[Decimal]`, and every
old price is read as a decimal that nobody wrote. So each column carries, as a property of its Avro field that Avro itself does not
look at, what it was declared as: the field's type and the type of its values, in words that stay (`register of decimal`). A field
may come, go and come back, but never as something else: what was written as the one would be read as the other, in old rows and in states
that carry a removed field along.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

PROPERTY = "driftlog"


def declared(text: str) -> Mapping[str, str]:
    """Field -> what it is declared as; the record itself under its own name. Empty for schemas that are no rows of an app."""
    try:
        schema: Any = json.loads(text)
    except ValueError:
        return {}
    if not isinstance(schema, dict) or not isinstance(schema.get("fields"), list):
        return {}
    places = [schema, *(one for one in schema["fields"] if isinstance(one, dict))]
    return {str(one.get("name")): one[PROPERTY] for one in places if isinstance(one.get(PROPERTY), str)}


def changes(text: str, earlier: Iterable[str]) -> list[str]:
    """What `text` declares otherwise than the newest of the earlier schemas (newest first) that has it: one sentence each."""
    known: dict[str, str] = {}
    for one in earlier:
        known = {**declared(one), **known}
    return [
        f"{name} was declared as {known[name]} and is now {now}"
        for name, now in declared(text).items()
        if known.get(name, now) != now
    ]
