"""A slot: one monero-wallet-rpc pod."""

from __future__ import annotations

from dataclasses import dataclass
from sys import intern
from typing import Any

from escrow_operator.models.common import WALLET_RPC, Label, Role, SlotState, is_name, printable
from escrow_operator.models.pool import PoolKey


@dataclass(frozen=True, slots=True)
class Slot:
    """A wallet-rpc pod as it was last seen.

    No pydantic model: there are three for each session, and this takes a third of the memory.
    """

    namespace: str
    name: str
    uid: str
    resource_version: str
    created_at: str
    pool: PoolKey
    role: Role
    state: SlotState
    login_key: str
    daemon_secrets: str
    daemon: str
    """Digest of the pool's spec.daemon that it was started with; empty on pods of before there was one."""
    session_uid: str | None
    session_name: str | None
    owner_uid: str | None
    wallet_file: str | None
    ip: str | None
    node: str | None
    gate: int | None
    """Index of the operator's scheduling gate among the pod's, None without."""
    ready: bool
    terminating: bool
    finished: bool
    restarts: int
    process: str
    """Which process of wallet-rpc runs: the container's id, shortened."""
    trouble: tuple[str, str] | None
    unschedulable: tuple[str, str] | None

    @classmethod
    def parse(cls, body: dict[str, Any]) -> Slot:
        """From a Pod's JSON. Raises KeyError or ValueError for a pod that is not a slot.

        Whoever may make pods may label one as a slot: nothing of it is kept that has no bound, or that could not be the
        operator's own.
        """
        meta, status = body["metadata"], body.get("status") or {}
        labels, annotations = meta["labels"], meta.get("annotations") or {}
        if not is_name(labels[Label.POOL]):
            raise ValueError("the pod's label does not name a pool")
        containers = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
        return cls(
            namespace=intern(meta["namespace"]),
            name=meta["name"],
            uid=meta["uid"],
            resource_version=meta["resourceVersion"],
            created_at=meta["creationTimestamp"],
            pool=PoolKey(intern(meta["namespace"]), intern(labels[Label.POOL])),
            role=Role(labels[Label.ROLE]),
            state=SlotState(labels[Label.SLOT]),
            login_key=intern(_note(annotations, Label.LOGIN_KEY) or ""),
            daemon_secrets=intern(_note(annotations, Label.DAEMON_SECRETS) or ""),
            daemon=intern(_note(annotations, Label.DAEMON) or ""),
            session_uid=_adopter(meta),
            session_name=labels.get(Label.SESSION),
            owner_uid=_controller(meta),
            wallet_file=_note(annotations, Label.WALLET_FILE),
            ip=status.get("podIP"),
            node=intern((body.get("spec") or {}).get("nodeName") or "") or None,
            gate=_gate(body.get("spec") or {}),
            ready=any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions") or ()),
            terminating="deletionTimestamp" in meta,
            finished=status.get("phase") in ("Succeeded", "Failed"),
            restarts=sum(c.get("restartCount", 0) for c in containers),
            process=_process(containers),
            trouble=_trouble(status),
            unschedulable=_unschedulable(status),
        )

    @property
    def incarnation(self) -> str:
        """Changes when the process that may hold a wallet changes, or where it is called.

        After its node restarted, or its sandbox was lost, a pod is the same object with another address and other
        containers; a count of restarts alone may start over with what kubelet remembers of them.
        """
        return f"{self.uid}/{self.restarts}/{self.process}/{self.ip}"

    def has_daemon(self, digest: str) -> bool:
        """Whether it was started with this spec.daemon, as far as it is known.

        A pod of before there were digests counts as one that has: an upgrade of the operator replaces no open wallet.
        """
        return self.daemon in ("", digest)

    @property
    def claimable(self) -> bool:
        """Whether a session may adopt it now."""
        return (
            self.state is SlotState.FREE
            and self.ready
            and not self.terminating
            and not self.finished
            and self.ip is not None
            and bool(self.login_key)
        )

    @property
    def usable(self) -> bool:
        """Whether its wallet-rpc can be called."""
        return self.ready and not self.terminating and not self.finished and self.ip is not None


_WAITING_IS_TROUBLE = frozenset(
    {
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
        "CrashLoopBackOff",
    }
)
"""Reasons for which kubelet keeps a container waiting that do not mend themselves."""


LONGEST_NOTE = 128
"""Characters of an annotation that the operator writes on a slot: a wallet file's name at most."""

LONGEST_MESSAGE = 512
"""Characters of what kubelet or the scheduler says of a slot, of which a registry may have written a part."""


def _controller(meta: dict[str, Any]) -> str | None:
    return next((ref["uid"] for ref in meta.get("ownerReferences") or () if ref.get("controller")), None)


def _adopter(meta: dict[str, Any]) -> str | None:
    """The uid of the session that adopted a pod: by its label, and as its controller.

    A label alone is anybody's to write, also on pods that a Deployment of his makes again and again: each would take a
    place at the cap. A pod whose controller is not there in its namespace is deleted by garbage collection.
    """
    uid: str | None = meta["labels"].get(Label.SESSION_UID)
    return uid if uid == _controller(meta) else None


def _note(annotations: dict[str, str], name: str) -> str | None:
    """An annotation as the operator writes it; what is longer is not its own, and None."""
    text = annotations.get(name)
    return text if text is not None and len(text) <= LONGEST_NOTE else None


_ID_DIGITS = 12
"""Of a container's id, as container engines print it: enough to tell the containers of one pod apart."""


def _process(containers: list[dict[str, Any]]) -> str:
    """The id of wallet-rpc's container without the name of its runtime; empty before it was made."""
    found = next((c.get("containerID") or "" for c in containers if c.get("name") == WALLET_RPC), "")
    return found.rpartition("//")[2][:_ID_DIGITS]


def _gate(spec: dict[str, Any]) -> int | None:
    gates = [gate["name"] for gate in spec.get("schedulingGates") or ()]
    return gates.index(Label.WARM_UP) if Label.WARM_UP in gates else None


def _trouble(status: dict[str, Any]) -> tuple[str, str] | None:
    """Why a pod does not start, as (reason, message), or None."""
    statuses = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    for container in statuses:
        waiting = (container.get("state") or {}).get("waiting")
        if waiting and waiting.get("reason") in _WAITING_IS_TROUBLE:
            return waiting["reason"], printable(waiting.get("message", ""), LONGEST_MESSAGE)
    return None


def _unschedulable(status: dict[str, Any]) -> tuple[str, str] | None:
    """Since when the scheduler has found no node for a pod, as (timestamp, message), or None."""
    for condition in status.get("conditions") or ():
        if condition["type"] != "PodScheduled" or condition.get("reason") == "SchedulingGated":
            continue
        if condition["status"] == "False":
            return condition["lastTransitionTime"], printable(condition.get("message", ""), LONGEST_MESSAGE)
    return None
