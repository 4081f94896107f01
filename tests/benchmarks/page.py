"""The page docs/performance.md and its plots, made from results alone: nothing in it is typed by hand."""

from __future__ import annotations

from pathlib import Path

from . import plots
from .result import BUDGETS, Machine, Result, over_budget
from .sections import SECTIONS, table

INTRO = """\
# Performance

What the operator costs and how fast it is, measured on real clusters with real wallets (simulated ones where the text
says so). Every figure stands beside its baseline of the same run: the machine decides the seconds, not what one costs
against the other. `make bench` measures all of it again and writes this page from the results in
`docs/{folder}/`; `make bench-quick` takes a fraction of the time and holds the counts to their budgets.
"""


def write(results: Path) -> Path:
    """Write the page beside a folder of results, and the plots into it; the page."""
    found = [Result.read(file) for name in SECTIONS if (file := results / f"{name}.json").exists()]
    parts = [INTRO.format(folder=results.name)]
    for result in found:
        section = SECTIONS[result.name]
        plot = plots.draw(result.name, result.figures, results)
        parts.append(f"## {section.title}\n\n{section.text}\n")
        if result.quick:
            parts.append("These are figures of a quick run, with few rounds: rough.\n")
        parts.append(section.tables(result.figures))
        if plot:
            parts.append(f"![{section.title}]({results.name}/{plot.name})\n")
    parts += [_budgets(found), _circumstances(found)]
    page = results.with_suffix(".md")
    page.write_text("\n".join(parts))
    return page


def _budgets(found: list[Result]) -> str:
    """The counts that hold on any machine."""
    rows = []
    for result in found:
        for budget in BUDGETS:
            if budget.benchmark != result.name:
                continue
            count = result.counts.get(budget.count)
            verdict = "no" if over_budget(result.name, result.counts, [budget]) else "yes"
            rows.append(
                (
                    f"`{result.name}`: {budget.count.replace('_', ' ')}",
                    "not counted" if count is None else f"{count:.3g}",
                    f"{budget.at_most:g}",
                    verdict,
                    budget.why,
                )
            )
    if not rows:
        return ""
    text = "Counts do not depend on how busy the machine is. `make bench-quick` fails when one is over its budget.\n"
    return f"## Budgets\n\n{text}\n{table(('Count', 'Counted', 'At most', 'Kept', 'Why'), rows)}"


def _circumstances(found: list[Result]) -> str:
    """Where and when all this was measured."""
    rows = [
        (
            f"`{result.command}`",
            result.started.replace("T", " ").replace("Z", " UTC"),
            f"{result.seconds / 60:.1f} min",
            f"`{result.commit}`",
            ", ".join(f"{name} {version}" for name, version in result.versions.items()),
        )
        for result in found
    ]
    machines = "\n".join(f"- {_machine(machine)}" for machine in dict.fromkeys(result.machine for result in found))
    text = f"## Measured on\n\n{machines}\n\n{table(('Command', 'Started', 'Took', 'Commit', 'With'), rows)}"
    if any("+" in result.commit for result in found):
        text += "\nA commit with a `+` had changes of the product that were not committed.\n"
    return text


def _machine(machine: Machine) -> str:
    memory = f"{machine.memory_bytes / 2**30:.0f} GiB of memory"
    return (
        f"{machine.cores} cores ({machine.cpu}), {memory}, {machine.kernel}, Python {machine.python}, {machine.engine};"
        " the nodes of the cluster are containers on it"
    )
