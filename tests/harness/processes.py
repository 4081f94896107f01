"""Signals to the processes of a pod, sent from its node: what no API of the cluster does."""

from __future__ import annotations

import asyncio

from testbed.cluster import Cluster

from .api import Body

KILL, FREEZE, GO_ON = "KILL", "STOP", "CONT"

_SEND = r"""
for process in /proc/[0-9]*; do
    grep -q "$1" "$process/cgroup" 2> /dev/null && kill "-$2" "${process#/proc/}" && found=yes
done
[ "$found" = yes ]
"""
"""The processes of a container are those of the control groups that have its id."""


async def send(cluster: Cluster, pod: Body, signal: str, *, container: int = 0) -> None:
    """Send a signal to all processes of a pod's container. Raises ToolingError when there is none."""
    running = pod["status"]["containerStatuses"][container]["containerID"].removeprefix("containerd://")
    words = ("exec", pod["spec"]["nodeName"], "sh", "-c", _SEND, "send", running, signal)
    await asyncio.to_thread(cluster.engine.capture, *words)
