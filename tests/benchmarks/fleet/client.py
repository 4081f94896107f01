"""A client of the Kubernetes API for many requests at once, and a watch that says who has adopted what, and when."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Self, TypeVar

import aiohttp

from escrow_operator.adapters.kube import PODS, Resource
from escrow_operator.models.common import ROLES, Label
from harness.api import ApiError, Body, read_kubeconfig
from testbed.cluster import Cluster

CONNECTIONS = 64
"""In parallel by default: more only wait inside the API server."""

REQUEST_SECONDS = 120.0
PAGE = 500
APPLY_PATCH = "application/apply-patch+yaml"
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
_METADATA = "application/json;as={};g=meta.k8s.io;v=v1"

T = TypeVar("T")


class Client:
    """Requests to one API server, with the rights of the kubeconfig."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session

    @classmethod
    def connect(cls, cluster: Cluster, *, connections: int = CONNECTIONS) -> Self:
        """Call it inside an event loop."""
        url, context = read_kubeconfig(cluster.kubeconfig)
        connector = aiohttp.TCPConnector(ssl=context, limit=connections)
        timeout = aiohttp.ClientTimeout(total=REQUEST_SECONDS)
        return cls(aiohttp.ClientSession(url, connector=connector, timeout=timeout))

    async def aclose(self) -> None:
        """End the connections."""
        await self._session.close()

    async def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        content_type: str = "application/json",
        accept: str = "application/json",
        query: Mapping[str, str] | None = None,
    ) -> bytes:
        """The answer's body. Raises ApiError."""
        data = None if body is None else json.dumps(body)
        headers = {"Content-Type": content_type, "Accept": accept}
        async with self._session.request(method, path, data=data, headers=headers, params=query) as response:
            answer = await response.read()
            if response.status >= 400:
                raise ApiError(response.status, answer[:500].decode(errors="replace"))
            return answer

    async def send(self, method: str, path: str, body: object = None, **options: Any) -> Body:
        """The answer as an object. Raises ApiError."""
        answer: Body = json.loads(await self.request(method, path, body, **options))
        return answer

    async def metadata(self, resource: Resource, namespace: str, *, labels: str = "") -> list[Body]:
        """The metadata of all objects of a namespace: a fraction of their size."""
        query = {"limit": str(PAGE)} | ({"labelSelector": labels} if labels else {})
        items: list[Body] = []
        while True:
            page = await self.send(
                "GET", resource.path(namespace), accept=_METADATA.format("PartialObjectMetadataList"), query=query
            )
            items += [item["metadata"] for item in page["items"] or ()]
            token = page["metadata"].get("continue")
            if not token:
                return items
            query["continue"] = token

    @asynccontextmanager
    async def adoptions(self, namespace: str) -> AsyncIterator[Adoptions]:
        """What is seen of adopted pods from now on, as one watch tells it."""
        seen = Adoptions()
        query = {
            "watch": "true",
            "labelSelector": Label.SESSION_UID,
            "resourceVersion": await self._version(namespace),
            "timeoutSeconds": "3600",
        }
        headers = {"Accept": _METADATA.format("PartialObjectMetadata")}
        timeout = aiohttp.ClientTimeout(total=None)
        path = PODS.path(namespace)
        async with self._session.get(path, params=query, headers=headers, timeout=timeout) as response:
            task = asyncio.create_task(seen.follow(response.content))
            try:
                yield seen
            finally:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    async def _version(self, namespace: str) -> str:
        accept = _METADATA.format("PartialObjectMetadataList")
        page = await self.send("GET", PODS.path(namespace), accept=accept, query={"limit": "1"})
        return str(page["metadata"]["resourceVersion"])


class Adoptions:
    """Pods seen with a session's uid."""

    def __init__(self) -> None:
        self.complete: dict[str, float] = {}
        """Session uid → the moment (time.monotonic, seconds) at which the third of its roles was seen."""
        self._pods_of: dict[str, dict[str, set[str]]] = {}
        self._sessions_of: dict[str, set[str]] = {}
        self._changed = asyncio.Event()

    async def follow(self, lines: AsyncIterable[bytes]) -> None:
        """Read a watch to its end."""
        async for line in lines:
            event = json.loads(line)
            if event["type"] in {"ADDED", "MODIFIED"}:
                self.see(event["object"]["metadata"], time.monotonic())

    def see(self, meta: Body, now: float) -> None:
        """A pod with the label of a session."""
        session, role = meta["labels"][Label.SESSION_UID], meta["labels"][Label.ROLE]
        roles = self._pods_of.setdefault(session, {})
        roles.setdefault(role, set()).add(meta["uid"])
        self._sessions_of.setdefault(meta["uid"], set()).add(session)
        if len(roles) == len(ROLES) and session not in self.complete:
            self.complete[session] = now
            self._changed.set()

    def twice(self) -> int:
        """Pods that more than one session had, and roles for which a session had more than one pod."""
        shared = sum(len(sessions) > 1 for sessions in self._sessions_of.values())
        return shared + sum(len(pods) > 1 for roles in self._pods_of.values() for pods in roles.values())

    async def until(self, number: int, *, within: float) -> bool:
        """Wait until so many sessions have their three pods; False when that took longer than ``within`` seconds."""
        try:
            async with asyncio.timeout(within):
                while len(self.complete) < number:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True


async def in_parallel(items: Iterable[T], work: Callable[[T], Awaitable[object]], *, tasks: int = CONNECTIONS) -> None:
    """Do the work for each item, ``tasks`` at a time. The first error ends it."""
    source = iter(items)

    async def worker() -> None:
        for item in source:
            await work(item)

    async with asyncio.TaskGroup() as group:
        for _ in range(tasks):
            group.create_task(worker())
