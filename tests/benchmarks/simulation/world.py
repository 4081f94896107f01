"""Everything that the benchmarks with simulated slots share: a cluster of their own, brought up once."""

from __future__ import annotations

import asyncio
import fcntl
import inspect
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass

from benchmarks.simulation import fakes, objects
from benchmarks.simulation.cleanup import remove_all
from benchmarks.simulation.client import Client
from benchmarks.simulation.kwok import simulated_nodes
from benchmarks.simulation.numbers import Scrape
from escrow_operator.adapters.kube import PODS, STORAGE_CLASSES, Resource
from escrow_operator.models.common import ROLES, Role
from harness.api import NAMESPACES, Api, Body
from harness.operator import CHART, CRDS, NAMESPACE, RELEASE, OperatorUnderTest
from harness.waiting import wait_for
from testbed import images, progress
from testbed.cluster import Cluster
from testbed.errors import ToolingError
from testbed.helm import Helm
from testbed.settings import BENCH_CLUSTER, REPO_ROOT, cache_dir

KUBECONFIG = REPO_ROOT / ".state" / "bench-kubeconfig"
FAKES_NAMESPACE = "simulation"
METRICS_PORT = 9090
MAX_ACTIVE = 20_000

CONFIG_MAPS = Resource("/api/v1", "configmaps")


@dataclass(frozen=True)
class World:
    """One node, the operator of this checkout, and nodes, wallets and a monerod that are simulated."""

    cluster: Cluster
    api: Api
    client: Client
    operator: OperatorUnderTest
    images: images.Images
    addresses: Mapping[Role, str]
    """Of the fake wallets; all of them answer as monerod, too."""

    async def scrape(self) -> Scrape:
        """The operator's metrics now. Raises ApiError when it does not answer."""
        pods = await self.operator.pods()
        name = next(pod["metadata"]["name"] for pod in pods if "deletionTimestamp" not in pod["metadata"])
        path = f"{PODS.path(NAMESPACE)}/{name}:{METRICS_PORT}/proxy/metrics"
        return Scrape.parse((await self.client.request("GET", path, accept="*/*")).decode())

    async def wallet_stats(self, *, reset: bool = False) -> dict[Role, Body]:
        """What the fake wallets were asked: ``calls`` by method, ``users`` that called, open ``connections``."""
        leaf = "/stats/reset" if reset else "/stats"
        return {
            role: await self.client.send(
                "GET", f"{PODS.path(FAKES_NAMESPACE)}/{_name(role)}:{fakes.DAEMON_PORT}/proxy{leaf}"
            )
            for role in ROLES
        }

    async def restarts(self) -> int:
        """How often the operator's container was started again."""
        pods = await self.operator.pods()
        return sum(c["restartCount"] for p in pods for c in p.get("status", {}).get("containerStatuses") or ())


@asynccontextmanager
async def bring_up(*, begin_open: bool = False) -> AsyncIterator[World]:
    """Minutes when nothing is there yet, seconds when the cluster is up; what a run leaves is removed.

    ``begin_open``: the fake wallets say that every slot has its wallet open.
    """
    cluster = Cluster(BENCH_CLUSTER)
    with _alone():
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
            stack.push_async_callback(remove_all, api, client, operator)
            await asyncio.to_thread(_install, cluster, built.operator)
            await operator.scale(1)
            await client.send("POST", STORAGE_CLASSES.path(None), objects.storage_class())
            addresses = await _start_fakes(api, built.operator, begin_open=begin_open)
            await stack.enter_async_context(simulated_nodes(cluster, api, addresses))
            # Once more, and first: pods end at once while there is a kubelet, if only a simulated one.
            stack.push_async_callback(remove_all, api, client, operator)
            yield World(cluster, api, client, operator, built, addresses)


@contextmanager
def _alone() -> Iterator[None]:
    """Keep other runs off the benchmarks' cluster; the kernel frees the lock when its holder dies."""
    path = cache_dir() / "clusters" / f"{BENCH_CLUSTER}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ToolingError("another benchmark runs on this machine", "wait for its end, or end it") from None
        yield


def _install(cluster: Cluster, image: str) -> None:
    for crd in sorted(CRDS.glob("*.yaml")):
        # Helm never updates CRDs that exist.
        cluster.apply(crd.read_text())
    repository, _, tag = image.rpartition(":")
    values = {
        "image": {"repository": repository, "tag": tag},
        "sessions": {"maxActive": MAX_ACTIVE, "idleTTL": "24h"},
        # A share that busy neighbours cannot starve, and no limit: what it takes is what is measured.
        "resources": {"requests": {"cpu": "1", "memory": "64Mi"}, "limits": None},
    }
    Helm(cluster).upgrade_install(RELEASE, CHART, NAMESPACE, values)


async def _start_fakes(api: Api, image: str, *, begin_open: bool) -> dict[Role, str]:
    """One for each role: a single address has too few ports for the connections to thirty thousand slots."""
    await api.create(NAMESPACES, None, {"metadata": {"name": FAKES_NAMESPACE, "labels": objects.LABELS}})
    code = {"metadata": {"name": "fakes"}, "data": {"fakes.py": inspect.getsource(fakes)}}
    await api.create(CONFIG_MAPS, FAKES_NAMESPACE, code)
    for role in ROLES:
        await api.create(PODS, FAKES_NAMESPACE, _fake(role, image, begin_open=begin_open))

    async def addresses() -> dict[Role, str] | None:
        found = {pod["metadata"]["name"]: pod for pod in await api.list(PODS, FAKES_NAMESPACE)}
        if not all(_ready(found.get(_name(role), {})) for role in ROLES):
            return None
        return {role: found[_name(role)]["status"]["podIP"] for role in ROLES}

    with progress.step("starting the fake wallets"):
        return await wait_for(addresses, what="the fake wallets to be ready")


def _name(role: Role) -> str:
    return f"fake-{role.value}"


def _ready(pod: Body) -> bool:
    conditions = pod.get("status", {}).get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _fake(role: Role, image: str, *, begin_open: bool) -> Body:
    env = {"ADDRESS": objects.ADDRESS, "BEGIN_OPEN": "yes" if begin_open else "no"}
    return {
        "metadata": {"name": _name(role)},
        "spec": {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 1,
            "containers": [
                {
                    "name": "fakes",
                    "image": image,
                    "command": ["python", "-u", "/code/fakes.py"],
                    "env": [{"name": name, "value": value} for name, value in env.items()],
                    "readinessProbe": {"tcpSocket": {"port": fakes.WALLET_PORT}, "periodSeconds": 1},
                    "volumeMounts": [{"name": "code", "mountPath": "/code"}],
                }
            ],
            "volumes": [{"name": "code", "configMap": {"name": "fakes"}}],
        },
    }
