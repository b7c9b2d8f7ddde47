"""Becomes another user, then another program: `python -m driftlog_infra.as_user UID GID COMMAND...`.

PostgreSQL does not run as root. What it is started by names itself to the warden first, for which it must still be who it was.
"""

from __future__ import annotations

import os
import sys


def main(uid: int, gid: int, command: list[str]) -> None:
    """Never returns. Raises OSError where this user may not become the other one, or there is no such program."""
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
    os.execv(command[0], command)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
