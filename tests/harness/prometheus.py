"""A real Prometheus in the test cluster, which scrapes as the chart's PodMonitors say."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx

from escrow_operator.adapters.kube import PODS
from testbed import images

from .api import Api, Body, is_ready
from .chain import forwarded
from .waiting import wait_for
from .world import World

NAME = "prometheus"
HOME = "test-prometheus"
"""Its namespace."""

PORT = 9090


class Prometheus:
    """Asks it; ``http`` leads to it."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def query(self, expr: str) -> list[Body]:
        """The vector that a query gives now. Raises AssertionError with what Prometheus says against it."""
        response = await self._http.get("/api/v1/query", params={"query": expr})
        body = response.json()
        assert body["status"] == "success", f"{expr}: {body.get('error')}"
        found: list[Body] = body["data"]["result"]
        return found

    async def firing(self) -> dict[str, list[Body]]:
        """Alerts that fire, by name."""
        found: dict[str, list[Body]] = {}
        for alert in (await self._http.get("/api/v1/alerts")).json()["data"]["alerts"]:
            if alert["state"] == "firing":
                found.setdefault(alert["labels"]["alertname"], []).append(alert)
        return found

    async def until_scraped(self, jobs: int) -> None:
        """Wait until targets of so many jobs were scraped well."""

        async def look() -> bool:
            up = await self.query("count by (job) (up == 1)")
            return len(up) == jobs

        async def explain() -> str:
            return (await self._http.get("/api/v1/targets", params={"state": "active"})).text[:4000]

        await wait_for(look, what=f"targets of {jobs} jobs", explain=explain)


async def scrape_config(api: Api, monitor: Body) -> Body:
    """What the Prometheus Operator makes of a PodMonitor, as far as the chart's use it, for the pods of now.

    Debian's Prometheus is built without discovery by Kubernetes.
    """
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    namespace = monitor["metadata"]["namespace"]
    selector = ",".join(f"{key}={value}" for key, value in monitor["spec"]["selector"]["matchLabels"].items())
    pods = [pod for pod in await api.list(PODS, namespace, labels=selector) if is_ready(pod)]
    targets = [
        {
            "targets": [f"{pod['status']['podIP']}:{port['containerPort']}"],
            "labels": {"namespace": namespace, "pod": pod["metadata"]["name"]},
        }
        for pod in pods
        for container in pod["spec"]["containers"]
        for port in container["ports"]
        if port["name"] == endpoint["port"]
    ]
    return {
        "job_name": f"{namespace}/{monitor['metadata']['name']}",
        "honor_labels": endpoint.get("honorLabels", False),
        "scrape_interval": "2s",
        "static_configs": targets,
    }


@asynccontextmanager
async def prometheus_of(world: World, monitors: Iterable[Body], rules: Mapping[str, Any]) -> AsyncIterator[Prometheus]:
    """Prometheus with these PodMonitors and alerts; it is gone at the end."""
    image = await asyncio.to_thread(images.build_prometheus, world.cluster.engine)
    await asyncio.to_thread(world.cluster.load, image)
    config = {
        "global": {"evaluation_interval": "2s"},
        "rule_files": ["/etc/config/rules.yml"],
        "scrape_configs": [await scrape_config(world.api, monitor) for monitor in monitors],
    }
    objects = list(_objects(image, config, rules))
    await asyncio.to_thread(world.cluster.apply, "---\n".join(json.dumps(body) + "\n" for body in objects))
    try:

        async def ready() -> bool:
            return is_ready(await world.api.get(PODS, HOME, NAME))

        async def explain() -> str:
            return await world.api.logs(HOME, NAME, tail=30)

        await wait_for(ready, what="Prometheus to be ready", explain=explain)
        async with AsyncExitStack() as stack:
            url = await forwarded(stack, world.cluster, HOME, f"pod/{NAME}", PORT)
            client = httpx.AsyncClient(base_url=url, timeout=30.0, trust_env=False)
            yield Prometheus(await stack.enter_async_context(client))
    finally:
        await asyncio.to_thread(world.cluster.kubectl, "delete", "namespace", HOME, "--ignore-not-found")


def _objects(image: str, config: Body, rules: Mapping[str, Any]) -> Iterable[Body]:
    yield {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": HOME}}
    there = {"name": NAME, "namespace": HOME}
    yield {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": there,
        # JSON is YAML.
        "data": {"prometheus.yml": json.dumps(config), "rules.yml": json.dumps(rules)},
    }
    command = ["prometheus", "--config.file=/etc/config/prometheus.yml", "--storage.tsdb.path=/data"]
    yield {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": there,
        "spec": {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 1,
            "securityContext": {"runAsNonRoot": True, "runAsUser": 65534, "fsGroup": 65534},
            "containers": [
                {
                    "name": NAME,
                    "image": image,
                    "command": command,
                    "readinessProbe": {"httpGet": {"path": "/-/ready", "port": PORT}, "periodSeconds": 1},
                    "volumeMounts": [
                        {"name": "config", "mountPath": "/etc/config"},
                        {"name": "data", "mountPath": "/data"},
                    ],
                }
            ],
            "volumes": [{"name": "config", "configMap": {"name": NAME}}, {"name": "data", "emptyDir": {}}],
        },
    }
