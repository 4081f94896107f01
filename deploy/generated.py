"""Writes files that are made from others, or tells which of them are out of date."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def differs(path: Path, wanted: str) -> bool:
    """Whether a file is not what it has to be."""
    return not path.exists() or path.read_text() != wanted


def bring_up_to_date(
    wanted: Mapping[Path, str], *, check: bool, differ: Callable[[Path, str], bool] = differs
) -> list[Path]:
    """Write the files that are not as they have to be, unless it is a ``check``; returns them."""
    stale = [path for path, text in wanted.items() if differ(path, text)]
    for path in () if check else stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(wanted[path])
    return stale


def report(stale: Sequence[Path], *, check: bool, command: str) -> int:
    """Say what was written, or is out of date. Returns the exit code: 1 when a check found something."""
    for path in stale:
        sys.stdout.write(f"{'out of date' if check else 'written'}: {path.relative_to(ROOT)}\n")
    if stale and check:
        sys.stdout.write(f"Run: python {command}\n")
        return 1
    return 0
