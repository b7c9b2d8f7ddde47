"""What can go wrong with the embedded servers, as one tree.

InfraError
├── FetchFailed     a file could not be downloaded, or is not the one that was pinned
├── FolderBusy      another process holds the data folder
├── PortTaken       something else listens on the port
└── StartFailed     the server did not come up; the message carries the end of its log
"""

from __future__ import annotations


class InfraError(RuntimeError):
    """Fact and remedy in one line each; `remedy` says the next step."""

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy


class FetchFailed(InfraError):
    """A pinned file is not to be had as pinned."""


class FolderBusy(InfraError):
    """Another process holds the data folder."""


class PortTaken(InfraError):
    """Something else listens there."""


class StartFailed(InfraError):
    """A server that did not become ready."""
