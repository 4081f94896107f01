"""The page docs/performance.md, from results."""

from __future__ import annotations

from pathlib import Path


def write(results: Path) -> None:
    """Not there yet."""
    raise NotImplementedError(results)
