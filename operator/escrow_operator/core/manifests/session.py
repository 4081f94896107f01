"""What an EscrowSession consists of: adopted slots, deeds, connection Secrets and host names."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

from escrow_operator.core.manifests.common import (
    BASE_LABELS,
    RPC_PORT,
    SLOT_LABELS,
    connection_name,
    deed_name,
    disruption_budget_name,
    endpoint_host,
    endpoint_slice_name,
    endpoint_url,
    owner_reference,
    service_name,
)
from escrow_operator.core.wallet_tls import WalletCertificate
from escrow_operator.models.common import GROUP, ROLES, Label, Role, SlotState
from escrow_operator.models.deed import Deed
from escrow_operator.models.monero import Login
from escrow_operator.models.session import Session
from escrow_operator.models.slot import Slot

DEED_TYPE = f"{GROUP}/wallet-deed"
CONNECTION_TYPE = f"{GROUP}/wallet-connection"


def adoption(slot: Slot, session: Session, wallet_file: str, term: str) -> list[dict[str, Any]]:
    """The JSON patch that moves a free slot from its ReplicaSet to a session, atomically.

    The ``test`` makes it fail if the pod has changed since it was read. Since one patch leaves the selector and changes
    the controller, there is no moment when two controllers, or none, own the pod. Adoption is final: an adopted slot,
    which may have had a wallet open, is deleted when the session has no more use for it.
    """
    return [
        {"op": "test", "path": "/metadata/resourceVersion", "value": slot.resource_version},
        {"op": "replace", "path": label_path(Label.SLOT), "value": SlotState.ADOPTED.value},
        {"op": "add", "path": label_path(Label.SESSION), "value": session.key.name},
        {"op": "add", "path": label_path(Label.SESSION_UID), "value": session.uid},
        {"op": "add", "path": annotation_path(Label.WALLET_FILE), "value": wallet_file},
        {"op": "add", "path": annotation_path(Label.TERM), "value": term},
        {"op": "replace", "path": "/metadata/ownerReferences", "value": [owner_reference(session)]},
    ]


def note_wallet_file(slot: Slot, wallet_file: str, term: str) -> list[dict[str, Any]]:
    """The JSON patch that records on an adopted slot which wallet file it is about to hold, and who says so.

    It fails if somebody who leads by now has noted on the slot: it holds what they noted. Kubelet may have changed it.
    """
    seen = [{"op": "test", "path": annotation_path(Label.TERM), "value": slot.term}] if slot.term else []
    return [
        {"op": "test", "path": "/metadata/uid", "value": slot.uid},
        *seen,
        {"op": "add", "path": annotation_path(Label.TERM), "value": term},
        {"op": "add", "path": annotation_path(Label.WALLET_FILE), "value": wallet_file},
    ]


def deed_secret(session: Session, deed: Deed, term: str) -> dict[str, Any]:
    """The Secret of a deed. It has no owner: it must outlive the session."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": deed_name(session.key, deed.role),
            "namespace": session.key.namespace,
            "labels": {
                **BASE_LABELS,
                Label.SESSION: session.key.name,
                Label.ROLE: deed.role.value,
                Label.POOL: session.spec.pool_ref.name,
            },
            "annotations": {
                f"{GROUP}/description": "Opens an escrow wallet. Whoever deletes this may lose the money in it.",
                Label.TERM: term,
            },
        },
        "type": DEED_TYPE,
        "stringData": deed.to_secret(),
    }


def deed_patch(deed: Deed, term: str) -> list[dict[str, Any]]:
    """The JSON patch that brings a deed's Secret to what the deed is, sealed if it is, and says who did.

    The ``test`` makes it fail if the Secret has changed since the deed was read.
    """
    return [
        {"op": "test", "path": "/metadata/resourceVersion", "value": deed.version},
        *_annotated(deed.is_annotated, Label.TERM, term),
        {"op": "add", "path": "/stringData", "value": deed.to_secret()},
        *([{"op": "add", "path": "/immutable", "value": True}] if deed.sealed else []),
    ]


def settled_patch(deed: Mapping[str, Any], text: str) -> list[dict[str, Any]]:
    """The JSON patch that records on a deed, as ``text``, how the trade of its wallet ended."""
    meta = deed["metadata"]
    return [
        {"op": "test", "path": "/metadata/resourceVersion", "value": meta["resourceVersion"]},
        *_annotated("annotations" in meta, Label.SETTLED, text),
    ]


