"""The Kubernetes API for those who may write only while they lead."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Mapping
from typing import Any

from escrow_operator.adapters.fence import Fence
from escrow_operator.adapters.kube import PAGE_SIZE, JsonPatch, Kube, Listing, Resource


class FencedKube(Kube):
    """Reads like ``kube``; its writes raise NotLeading once the fence's term is over, those under way included."""

    def __init__(self, kube: Kube, fence: Fence) -> None:
        self._kube = kube
        self._fence = fence

    @property
    def requests(self) -> Counter[tuple[str, str]]:  # type: ignore[override]
        """As of ``kube``."""
        return self._kube.requests

    async def close(self) -> None:
        """Close the connections of ``kube``."""
        await self._kube.close()

    async def get(self, resource: Resource, namespace: str | None, name: str) -> dict[str, Any]:
        """Read one object."""
        return await self._kube.get(resource, namespace, name)

    def pages(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        labels: Mapping[str, str] | None = None,
        fields: Mapping[str, str] | None = None,
        size: int = PAGE_SIZE,
    ) -> AsyncIterator[Listing]:
        """List in pages."""
        return self._kube.pages(resource, namespace, labels=labels, fields=fields, size=size)

    def watch(
        self, resource: Resource, namespace: str | None, *, version: str, labels: Mapping[str, str] | None = None
    ) -> AsyncIterator[dict[str, Any]]:
        """Watch events after a version."""
        return self._kube.watch(resource, namespace, version=version, labels=labels)

    async def create(self, resource: Resource, namespace: str | None, body: Mapping[str, Any]) -> dict[str, Any]:
        """Create an object."""
        async with self._fence.passing():
            return await self._kube.create(resource, namespace, body)

    async def apply(self, resource: Resource, namespace: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Server-side apply."""
        async with self._fence.passing():
            return await self._kube.apply(resource, namespace, body)

    async def patch(
        self, resource: Resource, namespace: str, name: str, ops: JsonPatch, *, subresource: str | None = None
    ) -> dict[str, Any]:
        """Apply a JSON patch."""
        async with self._fence.passing():
            return await self._kube.patch(resource, namespace, name, ops, subresource=subresource)

    async def merge(self, resource: Resource, namespace: str, name: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Apply a JSON merge patch."""
        async with self._fence.passing():
            return await self._kube.merge(resource, namespace, name, body)

    async def delete(
        self, resource: Resource, namespace: str, name: str, *, uid: str | None = None, version: str | None = None
    ) -> None:
        """Delete an object."""
        async with self._fence.passing():
            await self._kube.delete(resource, namespace, name, uid=uid, version=version)
