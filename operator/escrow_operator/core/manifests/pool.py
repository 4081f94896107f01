"""What a WalletPool consists of: volume claims, Deployments, a Service, a login key and a NetworkPolicy."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from escrow_operator.core.manifests.common import (
    BASE_LABELS,
    RPC_PORT,
    SLOT_LABELS,
    deployment_name,
    free_slot_labels,
    login_key_name,
    owner_reference,
    service_name,
    volume_claim_name,
)
from escrow_operator.core.manifests.slot import DEFAULT_OPTIONS, SlotOptions, pod_spec
from escrow_operator.models.common import GATEWAY_NAME, OPERATOR_NAME, Label, Role
from escrow_operator.models.pool import DIGEST_DIGITS, Pool
from escrow_operator.models.slot import Slot


def volume_claim(pool: Pool, role: Role) -> dict[str, Any]:
    """The volume claim for a role's wallet files.

    It has no owner: nothing that could unlock money is deleted with the pool.
    """
    storage = pool.spec.storage
    spec: dict[str, Any] = {
        "accessModes": list(storage.access_modes),
        "resources": {"requests": {"storage": storage.size}},
    }
    if storage.storage_class_name:
        spec["storageClassName"] = storage.storage_class_name
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": volume_claim_name(pool.key, role),
            "namespace": pool.key.namespace,
            "labels": {**BASE_LABELS, Label.POOL: pool.key.name, Label.ROLE: role.value},
        },
        "spec": spec,
    }


def login_key_secret(pool: Pool, key: str) -> dict[str, Any]:
    """The Secret with the key from which the slots' logins derive. The pool owns it, since it unlocks no money."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": _metadata(pool, login_key_name(pool.key)),
        "type": "Opaque",
        "stringData": {"key": key},
    }


def service(pool: Pool) -> dict[str, Any]:
    """The headless Service, without a selector: each session adds an EndpointSlice with its three host names."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": _metadata(pool, service_name(pool.key)),
        "spec": {
            "clusterIP": "None",
            "ports": [{"name": "rpc", "port": RPC_PORT, "targetPort": RPC_PORT, "protocol": "TCP"}],
        },
    }


def network_policy(pool: Pool, operator_namespace: str) -> dict[str, Any]:
    """The NetworkPolicy that admits only operator, gateway and the pool's ``clients`` to the wallet pods."""
    ours = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": operator_namespace}},
        "podSelector": {
            "matchExpressions": [
                {"key": "app.kubernetes.io/name", "operator": "In", "values": [OPERATOR_NAME, GATEWAY_NAME]}
            ]
        },
    }
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": _metadata(pool, service_name(pool.key)),
        "spec": {
            "podSelector": {"matchLabels": {**SLOT_LABELS, Label.POOL: pool.key.name}},
            "policyTypes": ["Ingress"],
            "ingress": [
                {
                    "from": [ours, *pool.spec.network_policy.clients],
                    "ports": [{"port": RPC_PORT, "protocol": "TCP"}],
                }
            ],
        },
    }


def deployment(
    pool: Pool,
    role: Role,
    *,
    replicas: int,
    login_key: str,
    daemon_secrets: str,
    login_image: str,
    options: SlotOptions = DEFAULT_OPTIONS,
    annotations: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """The Deployment of a role's warm slots: adoption takes a pod out of its selector, and the ReplicaSet replaces it.

    ``login_key`` is the key's id (core.login.key_id): another key changes the template, so that the Deployment replaces
    the free slots whose login is no longer known. So do other ``daemon_secrets`` (empty without any), another
    spec.daemon, other ``options`` and other ``annotations``, which are the release's.
    """
    selector = free_slot_labels(pool.key, role)
    spec = pod_spec(pool, role, login_image, options)
    notes = {**(annotations or {}), Label.LOGIN_KEY: login_key, Label.DAEMON: pool.spec.daemon.digest}
    notes |= {Label.DAEMON_SECRETS: daemon_secrets} if daemon_secrets else {}
    notes[Label.TEMPLATE] = _digest([notes, spec])
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _metadata(pool, deployment_name(pool.key, role))
        | {"labels": {**BASE_LABELS, Label.POOL: pool.key.name, Label.ROLE: role.value}},
        "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": 1,
            "selector": {"matchLabels": selector},
            "template": {
                "metadata": {
                    "labels": {**BASE_LABELS, **SLOT_LABELS, **selector},
                    "annotations": notes,
                },
                "spec": spec,
            },
        },
    }


def template_of(deployment: dict[str, Any]) -> str:
    """The digest of a Deployment's pod template, which its pods carry."""
    digest: str = deployment["spec"]["template"]["metadata"]["annotations"][Label.TEMPLATE]
    return digest


def _digest(parts: list[Any]) -> str:
    text = json.dumps(parts, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:DIGEST_DIGITS]


def ungate(slot: Slot) -> list[dict[str, Any]]:
    """The JSON patch that lets a fresh slot be scheduled."""
    path = f"/spec/schedulingGates/{slot.gate}"
    return [{"op": "test", "path": f"{path}/name", "value": Label.WARM_UP}, {"op": "remove", "path": path}]


def _metadata(pool: Pool, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "namespace": pool.key.namespace,
        "labels": {**BASE_LABELS, Label.POOL: pool.key.name},
        "ownerReferences": [owner_reference(pool)],
    }
