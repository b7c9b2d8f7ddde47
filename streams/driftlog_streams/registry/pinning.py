"""Which root key is believed: the one in the settings, or the first that was met here and has been kept since.

Trust on first use is what makes a first try need no settings. It is weaker: whoever writes the registry's topic before the operator does
decides whom this folder believes. So it is said in the log and by `driftlog doctor`, with the line that ends it.
"""

from __future__ import annotations

from pathlib import Path

import structlog

from driftlog_schemas.errors import BadSetting
from driftlog_schemas.public_key import key_text, parse_key

log = structlog.get_logger()

PIN = "registry-root.pub"


def given_root(setting: str | None) -> bytes | None:
    """The root of the settings: base64, or a file that holds it. Raises `BadSetting`."""
    if setting is None:
        return None
    path = Path(setting).expanduser()
    try:
        return parse_key(path.read_text() if path.is_file() else setting)
    except (OSError, ValueError) as error:
        raise BadSetting(
            f"setting trust.root: neither a root's public key nor a file with one: {error}",
            "give what `driftlog operator show` calls the root",
        ) from error


def kept_root(folder: Path) -> bytes | None:
    """The root that was met first and kept in a data folder. Raises `BadSetting`."""
    path = folder / PIN
    return given_root(str(path)) if path.exists() else None


def keep_root(folder: Path, root: bytes) -> None:
    """Keep the root that was met first."""
    path = folder / PIN
    if path.exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".new")
    draft.write_text(key_text(root) + "\n")
    draft.replace(path)
    log.warning("the device registry's root is believed because it was met first", root=key_text(root), kept=str(path))
