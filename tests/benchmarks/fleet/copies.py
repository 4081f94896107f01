"""Active sessions by the thousand, written straight into the API: copies of one that the operator itself has opened."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from ipaddress import ip_network
from typing import Any

from benchmarks.fleet import objects
from benchmarks.fleet.client import MERGE_PATCH, Client, in_parallel
from benchmarks.fleet.kwok import NODE_COUNT, STATUS_ANNOTATION
from benchmarks.fleet.place import Place
from benchmarks.fleet.world import IDLE_TTL
from escrow_operator.adapters.kube import PODS, SESSIONS
from escrow_operator.core.manifests.common import owner_reference
from escrow_operator.models.common import FINALIZER, ROLES, WALLET_RPC, Label, Role, format_time, parse_time
from escrow_operator.models.session import Session
from harness.api import Body, is_ready
from harness.waiting import wait_for
from testbed import progress

OPEN_SECONDS = 120.0
_ADDRESSES = ip_network("198.19.0.0/16")
"""Of the copies' pods; those of kwok's have the ones below."""


class Copies:
    """Sessions of which a restarted operator has nothing to write: they are as it would leave them itself."""

    def __init__(self, place: Place, original: Body, pods: Mapping[Role, Body]) -> None:
        self._place = place
        self._client: Client = place.world.client
        self._namespace = place.namespace
        self._original = original
        self._pods = pods
        self.number = 0

    @classmethod
    async def of_one(cls, place: Place) -> Copies:
        """Let the operator open a session in a warm place, and take that as the model."""
        api = place.world.api
        name = (await place.create())["metadata"]["name"]

        async def active() -> Body | None:
            found = await api.get(SESSIONS, place.namespace, name)
            phase = found.get("status", {}).get("phase")
            return found if phase == "Active" and is_ready(found) else None

        explain = place.world.operator.tail
        original = await wait_for(active, what="the first session to be Active", within=OPEN_SECONDS, explain=explain)
        labels = f"{Label.SESSION_UID}={original['metadata']['uid']}"
        pods = {
            Role(pod["metadata"]["labels"][Label.ROLE]): pod
            for pod in await api.list(PODS, place.namespace, labels=labels)
        }
        return cls(place, original, pods)

    async def grow(self, number: int) -> None:
        """Add copies until there are ``number`` sessions."""
        # The original is one of them.
        wanted = range(self.number or 1, number)
        with progress.step(f"writing {len(wanted)} Active sessions with their pods"):
            await in_parallel(wanted, self._add)
        self.number = number

    async def _add(self, number: int) -> None:
        name = f"copy-{number}"
        body = objects.session(name, self._place.pools[0].name)
        body["metadata"]["finalizers"] = [FINALIZER]
        created = await self._client.send("POST", SESSIONS.path(self._namespace), body)
        session = Session.parse(created)
        status = {"status": self.status(name, session.created_at)}
        writing = self._client.request(
            "PATCH", SESSIONS.path(self._namespace, name, "status"), status, content_type=MERGE_PATCH
        )
        path = PODS.path(self._namespace)
        pods = (self._client.send("POST", path, self.pod(session, role, number)) for role in ROLES)
        _, bodies = await asyncio.gather(writing, asyncio.gather(*pods))
        running = {
            role: body | {"status": running_status(number, role)} for role, body in zip(ROLES, bodies, strict=True)
        }
        # No connection Secrets and host names: of a session that is open the operator takes them for written.
        await asyncio.gather(*(self._run(body) for body in running.values()))

    async def _run(self, pod: Body) -> None:
        """Say what kubelet would say of a pod that runs."""
        path = PODS.path(self._namespace, pod["metadata"]["name"], "status")
        await self._client.request("PATCH", path, {"status": pod["status"]}, content_type=MERGE_PATCH)

    def status(self, name: str, created_at: str) -> dict[str, Any]:
        """The status of the original, with another name, other pods, and clocks that begin with the copy."""
        text = json.dumps(self._original["status"])
        for role, pod in self._pods.items():
            text = text.replace(pod["metadata"]["name"], _pod_name(name, role))
        status: dict[str, Any] = json.loads(text.replace(self._original["metadata"]["name"], name))
        expires = format_time(parse_time(created_at) + IDLE_TTL)
        return status | {"openedAt": created_at, "lastActivityTime": created_at, "expiresAt": expires}

    def pod(self, session: Session, role: Role, number: int) -> Body:
        """A slot that the session has adopted already, bound to one of the simulated nodes."""
        original = self._pods[role]
        meta = original["metadata"]
        changed = {Label.SESSION: session.key.name, Label.SESSION_UID: session.uid}
        wallet = {Label.WALLET_FILE: f"{session.key.name}-{role.value}"}
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": _pod_name(session.key.name, role),
                "labels": meta["labels"] | changed,
                "annotations": meta["annotations"] | wallet | STATUS_ANNOTATION,
                "ownerReferences": [owner_reference(session)],
            },
            "spec": original["spec"] | {"nodeName": f"simulated-{(number + ROLES.index(role)) % NODE_COUNT}"},
        }


def running_status(number: int, role: Role) -> Body:
    """Of a pod of the copy with this number: Ready, at an address that no other pod has."""
    address = str(_ADDRESSES[3 * number + ROLES.index(role)])
    now = format_time(datetime.now(UTC))
    container = {"image": "", "imageID": "", "ready": True, "restartCount": 0, "state": {"running": {"startedAt": now}}}
    return {
        "phase": "Running",
        "startTime": now,
        "podIP": address,
        "podIPs": [{"ip": address}],
        "conditions": [
            {"type": kind, "status": "True", "lastTransitionTime": now}
            for kind in ("PodScheduled", "Initialized", "ContainersReady", "Ready")
        ],
        "containerStatuses": [container | {"name": WALLET_RPC}],
    }


def _pod_name(session: str, role: Role) -> str:
    return f"{session}-{role.value}-pod"
