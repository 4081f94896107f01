"""Plays random worlds: so many from a seed, the same ones each time."""

from __future__ import annotations

import logging
import traceback

import hypothesis
from hypothesis import HealthCheck, Phase
from hypothesis.stateful import run_state_machine_as_test

from .defects import put_back
from .random_world import RandomWorld

STEPS = 25
"""The most rules in one world."""


def play_at_random(seed: int, worlds: int, *, shrink: bool = True, defect: str | None = None) -> str | None:
    """What is wrong in the first world that is wrong, with its (shrunken) story and timeline; None where all is well.

    In a process with another PYTHONHASHSEED the same seed makes other worlds. ``defect`` is put back meanwhile.
    """
    # What the operator logs in hundreds of worlds hides what is wrong in one.
    logging.disable()
    phases = (Phase.generate, Phase.shrink) if shrink else (Phase.generate,)
    settings = hypothesis.settings(
        max_examples=worlds,
        stateful_step_count=STEPS,
        phases=phases,
        deadline=None,
        database=None,
        print_blob=False,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    # The seed is noted on the class.
    machine = hypothesis.seed(seed)(type("Random", (RandomWorld,), {}))
    try:
        with put_back(defect):
            run_state_machine_as_test(machine, settings=settings)
    except Exception as error:
        return f"seed {seed}:\n{''.join(traceback.format_exception(error))}"
    return None
