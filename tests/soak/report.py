"""What a soak says of itself: a table of faults, what people did, and each violation with what led to it."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field

from .faults import FAULTS
from .timeline import Violation


@dataclass(slots=True)
class Report:
    """Filled while a soak runs."""

    seed: int
    minutes: float
    healed_after: dict[str, list[float]] = field(default_factory=dict)
    """By fault: seconds from its beginning until all was well again, each time that it happened."""

    def text(self, counts: Mapping[str, int], violations: list[Violation], *, looks: int) -> str:
        """As Markdown."""
        faults = sum(len(seconds) for seconds in self.healed_after.values())
        lines = [
            f"Seed {self.seed}, {self.minutes:g} minutes, {faults} faults, {looks} looks, {len(violations)} wrong.",
            "",
            "| Fault | Injected how | Times | Well again after (median) | At most |",
            "|---|---|---|---|---|",
        ]
        for fault in FAULTS:
            seconds = sorted(self.healed_after.get(fault.name, ()))
            if seconds:
                median = statistics.median(seconds)
                lines.append(f"| {fault.name} | {fault.how} | {len(seconds)} | {median:.0f} s | {seconds[-1]:.0f} s |")
        lines += ["", "| What people did | Times |", "|---|---|"]
        lines += [f"| {what} | {number} |" for what, number in sorted(counts.items())]
        for violation in violations:
            lines += ["", f"VIOLATION: {violation.what}", *(f"    {line}" for line in violation.before)]
        return "\n".join(lines) + "\n"