def connection_secret(
    session: Session, slot: Slot, login: Login, certificate: WalletCertificate | None
) -> dict[str, Any]:
    """The Secret with which a client of one role connects. The session owns both Secret and slot.

    ``certificate`` is the slot's, for clients to trust and no other; None without TLS.
    """
    told = {
        "url": endpoint_url(session.key, slot.pool, slot.role, tls=bool(slot.tls)),
        "host": endpoint_host(session.key, slot.pool, slot.role),
        "port": str(RPC_PORT),
        "username": login.user,
        "password": login.password,
        **({"ca.crt": certificate.pem} if certificate else {}),
    }
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": connection_name(session.key, slot.role),
            "namespace": session.key.namespace,
            "labels": _labels(session) | {Label.ROLE: slot.role.value},
            "ownerReferences": [owner_reference(session)],
        },
        "type": CONNECTION_TYPE,
        # Not as stringData: of that the API server removes no key that is no longer applied.
        "data": {key: base64.b64encode(text.encode()).decode() for key, text in told.items()},
    }


def withdrawal() -> list[dict[str, Any]]:
    """The JSON patch that empties a connection Secret. It fails on a Secret of another type."""
    return [
        {"op": "test", "path": "/type", "value": CONNECTION_TYPE},
        {"op": "add", "path": "/data", "value": {}},
    ]


def endpoint_slice(session: Session, slots: Mapping[Role, Slot]) -> dict[str, Any] | None:
    """The session's host names, under its pool's headless Service; None while no pod has an address.

    A pod that cannot be called stays listed but not ready: DNS does not return its address, which after a restart of
    its node may be another pod's.
    """
    placed = {role: slot for role, slot in slots.items() if slot.ip is not None}
    if not placed:
        return None
    some = next(iter(placed.values()))
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": endpoint_slice_name(session.key),
            "namespace": session.key.namespace,
            "labels": _labels(session)
            | {
                "kubernetes.io/service-name": service_name(some.pool),
                "endpointslice.kubernetes.io/managed-by": BASE_LABELS["app.kubernetes.io/managed-by"],
            },
            "ownerReferences": [owner_reference(session)],
        },
        "addressType": "IPv6" if ":" in (some.ip or "") else "IPv4",
        "endpoints": [
            {
                "addresses": [slot.ip],
                "hostname": f"{session.key.name}-{role.value}",
                "conditions": {"ready": slot.usable},
                "nodeName": slot.node,
                "targetRef": {"kind": "Pod", "namespace": slot.namespace, "name": slot.name, "uid": slot.uid},
            }
            for role, slot in placed.items()
        ],
        "ports": [{"name": "rpc", "port": RPC_PORT, "protocol": "TCP"}],
    }


def disruption_budget(session: Session) -> dict[str, Any]:
    """The PodDisruptionBudget that lets nobody evict a pod of the session.

    A number of pods, not a percentage or ``maxUnavailable``: those ask the pods' controller for its scale, and sessions
    have none. A pod that is not ready may be evicted, as nobody can sign with it.
    """
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {
            "name": disruption_budget_name(session.key),
            "namespace": session.key.namespace,
            "labels": _labels(session),
            "ownerReferences": [owner_reference(session)],
        },
        "spec": {
            "minAvailable": len(ROLES),
            "selector": {"matchLabels": {**SLOT_LABELS, Label.SESSION_UID: session.uid}},
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }


def _annotated(has_others: bool, name: str, value: str) -> list[dict[str, Any]]:
    """The operations that set an annotation; a Secret that was restored from a backup may have none yet."""
    first = [] if has_others else [{"op": "add", "path": "/metadata/annotations", "value": {}}]
    return [*first, {"op": "add", "path": annotation_path(name), "value": value}]


def _labels(session: Session) -> dict[str, str]:
    return {**BASE_LABELS, Label.SESSION: session.key.name, Label.POOL: session.spec.pool_ref.name}


def label_path(name: str) -> str:
    """The JSON pointer to a label."""
    return "/metadata/labels/" + name.replace("/", "~1")


def annotation_path(name: str) -> str:
    """The JSON pointer to an annotation."""
    return "/metadata/annotations/" + name.replace("/", "~1")
