"""An API server in memory: names, uids, versions, conflicts and JSON patches, as far as pools need them."""

from __future__ import annotations

import base64
import copy
import itertools
from collections.abc import AsyncIterator, Mapping
from typing import Any

from escrow_operator.adapters.kube import JsonPatch, Listing, Resource
from escrow_operator.adapters.kube_errors import ConflictError, NotFoundError

Body = dict[str, Any]


class FakeApi:
    """Stands in for adapters.kube.Kube; ``writes`` are the verbs and names of all that was written."""

    def __init__(self) -> None:
        self._objects: dict[tuple[str, str | None, str], Body] = {}
        self._numbers = itertools.count(1_000)
        self.writes: list[tuple[str, str, str]] = []

    def put(self, resource: Resource, body: Body) -> Body:
        """Somebody else's write."""
        meta = body["metadata"]
        meta.setdefault("uid", f"uid-{next(self._numbers)}")
        meta["resourceVersion"] = str(next(self._numbers))
        self._objects[resource.plural, meta.get("namespace"), meta["name"]] = body
        return copy.deepcopy(body)

    def find(self, resource: Resource, name: str, namespace: str = "shop") -> Body | None:
        """What there is."""
        return self._objects.get((resource.plural, namespace, name))

    def remove(self, resource: Resource, name: str, namespace: str = "shop") -> None:
        """Somebody else's deletion."""
        del self._objects[resource.plural, namespace, name]

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Body:
        found = self._objects.get((resource.plural, namespace, name))
        if found is None:
            raise NotFoundError(404, "NotFound", f'{resource.plural} "{name}" not found')
        return copy.deepcopy(found)

    async def list(self, resource: Resource, namespace: str | None = None, **_: object) -> Listing:
        items = [b for (plural, ns, _), b in self._objects.items() if plural == resource.plural and ns == namespace]
        return Listing(copy.deepcopy(items), "1")

    async def pages(self, *args: Any, **labels: Any) -> AsyncIterator[Listing]:
        """All in one page."""
        yield await self.list(*args, **labels)

    async def create(self, resource: Resource, namespace: str, body: Mapping[str, Any]) -> Body:
        name = body["metadata"].get("name", "")
        if self.find(resource, name, namespace) is not None:
            raise ConflictError(409, "AlreadyExists", name)
        self.writes.append(("create", resource.plural, name))
        return self.put(resource, _stored(dict(body)))

    async def apply(self, resource: Resource, namespace: str, body: Mapping[str, Any]) -> Body:
        meta = body["metadata"]
        found = self.find(resource, meta["name"], namespace)
        if meta.get("uid") not in (None, (found or {"metadata": {}})["metadata"].get("uid")):
            raise ConflictError(409, "Conflict", "uid mismatch")
        self.writes.append(("apply", resource.plural, meta["name"]))
        fresh = copy.deepcopy(dict(body))
        if found is not None:
            fresh["metadata"]["uid"] = found["metadata"]["uid"]
        return self.put(resource, fresh)

    async def patch(
        self, resource: Resource, namespace: str, name: str, ops: JsonPatch, *, subresource: str | None = None
    ) -> Body:
        body = await self.get(resource, namespace, name)
        for op in ops:
            _carry_out(op, body)
        self.writes.append(("patch", f"{resource.plural}/{subresource}" if subresource else resource.plural, name))
        if "deletionTimestamp" in body["metadata"] and not body["metadata"].get("finalizers"):
            self.remove(resource, name, namespace)
            return body
        return self.put(resource, body)

    async def delete(self, resource: Resource, namespace: str, name: str, *, uid: str | None = None) -> None:
        found = self.find(resource, name, namespace)
        if found is not None and uid in (None, found["metadata"]["uid"]):
            self.writes.append(("delete", resource.plural, name))
            self.remove(resource, name, namespace)


def _stored(body: Body) -> Body:
    """As the API server keeps it: a Secret's text as data."""
    body = copy.deepcopy(body)
    for key, value in body.pop("stringData", {}).items():
        body.setdefault("data", {})[key] = base64.b64encode(value.encode()).decode()
    return body


def _carry_out(op: Mapping[str, Any], body: Body) -> None:
    *parents, last = [part.replace("~1", "/").replace("~0", "~") for part in op["path"].split("/")[1:]]
    at: Any = body
    for part in parents:
        at = at[int(part)] if isinstance(at, list) else at[part]
    index: Any = (len(at) if last == "-" else int(last)) if isinstance(at, list) else last
    match op["op"]:
        case "test":
            there = at[index] if (index in at if isinstance(at, dict) else index < len(at)) else None
            if there != op["value"]:
                raise ConflictError(422, "Invalid", "the test failed")
        case "remove":
            del at[index]
        case "add" if isinstance(at, list):
            at.insert(index, op["value"])
        case _:
            at[index] = op["value"]
