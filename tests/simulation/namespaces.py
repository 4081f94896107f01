"""Namespaces: made, and deleted with all that is in them, as Kubernetes does it since 1.33."""

from __future__ import annotations

import asyncio

from escrow_operator.adapters.kube import NAMESPACES, PODS, Resource
from escrow_operator.adapters.kube_errors import NotFoundError

from .apiserver import ApiServer
from .process import spawn_apart

ROLES = Resource("rbac.authorization.k8s.io/v1", "roles")
"""The operator's rights in a namespace that it is told to serve; they go with it."""

RIGHTS = "xmr-escrow-operator"

LOOK_SECONDS = 16.0
"""Between two looks of the controller at a namespace that is not empty: half of its pods' time of grace, and one."""


class Namespaces:
    """Makes them, with the operator's rights in them, and deletes them."""

    def __init__(self, server: ApiServer) -> None:
        self._server = server

    def make(self, name: str) -> None:
        """What ``kubectl create namespace`` and the chart do."""
        self._server.create(NAMESPACES, None, {"metadata": {"name": name, "finalizers": ["kubernetes"]}})
        self._server.create(ROLES, name, {"metadata": {"name": RIGHTS}})

    def has_rights(self, name: str | None) -> bool:
        """Whether an operator that serves namespaces by name has its rights in one; it never has them in all (None)."""
        return self._server.find(ROLES, name, RIGHTS) is not None

    def is_served(self, name: str) -> bool:
        """Whether there is such a namespace, and nobody deletes it."""
        body = self._server.find(NAMESPACES, None, name)
        return body is not None and "deletionTimestamp" not in body["metadata"]

    def delete(self, name: str) -> None:
        """What ``kubectl delete namespace --wait=false`` does."""
        self._server.delete(NAMESPACES, None, name)
        spawn_apart(self._empty(name))

    async def _empty(self, name: str) -> None:
        """Pods go first; the rest, rights included, when the last of them is gone."""
        while content := self._content(name):
            pods = [key for key in content if key[0] == PODS.plural]
            for plural, namespace, one in pods or content:
                try:
                    self._server.delete(Resource("", plural), namespace, one)
                except NotFoundError:
                    continue
            await asyncio.sleep(LOOK_SECONDS)
        body = self._server.get(NAMESPACES, None, name)
        del body["metadata"]["finalizers"]
        self._server.replace(NAMESPACES, None, body)

    def _content(self, name: str) -> list[tuple[str, str | None, str]]:
        return sorted(key for key in self._server.objects if key[1] == name)
