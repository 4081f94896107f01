"""One benchmark's figures with what is needed to judge them: where, when and with what they were measured."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.world import KUBECONFIG
from testbed import tools
from testbed.engine import find_engine
from testbed.errors import ToolingError
from testbed.settings import REPO_ROOT

RESULTS = REPO_ROOT / "docs" / "performance"
QUICK_RESULTS = REPO_ROOT / ".state" / "bench"


@dataclass(frozen=True)
class Budget:
    """A count of a benchmark, free of noise, that must not be more than ``at_most``."""

    benchmark: str
    count: str
    at_most: float
    why: str


BUDGETS = (
    Budget("oldway", "pods_replaced", 0, "an operation through a session leaves its wallets open"),
    Budget("create", "failed", 0, "every new session becomes Ready"),
    Budget("create", "wallet_requests_per_session", 60, "making three wallets takes a fixed number of requests"),
    Budget("payment", "payments_unseen", 0, "every payment shows in the status"),
    Budget("payment", "daemon_requests_per_second", 3.0, "following costs monerod a few cheap requests at each event"),
    Budget("failover", "failed_calls", 0, "open wallets answer whoever leads, and when nobody does"),
    Budget("capacity", "pods_per_session", 3, "a session holds one pod per role"),
    Budget("capacity", "idle_writes_per_second", 0.1, "sessions in which nothing happens cost no writes"),
    Budget("claims", "claimed_twice", 0, "no slot is ever given to two sessions"),
    Budget("claims", "incomplete", 0, "a session gets all three slots or none"),
    Budget("claims", "requests_per_claim", 20, "opening a session costs a fixed number of requests"),
    Budget("hostile", "failed", 0, "no tenant keeps another one's sessions from being Ready"),
    Budget("hostile", "restarts", 0, "no tenant ends the operator"),
    Budget("scale", "writes", 0, "a session in which nothing happens costs no write"),
    Budget("scale", "restarts", 0, "the operator is not overrun"),
    Budget("scale", "growth_memory_bytes", 1.1, "the memory of a session does not grow with their number"),
    Budget("scale", "growth_cpu_cores", 1.1, "the cost of a session does not grow with their number"),
)


def over_budget(name: str, counts: Mapping[str, float], budgets: Iterable[Budget] = BUDGETS) -> list[str]:
    """What is wrong with the counts of a benchmark; a count that was not taken is wrong too."""
    wrong = []
    for budget in budgets:
        if budget.benchmark != name:
            continue
        count = counts.get(budget.count)
        if count is None:
            wrong.append(f"{name}: {budget.count} was not counted ({budget.why})")
        elif not count <= budget.at_most:
            wrong.append(f"{name}: {budget.count} is {count:g}, at most {budget.at_most:g} is allowed: {budget.why}")
    return wrong


@dataclass(frozen=True)
class Machine:
    """The machine, without its name: cores, memory in bytes, model, and the software that matters."""

    cores: int
    memory_bytes: int
    cpu: str
    kernel: str
    python: str
    engine: str

    @classmethod
    def this(cls) -> Machine:
        """The one this runs on. What cannot be told is an empty text."""
        return cls(
            cores=len(os.sched_getaffinity(0)),
            memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            cpu=_cpu_model(),
            kernel=f"{platform.system()} {platform.release()}",
            python=platform.python_version(),
            engine=_engine(),
        )


@dataclass(frozen=True)
class Result:
    """A benchmark's figures. ``started`` is UTC in ISO 8601, ``seconds`` how long it took."""

    name: str
    command: str
    quick: bool
    started: str
    seconds: float
    commit: str
    machine: Machine
    versions: dict[str, str]
    counts: dict[str, float]
    figures: dict[str, Any]

    def write(self, folder: Path) -> Path:
        """Write it down as JSON; the file."""
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{self.name}.json"
        file.write_text(self.as_json() + "\n")
        return file

    def as_json(self) -> str:
        """All of it; numbers rounded to six digits, which is far below the noise and above every figure's need."""
        return json.dumps(_rounded(asdict(self)), indent=1, ensure_ascii=False)

    @classmethod
    def read(cls, file: Path) -> Result:
        """As ``write`` wrote it."""
        content = json.loads(file.read_text())
        return cls(**(content | {"machine": Machine(**content["machine"])}))


class Stopwatch:
    """Started when it is made."""

    def __init__(self) -> None:
        self.started = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self._start = time.monotonic()

    def seconds(self) -> float:
        """Since then."""
        return time.monotonic() - self._start


def wrap(
    name: str, figures: dict[str, Any], counts: dict[str, float], *, quick: bool, command: str, watch: Stopwatch
) -> Result:
    """The figures of a benchmark that has just ended, with all that is known of their circumstances."""
    return Result(
        name=name,
        command=command,
        quick=quick,
        started=watch.started,
        seconds=watch.seconds(),
        commit=_commit(),
        machine=Machine.this(),
        versions=_cluster_versions(),
        counts=counts,
        figures=figures,
    )


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.6g}")
    if isinstance(value, Mapping):
        return {key: _rounded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(item) for item in value]
    return value


def _cpu_model() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.processor()
    found = re.search(r"(?m)^model name\s*: (.+)$", text)
    return found[1] if found else platform.machine()


def _engine() -> str:
    try:
        engine = find_engine(install=False)
        words = engine.capture("--version").split()
    except ToolingError:
        return ""
    version = next((word.strip(",") for word in words if word[0].isdigit()), "")
    return f"{engine.name} {version}".strip()


def _commit() -> str:
    """The short hash of what was measured; ``+`` when files of the product differ from it."""
    short = _output("git", "-C", str(REPO_ROOT), "rev-parse", "--short", "HEAD")
    changed = _output(
        "git", "-C", str(REPO_ROOT), "status", "--porcelain", "--", "operator", "charts", "images", "crds"
    )
    return f"{short}+" if changed else short


def _cluster_versions() -> dict[str, str]:
    """Kubernetes' and Monero's versions on the test cluster, as far as it answers."""
    kubectl = (str(tools.kubectl()), "--kubeconfig", str(KUBECONFIG), "--request-timeout=10s")
    versions = {}
    try:
        answer = json.loads(_output(*kubectl, "version", "-o", "json") or "{}")
        versions["kubernetes"] = answer["serverVersion"]["gitVersion"]
    except (KeyError, ValueError):
        return {}
    said = _output(*kubectl, "exec", "-n", "monero", "deployment/monerod", "--", "monerod", "--version")
    found = re.search(r"\(v([0-9.]+)", said)
    if found:
        versions["monero"] = found[1]
    return versions


def _output(*argv: str) -> str:
    """What a command prints; empty when it fails or is not there."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=30, check=False, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
