"""The simulated API server as tests in real time use it: a client whose requests are answered at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, TypeVar

from escrow_operator.adapters.kube import EVENTS, NAMESPACES, JsonPatch, Listing, Resource
from escrow_operator.adapters.kube_errors import ConflictError, KubeError, NotFoundError, UnavailableError
from simulation.apiserver import ApiServer, Body, Event
from unit.factories import T0

T = TypeVar("T")

FIRST_VERSION = 1_000_000
"""Above all that unit.factories gives: what is read from here is news to a store that has seen something of those."""

FORBIDDEN = KubeError(403, "Forbidden", "escrowsessions is forbidden: it cannot list them in this namespace")


class InstantKube:
    """At the interface of escrow_operator.adapters.kube.Kube, with a namespace ``shop``.

    ``writes`` are the requests that were carried out, deletions of what is not there among them: verb, kind, name.
    ``refuses`` has errors by namespace (None: for all). ``fail_at`` makes the n-th write from now fail, as a crash of
    the connection would: before it happened, or after (its answer is lost).
    """

    def __init__(self, now: Callable[[], datetime] = lambda: T0) -> None:
        self.server = ApiServer(now)
        self.server._version = FIRST_VERSION
        self.writes: list[tuple[str, str, str]] = []
        self.refuses: dict[str | None, KubeError] = {}
        self.fail_at: tuple[int, bool] | None = None
        self.requests: Counter[tuple[str, str]] = Counter()
        self.put(NAMESPACES, {"metadata": {"name": "shop"}})

    # What others do.

    def put(self, resource: Resource, body: Mapping[str, Any]) -> Body:
        """Somebody else's object, made or changed."""
        return self.server.put(resource, body)

    def find(self, resource: Resource, name: str, namespace: str | None = "shop") -> Body | None:
        """What there is, not to be changed."""
        return self.server.find(resource, namespace if resource.namespaced else None, name)

    def all(self, resource: Resource) -> list[Body]:
        """All objects of a kind, not to be changed."""
        return self.server.all(resource)

    def remove(self, resource: Resource, name: str, namespace: str | None = "shop") -> None:
        """Somebody else's deletion; no pod takes time to end."""
        self.server.delete(resource, namespace if resource.namespaced else None, name, now=True)

    def written(self, verb: str) -> list[str]:
        """All that was written with a verb, in order."""
        return [f"{kind}/{name}" for done, kind, name in self.writes if done == verb]

    def collect(self, event: Event) -> None:
        """Garbage collection, at once; for ``server.subscribers`` of who wants it."""
        if event.kind != "DELETED":
            return
        gone = event.body["metadata"]["uid"]
        for (plural, namespace, name), body in list(self.server.objects.items()):
            owners = set(_owners(body))
            living = {one["metadata"]["uid"] for one in self.server.objects.values()}
            if gone in owners and living.isdisjoint(owners):
                self.server.delete(Resource("", plural), namespace, name, now=True)

    # What the operator does.

    async def close(self) -> None:
        """Nothing is open."""

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Body:
        """One object."""
        resource.path(namespace, name)
        self._ask("get", resource, namespace if resource.namespaced else name)
        return self.server.get(resource, namespace, name)

    async def pages(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        labels: Mapping[str, str] | None = None,
        fields: Mapping[str, str] | None = None,
        size: int = 250,
    ) -> AsyncIterator[Listing]:
        """All objects, in pages."""
        self._ask("list", resource, namespace)
        found = [
            body
            for body in self.server.select(resource, namespace, labels)
            if all(_field(body, path) == value for path, value in (fields or {}).items())
        ]
        for at in range(0, max(1, len(found)), size):
            yield Listing(found[at : at + size], str(self.server.version))

    async def watch(self, *_: object, **__: object) -> AsyncIterator[Body]:
        """Nothing happens."""
        await asyncio.Event().wait()
        yield {}

    async def create(self, resource: Resource, namespace: str, body: Mapping[str, Any]) -> Body:
        """A new object."""
        name = body["metadata"]["name"]
        return self._write("create", resource, namespace, name, lambda: self.server.create(resource, namespace, body))

    async def apply(self, resource: Resource, namespace: str, body: Mapping[str, Any]) -> Body:
        """Server-side apply."""
        name = body["metadata"]["name"]
        return self._write("apply", resource, namespace, name, lambda: self.server.apply(resource, namespace, body))

    async def patch(
        self, resource: Resource, namespace: str, name: str, ops: JsonPatch, *, subresource: str | None = None
    ) -> Body:
        """A JSON patch."""
        verb = f"patch {subresource}" if subresource else "patch"
        patch = self.server.patch
        return self._write(
            verb, resource, namespace, name, lambda: patch(resource, namespace, name, ops, subresource=subresource)
        )

    async def merge(self, resource: Resource, namespace: str, name: str, body: Mapping[str, Any]) -> Body:
        """A JSON merge patch."""
        return self._write(
            "merge", resource, namespace, name, lambda: self.server.merge(resource, namespace, name, body)
        )

    async def delete(
        self, resource: Resource, namespace: str, name: str, *, uid: str | None = None, version: str | None = None
    ) -> None:
        """Delete, unless it is gone or another."""

        def delete() -> None:
            try:
                self.server.delete(resource, namespace, name, uid=uid, version=version, now=True)
            except (NotFoundError, ConflictError):
                return

        self._write("delete", resource, namespace, name, delete)

    def _ask(self, verb: str, resource: Resource, namespace: str | None) -> None:
        self.requests[verb.split(maxsplit=1)[0], resource.plural] += 1
        error = self.refuses.get(namespace) or self.refuses.get(None)
        if error:
            raise error

    def _write(self, verb: str, resource: Resource, namespace: str, name: str, write: Callable[[], T]) -> T:
        self._ask(verb, resource, namespace)
        fails, happens = False, True
        if self.fail_at is not None and resource is not EVENTS:
            left, happens = self.fail_at
            fails = left == 0
            self.fail_at = None if fails else (left - 1, happens)
        if fails and not happens:
            raise UnavailableError(0, "Unavailable", "the request was not sent")
        answer = write()
        self.writes.append((verb, resource.plural, name))
        if fails:
            raise UnavailableError(0, "Unavailable", "the answer was lost")
        return answer


def _field(body: Body, path: str) -> Any:
    found: Any = body
    for part in path.split("."):
        found = (found or {}).get(part)
    return found


def _owners(body: Body) -> Iterable[str]:
    return (owner["uid"] for owner in body["metadata"].get("ownerReferences") or ())
