"""By what a rebuilt read model was made: it is gone on with only where all of that is still the same (`kept`).

The rules are code, so the app is told by the text of its modules, this release by that of its own, and what both import by the versions that are installed.
What a guard reads elsewhere, such as a file or the environment, nobody can tell.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable
from importlib import import_module, metadata
from pathlib import Path

from driftlog_schemas.devices import Device
from driftlog_streams.replaying.kept import MadeBy

_OURS = ("driftlog", "driftlog_crdt", "driftlog_schemas", "driftlog_streams")


def made_by(app: str, devices: Iterable[Device], **more: str) -> MadeBy:
    """`app` as it was loaded, the lines of the registry, and whatever else."""
    return {
        "app": {"name": app, "code": _code_of(app)},
        "release": {"python": sys.version, "code": _release()},
        "libraries": {one.name: one.version for one in metadata.distributions()},
        "device registry": {one.device_id: _digest(repr(one).encode()) for one in devices},
        **{name.replace("_", " "): {"is": value} for name, value in more.items()},
    }


def _code_of(app: str) -> str:
    """Of an app's module, and of all that was loaded from its folder."""
    module = sys.modules[app.partition(":")[0]]
    folder = Path(module.__file__ or ".").resolve().parent
    files = {Path(file).resolve() for one in [*sys.modules.values()] if (file := getattr(one, "__file__", None))}
    return _of(sorted(file for file in files if file.is_relative_to(folder)))


def _release() -> str:
    folders = [Path(import_module(name).__file__ or ".").parent for name in _OURS]
    return _of([file for folder in folders for file in sorted(folder.rglob("*.py"))])


def _of(files: Iterable[Path]) -> str:
    return _digest(b"".join(hashlib.sha256(file.read_bytes()).digest() for file in files))


def _digest(value: bytes) -> str:
    return hashlib.sha256(value).hexdigest()[:16]
