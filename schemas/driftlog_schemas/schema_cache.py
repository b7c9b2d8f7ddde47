"""What a registry once said, on disk: one small file per schema, so that a known schema needs no network for months.

A registry never changes what an id means, so nothing here expires. The files are a copy: one that cannot be read (power cut, foreign
hand) is passed over and learned again, one that cannot be written (full disk) costs a question after the next start. Both
are logged.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import structlog

log = structlog.get_logger()


class SchemaCache:
    """The folder of one registry's schemas, made when there is a first one; several processes may share it."""

    def __init__(self, folder: Path, url: str) -> None:
        self._folder = folder
        self._url = url

    def load(self) -> Iterator[tuple[int, str]]:
        """Every (id, schema text) that was kept of this registry, the latest last."""
        found = []
        for path in self._folder.glob("*.json"):
            try:
                entry = json.loads(path.read_text())
                schema_id, text, url = entry["id"], entry["schema"], entry["url"]
                if type(schema_id) is not int or type(text) is not str:
                    raise TypeError("id or schema is of the wrong type")
                age = path.stat().st_mtime_ns
            except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
                log.warning("schema.cache.unreadable", file=str(path), error=repr(error))
                continue
            if url == self._url:
                found.append((age, schema_id, text))
        for _, schema_id, text in sorted(found):
            yield schema_id, text

    def keep(self, schema_id: int, text: str) -> None:
        """Write one down, whole or not at all."""
        name = hashlib.blake2b(f"{self._url} {schema_id} {text}".encode(), digest_size=16).hexdigest()
        entry = json.dumps({"url": self._url, "id": schema_id, "schema": text})
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            fd, temp = tempfile.mkstemp(prefix=".", dir=self._folder)
            try:
                with os.fdopen(fd, "w") as out:
                    out.write(entry)
                    out.flush()
                    os.fsync(out.fileno())
                Path(temp).replace(self._folder / f"{name}.json")
            except OSError:
                Path(temp).unlink(missing_ok=True)
                raise
        except OSError as error:
            log.warning("schema.cache.unwritable", folder=str(self._folder), error=str(error))
