"""Say what is going on: a line per step with the time elapsed, and signs of life from long commands."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from testbed.errors import ToolingError
from testbed.settings import log_dir

HEARTBEAT_SECONDS = 15.0
_TAIL_LINES = 25
_START = time.monotonic()
# A run that is killed outright takes its command along: an orphaned `kind create` would, when it fails in
# the end, remove the cluster that the next run has made under the same name.
_TIED = ["setpriv", "--pdeathsig", "TERM"] if shutil.which("setpriv") else []


def say(text: str) -> None:
    """Print one line with the seconds since the program started (to stderr: stdout is for answers)."""
    print(f"[{time.monotonic() - _START:6.1f}s] {text}", file=sys.stderr, flush=True)


@contextmanager
def step(title: str) -> Iterator[None]:
    """Announce a step and how long it took."""
    say(f"{title} ...")
    start = time.monotonic()
    yield
    say(f"{title}: done in {time.monotonic() - start:.1f} s")


def run_logged(
    argv: Sequence[str],
    title: str,
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    hint: str = "",
    timeout: float = 3600.0,
) -> None:
    """Run a long command: output to a log file, a heartbeat to the terminal, the log's tail on failure."""
    log = log_dir() / f"{time.strftime('%Y%m%d-%H%M%S')}-{_slug(title)}.log"
    with step(title), log.open("wb") as sink:
        sink.write(f"$ {' '.join(argv)}\n".encode())
        sink.flush()
        process = subprocess.Popen(
            [*_TIED, *argv], stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT, env=env, cwd=cwd
        )
        try:
            code = _wait(process, title, log, timeout)
        except BaseException:
            process.terminate()
            process.wait(timeout=30)
            raise
        if code != 0:
            raise ToolingError(
                f"{title}: {argv[0]} ended with code {code}. The end of its log {log}:\n{tail(log)}",
                hint or f"read {log}, fix the cause and run the same command again (finished steps are kept)",
            )


def _wait(process: subprocess.Popen[bytes], title: str, log: Path, timeout: float) -> int:
    start = time.monotonic()
    while True:
        try:
            return process.wait(timeout=HEARTBEAT_SECONDS)
        except subprocess.TimeoutExpired:
            elapsed = time.monotonic() - start
            if elapsed > timeout:
                raise ToolingError(
                    f"{title}: no end after {elapsed:.0f} s; its log is {log}",
                    "look for what it waits for in the log, then run the same command again",
                ) from None
            say(f"  still at it after {elapsed:.0f} s: {title}{_last_line(log)}")


def _last_line(log: Path) -> str:
    lines = tail(log, 1).strip()
    return f" ({lines[:90]})" if lines else ""


def tail(log: Path, lines: int = _TAIL_LINES) -> str:
    """Return the last lines of a log."""
    text = log.read_text(errors="replace").splitlines()
    return "\n".join("    " + line for line in text[-lines:])


def _slug(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:60]
