"""An API server that services are tried on: what there is, by resource and name, and what it refuses."""

from __future__ import annotations

import asyncio
from typing import Any

from escrow_operator.adapters.kube import JsonPatch, Listing, Resource
from escrow_operator.adapters.kube_errors import KubeError, NotFoundError


class FakeCluster:
    """Reads, deletions and withdrawals of the kube adapter. ``refuses`` has errors by namespace (and None for all)."""

    def __init__(self) -> None:
        self.objects: dict[tuple[Resource, str | None, str], dict[str, Any]] = {}
        self.refuses: dict[str | None, KubeError] = {}
        self.version = "1000000"
        self.deleted: list[str] = []
        self.withdrawn: list[str] = []
        self.lists = 0
        self.requests: dict[tuple[str, str], int] = {}

    def put(self, resource: Resource, body: dict[str, Any]) -> None:
        meta = body["metadata"]
        self.objects[resource, meta.get("namespace"), meta["name"]] = body

    async def get(self, resource: Resource, namespace: str | None, name: str) -> dict[str, Any]:
        self._check(namespace if resource.namespaced else name)
        try:
            return self.objects[resource, namespace, name]
        except KeyError:
            raise NotFoundError(404, "NotFound", f'{resource.plural} "{name}" not found') from None

    async def list(self, resource: Resource, namespace: str | None = None, **_: object) -> Listing:
        self._check(namespace)
        self.lists += 1
        items = [body for (of, where, _), body in self.objects.items() if of == resource and namespace in (None, where)]
        return Listing(items, self.version)

    async def pages(self, resource: Resource, namespace: str | None = None, **_: object) -> Any:
        yield await self.list(resource, namespace)

    async def delete(self, resource: Resource, namespace: str, name: str, *, uid: str | None = None) -> None:
        self._check(namespace)
        self.deleted.append(f"{resource.plural}/{name}")
        found = self.objects.get((resource, namespace, name))
        if found and uid in (None, found["metadata"]["uid"]):
            del self.objects[resource, namespace, name]

    async def patch(self, resource: Resource, namespace: str, name: str, ops: JsonPatch) -> dict[str, Any]:
        """Of a connection Secret that is withdrawn: it stays, with nothing in it."""
        self._check(namespace)
        self.withdrawn.append(f"{resource.plural}/{name}")
        body = await self.get(resource, namespace, name)
        body["data"] = next(op["value"] for op in ops if op["path"] == "/data")
        return body

    async def watch(self, *_: object, **__: object) -> Any:
        """Nothing happens."""
        await asyncio.Event().wait()
        yield

    async def close(self) -> None:
        """Nothing is open."""

    def _check(self, namespace: str | None) -> None:
        error = self.refuses.get(namespace) or self.refuses.get(None)
        if error:
            raise error


FORBIDDEN = KubeError(403, "Forbidden", "escrowsessions is forbidden: it cannot list them in this namespace")
