"""Command line of the benchmarks."""

from __future__ import annotations

import argparse
import asyncio
import sys

from benchmarks import opening
from testbed.errors import ToolingError


def main() -> int:
    """Run one benchmark; its numbers go to stdout, what it does meanwhile to stderr."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measurements on the test cluster.")
    commands = parser.add_subparsers(required=True, metavar="BENCHMARK")
    text = "from applying a session with existing wallets to Ready, against the three raw open_wallet calls"
    command = commands.add_parser("open", help=text, description=text)
    command.add_argument("--rounds", type=int, default=5, help="times that each is measured (default: %(default)s)")
    command.add_argument("--json", action="store_true", help="print JSON")
    args = parser.parse_args()
    try:
        result = asyncio.run(opening.measure(args.rounds))
    except ToolingError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(result.as_json() if args.json else result.as_text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
