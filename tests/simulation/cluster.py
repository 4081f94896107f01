"""What a cluster does by itself: Deployments, scheduling, kubelet and garbage collection, as far as slots need them."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from escrow_operator.adapters.kube import DEPLOYMENTS, NAMESPACES, PODS, SECRETS, VOLUME_CLAIMS, Resource
from escrow_operator.adapters.kube_errors import ConflictError, NotFoundError
from escrow_operator.core.manifests.common import RPC_PORT
from escrow_operator.models.common import WALLET_RPC

from .apiserver import ApiServer, Body, Event
from .bodies import copied
from .process import spawn_apart

CONTROLLER_SECONDS = 0.02
"""Until a controller acts on what it saw."""

STOP_SECONDS = 0.3
"""For wallet-rpc to store its wallet and end."""


UNHEARD_SECONDS, EVICTION_SECONDS = 10.0, 20.0
"""Of a node of which nothing is heard: until its pods count as not ready, and from then until they are deleted. In
clusters it is 40 s and five minutes; no more is to be learnt from waiting for so long."""


class WalletServer(Protocol):
    """The process in a slot's container."""

    async def stop(self) -> None:
        """SIGTERM: it stores its wallet, lets go of it and ends."""

    def kill(self) -> None:
        """SIGKILL: what it did not store is lost, what it holds is let go."""


StartWallet = Callable[[Body, str], WalletServer]
"""Starts the process of a pod at an address, and has it listen there."""


@dataclass
class Node:
    """One node. A silent one runs what it ran, and hears of nothing."""

    name: str
    silent: bool = False
    processes: dict[str, WalletServer] = field(default_factory=dict)


