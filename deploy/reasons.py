"""The reasons of conditions and Events that the operator's code has, and what deploy/reasons.yaml explains of them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT / "deploy" / "reasons.yaml"
CODE = ROOT / "operator" / "escrow_operator"
CRDS = ROOT / "crds"

POSITIONS = {
    "Blocked": 0,
    "Failed": 0,
    "NotOpened": 0,
    "Problem": 0,
    "Condition": 2,
    "health": 1,
    "record": 1,
    "unknown_funding": 1,
}
"""Functions and classes that take a reason, and which of their positional arguments it is."""

WORD = re.compile(r"[A-Z][a-z]+(?:[A-Z][A-Za-z]*)*")
"""The shape of a reason."""

OTHER_WORDS = frozenset(
    word
    for line in (
        # What Kubernetes calls something.
        "AlwaysAllow Deployment EndpointSlice Event IfNotPresent In Ingress Lease Memory NetworkPolicy None Normal",
        "OnRootMismatch Opaque PersistentVolumeClaim Pod PodDisruptionBudget PodScheduled ReadWriteOnce RuntimeDefault",
        "RollingUpdate ScheduleAnyway Secret Service Succeeded True False Unknown Warning",
        # Reasons of pods, which a pool's message quotes.
        "CrashLoopBackOff CreateContainerConfigError CreateContainerError ErrImageNeverPull ErrImagePull",
        "ImagePullBackOff InvalidImageName ReplicaFailure RunContainerError SchedulingGated Unschedulable",
        # Words inside the program.
        "Accept AlreadyExists Any BearerToken Blank Choice Complete Conflict Delete DeleteOptions English InvalidName",
        "Key Memo Mi NotFound Suspend Unavailable Unreadable Useless",
        # Types of conditions that are no reason as well.
        "DaemonSynced Funded Ready Reconciling Stalled",
    )
    for word in line.split()
)
"""Words of the code in a reason's shape that are none. Who adds a reason cannot forget to explain it: whatever is
neither here nor an enum of the custom resources nor explained makes a test fail."""


@dataclass
class Found:
    """What the code says of its reasons."""

    certain: set[str] = field(default_factory=set)
    """Those that are given to something that takes a reason."""
    words: set[str] = field(default_factory=set)
    """All texts in a reason's shape."""
    warnings: set[str] = field(default_factory=set)
    """Those whose Event is a Warning."""
    failing: set[str] = field(default_factory=set)
    """Those with which a session is Failed."""


@cache
def in_code() -> Found:
    """Read the operator's source."""
    trees = [ast.parse(path.read_text()) for path in sorted(CODE.rglob("*.py"))]
    names = {name: value for tree in trees for name, value in _constants(tree)}
    found = Found()
    for tree in trees:
        for node in ast.walk(tree):
            match node:
                case ast.Constant(value=str(text)) if WORD.fullmatch(text):
                    found.words.add(text)
                case ast.Assign(targets=[ast.Name(id="WARNINGS")], value=ast.Call(args=[words])):
                    found.warnings |= set(ast.literal_eval(words))
                case ast.Call():
                    _note(found, node, names)
    return found


def _constants(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """The module's constants that are texts."""
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=str(text))):
                yield name, text
            case ast.Assign(targets=[ast.Tuple(elts=targets)], value=ast.Tuple(elts=values)):
                for target, value in zip(targets, values, strict=False):
                    if (
                        isinstance(target, ast.Name)
                        and isinstance(value, ast.Constant)
                        and isinstance(value.value, str)
                    ):
                        yield target.id, value.value


def _note(found: Found, call: ast.Call, names: dict[str, str]) -> None:
    called = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    position = POSITIONS.get(called)
    given = [keyword.value for keyword in call.keywords if keyword.arg == "reason"]
    if position is not None and len(call.args) > position:
        given.append(call.args[position])
    warns = any(
        k.arg == "warning" and isinstance(k.value, ast.Constant) and k.value.value is True for k in call.keywords
    )
    for node in given:
        text = names.get(node.id) if isinstance(node, ast.Name) else getattr(node, "value", None)
        if isinstance(text, str) and WORD.fullmatch(text):
            found.certain.add(text)
            found.warnings |= {text} if warns else set()
            found.failing |= {text} if called == "Failed" else set()


@cache
def words_of_the_api() -> frozenset[str]:
    """Values of enums in the custom resources, and their kinds."""
    found: set[str] = set()

    def walk(part: Any) -> None:
        if isinstance(part, dict):
            found.update(word for word in part.get("enum") or () if isinstance(word, str))
            found.update(word for word in (part.get("kind"), part.get("listKind")) if isinstance(word, str))
            for inner in part.values():
                walk(inner)
        elif isinstance(part, list):
            for inner in part:
                walk(inner)

    for path in sorted(CRDS.glob("*.yaml")):
        walk(yaml.safe_load(path.read_text()))
    return frozenset(found)


def groups() -> list[dict[str, Any]]:
    """The table: groups of reasons, each with a title."""
    read: list[dict[str, Any]] = yaml.safe_load(TABLE.read_text())
    return read


def explained() -> set[str]:
    """All reasons of the table."""
    return {name for group in groups() for key in group["reasons"] for name in key.split(", ")}


def unexplained() -> set[str]:
    """Reasons of the code that the table lacks, and words that may be such."""
    found = in_code()
    return (found.certain | (found.words - OTHER_WORDS - words_of_the_api())) - explained()


def invented() -> set[str]:
    """Reasons of the table that the code has not."""
    return explained() - in_code().words
