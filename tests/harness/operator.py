"""The operator under test: installed by its Helm chart, and interfered with."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from escrow_operator.adapters.kube import DEPLOYMENTS, LEASES, PODS
from testbed.cluster import Cluster
from testbed.helm import Helm
from testbed.settings import REPO_ROOT

from .api import Api, Body, is_ready
from .waiting import wait_for

NAMESPACE = "xmr-escrow-system"
RELEASE = "xmr-escrow-operator"
CHART = REPO_ROOT / "charts" / "xmr-escrow-operator"
CRDS = REPO_ROOT / "crds"
LABELS = "app.kubernetes.io/name=xmr-escrow-operator"

INTERVALS = {"sweep": "5s", "resync": "10s", "monitor": "2s", "daemon": "1s"}
"""Short ones: a test waits for what the operator does by itself."""

SESSIONS = {"minStay": "1s"}
"""Tests at the cap do not wait for a minute until somebody may be evicted."""

LEADER_ELECTION = {"leaseDuration": "6s", "renewDeadline": "4s", "retryPeriod": "1s"}
"""One that follows a killed one waits for its lease to run out."""

TAIL_LINES = 40

_METRICS = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:9090/metrics').read().decode())"


class OperatorUnderTest:
    """The operator of the test cluster, or another release beside it (whose name contains the chart's)."""

    def __init__(self, cluster: Cluster, api: Api, *, release: str = RELEASE, namespace: str = NAMESPACE) -> None:
        self._cluster = cluster
        self._api = api
        self._release = release
        self.namespace = namespace

    def install(
        self, image: str, *, crds: Path = CRDS, sessions: Mapping[str, object] | None = None, **values: object
    ) -> None:
        """Install the chart, or bring its release to this image and these values; quick when it is there already."""
        for crd in sorted(crds.glob("*.yaml")):
            # Helm never updates CRDs that exist.
            self._cluster.apply(crd.read_text())
        given = _values(image, sessions or {}) | values
        Helm(self._cluster).upgrade_install(self._release, CHART, self.namespace, given)

    def rendered(self, image: str, **values: object) -> str:
        """The manifests of what ``install`` installs with the same arguments."""
        return Helm(self._cluster).template(self._release, CHART, self.namespace, _values(image, {}) | values)

    def uninstall(self) -> None:
        """Remove the release; CRDs and what it served stay."""
        Helm(self._cluster).uninstall(self._release, self.namespace)

    async def pods(self) -> list[Body]:
        """Its pods, ending ones included."""
        return await self._api.list(PODS, self.namespace, labels=LABELS)

    async def scale(self, replicas: int) -> None:
        """Stop (0) or start it, and wait until that is so."""
        await self._api.merge(
            DEPLOYMENTS, self.namespace, self._release, {"spec": {"replicas": replicas}}, subresource="scale"
        )
        if replicas:
            await self.until_ready()
        else:
            await wait_for(self._gone, what="the operator to be stopped")

    async def kill(self) -> None:
        """End it as a crash would: SIGKILL, and no time for last writes. The Deployment starts the next one."""
        # pid 1 of a container cannot be killed from inside; removing the pod by force kills its processes at once.
        await asyncio.gather(
            *(self._api.delete(PODS, self.namespace, pod["metadata"]["name"], now=True) for pod in await self.pods())
        )

    async def until_ready(self) -> Body:
        """Wait until all its pods are Ready, none about to end, and one leads: that one."""
        return await wait_for(self._leader, what="the operator to be ready, and to lead", explain=self.tail)

    async def holder(self) -> str | None:
        """The name of the pod that has the lease, if one has it."""
        lease = await self._api.find(LEASES, self.namespace, self._release)
        return (lease["spec"].get("holderIdentity") or None) if lease else None

    async def term(self) -> int:
        """The number of the present leadership, or of the last one; 0 before the first."""
        lease = await self._api.find(LEASES, self.namespace, self._release)
        return int(lease["spec"].get("leaseTransitions") or 0) if lease else 0

    async def log(self, *, tail: int | None = None) -> str:
        """What its pods have logged, the container before the last restart included."""
        texts = []
        for pod in await self.pods():
            name = pod["metadata"]["name"]
            if any(c.get("restartCount") for c in pod.get("status", {}).get("containerStatuses") or ()):
                texts.append(await self._api.logs(self.namespace, name, tail=tail, previous=True))
            texts.append(await self._api.logs(self.namespace, name, tail=tail))
        return "\n".join(texts)

    async def tail(self) -> str:
        """The end of its log, for people."""
        return f"--- operator log\n{await self.log(tail=TAIL_LINES) or '(none: no pod)'}"

    async def python(self, code: str, *args: str) -> str:
        """Run Python inside the operator's pod, which is a place in the cluster's network; what it printed."""
        pod = (await self.until_ready())["metadata"]["name"]
        command = ("exec", "--namespace", self.namespace, pod, "--", "python", "-c", code, *args)
        return await asyncio.to_thread(self._cluster.kubectl, *command)

    async def metrics(self) -> str:
        """The page of metrics of the one that leads."""
        return await self.python(_METRICS)

    async def _leader(self) -> Body | None:
        deployment, pods = await self._api.get(DEPLOYMENTS, self.namespace, self._release), await self.pods()
        if len(pods) != deployment["spec"]["replicas"]:
            return None
        if not all(is_ready(pod) and "deletionTimestamp" not in pod["metadata"] for pod in pods):
            return None
        holder = await self.holder()
        return next((pod for pod in pods if pod["metadata"]["name"] == holder), None)

    async def _gone(self) -> bool:
        return not await self.pods()


def _values(image: str, sessions: Mapping[str, object]) -> dict[str, object]:
    repository, _, tag = image.rpartition(":")
    return {
        "image": {"repository": repository, "tag": tag},
        "intervals": INTERVALS,
        "sessions": {**SESSIONS, **sessions},
        "leaderElection": LEADER_ELECTION,
        # A second one waits for nothing in most tests, and takes its share of the nodes.
        "replicas": 1,
        # The nodes are small and busy: the operator must not be the one that waits.
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}},
    }
