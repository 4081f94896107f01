"""Helm for the tests of the chart."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from testbed import tools
from testbed.settings import MIN_HELM, REPO_ROOT, cache_dir

CHART = REPO_ROOT / "charts" / "xmr-escrow-operator"

Object = dict[str, Any]

IMAGE = {"repository": "registry.invalid/xmr-escrow/operator"}
"""The one value that has no default. Names in .invalid resolve nowhere (RFC 6761)."""


def helm() -> Path:
    """From PATH, or built by the test cluster's tooling before. Only CI builds one for this."""
    built = sorted((cache_dir() / "go").glob("helm-*/helm"))
    found = tools._installed("helm", ("version", "--short"), MIN_HELM) or next(iter(built), None)
    if found:
        return found
    if os.environ.get("CI"):
        return tools.helm()
    minimum = ".".join(map(str, MIN_HELM))
    pytest.skip(f"no helm {minimum} or newer on PATH, and the test cluster's tooling has built none yet")


def run(*args: str, values: Object | None = None) -> subprocess.CompletedProcess[str]:
    """One call of helm with the chart's values on its standard input."""
    argv = [str(helm()), *args, "--values", "-"]
    return subprocess.run(argv, input=json.dumps(values or {}), capture_output=True, text=True, check=False, timeout=60)


def render(values: Object | None = None, *, release: str = "xmr-escrow-operator", tests: bool = False) -> list[Object]:
    """The objects of the chart; those of ``helm test`` too, with ``tests``."""
    given = {**(values or {}), "image": IMAGE | (values or {}).get("image", {})}
    skipped = [] if tests else ["--skip-tests"]
    done = run("template", release, str(CHART), "--namespace", "xmr-escrow-system", *skipped, values=given)
    assert done.returncode == 0, done.stderr
    return [document for document in yaml.safe_load_all(done.stdout) if document]


def refusal(values: Object) -> str:
    """What Helm says to values that it must not take."""
    done = run("template", "release", str(CHART), values={"image": IMAGE} | values)
    assert done.returncode != 0, f"taken: {values}"
    return done.stderr


def of_kind(objects: list[Object], kind: str, *, gateway: bool = False) -> list[Object]:
    """Those of a kind, without the gateway's; or the gateway's alone."""
    return [found for found in objects if found["kind"] == kind and is_gateways(found) is gateway]


def is_gateways(found: Object) -> bool:
    """Whether an object is of the gateway."""
    labels = found["metadata"].get("labels") or {}
    return bool(labels.get("app.kubernetes.io/name") == "xmr-escrow-gateway")


def container(objects: list[Object], *, gateway: bool = False) -> Object:
    """The operator's container, or the gateway's."""
    (deployment,) = of_kind(objects, "Deployment", gateway=gateway)
    (found,) = deployment["spec"]["template"]["spec"]["containers"]
    return dict(found)
