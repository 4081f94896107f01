"""An API server in memory: objects, versions, and the log from which watches are served."""

from __future__ import annotations

import base64
import itertools
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from escrow_operator.adapters.kube import NAMESPACES, PODS, POOLS, SESSIONS, JsonPatch, Resource
from escrow_operator.adapters.kube_errors import ConflictError, ExpiredError, KubeError, NotFoundError
from escrow_operator.models.common import format_time

from .bodies import copied, plain
from .jsonpatch import applied
from .schema import admit

Body = dict[str, Any]
Key = tuple[str, str | None, str]

CUSTOM = frozenset({SESSIONS.plural, POOLS.plural})
GRACE_SECONDS = 30


class Event(NamedTuple):
    """One change, as watches tell it; ``before`` is the object it replaced."""

    version: int
    kind: str
    plural: str
    namespace: str | None
    body: Body
    before: Body | None


class ApiServer:
    """What etcd and the API server keep. Every change is in ``log``, and told to ``subscribers`` at once."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._version = 1000
        self._uids = itertools.count(1)
        self.objects: dict[Key, Body] = {}
        self.log: list[Event] = []
        self.oldest = 0
        """Watches from before this version are refused with 410."""
        self.subscribers: list[Callable[[Event], None]] = []

    @property
    def version(self) -> int:
        """As of now."""
        return self._version

    def find(self, resource: Resource, namespace: str | None, name: str) -> Body | None:
        """An object, not to be changed."""
        return self.objects.get((resource.plural, namespace, name))

    def all(self, resource: Resource, namespace: str | None = None) -> list[Body]:
        """The objects of a kind, not to be changed."""
        return [
            body
            for (plural, where, _), body in self.objects.items()
            if plural == resource.plural and namespace in (None, where)
        ]

    def get(self, resource: Resource, namespace: str | None, name: str) -> Body:
        """A copy. Raises NotFoundError."""
        body = self.find(resource, namespace, name)
        if body is None:
            raise NotFoundError(404, "NotFound", f'{resource.plural} "{name}" not found')
        return copied(body)

    def select(self, resource: Resource, namespace: str | None, labels: Mapping[str, str] | None = None) -> list[Body]:
        """Copies, in the order of their names."""
        found = [body for body in self.all(resource, namespace) if _matches(body, labels)]
        found.sort(key=lambda body: (body["metadata"].get("namespace") or "", body["metadata"]["name"]))
        return copied(found)

    def since(
        self, version: int, resource: Resource, namespace: str | None, labels: Mapping[str, str] | None
    ) -> list[Event]:
        """What a watch from this version has to tell. Raises ExpiredError.

        An object that begins to match is ADDED to it, one that no longer does is DELETED.
        """
        if version < self.oldest:
            raise ExpiredError(410, "Expired", "too old resource version")
        found = []
        for event in reversed(self.log):
            if event.version <= version:
                break
            if event.plural != resource.plural or namespace not in (None, event.namespace):
                continue
            was, matches = event.before is not None and _matches(event.before, labels), _matches(event.body, labels)
            if event.kind == "DELETED":
                kind = "DELETED" if was or matches else ""
            else:
                kind = {(True, True): "MODIFIED", (False, True): "ADDED", (True, False): "DELETED"}.get(
                    (was, matches), ""
                )
            if kind:
                found.append(event._replace(kind=kind))
        return found[::-1]

    def compact(self) -> None:
        """Forget the past: watches that are behind must list again."""
        self.oldest = self._version

    def create(self, resource: Resource, namespace: str | None, body: Mapping[str, Any]) -> Body:
        """A new object. Raises ConflictError for a name that is taken, KubeError for what the schema refuses,
        or in a namespace that is being deleted."""
        name = body["metadata"]["name"]
        key = (resource.plural, namespace, name)
        self._must_have_place(namespace)
        if key in self.objects:
            raise ConflictError(409, "AlreadyExists", f'{resource.plural} "{name}" already exists')
        fresh = _stored(body)
        fresh["metadata"] |= {
            "uid": f"uid-{next(self._uids):04}-{resource.plural}-{name}",
            "generation": 1,
            "creationTimestamp": format_time(self._now()),
        }
        if namespace is not None:
            fresh["metadata"]["namespace"] = namespace
        if resource.plural in CUSTOM:
            fresh.pop("status", None)
        return self._save(resource, key, fresh, before=None)

    def apply(self, resource: Resource, namespace: str | None, body: Mapping[str, Any]) -> Body:
        """Server-side apply, as far as it is used: fields that are named are set, lists as a whole."""
        name, uid = body["metadata"]["name"], body["metadata"].get("uid")
        old = self.find(resource, namespace, name)
        if old is None:
            if uid:
                raise ConflictError(409, "Conflict", f"{name}: the uid in the precondition is of no object")
            return self.create(resource, namespace, body)
        if uid and uid != old["metadata"]["uid"]:
            raise ConflictError(409, "Conflict", f"{name}: another uid")
        fresh = copied(old)
        _merge(fresh, _stored(body))
        fresh["metadata"] |= {key: old["metadata"][key] for key in ("uid", "creationTimestamp", "generation")}
        return self.replace(resource, namespace, fresh)

    def patch(
        self, resource: Resource, namespace: str | None, name: str, ops: JsonPatch, *, subresource: str | None = None
    ) -> Body:
        """A JSON patch of an object, or of its status alone. Raises NotFoundError, ConflictError, KubeError."""
        old = self.get(resource, namespace, name)
        fresh = _stored(applied(old, ops))
        if resource.plural in CUSTOM:
            if subresource == "status":
                fresh = old | {"status": fresh.get("status", {})}
            else:
                fresh = fresh | {"status": old["status"]} if "status" in old else _without(fresh, "status")
        return self.replace(resource, namespace, fresh, status_only=subresource == "status")

    def merge(self, resource: Resource, namespace: str | None, name: str, body: Mapping[str, Any]) -> Body:
        """A JSON merge patch (RFC 7396) of an object. Raises NotFoundError, ConflictError, KubeError."""
        old = self.get(resource, namespace, name)
        for key in ("uid", "resourceVersion"):
            wanted = (body.get("metadata") or {}).get(key)
            if wanted not in (None, old["metadata"][key]):
                raise ConflictError(409, "Conflict", f"{name}: another {key}")
        return self.replace(resource, namespace, _merged(old, plain(body)))

    def replace(self, resource: Resource, namespace: str | None, fresh: Body, *, status_only: bool = False) -> Body:
        """Store a new state of an object that exists. The version of what is given does not matter."""
        key = (resource.plural, namespace, fresh["metadata"]["name"])
        old = self.objects[key]
        if old.get("immutable") and (fresh.get("data"), fresh.get("immutable")) != (old.get("data"), True):
            raise KubeError(422, "Invalid", f"{key[2]} is immutable")
        if not status_only and fresh.get("spec") != old.get("spec"):
            fresh["metadata"]["generation"] = old["metadata"]["generation"] + 1
        return self._save(resource, key, fresh, before=old)

    def put(self, resource: Resource, body: Mapping[str, Any]) -> Body:
        """What somebody else has in the cluster: an object with the status, and the uid, that are given here.

        One of that uid, or of that name when no uid is given, is changed: fields that are named, each as a whole.
        """
        given: Body = plain(body)
        meta, status = given["metadata"], given.pop("status", None)
        namespace, name = meta.get("namespace"), meta["name"]
        key = (resource.plural, namespace, name)
        old = self.find(resource, namespace, name)
        if old is not None and meta.get("uid", old["metadata"]["uid"]) != old["metadata"]["uid"]:
            self._remove(key)
            old = None
        if old is None:
            server = {
                "uid": f"uid-{next(self._uids):04}-{resource.plural}-{name}",
                "generation": 1,
                "creationTimestamp": format_time(self._now()),
            }
            fresh = given | {"metadata": server | meta} | ({} if status is None else {"status": status})
            return self._save(resource, key, fresh, before=None)
        kept = {field: old["metadata"][field] for field in ("uid", "generation", "creationTimestamp")}
        status = old.get("status") if status is None else status
        fresh = copied(old) | given | {"metadata": copied(old["metadata"]) | meta | kept}
        if resource.plural in CUSTOM:
            # With its defaults, else every spec would be another one.
            fresh, _ = admit(resource.plural, fresh)
        return self.replace(resource, namespace, fresh | ({} if status is None else {"status": copied(status)}))

    def delete(
        self,
        resource: Resource,
        namespace: str | None,
        name: str,
        *,
        uid: str | None = None,
        version: str | None = None,
        now: bool = False,
    ) -> None:
        """What a DELETE does: at once without finalizers, for pods on a node with a time of grace (unless ``now``)."""
        body = self.get(resource, namespace, name)
        meta = body["metadata"]
        if (uid and meta["uid"] != uid) or (version and meta["resourceVersion"] != version):
            raise ConflictError(409, "Conflict", "the precondition does not hold")
        graceful = resource.plural == PODS.plural and body["spec"].get("nodeName") and not now
        if meta.get("finalizers") or graceful:
            if "deletionTimestamp" not in meta:
                meta["deletionTimestamp"] = format_time(self._now())
                meta["deletionGracePeriodSeconds"] = GRACE_SECONDS
                self._save(resource, (resource.plural, namespace, name), body, before=body)
            return
        self._remove((resource.plural, namespace, name))

    def _must_have_place(self, namespace: str | None) -> None:
        if namespace is None:
            return
        if "deletionTimestamp" in self.get(NAMESPACES, None, namespace)["metadata"]:
            text = f"unable to create new content in namespace {namespace} because it is being terminated"
            raise KubeError(403, "Forbidden", text)

    def _save(self, resource: Resource, key: Key, fresh: Body, *, before: Body | None) -> Body:
        if resource.plural in CUSTOM:
            fresh, wrong = admit(resource.plural, fresh)
            if wrong:
                raise KubeError(422, "Invalid", f"{key[2]} is invalid: {wrong}")
        if before is not None and _without_version(fresh) == _without_version(self.objects[key]):
            # A write that changes nothing makes no version.
            return copied(self.objects[key])
        before = self.objects.get(key)
        self.objects[key] = fresh
        fresh["metadata"]["resourceVersion"] = str(self._next())
        meta = fresh["metadata"]
        if "deletionTimestamp" in meta and not meta.get("finalizers") and resource.plural != PODS.plural:
            self._remove(key)
            return copied(fresh)
        self._tell("MODIFIED" if before else "ADDED", key, fresh, before)
        return copied(fresh)

    def _remove(self, key: Key) -> None:
        body = self.objects.pop(key)
        gone = copied(body)
        gone["metadata"]["resourceVersion"] = str(self._next())
        self._tell("DELETED", key, gone, body)

    def _tell(self, kind: str, key: Key, body: Body, before: Body | None) -> None:
        event = Event(self._version, kind, key[0], key[1], copied(body), before)
        self.log.append(event)
        for subscriber in self.subscribers:
            subscriber(event)

    def _next(self) -> int:
        self._version += 1
        return self._version


def _matches(body: Body, labels: Mapping[str, str] | None) -> bool:
    return (labels or {}).items() <= (body["metadata"].get("labels") or {}).items()


def _without(body: Body, name: str) -> Body:
    return {key: value for key, value in body.items() if key != name}


def _without_version(body: Body) -> Body:
    return body | {"metadata": _without(body["metadata"], "resourceVersion")}


def _merge(old: Body, new: Mapping[str, Any]) -> None:
    for key, value in new.items():
        if isinstance(value, dict) and isinstance(old.get(key), dict) and key != "data":
            _merge(old[key], value)
        else:
            old[key] = copied(value)


def _merged(old: Any, new: Any) -> Any:
    if not isinstance(new, dict):
        return copied(new)
    fresh = dict(old) if isinstance(old, dict) else {}
    for key, value in new.items():
        if value is None:
            fresh.pop(key, None)
        else:
            fresh[key] = _merged(fresh.get(key), value)
    return fresh


def _stored(body: Mapping[str, Any]) -> Body:
    """``stringData`` becomes ``data``."""
    fresh: Body = plain(body)
    text = fresh.pop("stringData", None)
    if text is not None:
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in text.items()}
        fresh["data"] = (fresh.get("data") or {}) | encoded
    return fresh