class Cluster:
    """Acts on what happens in the API server.

    ``start_wallet`` makes a pod's process, ``stop_listening`` ends its address.
    """

    def __init__(
        self,
        server: ApiServer,
        chance: random.Random,
        now: Callable[[], Any],
        *,
        start_wallet: StartWallet,
        stop_listening: Callable[[str], None],
        start_seconds: float = 1.0,
    ) -> None:
        self._server = server
        self._chance = chance
        self._now = now
        self._start_wallet = start_wallet
        self._stop_listening = stop_listening
        self._start_seconds = start_seconds
        self._numbers = itertools.count(1)
        self._tasks: dict[Any, asyncio.Task[None]] = {}
        self._addresses: dict[str, str] = {}
        self._ending: set[str] = set()
        self.garbage_seconds: dict[str, float] = {}
        """How long the garbage collector takes from its decision to the deletion, for some kinds of objects."""
        self.nodes = [Node("node-1"), Node("node-2")]
        server.subscribers.append(self._see)

    def _see(self, event: Event) -> None:
        match event.plural:
            case "deployments":
                self._soon("deployments", self._scale_all)
            case "pods":
                self._soon("deployments", self._scale_all)
                if event.kind != "DELETED":
                    name = event.body["metadata"]["name"]
                    self._soon(("pod", event.namespace, name), lambda: self._tend(event.namespace, name))
            case "secrets" | "persistentvolumeclaims":
                for pod in self._server.all(PODS):
                    namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
                    self._soon(("pod", namespace, name), partial(self._tend, namespace, name))
        if event.kind == "DELETED" or event.before is None:
            self._soon("garbage", self._collect)

    def _soon(self, key: Any, work: Callable[[], Any]) -> None:
        """One task for each key at a time; what happens meanwhile is looked at again."""

        async def run() -> None:
            await asyncio.sleep(CONTROLLER_SECONDS * self._chance.uniform(0.5, 1.5))
            self._tasks.pop(key, None)
            done = work()
            if asyncio.iscoroutine(done):
                await done

        if key not in self._tasks:
            self._tasks[key] = spawn_apart(run())

    def _scale_all(self) -> None:
        for deployment in self._server.all(DEPLOYMENTS):
            self._scale(deployment)

    def _scale(self, deployment: Body) -> None:
        """Pods of this template up to ``replicas``; those of former templates go. Adopted ones have another owner."""
        meta, spec = deployment["metadata"], deployment["spec"]
        digest = hashlib.sha256(json.dumps(spec["template"], sort_keys=True).encode()).hexdigest()[:10]
        owner = f"{meta['uid']}/{digest}"
        mine = [pod for pod in self._server.all(PODS, meta["namespace"]) if _controller(pod).startswith(meta["uid"])]
        mine = [pod for pod in mine if "deletionTimestamp" not in pod["metadata"]]
        current = [pod for pod in mine if _controller(pod) == owner]
        for pod in mine:
            if _controller(pod) != owner:
                self._delete_pod(pod)
        for pod in sorted(current, key=_is_ready)[: max(0, len(current) - spec["replicas"])]:
            self._delete_pod(pod)
        home = self._server.find(NAMESPACES, None, meta["namespace"])
        if home is None or "deletionTimestamp" in home["metadata"]:
            # The API server would refuse them.
            return
        for _ in range(spec["replicas"] - len(current)):
            body = copied(spec["template"])
            body["metadata"]["name"] = f"{meta['name']}-{digest[:4]}-{next(self._numbers):03}"
            body["metadata"]["ownerReferences"] = [
                {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": digest, "uid": owner, "controller": True}
            ]
            body["status"] = {"phase": "Pending"}
            self._server.create(PODS, meta["namespace"], body)

    def _delete_pod(self, pod: Body) -> None:
        meta = pod["metadata"]
        self._server.delete(PODS, meta["namespace"], meta["name"], uid=meta["uid"])

    async def _tend(self, namespace: str | None, name: str) -> None:
        """Bring one pod further: schedule it, start it, or end it."""
        pod = self._server.find(PODS, namespace, name)
        if pod is None:
            return
        node = next((node for node in self.nodes if node.name == pod["spec"].get("nodeName")), None)
        if "deletionTimestamp" in pod["metadata"]:
            if node is None or not node.silent:
                await self._end(pod, node)
        elif node is None and not pod["spec"].get("schedulingGates"):
            self._schedule(pod)
        elif node is not None and not node.silent and pod["metadata"]["uid"] not in node.processes:
            await self._start(pod, node)

    def _schedule(self, pod: Body) -> None:
        up = [node for node in self.nodes if not node.silent]
        if up:
            fresh = copied(pod)
            fresh["spec"]["nodeName"] = min(up, key=lambda node: len(node.processes)).name
            self._server.replace(PODS, pod["metadata"]["namespace"], fresh)

    async def _start(self, pod: Body, node: Node) -> None:
        meta = pod["metadata"]
        missing = self._missing(pod)
        if missing:
            self._set_status(pod, _waiting(missing))
            return
        await asyncio.sleep(self._start_seconds * self._chance.uniform(0.7, 1.3))
        now = self._server.find(PODS, meta["namespace"], meta["name"])
        if now is None or now["metadata"]["uid"] != meta["uid"] or node.silent or meta["uid"] in node.processes:
            return
        if "deletionTimestamp" in now["metadata"]:
            return
        self.run(now, node)

    def run(self, pod: Body, node: Node) -> None:
        """Start the container of a pod, at a new address."""
        number = next(self._numbers)
        ip = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
        uid = pod["metadata"]["uid"]
        node.processes[uid] = self._start_wallet(pod, f"{ip}:{RPC_PORT}")
        self._addresses[uid] = f"{ip}:{RPC_PORT}"
        status = {
            "phase": "Running",
            "podIP": ip,
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [
                {"name": WALLET_RPC, "restartCount": 0, "containerID": f"containerd://{number:012}", "ready": True}
            ],
        }
        self._set_status(pod, status)

    async def _end(self, pod: Body, node: Node | None) -> None:
        uid = pod["metadata"]["uid"]
        if uid in self._ending:
            # Whatever happens meanwhile: the pod is there until its process has ended.
            return
        self._ending.add(uid)
        if node is not None and (process := node.processes.get(uid)) is not None:
            await process.stop()
            await asyncio.sleep(STOP_SECONDS)
            if node.processes.pop(uid, None) is not None:
                self._stop_listening(self._addresses.pop(uid))
        self._ending.discard(uid)
        now = self._server.find(PODS, pod["metadata"]["namespace"], pod["metadata"]["name"])
        if now is not None and now["metadata"]["uid"] == uid:
            self._server.delete(PODS, pod["metadata"]["namespace"], pod["metadata"]["name"], uid=uid, now=True)

    def lose(self, pod: Body) -> None:
        """A pod is gone at once, with its process killed: eviction by force, or a node that is removed."""
        uid = pod["metadata"]["uid"]
        for node in self.nodes:
            if (process := node.processes.pop(uid, None)) is not None:
                process.kill()
                self._stop_listening(self._addresses.pop(uid))
        self._server.delete(PODS, pod["metadata"]["namespace"], pod["metadata"]["name"], uid=uid, now=True)

    def restart(self, pod: Body) -> None:
        """The node rebooted: the same pod, with other containers, at another address; one that ends is not started."""
        if "deletionTimestamp" in pod["metadata"]:
            return
        uid = pod["metadata"]["uid"]
        node = next(node for node in self.nodes if uid in node.processes)
        node.processes.pop(uid).kill()
        self._stop_listening(self._addresses.pop(uid))
        self.run(pod, node)

    def silence(self, node: Node) -> None:
        """Nothing is heard of a node any more. What runs there goes on, and its pods are evicted in vain."""
        node.silent = True
        spawn_apart(self._evict(node))

    async def _evict(self, node: Node) -> None:
        await asyncio.sleep(UNHEARD_SECONDS)
        for pod in self._pods_on(node) if node.silent else ():
            not_ready = [{"type": "Ready", "status": "False", "reason": "NodeNotReady"}]
            self._set_status(pod, pod["status"] | {"conditions": not_ready})
        await asyncio.sleep(EVICTION_SECONDS)
        for pod in self._pods_on(node) if node.silent else ():
            self._delete_pod(pod)

    def hear(self, node: Node) -> None:
        """It is heard of again: kubelet says how its pods are, and ends those that were deleted.

        Pods for which there was no node are scheduled.
        """
        node.silent = False
        for pod in self._server.all(PODS):
            if not pod["spec"].get("nodeName"):
                place = (pod["metadata"]["namespace"], pod["metadata"]["name"])
                self._soon(("pod", *place), partial(self._tend, *place))
        for pod in self._pods_on(node):
            meta = pod["metadata"]
            if "deletionTimestamp" not in meta and meta["uid"] in node.processes:
                self._set_status(pod, pod["status"] | {"conditions": [{"type": "Ready", "status": "True"}]})
            self._soon(("pod", meta["namespace"], meta["name"]), partial(self._tend, meta["namespace"], meta["name"]))

    def node_of(self, pod: Body) -> Node:
        """Where a pod was scheduled to."""
        return next(node for node in self.nodes if node.name == pod["spec"]["nodeName"])

    def addresses_on(self, node: Node) -> list[str]:
        """Where the processes on a node listen."""
        return [self._addresses[uid] for uid in node.processes]

    def _pods_on(self, node: Node) -> list[Body]:
        return [pod for pod in self._server.all(PODS) if pod["spec"].get("nodeName") == node.name]

    def process_of(self, pod: Body) -> WalletServer | None:
        """What runs in a pod."""
        return next((p for node in self.nodes if (p := node.processes.get(pod["metadata"]["uid"]))), None)

    def _missing(self, pod: Body) -> str:
        """What kubelet lacks to start a pod, in its words."""
        namespace = pod["metadata"]["namespace"]
        for volume in pod["spec"]["volumes"]:
            claim = (volume.get("persistentVolumeClaim") or {}).get("claimName")
            if claim and self._server.find(VOLUME_CLAIMS, namespace, claim) is None:
                return f'persistentvolumeclaim "{claim}" not found'
        for container in pod["spec"]["initContainers"]:
            for variable in container["env"]:
                secret = (variable.get("valueFrom") or {}).get("secretKeyRef", {}).get("name")
                if secret and self._server.find(SECRETS, namespace, secret) is None:
                    return f'secret "{secret}" not found'
        return ""

    def _set_status(self, pod: Body, status: Body) -> None:
        meta = pod["metadata"]
        fresh = copied(self._server.find(PODS, meta["namespace"], meta["name"]) or pod)
        fresh["status"] = status
        self._server.replace(PODS, meta["namespace"], fresh)

    def _collect(self) -> None:
        """Delete what has owners of which none is there any more."""
        uids = {body["metadata"]["uid"] for body in self._server.objects.values()}
        for (plural, namespace, name), body in list(self._server.objects.items()):
            owners = [ref["uid"].partition("/")[0] for ref in body["metadata"].get("ownerReferences") or ()]
            if owners and not uids.intersection(owners) and "deletionTimestamp" not in body["metadata"]:
                if seconds := self.garbage_seconds.get(plural):
                    uid = body["metadata"]["uid"]
                    spawn_apart(self._delete_later(Resource("", plural), namespace, name, uid, seconds))
                else:
                    self._server.delete(Resource("", plural), namespace, name)

    async def _delete_later(
        self, resource: Resource, namespace: str | None, name: str, uid: str, seconds: float
    ) -> None:
        """What was decided is done, whatever becomes of the object meanwhile."""
        await asyncio.sleep(seconds)
        with suppress(NotFoundError, ConflictError):
            self._server.delete(resource, namespace, name, uid=uid)


def _controller(pod: Body) -> str:
    found: str = next((ref["uid"] for ref in pod["metadata"].get("ownerReferences") or () if ref.get("controller")), "")
    return found


def _is_ready(pod: Body) -> bool:
    return any(c["status"] == "True" for c in pod.get("status", {}).get("conditions") or () if c["type"] == "Ready")


def _waiting(why: str) -> Body:
    waiting = {"reason": "CreateContainerConfigError", "message": why}
    container = {"name": "login", "restartCount": 0, "state": {"waiting": waiting}}
    return {"phase": "Pending", "initContainerStatuses": [container]}
