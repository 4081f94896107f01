"""The API server as the caller's kubeconfig reaches it."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any

import httpx
from kubernetes import client, config

from escrow_cli.errors import CliError, Exit
from escrow_operator.models.common import GROUP, VERSION

Body = dict[str, Any]

SECONDS = 30.0

SESSIONS = f"/apis/{GROUP}/{VERSION}", "escrowsessions"
POOLS = f"/apis/{GROUP}/{VERSION}", "walletpools"
PODS = "/api/v1", "pods"
EVENTS = "/api/v1", "events"
SECRETS = "/api/v1", "secrets"
SERVICES = "/api/v1", "services"
CLAIMS = "/api/v1", "persistentvolumeclaims"
NODES = "/api/v1", "nodes"
DEPLOYMENTS = "/apis/apps/v1", "deployments"
CRDS = "/apis/apiextensions.k8s.io/v1", "customresourcedefinitions"
REVIEWS = "/apis/authorization.k8s.io/v1", "selfsubjectaccessreviews"

METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
"""https://kubernetes.io/docs/reference/using-api/api-concepts/#metadata-only-fetches"""

Kind = tuple[str, str]
"""Prefix and plural."""

_CODES = {
    HTTPStatus.UNAUTHORIZED: Exit.FORBIDDEN,
    HTTPStatus.FORBIDDEN: Exit.FORBIDDEN,
    HTTPStatus.NOT_FOUND: Exit.NOT_FOUND,
    HTTPStatus.BAD_REQUEST: Exit.USAGE,
    HTTPStatus.UNPROCESSABLE_ENTITY: Exit.USAGE,
}


class Api:
    """Requests as plain dicts. Every method raises CliError."""

    def __init__(self, http: httpx.Client, namespace: str = "default") -> None:
        self._http = http
        self.namespace = namespace

    @classmethod
    def connect(cls, context: str | None, namespace: str | None) -> Api:
        """With the kubeconfig's context, or inside a pod with its service account."""
        found = client.Configuration()
        default = "default"
        try:
            try:
                config.load_kube_config(context=context, client_configuration=found)  # type: ignore[no-untyped-call]
                contexts, current = config.list_kube_config_contexts()  # type: ignore[no-untyped-call]
                chosen = next((c for c in contexts if c["name"] == context), current)
                default = chosen["context"].get("namespace") or default
            except config.ConfigException:
                config.load_incluster_config(client_configuration=found)  # type: ignore[no-untyped-call]
        except config.ConfigException as error:
            raise CliError(f"There is no cluster to talk to: {error}", Exit.USAGE) from None
        trust = ssl.create_default_context(cafile=found.ssl_ca_cert) if found.verify_ssl else False
        if isinstance(trust, ssl.SSLContext) and found.cert_file:
            trust.load_cert_chain(found.cert_file, found.key_file)
        token = found.get_api_key_with_prefix("authorization")
        headers = {"Authorization": token} if token else {}
        http = httpx.Client(base_url=found.host, verify=trust, headers=headers, timeout=SECONDS)
        return cls(http, namespace or default)

    def get(self, kind: Kind, name: str, namespace: str | None = None) -> Body:
        """One object; in the chosen namespace unless another is given (empty: it has none)."""
        return self._ask("GET", f"{self._path(kind, namespace)}/{name}")

    def list(
        self,
        kind: Kind,
        namespace: str | None = None,
        *,
        labels: str = "",
        fields: str = "",
        metadata_only: bool = False,
    ) -> list[Body]:
        """All objects of a kind; an empty namespace means all. With ``metadata_only`` nothing else is sent."""
        headers = {"Accept": METADATA_ONLY} if metadata_only else {}
        query = {"labelSelector": labels, "fieldSelector": fields, "limit": "500"}
        found: list[Body] = []
        while True:
            asked = {name: value for name, value in query.items() if value}
            page = self._ask("GET", self._path(kind, namespace), params=asked, headers=headers)
            # An empty list of metadata has null for its items.
            found += page["items"] or ()
            query["continue"] = (page.get("metadata") or {}).get("continue") or ""
            if not query["continue"]:
                return found

    def create(self, kind: Kind, body: Mapping[str, Any], namespace: str | None = None, *, sub: str = "") -> Body:
        """Create an object, or a subresource of one (``NAME/token``)."""
        return self._ask("POST", self._path(kind, namespace) + (f"/{sub}" if sub else ""), json=dict(body))

    def apply(self, kind: Kind, body: Mapping[str, Any], namespace: str | None = None) -> Body:
        """Server-side apply, as kubectl does it."""
        return self._ask(
            "PATCH",
            f"{self._path(kind, namespace)}/{body['metadata']['name']}",
            params={"fieldManager": "kubectl-escrow", "force": "true"},
            content=json.dumps(body),
            headers={"Content-Type": "application/apply-patch+yaml"},
        )

    def merge(self, kind: Kind, name: str, body: Mapping[str, Any]) -> Body:
        """A JSON merge patch."""
        return self._ask(
            "PATCH",
            f"{self._path(kind, None)}/{name}",
            content=json.dumps(body),
            headers={"Content-Type": "application/merge-patch+json"},
        )

    def delete(self, kind: Kind, name: str) -> Body:
        """Delete an object."""
        return self._ask("DELETE", f"{self._path(kind, None)}/{name}")

    def logs(self, namespace: str, pod: str, container: str, *, tail: int) -> str:
        """The end of a container's log."""
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}/log"
        return self._send("GET", path, params={"container": container, "tailLines": str(tail)}).text

    def poll(self, kind: Kind, name: str, *, within: float, every: float = 0.5) -> Iterator[Body | None]:
        """An object again and again, None while there is none, until ``within`` seconds are over."""
        deadline = time.monotonic() + within
        while True:
            try:
                yield self.get(kind, name)
            except CliError as error:
                if error.code is not Exit.NOT_FOUND:
                    raise
                yield None
            if time.monotonic() >= deadline:
                return
            time.sleep(every)

    def _path(self, kind: Kind, namespace: str | None) -> str:
        prefix, plural = kind
        chosen = self.namespace if namespace is None else namespace
        return f"{prefix}/namespaces/{chosen}/{plural}" if chosen else f"{prefix}/{plural}"

    def _ask(self, method: str, path: str, **request: Any) -> Body:
        body: Body = self._send(method, path, **request).json()
        return body

    def _send(self, method: str, path: str, **request: Any) -> httpx.Response:
        try:
            response = self._http.request(method, path, **request)
        except httpx.HTTPError as error:
            raise CliError(f"The API server does not answer: {error}", Exit.AWAY) from None
        if response.is_error:
            raise CliError(_words(response), _CODES.get(HTTPStatus(response.status_code), Exit.FAILED))
        return response


def _words(response: httpx.Response) -> str:
    try:
        return str(response.json()["message"])
    except (ValueError, KeyError, TypeError):
        return f"The API server answered with status {response.status_code}."
