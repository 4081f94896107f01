"""Which objects are a pool's own: the operator uses, changes and deletes no others for it, whatever their names are.

The names follow from the pool's name, so a tenant who may create objects in its namespace can create them first: a
volume claim whose volume he has, a login key that he knows, a Service that leads elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from escrow_operator.core.manifests.common import BASE_LABELS, volume_claim_name
from escrow_operator.core.poolstatus import Problem
from escrow_operator.models.common import API_VERSION, Label, Role
from escrow_operator.models.pool import Pool


class Ownership(StrEnum):
    """Whose an object is."""

    OURS = "ours"
    FORMER = "former"
    """Of a deleted pool of the same name: garbage collection deletes it."""
    FOREIGN = "foreign"


def ownership(pool: Pool, body: Mapping[str, Any]) -> Ownership:
    """Whose an object is that garbage collection deletes with its pool, judged by its labels and its controller's uid.

    A tenant can write the labels before the pool exists, but cannot know its uid.
    """
    meta = body["metadata"]
    if not _has_labels(body, {**BASE_LABELS, Label.POOL: pool.key.name}):
        return Ownership.FOREIGN
    for owner in meta.get("ownerReferences") or ():
        if not owner.get("controller") or (owner["apiVersion"], owner["kind"]) != (API_VERSION, "WalletPool"):
            continue
        if owner["uid"] == pool.uid:
            return Ownership.OURS
        if owner["name"] == pool.key.name:
            return Ownership.FORMER
    return Ownership.FOREIGN


def object_problem(pool: Pool, kind: str, body: Mapping[str, Any]) -> Problem | None:
    """Why the pool cannot use an existing object; None when the object is its own."""
    name = body["metadata"]["name"]
    match ownership(pool, body):
        case Ownership.OURS:
            return None
        case Ownership.FORMER:
            return Problem(
                "FormerPool",
                f"{kind} {name} is of a deleted pool of this name. Kubernetes is about to remove it.",
                passes=True,
            )
        case Ownership.FOREIGN:
            return Problem(
                "ObjectNotOurs",
                f"{kind} {name} exists and is not of this pool. It is left alone, and no slots are started. Delete or"
                " rename it, or make a pool of another name.",
            )


def volume_claim_problem(pool: Pool, role: Role, body: Mapping[str, Any]) -> Problem | None:
    """Why the pool cannot use an existing volume claim; None when it is its own.

    A claim outlives its pool and so has no owner: only its labels tell whose it is.
    """
    labels = {
        "app.kubernetes.io/managed-by": BASE_LABELS["app.kubernetes.io/managed-by"],
        Label.POOL: pool.key.name,
        Label.ROLE: role.value,
    }
    if _has_labels(body, labels):
        return None
    name = volume_claim_name(pool.key, role)
    command = " ".join(f"{key}={value}" for key, value in labels.items())
    return Problem(
        "VolumeClaimNotOurs",
        f"PersistentVolumeClaim {name} exists and is not of this pool: no slots are started on it. Delete it; or, if it"
        f" has this pool's wallets, say so: kubectl -n {pool.key.namespace} label pvc {name} --overwrite {command}",
    )


def _has_labels(body: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    return labels.items() <= (body["metadata"].get("labels") or {}).items()
