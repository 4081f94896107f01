"""``python -m soak --seed 1 --minutes 30``: brings up the test cluster, and plays on it."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time

from harness.place import remove_places
from harness.world import bring_up
from testbed import progress
from testbed.settings import REPO_ROOT

from .stage import staged


def main() -> int:
    """Prints what happens and what came of it, which is in logs/ too; 1 with violations."""
    parser = argparse.ArgumentParser(prog="python -m soak", description="Users and faults on the real test cluster.")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of users and faults (default: the time)")
    parser.add_argument("--minutes", type=float, default=30.0, help="until the last fault")
    args = parser.parse_args()
    return asyncio.run(_run(args.seed, args.minutes))


async def _run(seed: int, minutes: float) -> int:
    progress.say(f"soak with seed {seed}, {minutes:g} minutes")
    async with bring_up() as world:
        await remove_places(world.api)
        async with staged(world, seed=seed, minutes=minutes, show=progress.say) as soak:
            text = await soak.play()
    folder = REPO_ROOT / "logs"
    folder.mkdir(exist_ok=True)
    (folder / f"soak-cluster-{seed}.md").write_text(text)
    (folder / f"soak-cluster-{seed}.txt").write_text("\n".join(soak.timeline.lines) + "\n")
    print(text, flush=True)
    return 1 if soak.timeline.violations else 0


if __name__ == "__main__":
    sys.exit(main())
