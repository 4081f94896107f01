"""Collect what a person needs to understand a failed test: logs, events, descriptions. No Secrets."""

from __future__ import annotations

import json
from pathlib import Path

from testbed import progress
from testbed.cluster import Cluster
from testbed.errors import ToolingError

_OVERVIEWS = {
    "nodes.txt": ("get", "nodes", "-o", "wide"),
    "nodes-described.txt": ("describe", "nodes"),
    "pods.txt": ("get", "pods", "-A", "-o", "wide"),
    "pods-described.txt": ("describe", "pods", "-A"),
    "events.txt": ("get", "events", "-A", "--sort-by=.lastTimestamp"),
    "workloads.txt": (
        "get",
        "deploy,rs,sts,ds,job,svc,endpointslices,pvc,pv,storageclass",
        "-A",
        "-o",
        "wide",
    ),
    "sessions.yaml": ("get", "escrowsessions.xmr-escrow.dev", "-A", "-o", "yaml"),
    "pools.yaml": ("get", "walletpools.xmr-escrow.dev", "-A", "-o", "yaml"),
}
_JOURNALS = ("kubelet", "containerd")


def collect(cluster: Cluster, target: Path) -> None:
    """Write all there is to know into a folder; what cannot be had leaves a note instead."""
    target.mkdir(parents=True, exist_ok=True)
    with progress.step(f"collecting logs of {cluster.name} in {target}"):
        for name, argv in _OVERVIEWS.items():
            (target / name).write_text(_ask(cluster, *argv))
        _pod_logs(cluster, target / "pods")
        for node in cluster.node_containers():
            for unit in _JOURNALS:
                argv = ("journalctl", "--no-pager", "--lines=3000", "--unit", unit)
                text = cluster.engine.capture("exec", node.name, *argv, check=False)
                (target / f"{node.name}-{unit}.log").write_text(text or f"node is {node.state}\n")


def _ask(cluster: Cluster, *args: str) -> str:
    try:
        return cluster.kubectl(*args, "--request-timeout=20s", timeout=60)
    except ToolingError as error:
        return f"{error}\n"


def _pod_logs(cluster: Cluster, target: Path) -> None:
    target.mkdir(exist_ok=True)
    try:
        pods = json.loads(cluster.kubectl("get", "pods", "-A", "-o", "json"))["items"]
    except ToolingError:
        return
    for pod in pods:
        namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        base = ("logs", name, "--namespace", namespace, "--all-containers", "--prefix", "--timestamps")
        (target / f"{namespace}_{name}.log").write_text(_ask(cluster, *base))
        statuses = pod.get("status", {}).get("containerStatuses", [])
        if any(status.get("restartCount") for status in statuses):
            (target / f"{namespace}_{name}.previous.log").write_text(_ask(cluster, *base, "--previous"))
