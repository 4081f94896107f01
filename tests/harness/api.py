"""A thin client of the Kubernetes API for tests: plain dicts in and out, errors with the server's own words."""

from __future__ import annotations

import base64
import json
import ssl
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import httpx
import yaml

from escrow_operator.adapters.kube import Resource

Body = dict[str, Any]

REQUEST_SECONDS = 30.0
FIELD_MANAGER = "tests"

NAMESPACES = Resource("/api/v1", "namespaces", namespaced=False)
NODES = Resource("/api/v1", "nodes", namespaced=False)
CRDS = Resource("/apis/apiextensions.k8s.io/v1", "customresourcedefinitions", namespaced=False)


class ApiError(AssertionError):
    """The API server refused a request; the text is its message, as ``kubectl`` would show it."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def read_kubeconfig(kubeconfig: Path) -> tuple[str, ssl.SSLContext]:
    """The API server's URL, and a context with the client certificate, of a kubeconfig as kind writes it."""
    content = yaml.safe_load(kubeconfig.read_text())
    cluster, user = content["clusters"][0]["cluster"], content["users"][0]["user"]
    authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
    context = ssl.create_default_context(cadata=authority)
    # Python reads a client certificate from a file only.
    with tempfile.NamedTemporaryFile("wb") as pem:
        pem.write(base64.b64decode(user["client-certificate-data"]))
        pem.write(base64.b64decode(user["client-key-data"]))
        pem.flush()
        context.load_cert_chain(pem.name)
    return cluster["server"], context


class Api:
    """One connection pool to one cluster's API server."""

    def __init__(self, url: str, context: ssl.SSLContext) -> None:
        self._http = httpx.AsyncClient(base_url=url, verify=context, timeout=REQUEST_SECONDS, trust_env=False)

    @classmethod
    def connect(cls, kubeconfig: Path) -> Self:
        """With the client certificate of a kubeconfig as kind writes it."""
        return cls(*read_kubeconfig(kubeconfig))

    async def aclose(self) -> None:
        """End the connections."""
        await self._http.aclose()

    async def get(self, resource: Resource, namespace: str | None, name: str) -> Body:
        """One object. Raises ApiError."""
        return await self._json("GET", resource.path(namespace, name))

    async def find(self, resource: Resource, namespace: str | None, name: str) -> Body | None:
        """One object, or None when there is none of this name."""
        try:
            return await self.get(resource, namespace, name)
        except ApiError as error:
            if error.status == httpx.codes.NOT_FOUND:
                return None
            raise

    async def list(self, resource: Resource, namespace: str | None = None, *, labels: str = "") -> list[Body]:
        """All objects of a namespace, or of the cluster."""
        query = {"labelSelector": labels} if labels else {}
        items: list[Body] = (await self._json("GET", resource.path(namespace), query=query))["items"]
        return items

    async def create(self, resource: Resource, namespace: str | None, body: Mapping[str, Any]) -> Body:
        """A new object. Raises ApiError with what the server has against it."""
        return await self._json("POST", resource.path(namespace), body=body)

    async def apply(self, resource: Resource, namespace: str | None, body: Mapping[str, Any]) -> Body:
        """Server-side apply. Raises ApiError with what the server has against it."""
        return await self._json(
            "PATCH",
            resource.path(namespace, body["metadata"]["name"]),
            query={"fieldManager": FIELD_MANAGER, "force": "true"},
            body=body,
            content_type="application/apply-patch+yaml",
        )

    async def merge(
        self, resource: Resource, namespace: str | None, name: str, patch: Mapping[str, Any], *, subresource: str = ""
    ) -> Body:
        """Merge a part into an object; None removes a field."""
        return await self._json(
            "PATCH",
            resource.path(namespace, name, subresource or None),
            body=patch,
            content_type="application/merge-patch+json",
        )

    async def delete(self, resource: Resource, namespace: str | None, name: str, *, now: bool = False) -> None:
        """Ask for an object's deletion; ``now`` gives a pod no time to end. One that is gone already is fine."""
        body: Body = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        if now:
            body["gracePeriodSeconds"] = 0
        try:
            await self._json("DELETE", resource.path(namespace, name), body=body)
        except ApiError as error:
            if error.status != httpx.codes.NOT_FOUND:
                raise

    async def logs(self, namespace: str, pod: str, *, tail: int | None = None, previous: bool = False) -> str:
        """A pod's log; empty when there is none."""
        query: dict[str, str] = {"previous": "true"} if previous else {}
        if tail is not None:
            query["tailLines"] = str(tail)
        response = await self._http.get(f"/api/v1/namespaces/{namespace}/pods/{pod}/log", params=query)
        return response.text if response.is_success else ""

    async def watch(self, resource: Resource, namespace: str, name: str | None = None) -> AsyncIterator[Body]:
        """Every version from now on of one object until it is deleted, or of a namespace's, beginning with the present.

        The API server may end it.
        """
        query = {"watch": "true"} | ({"fieldSelector": f"metadata.name={name}"} if name else {})
        timeout = httpx.Timeout(REQUEST_SECONDS, read=None)
        async with self._http.stream("GET", resource.path(namespace), params=query, timeout=timeout) as response:
            async for line in response.aiter_lines():
                event = json.loads(line)
                if event["type"] == "ERROR" or (name and event["type"] == "DELETED"):
                    return
                if event["type"] != "DELETED":
                    yield event["object"]

    async def _json(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | Sequence[Any] | None = None,
        content_type: str = "application/json",
    ) -> Body:
        content = None if body is None else json.dumps(body)
        headers = {} if body is None else {"Content-Type": content_type}
        response = await self._http.request(method, path, params=query, content=content, headers=headers)
        try:
            answer: Body = response.json()
        except ValueError:
            # As one says that is overloaded, or about to end.
            raise ApiError(response.status_code, response.text) from None
        if not response.is_success:
            raise ApiError(response.status_code, answer.get("message", response.text))
        return answer


def is_ready(body: Body) -> bool:
    """Whether a pod, a node or a session says so; of a pod, that its containers run is part of it."""
    conditions = body.get("status", {}).get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
