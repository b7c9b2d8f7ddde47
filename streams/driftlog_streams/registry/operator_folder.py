"""Where an operator's keys lie: `root.json` and `operator.json` in one folder that only its owner reads.

The usual folder is the user's own (`DRIFTLOG_OPERATOR`, else `driftlog/operator` in the user's configuration), so that a first enrolment
needs no preparation. For more than a first try the root belongs elsewhere: only `operator rotate` needs it.
"""

from __future__ import annotations

import base64
import binascii
import os
from pathlib import Path
from typing import Any

from driftlog_schemas import private_file
from driftlog_schemas.home import home
from driftlog_schemas.operator_keys import Certificate, OperatorKey, RootKey
from driftlog_streams.errors import SetupProblem

_ROOT, _OPERATOR = "root key file", "operator key file"
_MAKE = "make one with `driftlog operator init`, or name its folder in DRIFTLOG_OPERATOR"


def usual_folder() -> Path:
    """Where keys lie unless told otherwise."""
    if own := os.environ.get("DRIFTLOG_OPERATOR"):
        return Path(own).absolute()
    return Path(os.environ.get("XDG_CONFIG_HOME") or home() / ".config") / "driftlog" / "operator"


class OperatorFolder:
    """The keys in one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def root_file(self) -> Path:
        return self.folder / "root.json"

    @property
    def operator_file(self) -> Path:
        return self.folder / "operator.json"

    @property
    def exists(self) -> bool:
        """Is there an operator's key?"""
        return self.operator_file.exists()

    def require_none(self) -> None:
        """Raises `SetupProblem` where there is a root or an operator."""
        for path in (self.root_file, self.operator_file):
            if path.exists():
                raise SetupProblem(
                    f"{path} exists already", "use it, or name another folder; a new root makes every device unknown"
                )

    def create(self, now_ms: int) -> OperatorKey:
        """A root and its first operator. Raises `SetupProblem` where there is one, `IdentityProblem`."""
        self.require_none()
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise SetupProblem(
                f"the folder {self.folder} for the operator's keys cannot be made: {error.strerror}",
                "name another with --operator, or DRIFTLOG_OPERATOR",
            ) from error
        root = RootKey.create()
        operator = OperatorKey.create(root, now_ms)
        private_file.save(self.root_file, _ROOT, {"root_private_key": private_file.key_fact(root.key)})
        self.keep(operator)
        return operator

    def keep(self, operator: OperatorKey) -> None:
        """From now on this is the operator. Raises `IdentityProblem`."""
        certificate: dict[str, Any] = {
            name: base64.b64encode(value).decode() if isinstance(value, bytes) else value
            for name, value in operator.certificate._asdict().items()
        }
        facts = {"private_key": private_file.key_fact(operator.key), "certificate": certificate}
        private_file.save(self.operator_file, _OPERATOR, facts)

    def operator(self) -> OperatorKey:
        """Raises `IdentityProblem`."""
        facts = private_file.load(self.operator_file, _OPERATOR, _MAKE)
        try:
            key = private_file.private_key(facts)
            certificate = _certificate(facts.get("certificate"))
            if certificate.public != key.public_key().public_bytes_raw():
                raise ValueError("the certificate is for another key")
        except ValueError as error:
            raise private_file.foreign(self.operator_file, _OPERATOR, str(error), _MAKE) from error
        return OperatorKey(key, certificate)

    def root(self, path: Path | None = None) -> RootKey:
        """The root, from here or from where it was put. Raises `IdentityProblem`."""
        path = path or self.root_file
        remedy = "name the file with --root; without the root no operator can be made"
        facts = private_file.load(path, _ROOT, remedy)
        try:
            return RootKey(private_file.private_key(facts, "root_private_key"))
        except ValueError as error:
            raise private_file.foreign(path, _ROOT, str(error), remedy) from error


def _certificate(facts: Any) -> Certificate:
    """Raises ValueError."""
    if not isinstance(facts, dict) or facts.keys() != set(Certificate._fields):
        raise ValueError("certificate: not all of it is there")
    try:
        found = Certificate(
            root=_bytes(facts["root"]),
            public=_bytes(facts["public"]),
            generation=int(facts["generation"]),
            oldest=int(facts["oldest"]),
            from_ms=int(facts["from_ms"]),
            until_ms=int(facts["until_ms"]),
            signature=_bytes(facts["signature"]),
        )
    except (TypeError, binascii.Error, ValueError) as error:
        raise ValueError(f"certificate: {error}") from error
    if not found.genuine():
        raise ValueError("certificate: it is not signed by the root that it names")
    return found


def _bytes(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
