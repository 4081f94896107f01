"""``kubectl escrow`` of this checkout, as a command of its own."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from testbed import tools
from testbed.cluster import Cluster
from testbed.settings import REPO_ROOT

COMMAND = (sys.executable, "-m", "escrow_cli")


def environment(cluster: Cluster, **more: str) -> dict[str, str]:
    """What it runs with: the cluster, and a kubectl for what it forwards."""
    kubectl = Path(str(tools.kubectl())).parent
    return {
        **os.environ,
        "KUBECONFIG": str(cluster.kubeconfig),
        "PYTHONPATH": str(REPO_ROOT / "operator"),
        "PATH": f"{kubectl}:{os.environ['PATH']}",
        **more,
    }
