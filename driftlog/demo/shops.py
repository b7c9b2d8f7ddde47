"""An edge agent as its application sees it: commands and documents over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx

from driftlog.client.place import TokenAuth
from driftlog.demo.processes import Child, DemoFailed

HTTP_SECONDS = 15
"""No answer of an agent is waited for any longer."""


class Shop:
    """One place of the story with its agent."""

    def __init__(self, name: str, url: str, token_file: Path, child: Child) -> None:
        self.name = name
        self.child = child
        self._http = httpx.Client(base_url=url, auth=TokenAuth(token_file), timeout=HTTP_SECONDS)

    def up(self) -> bool:
        """Does the agent answer?"""
        try:
            return self._http.get("/healthz").status_code == 200
        except httpx.TransportError:
            return False

    def do(self, command: str, **arguments: Any) -> Any:
        """Run a command; its result. Raises `DemoFailed` when it is refused."""
        answer = self._ask("POST", f"/v1/commands/{command}", arguments)
        if answer.status_code != 200:
            raise DemoFailed(
                f"{self.name}: {command} answered {answer.status_code}: {answer.text}", f"see {self.child.log}"
            )
        return answer.json()["result"]

    def refused(self, command: str, **arguments: Any) -> str:
        """Run a command that must be refused; the reason. Raises `DemoFailed` when it is not."""
        answer = self._ask("POST", f"/v1/commands/{command}", arguments)
        if answer.status_code != 409:
            raise DemoFailed(
                f"{self.name}: {command} should have been refused, got {answer.status_code}: {answer.text}"
            )
        return str(answer.json().get("detail") or answer.json().get("title"))

    def stock(self, store: str, sku: str) -> dict[str, Any] | None:
        """The document as this edge shows it; None before it is there."""
        answer = self._ask("GET", f"/v1/documents/Stock/{store}/{sku}")
        if answer.status_code == 404:
            return None
        answer.raise_for_status()
        return dict(answer.json())

    def status(self) -> dict[str, Any]:
        return dict(self._ask("GET", "/v1/status").raise_for_status().json())

    def conflicts(self) -> list[dict[str, Any]]:
        """The conflicts this edge knows."""
        found = self._ask("GET", "/v1/conflicts").raise_for_status().json()
        return list(found["conflicts"] if isinstance(found, dict) else found)

    def offline(self, offline: bool) -> None:
        """Pull the plug, or put it back."""
        self._ask("POST", f"/v1/offline?timeout={HTTP_SECONDS - 1}s", {"offline": offline}).raise_for_status()

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> httpx.Response:
        try:
            return self._http.request(method, path, json=body)
        except httpx.TransportError as error:
            self.child.require_alive()
            raise DemoFailed(f"{self.name} does not answer: {error}", f"see {self.child.log}") from error
