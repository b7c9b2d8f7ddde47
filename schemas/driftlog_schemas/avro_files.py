"""The .avsc files, parsed once. They lie beside this package in a checkout and inside it in a wheel."""

from __future__ import annotations

import json
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import fastavro

_HERE = Path(__file__).parent
_FOLDERS = (_HERE / "avro", _HERE.parent / "avro")

RECORDS = (
    "signed_batch",
    "batch_body",
    "chain_row",
    "refusal_notice",
    "conflict",
    "device",
    "signed_line",
    "heartbeat",
    "farewell",
    "claim",
    "parked_command",
    "quarantined",
)
REGISTERED = tuple(name for name in RECORDS if name != "batch_body")
"""Those that a topic holds by themselves, and that a registry must know; a batch's body travels within the signed batch."""


@cache
def text(name: str) -> str:
    """The schema of a record as compact JSON text, as it is registered."""
    for folder in _FOLDERS:
        path = folder / f"{name}.avsc"
        if path.exists():
            return json.dumps(json.loads(path.read_text()), separators=(",", ":"))
    raise FileNotFoundError(f"{name}.avsc is in none of {', '.join(map(str, _FOLDERS))}: the installation is broken")


@cache
def parsed(name: str) -> Any:
    """The schema as fastavro wants it."""
    return fastavro.parse_schema(json.loads(text(name)))


@lru_cache(maxsize=1000)
def full_name(schema_text: str) -> str:
    """The record's full name, which is its subject in the registry. Raises ValueError, LookupError, TypeError for no record."""
    schema = json.loads(schema_text)
    return f"{schema['namespace']}.{schema['name']}"
