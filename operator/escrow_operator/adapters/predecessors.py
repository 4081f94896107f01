"""Operators that act beside whoever leads: of a version without a lease, or by another Lease.

An upgrade from such a version, or a release that is given another name, starts new pods before the old ones end.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from escrow_operator.adapters.kube import PODS, Kube

CANDIDATE = "escrow_operator.candidate"
"""The module by which the chart starts those that agree on a leader; older images do not have it."""

LEASE_NAME = "XMR_ESCROW_LEADER_ELECTION__LEASE_NAME"

ENDED = ("Succeeded", "Failed")
"""Phases of pods that have no process any more."""


class Predecessors:
    """Those in a namespace whose pods have these labels, and that do not campaign for the ``lease`` of this name.

    With no labels none is looked for.
    """

    def __init__(self, kube: Kube, namespace: str, labels: Mapping[str, str], *, lease: str) -> None:
        self._kube = kube
        self._namespace = namespace
        self._labels = labels
        self._lease = lease

    async def running(self) -> list[str]:
        """Names of their pods, ending ones included. Raises KubeError."""
        if not self._labels:
            return []
        found = self._kube.pages(PODS, self._namespace, labels=self._labels)
        return [pod["metadata"]["name"] async for page in found for pod in page.items if self._acts_apart(pod)]

    def _acts_apart(self, pod: Mapping[str, Any]) -> bool:
        if pod.get("status", {}).get("phase") in ENDED:
            return False
        return not any(
            CANDIDATE in (container.get("command") or ()) and _lease_of(container) == self._lease
            for container in pod["spec"]["containers"]
        )


def _lease_of(container: Mapping[str, Any]) -> str | None:
    """The Lease that a container is told to campaign for."""
    return next((found.get("value") for found in container.get("env") or () if found["name"] == LEASE_NAME), None)
