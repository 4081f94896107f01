"""A command that runs with what others leave of the machine."""

from __future__ import annotations

import os
import subprocess
import sys

from testbed.background import AUTOGROUP, NICEST

SAY = "import os; print(os.nice(0), os.getsid(0) == os.getpid())"


def run(code: str) -> str:
    command = (sys.executable, "-m", "testbed.background", sys.executable, "-c", code)
    env = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(command, capture_output=True, text=True, check=True, env=env).stdout


def test_it_is_the_nicest_of_all_in_a_session_of_its_own() -> None:
    assert run(SAY).split() == [str(NICEST), "True"]


def test_its_session_is_nice_as_a_whole_where_that_is_possible() -> None:
    if AUTOGROUP.exists():
        said = run("print(open('/proc/self/autogroup').read())")
        assert said.strip().endswith(f"nice {NICEST}")
