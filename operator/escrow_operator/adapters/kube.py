"""The Kubernetes API as generic calls on plain dicts.

kubernetes.aio provides authentication and connections; its generated models cost memory and CPU at scale, so none are
used here. Every call has a deadline; errors are classified by what the caller can do about them.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, NamedTuple, Self

import aiohttp
from kubernetes.aio import client, config
from kubernetes.aio.client.rest import RESTResponse

from escrow_operator.adapters.fence import must_still_pass
from escrow_operator.adapters.kube_errors import (
    ConflictError,
    InvalidNameError,
    NotFoundError,
    error_of,
    unavailable,
)
from escrow_operator.adapters.kube_read import TooLong, parsed, read
from escrow_operator.adapters.limiter import PriorityLimiter
from escrow_operator.adapters.tracing import HTTP_METHOD, HTTP_STATUS, leaf
from escrow_operator.models.common import GROUP, OPERATOR_NAME, VERSION, is_name

REQUEST_SECONDS = 20.0
"""Deadline of one API request: well above the answer of a slow API server, well below a sweep interval."""

WATCH_SECONDS = 300
"""The ``timeoutSeconds`` of one watch."""

SILENCE_SECONDS = 150.0
"""A watch without an event for so long is dead: the API server sends a bookmark about every minute."""

AT_ONCE = 32
"""Most concurrent requests, without watches: more would wait in a busy API server, where claims cannot go first."""

_URGENT = contextvars.ContextVar("urgent", default=False)

PAGE_SIZE = 250
"""Objects per list request: 250 pods are 15 MB once read, and two pages are in memory at a time."""

PAGE_BYTES = 8 * 2**20
"""Most bytes read of a page of a list: for a longer one fewer objects are requested. A tenant's object may have 1.4 MB,
all of it labels or finalizers of a few bytes, which take ten times as much as Python objects."""

FEWER = 4
"""The factor by which a page gets fewer objects if it was too long, and more after a short one."""


class Resource(NamedTuple):
    """The location of a kind of object in the API."""

    prefix: str
    plural: str
    namespaced: bool = True

    def path(self, namespace: str | None, name: str | None = None, subresource: str | None = None) -> str:
        """The URL path of a collection (no name), an object or its subresource.

        Names come from users' specs; with a slash in a name the path could lead to any object of the cluster that the
        operator may read. Raises InvalidNameError unless each name is one path segment.
        """
        parts = [self.prefix]
        if self.namespaced and namespace is not None:
            parts += ["namespaces", _segment("namespaces", namespace)]
        parts.append(self.plural)
        if name is not None:
            parts.append(_segment(self.plural, name))
        if subresource is not None:
            parts.append(_segment("subresources", subresource))
        return "/".join(parts)


PODS = Resource("/api/v1", "pods")
SECRETS = Resource("/api/v1", "secrets")
SERVICES = Resource("/api/v1", "services")
EVENTS = Resource("/api/v1", "events")
VOLUME_CLAIMS = Resource("/api/v1", "persistentvolumeclaims")
DEPLOYMENTS = Resource("/apis/apps/v1", "deployments")
ENDPOINT_SLICES = Resource("/apis/discovery.k8s.io/v1", "endpointslices")
NETWORK_POLICIES = Resource("/apis/networking.k8s.io/v1", "networkpolicies")
DISRUPTION_BUDGETS = Resource("/apis/policy/v1", "poddisruptionbudgets")
LEASES = Resource("/apis/coordination.k8s.io/v1", "leases")
NAMESPACES = Resource("/api/v1", "namespaces", namespaced=False)
STORAGE_CLASSES = Resource("/apis/storage.k8s.io/v1", "storageclasses", namespaced=False)
SESSIONS = Resource(f"/apis/{GROUP}/{VERSION}", "escrowsessions")
POOLS = Resource(f"/apis/{GROUP}/{VERSION}", "walletpools")

JsonPatch = list[dict[str, Any]]


class Listing(NamedTuple):
    """A full list, and the resource version as of which it is complete."""

    items: list[dict[str, Any]]
    version: str


class Kube:
    """One connection pool to the API server."""

    def __init__(self, api: client.ApiClient) -> None:
        self._api = api
        self._turns = PriorityLimiter(AT_ONCE)
        self.requests: Counter[tuple[str, str]] = Counter()
        """Requests so far by verb and resource, for metrics, without those of kopf, which has its own connections."""

    @classmethod
    async def connect(cls) -> Self:
        """Authenticate with the pod's service account, or outside a cluster with the kubeconfig."""
        configuration = client.Configuration()
        try:
            config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
            # There is no proxy, and with trust_env a thread would look for a .netrc file at every request.
            configuration.client_session_kwargs = {"trust_env": False}
        except config.ConfigException:
            await config.load_kube_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        return cls(client.ApiClient(configuration=configuration))

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()  # type: ignore[no-untyped-call]

    async def get(self, resource: Resource, namespace: str | None, name: str) -> dict[str, Any]:
        """Read one object. Raises NotFoundError."""
        return await self._call("GET", resource, resource.path(namespace, name))

    async def pages(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        labels: Mapping[str, str] | None = None,
        fields: Mapping[str, str] | None = None,
        size: int = PAGE_SIZE,
    ) -> AsyncIterator[Listing]:
        """List in pages of one version, so that the caller can drop each page before the next.

        The next page is requested while the caller reads the current one.
        """
        query: dict[str, Any] = {"limit": size, **_selector(labels), **_selector(fields, "fieldSelector")}

        def ask() -> asyncio.Task[bytes]:
            path = resource.path(namespace)
            longest = PAGE_BYTES if query["limit"] > 1 else None
            return asyncio.create_task(
                self._fetch("GET", resource, path, longest=longest, query=dict(query), verb="LIST")
            )

        asked: asyncio.Task[bytes] | None = ask()
        try:
            while asked is not None:
                try:
                    data = await asked
                except TooLong:
                    query["limit"] = max(1, query["limit"] // FEWER)
                    asked = ask()
                    continue
                page = parsed(data)
                query["continue"] = page["metadata"].get("continue")
                if len(data) * 2 * FEWER < PAGE_BYTES:
                    query["limit"] = min(size, query["limit"] * FEWER)
                asked = ask() if query["continue"] else None
                yield Listing(page["items"], page["metadata"]["resourceVersion"])
        finally:
            if asked is not None:
                asked.cancel()

    async def watch(
        self, resource: Resource, namespace: str | None, *, version: str, labels: Mapping[str, str] | None = None
    ) -> AsyncIterator[dict[str, Any]]:
        """Watch events after a version: ``type`` (ADDED, MODIFIED, DELETED, BOOKMARK) and ``object``.

        The API server ends a watch after some minutes: watch again from the last version. Raises ExpiredError when the
        version is too old, and UnavailableError, also when no event and no bookmark came for ``SILENCE_SECONDS``.
        """
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": WATCH_SECONDS,
            **_selector(labels),
        }
        silence = aiohttp.ClientTimeout(total=None, sock_connect=REQUEST_SECONDS, sock_read=SILENCE_SECONDS)
        path = resource.path(namespace)
        with unavailable():
            response = await self._request("GET", resource, path, query=query, patience=silence, verb="WATCH")
            async with response.response as stream:
                if stream.status >= 400:
                    raise error_of(stream.status, await stream.read(), is_patch=False)
                async for line in stream.content:
                    if not line.endswith(b"\n"):
                        # The event was cut off by the end of the stream; the next watch delivers it again.
                        return
                    event = parsed(line)
                    if event["type"] == "ERROR":
                        raise error_of(event["object"].get("code", 500), json.dumps(event["object"]).encode())
                    yield event

    async def create(self, resource: Resource, namespace: str | None, body: Mapping[str, Any]) -> dict[str, Any]:
        """Create an object. Raises ConflictError when the name is taken."""
        return await self._call("POST", resource, resource.path(namespace), body=body)

    async def apply(self, resource: Resource, namespace: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Server-side apply: the operator becomes manager of the fields in ``body``, other fields stay as they are."""
        return await self._call(
            "PATCH",
            resource,
            resource.path(namespace, body["metadata"]["name"]),
            query={"fieldManager": OPERATOR_NAME, "force": "true"},
            body=body,
            content_type="application/apply-patch+yaml",
            verb="APPLY",
        )

    async def patch(
        self, resource: Resource, namespace: str, name: str, ops: JsonPatch, *, subresource: str | None = None
    ) -> dict[str, Any]:
        """Apply a JSON patch. Raises ConflictError when one of its ``test`` operations fails."""
        return await self._call(
            "PATCH",
            resource,
            resource.path(namespace, name, subresource),
            body=ops,
            content_type="application/json-patch+json",
        )

    async def merge(self, resource: Resource, namespace: str, name: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Apply a JSON merge patch. Raises ConflictError when ``body`` has another resourceVersion than the object."""
        return await self._call(
            "PATCH",
            resource,
            resource.path(namespace, name),
            body=body,
            content_type="application/merge-patch+json",
        )

    async def delete(
        self, resource: Resource, namespace: str, name: str, *, uid: str | None = None, version: str | None = None
    ) -> None:
        """Delete an object; with ``uid`` or ``version`` only if it still has that uid or resource version.

        If it is gone already, or has another, nothing is raised: the watch reports the object's state.
        """
        body: dict[str, Any] = {"apiVersion": "v1", "kind": "DeleteOptions"}
        preconditions = {"uid": uid, "resourceVersion": version}
        body["preconditions"] = {key: value for key, value in preconditions.items() if value}
        try:
            await self._call("DELETE", resource, resource.path(namespace, name), body=body)
        except (NotFoundError, ConflictError):
            return

    async def _call(self, method: str, resource: Resource, path: str, **request: Any) -> dict[str, Any]:
        """Send a request and parse the answer as JSON; ``request`` are arguments of ``_request``."""
        answer: dict[str, Any] = parsed(await self._fetch(method, resource, path, **request))
        return answer

    async def _fetch(
        self, method: str, resource: Resource, path: str, *, longest: int | None = None, **request: Any
    ) -> bytes:
        """Send a request and read the answer; ``request`` are arguments of ``_request``.

        Raises KubeError for an HTTP error, and TooLong for an answer of more than ``longest`` bytes.
        """
        verb = (request.get("verb") or method).lower()
        with leaf(f"{verb} {resource.plural}", {HTTP_METHOD: method}) as span:
            async with self._turns.turn(urgent=_URGENT.get(), group=_namespace(path)):
                with unavailable():
                    response = await self._request(method, resource, path, **request)
                    data = await read(response, longest)
            span.set_attribute(HTTP_STATUS, response.status)
            if response.status >= 400:
                raise error_of(response.status, data, is_patch=method == "PATCH")
        return data

    async def _request(
        self,
        method: str,
        resource: Resource,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        body: Any = None,
        content_type: str = "application/json",
        verb: str | None = None,
        patience: float | aiohttp.ClientTimeout = REQUEST_SECONDS,
    ) -> RESTResponse:
        must_still_pass()
        self.requests[(verb or method).lower(), resource.plural] += 1
        request = await self._api.param_serialize(
            method=method,
            resource_path=path,
            query_params=list((query or {}).items()),
            header_params={"Accept": "application/json", "Content-Type": content_type},
            body=body,
            auth_settings=["BearerToken"],
        )
        return await self._api.call_api(*request, _request_timeout=patience)


@contextlib.contextmanager
def urgently() -> Iterator[None]:
    """Requests made in the block, and in tasks started in it, go before other requests."""
    token = _URGENT.set(True)
    try:
        yield
    finally:
        _URGENT.reset(token)


def _namespace(path: str) -> str:
    """The namespace in a path, empty without one: the limiter's group."""
    return path.partition("/namespaces/")[2].partition("/")[0]


def _segment(what: str, text: str) -> str:
    """The text unchanged. Raises InvalidNameError unless it is one path segment that needs no encoding."""
    if not is_name(text):
        raise InvalidNameError(what, text)
    return text


def _selector(wanted: Mapping[str, str] | None, kind: str = "labelSelector") -> dict[str, str]:
    return {kind: ",".join(f"{key}={value}" for key, value in wanted.items())} if wanted else {}
