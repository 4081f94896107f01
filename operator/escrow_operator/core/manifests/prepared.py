"""What a prepared escrow consists of: a Secret and three pods, which own it.

The pods are owned by their pool and the Secret by the three pods, so that garbage collection deletes all of a prepared
escrow that was never given to a session once its pods are gone. The operator itself may delete no Secret.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from escrow_operator.core.manifests.common import BASE_LABELS, owner_reference
from escrow_operator.core.manifests.session import annotation_path, label_path
from escrow_operator.models.common import GROUP, Label, SlotState
from escrow_operator.models.pool import Pool, PoolKey
from escrow_operator.models.prepared import PreparedEscrow
from escrow_operator.models.session import Session
from escrow_operator.models.slot import Slot

PREPARED_TYPE = f"{GROUP}/prepared-escrow"

ID_BYTES = 4
"""Length of the random part of a prepared escrow's names, in bytes."""


def prepared_name(pool: PoolKey, number: str) -> str:
    """The Secret of a prepared escrow; ``number`` is its random part, in hexadecimal digits."""
    return f"{pool.name}-prepared-{number}"


def prepared_file(pool: PoolKey, number: str) -> str:
    """The wallet file of a prepared escrow. No session's file can have this name: its second part is no DNS label."""
    return f"{pool.namespace}._prepared.{pool.name}.{number}"


def is_prepared_file(namespace: str, file: str) -> bool:
    """Whether the operator chose this file name, for a prepared escrow of this namespace."""
    return file.startswith(f"{namespace}._prepared.")


def preparation(slot: Slot, pool: Pool, name: str, file: str) -> list[dict[str, Any]]:
    """The JSON patch that takes a free slot from its ReplicaSet for the prepared escrow ``name``, atomically."""
    return [
        {"op": "test", "path": "/metadata/resourceVersion", "value": slot.resource_version},
        {"op": "replace", "path": label_path(Label.SLOT), "value": SlotState.PREPARED.value},
        {"op": "add", "path": label_path(Label.PREPARED), "value": name},
        {"op": "add", "path": annotation_path(Label.WALLET_FILE), "value": file},
        {"op": "replace", "path": "/metadata/ownerReferences", "value": [owner_reference(pool)]},
    ]


def prepared_secret(pool: Pool, escrow: PreparedEscrow, slots: Iterable[Slot]) -> dict[str, Any]:
    """The Secret of a prepared escrow: it lives as long as one of its pods."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": escrow.name,
            "namespace": pool.key.namespace,
            "labels": {**BASE_LABELS, Label.POOL: pool.key.name, Label.PREPARED: escrow.name},
            "annotations": {
                f"{GROUP}/description": "Three escrow wallets that wait for a session. Goes with their pods."
            },
            "ownerReferences": [
                {"apiVersion": "v1", "kind": "Pod", "name": slot.name, "uid": slot.uid} for slot in slots
            ],
        },
        "type": PREPARED_TYPE,
        "stringData": escrow.to_secret(),
    }


def proof(escrow: PreparedEscrow) -> list[dict[str, Any]]:
    """The JSON patch that records a prepared escrow's proven address, after which its data cannot change."""
    return [
        {"op": "test", "path": "/metadata/resourceVersion", "value": escrow.version},
        {"op": "add", "path": "/stringData", "value": escrow.to_secret()},
        {"op": "add", "path": "/immutable", "value": True},
    ]


def claim(escrow: PreparedEscrow, session: Session) -> list[dict[str, Any]]:
    """The JSON patch that gives a prepared escrow to a session: the one decision, made once.

    The ``test`` makes it fail if the Secret changed since it was read, as it does when another session got it.
    """
    return [
        {"op": "test", "path": "/metadata/resourceVersion", "value": escrow.version},
        {"op": "test", "path": "/type", "value": PREPARED_TYPE},
        {"op": "add", "path": annotation_path(Label.CLAIMED_BY), "value": session.uid},
    ]


def keeping(escrow: PreparedEscrow, text: str) -> list[dict[str, Any]]:
    """The JSON patch that keeps a prepared escrow's Secret for good, whatever becomes of its pods, and says why.

    Its wallets served a session that the API server does not know of: what it holds may be the only way to its money.
    Nobody can be given it any more; one that was given to a session stays that session's.
    """
    return [
        {"op": "test", "path": "/metadata/resourceVersion", "value": escrow.version},
        {"op": "add", "path": "/metadata/ownerReferences", "value": []},
        {"op": "add", "path": annotation_path(Label.CLAIMED_BY), "value": escrow.claimed_by or text},
        {"op": "add", "path": annotation_path(f"{GROUP}/description"), "value": "Was given to a session before."},
    ]
