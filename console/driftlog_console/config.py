"""A console's settings: an agent's, for it is one, and what a server of pages needs besides."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator
from pydantic_settings import NoDecode

from driftlog_edge.config import KEY_SOURCES, EdgeConfig
from driftlog_schemas.connection import wrong

PORT = 7430
HISTORY_BYTES = 1 << 30
LEAST_SECRET_BYTES = 16


class ConsoleConfig(EdgeConfig):
    """Where a console lives, whom it talks to, and what it says of the fleet."""

    scopes: Annotated[list[str], NoDecode] = Field(default_factory=list)
    """What it shows; without any, every scope that has a document, and new ones as they come."""
    gathers: bool = True
    http_port: int = Field(default=PORT, ge=0, le=65535)
    http_certificate_file: Path | None = None
    """With it and its key the pages are served over TLS; without, a proxy has to, where other machines reach them."""
    http_key_file: Path | None = None
    undo_seconds: float = Field(default=10.0, ge=0, le=3600)
    """For how long a decision can be undone, about one conflict or a group: so long nothing of it is decided; 0 for at once."""
    silent_seconds: float = Field(default=86_400.0, gt=0)
    """A device that was not heard of for so long is said to be silent."""
    webhook_url: str | None = Field(default=None, pattern=r"^https?://\S+$")
    """Is told, by a signed POST, of conflicts whose deadline comes near, and how much is open; see `notices/`."""
    webhook_secret_file: Path | None = None
    """Shared with the receiver, to sign what is sent."""
    webhook_before_hours: float = Field(default=24.0, gt=0, le=24 * 365)
    """So long before its deadline a conflict is told."""
    webhook_digest_hours: float = Field(default=24.0, ge=0, le=24 * 365)
    """How much is open is told at most so often, and only while something is; 0 for never."""
    history_bytes: int | None = Field(default=None, ge=0)
    """For the last changes of documents, on disk and not encrypted; 0 for none. By default 1 GiB; none where a key encrypts what an agent keeps."""
    history_changes: int = Field(default=500, ge=1, le=10_000)
    """Of each document, at most."""

    @property
    def history_room(self) -> int:
        """Bytes; 0 for none."""
        if self.history_bytes is not None:
            return self.history_bytes
        return 0 if any(getattr(self, name) is not None for name in KEY_SOURCES) else HISTORY_BYTES

    @property
    def webhook_secret(self) -> bytes:
        """What is in the file. Raises a setting's error."""
        assert self.webhook_secret_file is not None, "was checked"
        try:
            secret = self.webhook_secret_file.read_bytes().strip()
        except OSError as error:
            raise wrong("webhook_secret_file", f"it cannot be read: {error.strerror}", "check the path") from error
        if len(secret) < LEAST_SECRET_BYTES:
            raise wrong("webhook_secret_file", f"{len(secret)} bytes are too few", f"use {LEAST_SECRET_BYTES} or more")
        return secret

    @model_validator(mode="after")
    def _webhook(self) -> Self:
        if self.webhook_url is not None and self.webhook_secret_file is None:
            raise wrong("webhook_secret_file", "what is sent to webhook_url is signed", "name a file with a secret")
        if self.webhook_url is None and self.webhook_secret_file is not None:
            raise wrong("webhook_url", "a secret is given, and nothing to send to", "give both, or neither")
        if self.webhook_secret_file is not None:
            _ = self.webhook_secret
        return self

    @model_validator(mode="after")
    def _certificate_and_key(self) -> Self:
        pair = {"http_certificate_file": self.http_certificate_file, "http_key_file": self.http_key_file}
        missing = [name for name, path in pair.items() if path is None]
        if len(missing) == 1:
            raise wrong(missing[0], "a certificate and its key go together", "give both, or neither")
        for name, path in pair.items():
            if path is not None and not path.is_file():
                raise wrong(name, "there is no such file", "check the path")
        return self
