"""Callers of the gateway: service accounts with rights, and their tokens."""

from __future__ import annotations

import base64
import json
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import httpx

from escrow_operator.adapters.kube import PODS, SECRETS, Resource
from escrow_operator.models.common import GROUP

from .api import is_ready
from .chain import forwarded
from .operator import NAMESPACE, RELEASE
from .place import Place
from .waiting import wait_for
from .world import World

GATEWAY = f"{RELEASE}-gateway"
LABELS = "app.kubernetes.io/name=xmr-escrow-gateway"
AUDIENCE = "xmr-escrow-gateway"

SERVICE_ACCOUNTS = Resource("/api/v1", "serviceaccounts")
ROLES = Resource("/apis/rbac.authorization.k8s.io/v1", "roles")
BINDINGS = Resource("/apis/rbac.authorization.k8s.io/v1", "rolebindings")

TLS_PORT = 8443


class Gateway:
    """The gateway as callers on this machine reach it."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def call(
        self,
        place: Place,
        session: str,
        role: str,
        method: str = "get_height",
        params: Mapping[str, object] | None = None,
        *,
        token: str | None,
        **headers: str,
    ) -> httpx.Response:
        """One call of a wallet's method."""
        path = f"/v1/namespaces/{place.namespace}/escrowsessions/{session}/wallets/{role}/json_rpc"
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        body = {"jsonrpc": "2.0", "id": "0", "method": method, "params": dict(params or {})}
        return await self.http.post(path, content=json.dumps(body), headers=headers)


@asynccontextmanager
async def gateway_of(world: World) -> AsyncIterator[Gateway]:
    """Through a port of one of its pods, with the certificate authority that the chart made."""

    async def ready() -> str | None:
        pods = await world.api.list(PODS, NAMESPACE, labels=LABELS)
        found = [pod for pod in pods if is_ready(pod) and "deletionTimestamp" not in pod["metadata"]]
        return found[0]["metadata"]["name"] if found else None

    pod = await wait_for(ready, what="the gateway to be ready", explain=world.operator.tail)
    secret = await world.api.get(SECRETS, NAMESPACE, f"{GATEWAY}-tls")
    authority = base64.b64decode(secret["data"]["ca.crt"]).decode()
    async with AsyncExitStack() as stack:
        url = httpx.URL(await forwarded(stack, world.cluster, NAMESPACE, f"pod/{pod}", TLS_PORT))
        client = httpx.AsyncClient(
            # The certificate's name.
            base_url=url.copy_with(scheme="https", host="localhost"),
            verify=ssl.create_default_context(cadata=authority),
            timeout=60.0,
            trust_env=False,
        )
        yield Gateway(await stack.enter_async_context(client))


async def account(place: Place, name: str, *rules: Mapping[str, Any], cluster_role: str | None = None) -> None:
    """A service account in the place, with a Role of its own, or one of the chart's."""
    api, meta = place.api, {"name": name}
    await api.apply(SERVICE_ACCOUNTS, place.namespace, {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta})
    group = "rbac.authorization.k8s.io"
    if rules:
        body = {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": meta, "rules": list(rules)}
        await api.apply(ROLES, place.namespace, body)
    elif cluster_role is None:
        return
    kind = "ClusterRole" if cluster_role else "Role"
    body = {
        "apiVersion": f"{group}/v1",
        "kind": "RoleBinding",
        "metadata": meta,
        "roleRef": {"apiGroup": group, "kind": kind, "name": cluster_role or name},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": place.namespace}],
    }
    await api.apply(BINDINGS, place.namespace, body)


def rule(subresource: str, *verbs: str, session: str | None = None) -> dict[str, Any]:
    """A rule of a Role, for one wallet of all sessions or of one."""
    found: dict[str, Any] = {
        "apiGroups": [GROUP],
        "resources": [f"escrowsessions/{subresource}" if subresource else "escrowsessions"],
        "verbs": list(verbs),
    }
    return found | ({"resourceNames": [session]} if session else {})


async def token(place: Place, name: str, *args: str, audience: str = AUDIENCE) -> str:
    """A token of a service account, for the gateway unless another audience is given."""
    return (await place.kubectl("create", "token", name, "--audience", audience, *args)).strip()
