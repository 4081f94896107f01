"""A pod that belongs to no part of the product: it runs what a test would run inside the cluster's network."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Self

from escrow_operator.adapters.kube import PODS

from .api import Body, is_ready
from .place import Place
from .waiting import wait_for
from .world import World

LISTENS_AT = 8000

CONNECT_SECONDS = 3.0
"""Seconds for which a connection is tried; a NetworkPolicy drops its packets and answers nothing."""

_CONNECT = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=float(sys.argv[3])).close()
    print("reached")
except OSError as error:
    print("failed:", error)
"""


async def connects(world: World, namespace: str, pod: str, ip: str, port: int) -> bool:
    """Whether a pod whose image has Python can connect, at this moment."""
    argv = ("exec", "--namespace", namespace, pod, "--", "python", "-c", _CONNECT, ip, str(port), str(CONNECT_SECONDS))
    return await asyncio.to_thread(world.cluster.kubectl, *argv) == "reached\n"


class Bystander:
    """One by name; ``start`` makes it."""

    def __init__(self, place: Place, name: str, labels: Mapping[str, str] | None = None) -> None:
        self._place = place
        self._name = name
        self._labels = dict(labels or {})
        self.ip = ""

    async def start(self) -> Self:
        """Make the pod, which serves an empty folder at ``LISTENS_AT``, and wait until it does."""
        await self._place.api.create(PODS, self._place.namespace, self._body())
        self.ip = await wait_for(self._address, what=f"pod {self._name} to listen", explain=self._place.explain)
        return self

    async def python(self, code: str, *args: str) -> str:
        """Run Python in it; what it printed."""
        return await self._place.kubectl("exec", self._name, "--", "python", "-c", code, *args)

    async def reaches(self, ip: str, port: int) -> bool:
        """Whether it can connect, at this moment."""
        return await connects(self._place.world, self._place.namespace, self._name, ip, port)

    async def until_reaches(self, ip: str, port: int) -> None:
        """Wait until it can: who enforces policies learns of new pods a little later than they run."""

        async def look() -> bool:
            return await self.reaches(ip, port)

        await wait_for(look, what=f"{self._name} to reach {ip}:{port}", explain=self._place.explain)

    async def until_kept_from(self, ip: str, port: int) -> None:
        """Wait until it cannot."""

        async def look() -> bool:
            return not await self.reaches(ip, port)

        await wait_for(look, what=f"{self._name} to be kept from {ip}:{port}", explain=self._place.explain)

    async def _address(self) -> str | None:
        pod = await self._place.api.get(PODS, self._place.namespace, self._name)
        return pod["status"]["podIP"] if is_ready(pod) else None

    def _body(self) -> Body:
        container = {
            "name": "bystander",
            "image": self._place.world.images.operator,
            "command": ["python", "-m", "http.server", str(LISTENS_AT), "--directory", "/proc/self/fdinfo"],
            "readinessProbe": {"tcpSocket": {"port": LISTENS_AT}, "periodSeconds": 1},
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        }
        user = {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}}
        return {
            "metadata": {"name": self._name, "labels": {"app": self._name} | self._labels},
            "spec": {
                "containers": [container],
                "securityContext": user,
                "automountServiceAccountToken": False,
                "terminationGracePeriodSeconds": 1,
            },
        }


async def bystanders(place: Place, *names: str) -> tuple[Bystander, ...]:
    """Several, started side by side."""
    return tuple(await asyncio.gather(*(Bystander(place, name).start() for name in names)))
