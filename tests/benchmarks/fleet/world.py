"""Everything that the benchmarks with simulated slots share: a cluster of their own, brought up once."""

from __future__ import annotations

import asyncio
import fcntl
import inspect
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from benchmarks.fleet import fakes, objects
from benchmarks.fleet.cleanup import remove_all
from benchmarks.fleet.client import Client
from benchmarks.fleet.kwok import ALL_ADDRESSES, simulated_nodes
from benchmarks.fleet.numbers import Scrape
from escrow_operator.adapters.kube import PODS, STORAGE_CLASSES, Resource
from harness.api import NAMESPACES, Api, ApiError, Body, is_ready
from harness.operator import CHART, CRDS, NAMESPACE, RELEASE, OperatorUnderTest
from harness.waiting import wait_for
from testbed import images, progress
from testbed.cluster import Cluster
from testbed.helm import Helm
from testbed.settings import BENCH_CLUSTER, REPO_ROOT, cache_dir

KUBECONFIG = REPO_ROOT / ".state" / "bench-kubeconfig"
FAKES_NAMESPACE = "simulation"
METRICS_PORT = 9090
MAX_ACTIVE = 20_000
IDLE_TTL = timedelta(hours=24)
ALONE_SECONDS = 3600.0

CONFIG_MAPS = Resource("/api/v1", "configmaps")


@dataclass(frozen=True)
class World:
    """One node, the operator of this checkout, and nodes, wallets and a monerod that are simulated."""

    cluster: Cluster
    api: Api
    client: Client
    operator: OperatorUnderTest
    images: images.Images
    daemon: str
    """Address of the fake monerod; the fake wallets answer at the address of any simulated pod."""

    async def scrape(self) -> Scrape:
        """The operator's metrics now. Raises ApiError when it does not answer."""
        names = [p["metadata"]["name"] for p in await self.operator.pods() if "deletionTimestamp" not in p["metadata"]]
        if not names:
            raise ApiError(404, "there is no operator")
        path = f"{PODS.path(NAMESPACE)}/{names[0]}:{METRICS_PORT}/proxy/metrics"
        return Scrape.parse((await self.client.request("GET", path, accept="*/*")).decode())

    async def wallet_stats(self, *, reset: bool = False) -> Body:
        """``calls`` to the fake wallets by method, ``tellers`` that told a height, and open ``connections``."""
        return await self._ask_fakes("/stats/reset" if reset else "/stats")

    async def make_block(self) -> None:
        """monerod and all wallets are a block higher."""
        await self._ask_fakes("/block")

    async def _ask_fakes(self, leaf: str) -> Body:
        return await self.client.send("GET", f"{PODS.path(FAKES_NAMESPACE)}/fakes:{fakes.DAEMON_PORT}/proxy{leaf}")

    async def restarts(self) -> int:
        """How often the operator's container was started again."""
        pods = await self.operator.pods()
        return sum(c["restartCount"] for p in pods for c in p.get("status", {}).get("containerStatuses") or ())


@asynccontextmanager
async def bring_up(*, begin_open: bool = False, keep_cluster: bool = True) -> AsyncIterator[World]:
    """Minutes when nothing is there yet, seconds when the cluster is up; what a run leaves is removed.

    ``begin_open``: the fake wallets say that every slot has its wallet open. Without ``keep_cluster`` the cluster goes,
    after a run that leaves so much that removing it alone would take longer.
    """
    cluster = Cluster(BENCH_CLUSTER)
    async with _alone(), AsyncExitStack() as end:
        if not keep_cluster:
            end.callback(cluster.down)
        await asyncio.to_thread(cluster.up, nodes=1, kubeconfig=KUBECONFIG)
        built = await asyncio.to_thread(images.build_all, cluster.engine)
        await asyncio.to_thread(cluster.load, built.operator)
        async with AsyncExitStack() as stack:
            api = Api.connect(cluster.kubeconfig)
            stack.push_async_callback(api.aclose)
            client = Client.connect(cluster)
            stack.push_async_callback(client.aclose)
            operator = OperatorUnderTest(cluster, api)
            await remove_all(api, client, operator)
            if keep_cluster:
                stack.push_async_callback(remove_all, api, client, operator)
            await asyncio.to_thread(_install, cluster, built.operator)
            await operator.scale(1)
            await client.send("POST", STORAGE_CLASSES.path(None), objects.storage_class())
            daemon = await _start_fakes(cluster, api, built.operator, begin_open=begin_open)
            await stack.enter_async_context(simulated_nodes(cluster, api))
            if keep_cluster:
                # Once more, and first: pods end at once while there is a kubelet, if only a simulated one.
                stack.push_async_callback(remove_all, api, client, operator)
            yield World(cluster, api, client, operator, built, daemon)


