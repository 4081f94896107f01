"""The API server in memory, by HTTP: for a gateway that is a process of its own."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from escrow_operator.adapters.kube import Resource
from escrow_operator.adapters.kube_errors import KubeError
from unit.gateway.bench import Cluster


class HttpApi:
    """Serves what a gateway asks of a cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def handle(self, request: web.Request) -> web.Response:
        """One request."""
        try:
            return web.json_response(await self._answer(request))
        except KubeError as error:
            return web.json_response({"reason": error.reason, "message": str(error)}, status=error.status)

    async def _answer(self, request: web.Request) -> Any:
        # The core group is /api/v1, others are /apis/GROUP/VERSION.
        parts = request.path.strip("/").split("/")
        length = 2 if parts[0] == "api" else 3
        prefix, rest = "/" + "/".join(parts[:length]), parts[length:]
        namespace = None
        if rest[0] == "namespaces" and len(rest) > 2:
            _, namespace, *rest = rest
        resource = Resource(prefix, rest[0], namespaced=namespace is not None)
        match request.method:
            case "GET":
                return await self._cluster.get(resource, namespace, rest[1])
            case "PATCH":
                return await self._cluster.merge(resource, namespace, rest[1], await request.json())
            case _:
                return await self._cluster.create(resource, namespace, await request.json())
