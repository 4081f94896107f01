"""Builds the objects that decisions are tried on, as the API server would return them."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

from escrow_operator.core.manifests.common import SLOT_LABELS, owner_reference
from escrow_operator.models.common import Label, Role, format_time
from escrow_operator.models.monero import DaemonInfo, NetType
from escrow_operator.models.pool import Pool
from escrow_operator.models.session import Phase, Session
from escrow_operator.models.slot import TLS_FORMAT, Slot

T0 = datetime(2026, 1, 1, tzinfo=UTC)
_VERSIONS = itertools.count(1)


def at(seconds: float) -> datetime:
    """A moment after T0."""
    return T0 + timedelta(seconds=seconds)


def session_body(
    name: str = "demo",
    *,
    namespace: str = "shop",
    created: datetime = T0,
    phase: Phase | None = None,
    spec: dict[str, Any] | None = None,
    status: dict[str, Any] | None = None,
    annotations: dict[str, str] | None = None,
    generation: int = 1,
) -> dict[str, Any]:
    """An EscrowSession."""
    return {
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": f"uid-{namespace}-{name}",
            "generation": generation,
            "resourceVersion": str(next(_VERSIONS)),
            "creationTimestamp": format_time(created),
            "annotations": annotations or {},
        },
        "spec": {"poolRef": {"name": "default"}, "amount": "0.35"} | (spec or {}),
        "status": (status or {}) | ({"phase": phase.value} if phase else {}),
    }


def session(name: str = "demo", **options: Any) -> Session:
    """The same, parsed."""
    return Session.parse(session_body(name, **options))


def pool_body(
    name: str = "default", *, namespace: str = "shop", uid: str | None = None, spec: dict[str, Any] | None = None
) -> dict[str, Any]:
    """A WalletPool on regtest."""
    return {
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": uid or f"pool-{name}",
            "resourceVersion": str(next(_VERSIONS)),
            "creationTimestamp": format_time(T0),
        },
        "spec": {"image": "wallet", "preparedEscrows": 0, "daemon": {"address": "monerod:18081", "network": "regtest"}}
        | (spec or {}),
    }


def pool(name: str = "default", *, namespace: str = "shop", uid: str | None = None, **spec: Any) -> Pool:
    """The same, parsed."""
    return Pool.parse(pool_body(name, namespace=namespace, uid=uid, spec=spec))


def slot_body(
    name: str,
    role: Role = Role.BUYER,
    *,
    owner: Session | None = None,
    ready: bool = True,
    terminating: bool = False,
    node: str = "node-a",
    created: datetime = T0,
    wallet_file: str | None = None,
    namespace: str = "shop",
    ip: str | None = "10.0.0.1",
    container: str = "a" * 64,
    daemon: str | None = None,
    tls: str | None = None,
) -> dict[str, Any]:
    """A wallet-rpc pod, adopted when it has an owner; ``daemon`` is the digest of the spec.daemon it was made with."""
    labels = {**SLOT_LABELS, Label.POOL: "default", Label.ROLE: role.value, Label.SLOT: "adopted" if owner else "free"}
    annotations = {Label.LOGIN_KEY: "key"}
    if owner:
        labels |= {Label.SESSION: owner.key.name, Label.SESSION_UID: owner.uid}
    if wallet_file:
        annotations[Label.WALLET_FILE] = wallet_file
    if daemon is not None:
        annotations[Label.DAEMON] = daemon
    meta: dict[str, Any] = {
        "name": name,
        "namespace": namespace,
        "uid": f"pod-{name}",
        "resourceVersion": str(next(_VERSIONS)),
        "creationTimestamp": format_time(created),
        "labels": labels,
        "annotations": annotations,
    }
    if owner:
        meta["ownerReferences"] = [owner_reference(owner)]
    if terminating:
        meta["deletionTimestamp"] = format_time(created)
    return {
        "metadata": meta,
        "spec": {"nodeName": node}
        | ({"initContainers": [{"env": [{"name": TLS_FORMAT, "value": tls}]}]} if tls else {}),
        "status": {
            "phase": "Running",
            **({"podIP": ip} if ip else {}),
            "conditions": [{"type": "Ready", "status": str(ready)}],
            "containerStatuses": [
                {"name": "monero-wallet-rpc", "restartCount": 0, "containerID": f"containerd://{container}"}
            ],
        },
    }


def slot(name: str, role: Role = Role.BUYER, **options: Any) -> Slot:
    """The same, parsed."""
    return Slot.parse(slot_body(name, role, **options))


def daemon_info() -> DaemonInfo:
    """What a monerod on regtest says of itself."""
    return DaemonInfo(
        height=10,
        target_height=0,
        nettype=NetType.FAKECHAIN,
        synchronized=True,
        offline=True,
        busy_syncing=False,
        top_block_hash="00" * 32,
        tx_pool_size=0,
        version="0.18.5.3",
        status="OK",
    )
