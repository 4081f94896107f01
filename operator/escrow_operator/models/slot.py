"""A slot: one monero-wallet-rpc pod."""

from __future__ import annotations

from dataclasses import dataclass
from sys import intern
from typing import Any

from escrow_operator.models.common import Label, Role, SlotState, is_name, printable
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
        containers = status.get("containerStatuses") or []
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
            session_uid=labels.get(Label.SESSION_UID),
            session_name=labels.get(Label.SESSION),
            owner_uid=next((ref["uid"] for ref in meta.get("ownerReferences") or () if ref.get("controller")), None),
            wallet_file=_note(annotations, Label.WALLET_FILE),
            ip=status.get("podIP"),
            node=intern((body.get("spec") or {}).get("nodeName") or "") or None,
            gate=_gate(body.get("spec") or {}),
            ready=any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions") or ()),
            terminating="deletionTimestamp" in meta,
            finished=status.get("phase") in ("Succeeded", "Failed"),
            restarts=sum(c.get("restartCount", 0) for c in containers),
            trouble=_trouble(status),
            unschedulable=_unschedulable(status),
        )

    @property
    def incarnation(self) -> str:
        """Changes when the process that may hold a wallet changes: the pod's uid and its restarts."""
        return f"{self.uid}/{self.restarts}"

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


def _note(annotations: dict[str, str], name: str) -> str | None:
    """An annotation as the operator writes it; what is longer is not its own, and None."""
    text = annotations.get(name)
    return text if text is not None and len(text) <= LONGEST_NOTE else None


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
