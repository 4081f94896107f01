"""An API server in memory, at the interface of the kube adapter: as much of one as the services use."""

from __future__ import annotations

import base64
import copy
import itertools
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

from escrow_operator.adapters.kube import EVENTS, PODS, JsonPatch, Listing, Resource
from escrow_operator.adapters.kube_errors import ConflictError, NotFoundError, UnavailableError
from escrow_operator.models.common import format_time
from simulation.jsonpatch import applied

Body = dict[str, Any]
Key = tuple[str, str | None, str]


class FakeKube:
    """Objects by kind, namespace and name. ``seen`` is told of every change, as a watch would be.

    ``writes`` is the log: (verb, kind, name). ``fail_at`` makes the n-th write from now fail: before it happened, or
    after (its answer is lost), as a crash of the connection would.
    """

    def __init__(self, now: Callable[[], Any]) -> None:
        self._now = now
        self._versions = itertools.count(1000)
        self.objects: dict[Key, Body] = {}
        self.writes: list[tuple[str, str, str]] = []
        self.seen: Callable[[str, Resource, Body], None] = lambda *_: None
        self.requests: dict[tuple[str, str], int] = {}
        self.fail_at: tuple[int, bool] | None = None

    def find(self, resource: Resource, namespace: str | None, name: str) -> Body | None:
        """An object as it is, for tests to look at."""
        return self.objects.get((resource.plural, namespace, name))

    def all(self, resource: Resource) -> list[Body]:
        """All objects of a kind."""
        return [body for (plural, _, _), body in self.objects.items() if plural == resource.plural]

    def put(self, resource: Resource, namespace: str | None, body: Body) -> Body:
        """What a user applies: a new object, or a changed spec."""
        name = body["metadata"]["name"]
        key = (resource.plural, namespace, name)
        old = self.objects.get(key)
        fresh = copy.deepcopy(body)
        fresh["metadata"] |= {"namespace": namespace}
        if old is None:
            fresh["metadata"] |= {
                "uid": f"uid-{resource.plural}-{name}-{next(self._versions)}",
                "generation": 1,
                "creationTimestamp": format_time(self._now()),
            }
        else:
            kept = {name: old["metadata"][name] for name in ("uid", "generation", "creationTimestamp")}
            fresh["metadata"] = old["metadata"] | fresh["metadata"] | kept
            fresh["metadata"]["generation"] += fresh.get("spec") != old.get("spec")
            fresh.setdefault("status", old.get("status", {}))
        return self._save(resource, key, fresh)

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Body:
        body = self.objects.get((resource.plural, namespace, name))
        if body is None:
            raise NotFoundError(404, "NotFound", f"{resource.plural} {name} not found")
        return copy.deepcopy(body)

    async def list(
        self, resource: Resource, namespace: str | None = None, *, labels: Mapping[str, str] | None = None
    ) -> Listing:
        found = [
            copy.deepcopy(body)
            for (plural, where, _), body in self.objects.items()
            if plural == resource.plural
            and namespace in (None, where)
            and (labels or {}).items() <= (body["metadata"].get("labels") or {}).items()
        ]
        return Listing(found, str(next(self._versions)))

    async def pages(self, *args: Any, **labels: Any) -> AsyncIterator[Listing]:
        yield await self.list(*args, **labels)

    async def create(self, resource: Resource, namespace: str, body: Mapping[str, Any]) -> Body:
        name = body["metadata"]["name"]
        if (resource.plural, namespace, name) in self.objects:
            raise ConflictError(409, "AlreadyExists", f"{name} exists")
        return self._written("create", resource, name, lambda: self.put(resource, namespace, _stored(body)))

    async def apply(self, resource: Resource, namespace: str, body: Mapping[str, Any]) -> Body:
        name = body["metadata"]["name"]
        return self._written("apply", resource, name, lambda: self.put(resource, namespace, _stored(body)))

    async def patch(
        self, resource: Resource, namespace: str, name: str, ops: JsonPatch, *, subresource: str | None = None
    ) -> Body:
        key = (resource.plural, namespace, name)
        if key not in self.objects:
            raise NotFoundError(404, "NotFound", f"{resource.plural} {name} not found")

        def write() -> Body:
            old = self.objects[key]
            body = applied(old, ops)
            if subresource != "status":
                body["status"] = old.get("status", {})
                body["metadata"]["generation"] = old["metadata"]["generation"] + (body.get("spec") != old.get("spec"))
            return self._save(resource, key, _stored(body))

        return self._written(f"patch {subresource or ''}".strip(), resource, name, write)

    async def delete(
        self, resource: Resource, namespace: str, name: str, *, uid: str | None = None, version: str | None = None
    ) -> None:
        body = self.objects.get((resource.plural, namespace, name))
        if body is None or (uid and body["metadata"]["uid"] != uid):
            return
        if version and body["metadata"]["resourceVersion"] != version:
            return
        self._written("delete", resource, name, lambda: self.remove(resource, namespace, name))

    def remove(self, resource: Resource, namespace: str | None, name: str) -> Body:
        """What ``kubectl delete`` does: at once without finalizers."""
        key = (resource.plural, namespace, name)
        body = self.objects[key]
        if body["metadata"].get("finalizers"):
            return self._save(resource, key, _deleting(body, format_time(self._now())))
        del self.objects[key]
        body["metadata"]["resourceVersion"] = str(next(self._versions))
        self.seen("DELETED", resource, body)
        return body

    def _written(self, verb: str, resource: Resource, name: str, write: Callable[[], Body]) -> Body:
        fails, happens = False, True
        if self.fail_at is not None and resource is not EVENTS:
            left, happens = self.fail_at
            fails = left == 0
            self.fail_at = None if fails else (left - 1, happens)
        if fails and not happens:
            raise UnavailableError(0, "Unavailable", "the request was not sent")
        body = write()
        self.writes.append((verb, resource.plural, name))
        if fails:
            raise UnavailableError(0, "Unavailable", "the answer was lost")
        return copy.deepcopy(body)

    def _save(self, resource: Resource, key: Key, body: Body) -> Body:
        body["metadata"]["resourceVersion"] = str(next(self._versions))
        meta = body["metadata"]
        if "deletionTimestamp" in meta and not meta.get("finalizers"):
            del self.objects[key]
            self.seen("DELETED", resource, body)
            self._collect(body["metadata"]["uid"])
            return body
        self.objects[key] = body
        self.seen("MODIFIED", resource, copy.deepcopy(body))
        return body

    def _collect(self, uid: str) -> None:
        """Owner references: what the garbage collector does."""
        for (plural, namespace, name), body in list(self.objects.items()):
            if any(ref["uid"] == uid for ref in body["metadata"].get("ownerReferences") or ()):
                kind = PODS if plural == PODS.plural else Resource("", plural)
                self.remove(kind, namespace, name)


def _deleting(body: Body, now: str) -> Body:
    fresh = copy.deepcopy(body)
    fresh["metadata"].setdefault("deletionTimestamp", now)
    return fresh


def _stored(body: Mapping[str, Any]) -> Body:
    """``stringData`` becomes ``data``."""
    fresh = copy.deepcopy(dict(body))
    text = fresh.pop("stringData", None)
    if text is not None:
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in text.items()}
        fresh["data"] = (fresh.get("data") or {}) | encoded
    return fresh
