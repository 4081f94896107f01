"""What is known of a cluster, and what follows for the next ``up``: pure decisions, no I/O but one file."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path


class Action(Enum):
    """What ``up`` has to do."""

    CREATE = "create"
    REUSE = "reuse"
    RECREATE = "recreate"


@dataclass(frozen=True)
class NodeContainer:
    """A container that is, or was, a node."""

    name: str
    state: str


@dataclass(frozen=True)
class ClusterRecord:
    """Written when a cluster is complete, removed before one is touched: no record means not complete."""

    nodes: int
    node_image: str
    exported_kubeconfig: str = ""


def read_record(path: Path) -> ClusterRecord | None:
    """Read a record; a missing or damaged one counts as none."""
    try:
        return ClusterRecord(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):
        return None


def write_record(path: Path, record: ClusterRecord) -> None:
    """Write a record so that it is there whole or not at all."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(asdict(record), indent=2))
    partial.replace(path)


def decide(
    record: ClusterRecord | None,
    containers: list[NodeContainer],
    *,
    nodes: int | None,
    current_images: set[str],
    api_ready: bool,
) -> tuple[Action, str]:
    """Decide what ``up`` does, and say why.

    ``nodes`` is None when any number will do; ``current_images`` are the node images that this version of the
    tooling would use.
    """
    if not containers:
        return Action.CREATE, "there is none"
    problem = _problem(record, containers, nodes=nodes, current_images=current_images)
    if problem:
        return Action.RECREATE, problem
    if not api_ready:
        return Action.RECREATE, "its API server does not answer"
    return Action.REUSE, "it is up"


def _problem(
    record: ClusterRecord | None,
    containers: list[NodeContainer],
    *,
    nodes: int | None,
    current_images: set[str],
) -> str:
    if record is None:
        return "an earlier run did not finish it"
    stopped = [f"{item.name} is {item.state}" for item in containers if item.state != "running"]
    if stopped:
        return ", ".join(stopped)
    if len(containers) != record.nodes:
        return f"it has {len(containers)} of its {record.nodes} nodes"
    if nodes is not None and nodes != record.nodes:
        return f"it has {record.nodes} nodes, and {nodes} are wanted"
    if record.node_image not in current_images:
        return "its node image is not the current one"
    return ""
