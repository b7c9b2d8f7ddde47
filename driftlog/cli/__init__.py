"""The command line.

A process that runs an agent keeps what it has imported, for months and on small devices. So `driftlog edge run` is in a module of its own, read
with the library that its HTTP server brings along, and has none of the other commands.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Entry point of the `driftlog` command."""
    from driftlog.cli import logs  # first: it decides how structlog is imported
    from driftlog.cli.extras import missing

    logs.configure_logs()
    if sys.argv[1:3] == ["edge", "run"] and missing("edge") is None:
        from driftlog.cli import edge_run

        sys.exit(edge_run.main(sys.argv[3:]))
    from driftlog.cli import root

    root.main()
