"""What can go wrong with the embedded servers, as one tree.

InfraError
├── NotInstalled    the Python packages that carry the JDK or resolve Maven addresses are missing
├── FetchFailed     a file could not be downloaded, or is not the one that was pinned
├── FolderBusy      another process holds the data folder
├── FolderUnusable  a data folder that cannot be written, or holds records that Kafka cannot use
├── PortTaken       something else listens on the port
├── StartFailed     the server did not come up; `log_tail` carries the end of its log
└── StopFailed      the server did not end
"""

from __future__ import annotations


class InfraError(RuntimeError):
    """The fact, and in `remedy` the next step; both fit one line."""

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy

    @property
    def line(self) -> str:
        """Fact and remedy as one line for a person."""
        return f"{self}; {self.remedy}" if self.remedy else str(self)


class NotInstalled(InfraError):
    """A package of the `broker` extra is missing."""


class FetchFailed(InfraError):
    """A pinned file is not to be had as pinned."""


class FolderBusy(InfraError):
    """Another process holds the data folder."""


class FolderUnusable(InfraError):
    """Not writable, or not formatted although it holds records."""


class PortTaken(InfraError):
    """Something else listens there."""


class StartFailed(InfraError):
    """A server that did not become ready."""

    def __init__(self, message: str, remedy: str = "", log_tail: str = "") -> None:
        super().__init__(message, remedy)
        self.log_tail = log_tail


class StopFailed(InfraError):
    """A server that did not end, not even when killed."""
