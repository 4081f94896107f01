"""Runs a command with what others leave of the machine: ``python -m testbed.background COMMAND [ARGUMENT…]``.

Niceness compares processes of one control group, and pods have control groups of their own: beside a cluster a nice
process would take as much as all of it. Where Linux groups processes by session (``CONFIG_SCHED_AUTOGROUP``, man 7
sched), the session is made nice as a whole.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

NICEST = 19

AUTOGROUP = Path("/proc/self/autogroup")


def main(argv: list[str]) -> None:
    """Become the command, in a session of its own. Raises OSError when there is none of that name."""
    # The leader of a session is in one of its own already.
    with contextlib.suppress(PermissionError):
        os.setsid()
    with contextlib.suppress(OSError):
        AUTOGROUP.write_text(str(NICEST))
    os.nice(NICEST)
    os.execvp(argv[0], argv)  # noqa: S606 - the command line is the caller's own


if __name__ == "__main__":
    main(sys.argv[1:])
