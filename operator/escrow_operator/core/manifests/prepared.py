"""What a prepared escrow consists of: a Secret and three pods.

The operator may delete no Secret, so whose a Secret is says how long it stays. While it has no proven address it is its
pods', and garbage collection deletes it with them. With an address it is nobody's: a restore of the API server may have
brought it back from before a session got it, and then it may be all that unlocks that session's money. Once the wallets
themselves say that no session had them it can be its pods' again, to go with them; once a session has it, and deeds of
its own with the same content, it is the session's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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


def preparation(slot: Slot, pool: Pool, name: str, file: str, term: str) -> list[dict[str, Any]]:
    """The JSON patch that takes a free slot from its ReplicaSet for the prepared escrow ``name``, atomically."""
    return [
        {"op": "test", "path": "/metadata/resourceVersion", "value": slot.resource_version},
        {"op": "replace", "path": label_path(Label.SLOT), "value": SlotState.PREPARED.value},
        {"op": "add", "path": label_path(Label.PREPARED), "value": name},
        {"op": "add", "path": annotation_path(Label.WALLET_FILE), "value": file},
        {"op": "add", "path": annotation_path(Label.TERM), "value": term},
        {"op": "replace", "path": "/metadata/ownerReferences", "value": [owner_reference(pool)]},
    ]


def prepared_secret(pool: Pool, escrow: PreparedEscrow, slots: Iterable[Slot], term: str) -> dict[str, Any]:
    """The Secret of an escrow that is being prepared."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": escrow.name,
            "namespace": pool.key.namespace,
            "labels": {**BASE_LABELS, Label.POOL: pool.key.name, Label.PREPARED: escrow.name},
            "annotations": {
                f"{GROUP}/description": "Opens three escrow wallets that wait for a session.",
                Label.TERM: term,
            },
            "ownerReferences": _owners(slots),
        },
        "type": PREPARED_TYPE,
        "stringData": escrow.to_secret(),
    }


def taking_up(escrow: PreparedEscrow, term: str) -> list[dict[str, Any]]:
    """The JSON patch that makes all patches fail that are based on what the Secret was before: it is about to end."""
    return [
        {"op": "test", "path": "/metadata/resourceVersion", "value": escrow.version},
        _annotated(escrow, {Label.TERM: term}),
    ]


def proof(escrow: PreparedEscrow) -> list[dict[str, Any]]:
    """The JSON patch that records a prepared escrow's proven address; from then on its data cannot change."""
    return [
        {"op": "test", "path": "/metadata/resourceVersion", "value": escrow.version},
        {"op": "add", "path": "/stringData", "value": escrow.to_secret()},
        {"op": "add", "path": "/immutable", "value": True},
        {"op": "remove", "path": "/metadata/ownerReferences"},
    ]


def discarding(escrow: PreparedEscrow, slots: Iterable[Slot]) -> list[dict[str, Any]]:
    """The JSON patch that lets a prepared escrow's Secret go with its pods, since no session ever had it."""
    return [
        {"op": "test", "path": "/metadata/resourceVersion", "value": escrow.version},
        {"op": "add", "path": "/metadata/ownerReferences", "value": _owners(slots)},
    ]


def claim(escrow: PreparedEscrow, session: Session, term: str) -> list[dict[str, Any]]:
    """The JSON patch that gives a prepared escrow to a session: the one decision, made once. It goes with the session.

    The ``test`` makes it fail if the Secret changed since it was read, as it does when another session got it.
    """
    return [
        {"op": "test", "path": "/metadata/resourceVersion", "value": escrow.version},
        {"op": "test", "path": "/type", "value": PREPARED_TYPE},
        _annotated(escrow, {Label.CLAIMED_BY: session.uid, Label.TERM: term}),
        {"op": "add", "path": "/metadata/ownerReferences", "value": [owner_reference(session)]},
    ]


def keeping(escrow: PreparedEscrow, text: str) -> list[dict[str, Any]]:
    """The JSON patch that keeps a prepared escrow's Secret for good, says why, and gives it to no session any more.

    Its wallets may have served a session that the API server does not know of: it may be the only way to its money.
    """
    return [
        {"op": "test", "path": "/metadata/resourceVersion", "value": escrow.version},
        {"op": "add", "path": "/metadata/ownerReferences", "value": []},
        _annotated(
            escrow,
            {
                Label.CLAIMED_BY: escrow.claimed_by or text,
                f"{GROUP}/description": f"Opens three escrow wallets: {text}.",
            },
        ),
    ]


def _annotated(escrow: PreparedEscrow, more: Mapping[str, str]) -> dict[str, Any]:
    """The operation that adds annotations. One that was restored from a backup may have none yet."""
    return {"op": "add", "path": "/metadata/annotations", "value": {**escrow.annotations, **more}}


def _owners(slots: Iterable[Slot]) -> list[dict[str, Any]]:
    return [{"apiVersion": "v1", "kind": "Pod", "name": slot.name, "uid": slot.uid} for slot in slots]
