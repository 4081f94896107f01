"""Random worlds for as long as one likes: ``python -m simulation --seed 1 --hours 8``."""

from __future__ import annotations

import argparse
import os
import sys
import time
from concurrent.futures import FIRST_COMPLETED, Future, wait
from itertools import count

from .random_play import play_at_random
from .workers import workers

WORLDS = 100
"""For each seed."""


def main() -> int:
    """One line for each seed; 1 with the story of the first world that was wrong."""
    parser = argparse.ArgumentParser(prog="python -m simulation", description="Random worlds of the operator.")
    parser.add_argument("--seed", type=int, default=0, help="of the first worlds; the next ones have the next seeds")
    parser.add_argument("--hours", type=float, default=1.0, help="after which no new worlds are begun")
    args = parser.parse_args()
    return soak(args.seed, seconds=args.hours * 3600)


def soak(seed: int, *, seconds: float) -> int:
    """See ``main``; what was begun is played to its end."""
    ends, seeds, played = time.monotonic() + seconds, count(seed), 0
    running: dict[Future[str | None], int] = {}
    with workers() as pool:
        while running or time.monotonic() < ends:
            while time.monotonic() < ends and len(running) < (os.cpu_count() or 1):
                number = next(seeds)
                running[pool.submit(play_at_random, number, WORLDS)] = number
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                number = running.pop(done)
                if wrong := done.result():
                    pool.shutdown(wait=False, cancel_futures=True)
                    print(wrong, flush=True)
                    print(f"again: python -m simulation --seed {number} --hours 0.001", flush=True)
                    return 1
                played += WORLDS
                print(f"seed {number}: all well ({played} worlds until now)", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
