"""Take a removed cluster out of the kubeconfig that it was written to."""

from __future__ import annotations

import subprocess
from pathlib import Path

from testbed import tools

# Stands for whatever kubectl uses by default, in the record of a cluster.
USER_KUBECONFIG = "user"


def forget_context(context: str, exported: str) -> None:
    """Remove a context with its cluster and user; other entries stay as they are."""
    if exported != USER_KUBECONFIG and not Path(exported).exists():
        return
    where = [] if exported == USER_KUBECONFIG else ["--kubeconfig", exported]
    for kind in ("context", "cluster", "user"):
        _config(f"delete-{kind}", context, *where)
    if _config("current-context", *where).strip() == context:
        _config("unset", "current-context", *where)


def _config(*args: str) -> str:
    argv = [str(tools.kubectl()), "config", *args]
    return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=30).stdout
