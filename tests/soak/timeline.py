"""What happened when: for people who have to understand a violation."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

SHOWN = 60
"""Lines before a violation that are shown with it."""


@dataclass(frozen=True, slots=True)
class Violation:
    """Something that must never be so, with the lines of the timeline that led to it."""

    what: str
    before: tuple[str, ...]


@dataclass(slots=True)
class Timeline:
    """Lines with the seconds since the beginning; ``show`` gets each at once."""

    show: Callable[[str], None] = lambda _: None
    lines: list[str] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)
    _began: float = field(default_factory=time.monotonic)
    _known: set[str] = field(default_factory=set)

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return time.monotonic() - self._began

    def say(self, text: str) -> None:
        """Add a line."""
        line = f"{self.seconds:7.1f}s {text}"
        self.lines.append(line)
        self.show(line)

    def violated(self, what: str) -> None:
        """Record a violation, each text once."""
        if what in self._known:
            return
        self._known.add(what)
        self.say(f"VIOLATION {what}")
        self.violations.append(Violation(what, tuple(self.lines[-SHOWN:])))
