"""The kwok controller as a process of this machine, and the nodes that it simulates."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from harness.api import NODES, Api, Body, is_ready
from harness.waiting import wait_for
from testbed import progress, tools
from testbed.cluster import Cluster
from testbed.errors import ToolingError
from testbed.settings import log_dir

NODE_COUNT = 3
"""A few: claims are spread over nodes, and the scheduler's work grows with them."""

LABEL = "xmr-escrow.dev/simulated"
SELECTOR = {LABEL: "true"}
TOLERATIONS = [{"key": LABEL, "operator": "Exists"}]
"""With both a pod runs on simulated nodes, and without them it never does."""

POD_ADDRESSES = "198.18.0.0/16"
"""Of the pods that kwok runs, and of no other machine: the range is set aside for benchmarks (RFC 2544)."""

ALL_ADDRESSES = "198.18.0.0/15"
"""With those whose pods the benchmarks themselves call running."""

STATUS_ANNOTATION = {"xmr-escrow.dev/simulated-status": "true"}
"""On pods that kwok leaves alone."""

_ANNOTATION = {"kwok.x-k8s.io/node": "fake"}
STAGES = Path(__file__).with_name("stages.yaml")
_END_SECONDS = 20.0
# A run that is killed outright takes it along.
_TIED = ["setpriv", "--pdeathsig", "TERM"] if shutil.which("setpriv") else []


def node(number: int) -> Body:
    """A Node that exists in the API alone."""
    name = f"simulated-{number}"
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {**SELECTOR, "kubernetes.io/hostname": name}, "annotations": _ANNOTATION},
        "spec": {"taints": [{"key": LABEL, "value": "true", "effect": "NoSchedule"}]},
    }


@asynccontextmanager
async def simulated_nodes(cluster: Cluster, api: Api) -> AsyncIterator[None]:
    """Nodes that are Ready and run pods, as long as the context lasts."""
    binary = await asyncio.to_thread(tools.kwok)
    log = log_dir() / "kwok.log"
    with log.open("wb") as sink:
        process = await asyncio.create_subprocess_exec(
            *_TIED,
            str(binary),
            f"--kubeconfig={cluster.kubeconfig}",
            f"--config={STAGES}",
            "--manage-all-nodes=false",
            "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
            "--node-lease-duration-seconds=40",
            f"--cidr={POD_ADDRESSES}",
            # Else its kubelet server would listen on all addresses.
            "--node-port=0",
            # Not a line for every pod.
            "--v=WARN",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
        )
        try:
            with progress.step("simulating nodes with kwok"):
                await _until_ready(api, process, log)
            yield
        finally:
            await remove_nodes(api)
            await _end(process)


async def remove_nodes(api: Api) -> None:
    """Remove the simulated nodes; their pods go with the namespaces of a run."""
    for found in await api.list(NODES, labels=f"{LABEL}=true"):
        await api.delete(NODES, None, found["metadata"]["name"])


async def _until_ready(api: Api, process: asyncio.subprocess.Process, log: Path) -> None:
    for number in range(NODE_COUNT):
        await api.apply(NODES, None, node(number))

    async def ready() -> bool:
        if process.returncode is not None:
            raise ToolingError(f"kwok ended with code {process.returncode}: {progress.tail(log)}", f"read {log}")
        nodes = await api.list(NODES, labels=f"{LABEL}=true")
        return sum(map(_is_ready, nodes)) == NODE_COUNT

    await wait_for(ready, what="the simulated nodes to be Ready")


def _is_ready(body: dict[str, Any]) -> bool:
    # The node controller taints a node until it has seen it Ready.
    fresh = any(taint["key"].startswith("node.kubernetes.io/") for taint in body["spec"].get("taints") or ())
    return not fresh and is_ready(body)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), _END_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()