@asynccontextmanager
async def _alone() -> AsyncIterator[None]:
    """Keep other runs off the benchmarks' cluster; the kernel frees the lock when its holder dies."""
    path = cache_dir() / "clusters" / f"{BENCH_CLUSTER}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as handle:

        async def locked() -> bool:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

        if not await locked():
            with progress.step("waiting for another benchmark on this machine to end"):
                await wait_for(locked, what="the other benchmark's end", within=ALONE_SECONDS)
        yield


def _install(cluster: Cluster, image: str) -> None:
    for crd in sorted(CRDS.glob("*.yaml")):
        # Helm never updates CRDs that exist.
        cluster.apply(crd.read_text())
    repository, _, tag = image.rpartition(":")
    values = {
        "image": {"repository": repository, "tag": tag},
        "sessions": {"maxActive": MAX_ACTIVE, "idleTTL": f"{IDLE_TTL.total_seconds():.0f}s"},
        # A share that busy neighbours cannot starve, and no limit: what it takes is what is measured.
        "resources": {"requests": {"cpu": "1", "memory": "64Mi"}, "limits": None},
        # No wallet is real here; on two cores its requests would leave no room for the fake ones.
        "gateway": {"enabled": False},
        # They speak no TLS: thirty thousand certificates at one address are none of wallets.
        "walletPods": {"tls": False},
        # One process is measured.
        "replicas": 1,
    }
    Helm(cluster).upgrade_install(RELEASE, CHART, NAMESPACE, values)


async def _start_fakes(cluster: Cluster, api: Api, image: str, *, begin_open: bool) -> str:
    """Start the one process that answers for all wallets; returns its node's address."""
    # All addresses of simulated pods are the node's own, so that it answers at each of them.
    route = ("ip", "route", "replace", "local", ALL_ADDRESSES, "dev", "lo")
    for node in cluster.node_containers():
        await asyncio.to_thread(cluster.engine.capture, "exec", node.name, *route)
    await api.create(NAMESPACES, None, {"metadata": {"name": FAKES_NAMESPACE, "labels": objects.LABELS}})
    code = {"metadata": {"name": "fakes"}, "data": {"fakes.py": inspect.getsource(fakes)}}
    await api.create(CONFIG_MAPS, FAKES_NAMESPACE, code)
    await api.create(PODS, FAKES_NAMESPACE, _fakes(image, begin_open=begin_open))

    async def address() -> str | None:
        pod = await api.get(PODS, FAKES_NAMESPACE, "fakes")
        return pod["status"]["hostIP"] if is_ready(pod) else None

    async def found() -> str:
        return str((await api.get(PODS, FAKES_NAMESPACE, "fakes")).get("status"))

    with progress.step("starting the fake wallets"):
        return await wait_for(address, what="the fake wallets to be ready", explain=found)


def _fakes(image: str, *, begin_open: bool) -> Body:
    env = {"ADDRESS": objects.ADDRESS, "BEGIN_OPEN": "yes" if begin_open else "no"}
    return {
        "metadata": {"name": "fakes"},
        "spec": {
            # On the node's own network, where the addresses of the simulated pods are.
            "hostNetwork": True,
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 1,
            "containers": [
                {
                    "name": "fakes",
                    "image": image,
                    "command": ["python", "-u", "/code/fakes.py"],
                    "env": [{"name": name, "value": value} for name, value in env.items()],
                    "readinessProbe": {"tcpSocket": {"port": fakes.WALLET_PORT}, "periodSeconds": 1},
                    "resources": {"requests": {"cpu": "100m"}},
                    "volumeMounts": [{"name": "code", "mountPath": "/code"}],
                }
            ],
            "volumes": [{"name": "code", "configMap": {"name": "fakes"}}],
        },
    }
