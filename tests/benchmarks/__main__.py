"""Command line of the benchmarks."""

from __future__ import annotations

import argparse
import asyncio
import sys
import traceback
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast

from testbed import progress
from testbed.errors import ToolingError

from .result import QUICK_RESULTS, RESULTS, Result, Stopwatch, over_budget, wrap

BENCHMARKS = {
    "oldway": ("oldway", "operations that open and close the wallets each time, against the same ones in a session"),
    "open": ("opening", "from applying a session with existing wallets to Ready, against the raw open_wallet calls"),
    "create": ("creating", "from applying a new session to Ready, against the raw key exchange of three wallets"),
    "payment": ("payment", "from a payment, and from its block, to the session's status"),
    "tls": ("tls", "what a wallet's questions to monerod take, over plain HTTP and over TLS"),
    "gateway": ("gateway", "what the gateway adds to a call, and how many calls a core of it forwards"),
    "failover": ("failover", "until another operator leads, and acts, when the one that led has ended"),
    "capacity": ("capacity", "as many sessions as this machine holds: memory, time, and what ends it"),
    "claims": ("claims", "many sessions that claim slots at once"),
    "hostile": ("hostile", "what other tenants notice of one who does all that he may"),
    "scale": ("scale", "what the operator costs with thousands of sessions and pods"),
}


class Benchmark(Protocol):
    """What each of the modules has."""

    async def measure(self, *, quick: bool) -> dict[str, Any]:
        """The figures, as JSON has them: seconds, bytes, 1/s."""

    def as_text(self, figures: Mapping[str, Any]) -> str:
        """The figures for people."""

    def counts(self, figures: Mapping[str, Any]) -> dict[str, float]:
        """Those of the figures that are free of noise, for the budgets."""


def main(argv: list[str] | None = None) -> int:
    """Figures go to stdout, what happens meanwhile to stderr. 1 when one failed or a count is over its budget."""
    args = _parser().parse_args(argv)
    if args.name == "page":
        from . import page  # noqa: PLC0415 - matplotlib takes a second, which no other command needs

        progress.say(f"written: {page.write(args.out or RESULTS)}")
        return 0
    names = list(BENCHMARKS) if args.name == "all" else [args.name]
    out = args.out or (QUICK_RESULTS if args.quick else RESULTS)
    failed, wrong = [], []
    for name in names:
        try:
            result = _run(name, quick=args.quick, out=out, as_json=args.json)
        except Exception as error:
            failed.append(name)
            if not isinstance(error, ToolingError):
                traceback.print_exc()
            progress.say(f"{name} failed: {error}")
        else:
            wrong += over_budget(name, result.counts)
    for line in wrong:
        print(f"over budget: {line}", file=sys.stderr)
    if failed:
        print(f"failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed or wrong else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measurements on the test cluster.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="name")
    texts = {name: text for name, (_, text) in BENCHMARKS.items()}
    for name, text in {
        **texts,
        "all": "all of these, one after the other; one that fails keeps none from running",
    }.items():
        command = commands.add_parser(name, help=text, description=text)
        command.add_argument("--quick", action="store_true", help="few rounds: minutes less, and rough figures")
        command.add_argument("--json", action="store_true", help="print JSON instead of a table")
        command.add_argument(
            "--out", type=Path, help="folder for the results (default: docs/performance; .state/bench if quick)"
        )
    text = "docs/performance.md and its plots, from the results"
    command = commands.add_parser("page", help=text, description=text)
    command.add_argument("--out", type=Path, help="folder with the results (default: docs/performance)")
    return parser


def _run(name: str, *, quick: bool, out: Path, as_json: bool) -> Result:
    benchmark = cast("Benchmark", import_module(f"benchmarks.{BENCHMARKS[name][0]}"))
    watch = Stopwatch()
    with progress.step(f"benchmark {name}"):
        figures = asyncio.run(benchmark.measure(quick=quick))
    command = f"python -m benchmarks {name}{' --quick' if quick else ''}"
    result = wrap(name, figures, benchmark.counts(figures), quick=quick, command=command, watch=watch)
    file = result.write(out)
    print(result.as_json() if as_json else benchmark.as_text(figures), flush=True)
    progress.say(f"written to {file}")
    return result


if __name__ == "__main__":
    sys.exit(main())
