"""A slot: one monero-wallet-rpc pod."""

from __future__ import annotations

from dataclasses import dataclass
from sys import intern
from typing import Any

from escrow_operator.models.common import WALLET_RPC, Label, Role, SlotState, is_name, printable
from escrow_operator.models.pool import PoolKey


@dataclass(frozen=True, slots=True)
class Slot:
    """A wallet-rpc pod as last seen.

    Not a pydantic model: each session has three slots, and a dataclass takes a third of the memory.
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
    tls: str
    """The format of the certificate that wallet-rpc serves (core.wallet_tls); empty where it serves none."""
    daemon_secrets: str
    daemon: str
    """Digest of the pool's spec.daemon that the pod was started with; empty on pods older than this annotation."""
    session_uid: str | None
    session_name: str | None
    wallet_file: str | None
    term: str
    """The leadership in which the pod was taken or its wallet file was noted last; empty before, and without one."""
    prepared: str | None
    """The Secret of the prepared escrow that the pod is a part of; None before, and once a session has the pod."""
    template: str
    """Digest of the pod template that the pod was started with; empty on pods older than this annotation."""
    anew: str
    """What the template was changed to for no other reason than to have another ReplicaSet; empty if it was not."""
    ip: str | None
    node: str | None
    gate: int | None
    """Index of the operator's scheduling gate among those of the pod; None without it."""
    ready: bool
    terminating: bool
    finished: bool
    restarts: int
    process: str
    """The shortened id of wallet-rpc's container, to tell its processes apart; empty if there is none yet."""
    trouble: tuple[str, str] | None
    unschedulable: tuple[str, str] | None

    @classmethod
    def parse(cls, body: dict[str, Any]) -> Slot:
        """From a Pod's JSON. Raises KeyError or ValueError for a pod that is not a slot.

        A tenant who may create pods may label one as a slot. So fields are bounded in size, and what cannot be the
        operator's own is not kept.
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
            tls=_tls(body.get("spec") or {}),
            daemon_secrets=intern(_note(annotations, Label.DAEMON_SECRETS) or ""),
            daemon=intern(_note(annotations, Label.DAEMON) or ""),
            session_uid=_adopter(meta),
            session_name=labels.get(Label.SESSION),
            wallet_file=_note(annotations, Label.WALLET_FILE),
            term=intern(_note(annotations, Label.TERM) or ""),
            prepared=_prepared(meta),
            template=intern(_note(annotations, Label.TEMPLATE) or ""),
            anew=intern(_note(annotations, Label.ANEW) or ""),
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
        """A text that changes with the process that may hold a wallet, and with the address at which it is called.

        After a restart of its node, or the loss of its sandbox, a pod is the same object with another address and other
        containers. The restart count alone does not do: it may start over when kubelet has lost its record.
        """
        return f"{self.uid}/{self.restarts}/{self.process}/{self.ip}"

    def has_daemon(self, digest: str) -> bool:
        """Whether the pod was started with the spec.daemon of this digest, or has no digest.

        Pods older than the annotation have none: an upgrade of the operator must not replace open wallets.
        """
        return self.daemon in ("", digest)

    @property
    def claimable(self) -> bool:
        """Whether a session may adopt the slot now."""
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
        """Whether the slot's wallet-rpc can be called."""
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
"""Reasons for which kubelet keeps a container waiting and which do not pass by themselves."""


TLS_FORMAT = "TLS_FORMAT"
"""The init container's variable with the format of the certificate."""

LONGEST_NOTE = 128
"""Longest annotation, in characters, that the operator writes on a slot: the name of a wallet file."""

LONGEST_MESSAGE = 512
"""Characters kept of a message of kubelet or the scheduler about a slot; part of it may come from a registry."""


def _controller(meta: dict[str, Any]) -> str | None:
    return next((ref["uid"] for ref in meta.get("ownerReferences") or () if ref.get("controller")), None)


def _adopter(meta: dict[str, Any]) -> str | None:
    """The uid of the session that adopted a pod, if its label and its controller agree; else None.

    A tenant can write the label, even on pods that a Deployment of his makes again and again, and each would take a
    place under the cap. With a forged controller the pod does not last: garbage collection deletes a pod whose
    controller does not exist in its namespace.
    """
    uid: str | None = meta["labels"].get(Label.SESSION_UID)
    return uid if uid == _controller(meta) else None


def _prepared(meta: dict[str, Any]) -> str | None:
    """The prepared escrow that a pod belongs to, if its label says so and its controller is a pool; else None."""
    pools = any(ref.get("controller") and ref.get("kind") == "WalletPool" for ref in meta.get("ownerReferences") or ())
    name: str | None = meta["labels"].get(Label.PREPARED)
    return name if pools and meta["labels"][Label.SLOT] == SlotState.PREPARED and is_name(name or "") else None


def _note(annotations: dict[str, str], name: str) -> str | None:
    """An annotation of the operator; None if it is absent, or too long to be the operator's own."""
    text = annotations.get(name)
    return text if text is not None and len(text) <= LONGEST_NOTE else None


_ID_DIGITS = 12
"""Digits kept of a container's id, as container engines print it: enough to tell the containers of one pod apart."""


def _process(containers: list[dict[str, Any]]) -> str:
    """The shortened id of wallet-rpc's container, without the runtime's name; empty before the container was made."""
    found = next((c.get("containerID") or "" for c in containers if c.get("name") == WALLET_RPC), "")
    return found.rpartition("//")[2][:_ID_DIGITS]


def _tls(spec: dict[str, Any]) -> str:
    """By the spec, which cannot change: a pod with TLS is never called without."""
    for container in spec.get("initContainers") or ():
        for variable in container.get("env") or ():
            if variable.get("name") == TLS_FORMAT:
                return intern(str(variable.get("value"))[:LONGEST_NOTE])
    return ""


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
    """Since when and why the scheduler has found no node for a pod, as (timestamp, message), or None."""
    for condition in status.get("conditions") or ():
        if condition["type"] != "PodScheduled" or condition.get("reason") == "SchedulingGated":
            continue
        if condition["status"] == "False":
            return condition["lastTransitionTime"], printable(condition.get("message", ""), LONGEST_MESSAGE)
    return None
