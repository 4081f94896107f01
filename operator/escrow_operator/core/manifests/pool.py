"""What a WalletPool consists of: volume claims, Deployments, a Service, a login key and a NetworkPolicy."""

from __future__ import annotations

import hashlib
import json
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
from escrow_operator.models.common import GATEWAY_NAME, OPERATOR_NAME, WALLET_RPC, Label, Role
from escrow_operator.models.pool import DIGEST_DIGITS, Network, Pool
from escrow_operator.models.slot import Slot

SLOT_UID = 65532
"""User and group of the slots, whatever the image sets: the files on a volume have one owner."""

CONFIG_DIR = "/run/wallet-rpc"
CONFIG_FILE = f"{CONFIG_DIR}/wallet-rpc.conf"
SCRATCH_DIR = "/scratch"
DAEMON_CA_DIR = "/run/daemon-ca"
DAEMON_CLIENT_DIR = "/run/daemon-client"

DEFAULT_RESOURCES = {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "1Gi"}}
"""An idle wallet-rpc takes 21 MB and next to no CPU, one with a mainnet wallet about 250 MB. The requests decide
how many slots a node takes: with 50m, thirty open wallets filled two nodes of two cores. No CPU limit: opening a wallet
is bound by CPU, which a limit would stretch."""

READINESS_SECONDS = 1
LIVENESS_SECONDS = 20
LIVENESS_FAILURES = 6
"""For TCP probes: an HTTP probe would wait for the wallet's only thread and kill a wallet that is syncing."""


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
    pool: Pool, role: Role, *, replicas: int, login_key: str, daemon_secrets: str, login_image: str
) -> dict[str, Any]:
    """The Deployment of a role's warm slots: adoption takes a pod out of its selector, and the ReplicaSet replaces it.

    ``login_key`` is the key's id (core.login.key_id): another key changes the template, so that the Deployment replaces
    the free slots whose login is no longer known. So do other ``daemon_secrets`` (empty without any), and another
    spec.daemon.
    """
    selector = free_slot_labels(pool.key, role)
    spec = _pod_spec(pool, role, login_image)
    annotations = {Label.LOGIN_KEY: login_key, Label.DAEMON: pool.spec.daemon.digest}
    annotations |= {Label.DAEMON_SECRETS: daemon_secrets} if daemon_secrets else {}
    annotations[Label.TEMPLATE] = _digest([annotations, spec])
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
                    "annotations": annotations,
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


def _pod_spec(pool: Pool, role: Role, login_image: str) -> dict[str, Any]:
    spec = pool.spec
    volumes: list[dict[str, Any]] = [
        {"name": "wallets", "persistentVolumeClaim": {"claimName": volume_claim_name(pool.key, role)}},
        {"name": "config", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
        {"name": "scratch", "emptyDir": {}},
    ]
    mounts = [
        {"name": "wallets", "mountPath": "/wallets"},
        {"name": "config", "mountPath": CONFIG_DIR, "readOnly": True},
        {"name": "scratch", "mountPath": SCRATCH_DIR},
    ]
    tls = spec.daemon.tls
    if tls.ca_secret_ref:
        volumes.append(_files("daemon-ca", tls.ca_secret_ref.name, "ca.crt"))
        mounts.append({"name": "daemon-ca", "mountPath": DAEMON_CA_DIR, "readOnly": True})
    if tls.client_secret_ref:
        volumes.append(_files("daemon-client", tls.client_secret_ref.name, "tls.crt", "tls.key"))
        mounts.append({"name": "daemon-client", "mountPath": DAEMON_CLIENT_DIR, "readOnly": True})
    pod: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": spec.termination_grace_period_seconds,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": SLOT_UID,
            "runAsGroup": SLOT_UID,
            "fsGroup": SLOT_UID,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "schedulingGates": [{"name": Label.WARM_UP}],
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": {Label.POOL: pool.key.name, Label.ROLE: role.value}},
            }
        ],
        "initContainers": [_login_container(pool, login_image)],
        "containers": [
            {
                "name": WALLET_RPC,
                "image": spec.image,
                "imagePullPolicy": spec.image_pull_policy,
                "command": [WALLET_RPC],
                "args": wallet_rpc_args(pool),
                "workingDir": SCRATCH_DIR,
                "env": _wallet_rpc_env(pool),
                "ports": [{"name": "rpc", "containerPort": RPC_PORT, "protocol": "TCP"}],
                "resources": spec.resources or DEFAULT_RESOURCES,
                "securityContext": _CONTAINER_SECURITY,
                "volumeMounts": mounts,
                "readinessProbe": {
                    "tcpSocket": {"port": RPC_PORT},
                    "periodSeconds": READINESS_SECONDS,
                    "timeoutSeconds": 5,
                },
                "livenessProbe": {
                    "tcpSocket": {"port": RPC_PORT},
                    "initialDelaySeconds": LIVENESS_SECONDS,
                    "periodSeconds": LIVENESS_SECONDS,
                    "timeoutSeconds": 10,
                    "failureThreshold": LIVENESS_FAILURES,
                },
            }
        ],
        "volumes": volumes,
    }
    optional = {
        "imagePullSecrets": [{"name": secret.name} for secret in spec.image_pull_secrets],
        "nodeSelector": spec.node_selector,
        "tolerations": list(spec.tolerations),
        "affinity": spec.affinity,
        "priorityClassName": spec.priority_class_name,
    }
    return pod | {key: value for key, value in optional.items() if value}


def _files(volume: str, secret: str, *keys: str) -> dict[str, Any]:
    """A volume with these keys of a Secret as files, which the slots' group may read."""
    items = [{"key": key, "path": key} for key in keys]
    return {"name": volume, "secret": {"secretName": secret, "items": items, "defaultMode": 0o440}}


_CONTAINER_SECURITY = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}


def _login_container(pool: Pool, image: str) -> dict[str, Any]:
    env: list[dict[str, Any]] = [
        {"name": "CONFIG_FILE", "value": CONFIG_FILE},
        {"name": "POD_UID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}},
        _from_secret("LOGIN_KEY", login_key_name(pool.key), "key"),
    ]
    if pool.spec.daemon.login_secret_ref:
        name = pool.spec.daemon.login_secret_ref.name
        env += [
            _from_secret("DAEMON_USER", name, "username"),
            _from_secret("DAEMON_PASSWORD", name, "password"),
        ]
    return {
        "name": "login",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "-m", "escrow_operator.slot_login"],
        "env": env,
        "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}},
        "securityContext": _CONTAINER_SECURITY,
        "volumeMounts": [{"name": "config", "mountPath": CONFIG_DIR}],
    }


def _wallet_rpc_env(pool: Pool) -> list[dict[str, Any]]:
    env = [{"name": "HOME", "value": SCRATCH_DIR}]
    if not pool.spec.daemon.tls.enabled:
        # Opening a wallet reads the system's certificate authorities for a TLS client that is not used then (that of
        # Monero's messaging system, which no option turns off): 12 ms of CPU, and 0.8 MB while the wallet is open.
        env.append({"name": "SSL_CERT_FILE", "value": "/dev/null"})
    return env


def wallet_rpc_args(pool: Pool) -> list[str]:
    """wallet-rpc's arguments. They contain no secret: the logins are in its configuration file."""
    daemon = pool.spec.daemon
    args = [
        f"--config-file={CONFIG_FILE}",
        "--rpc-bind-ip=0.0.0.0",
        "--confirm-external-bind",
        f"--rpc-bind-port={RPC_PORT}",
        # TLS between pods is left to a service mesh; "autodetect" would make a certificate at every start.
        "--rpc-ssl=disabled",
        "--wallet-dir=/wallets",
        f"--kdf-rounds={pool.spec.kdf_rounds}",
        f"--daemon-address={daemon.address}",
        f"--daemon-ssl={'enabled' if daemon.tls.enabled else 'disabled'}",
        "--trusted-daemon" if daemon.trusted else "--untrusted-daemon",
        "--non-interactive",
        "--log-level=0",
        f"--log-file={SCRATCH_DIR}/wallet-rpc.log",
        "--max-log-file-size=10000000",
        "--max-log-files=1",
        f"--shared-ringdb-dir={SCRATCH_DIR}/ringdb",
    ]
    if daemon.tls.ca_secret_ref:
        args.append(f"--daemon-ssl-ca-certificates={DAEMON_CA_DIR}/ca.crt")
    if daemon.tls.client_secret_ref:
        args += [
            f"--daemon-ssl-private-key={DAEMON_CLIENT_DIR}/tls.key",
            f"--daemon-ssl-certificate={DAEMON_CLIENT_DIR}/tls.crt",
        ]
    if daemon.network in (Network.STAGENET, Network.TESTNET):
        args.append(f"--{daemon.network.value}")
    if daemon.network is Network.REGTEST:
        args.append("--allow-mismatched-daemon-version")
    return args


def _from_secret(variable: str, secret: str, key: str) -> dict[str, Any]:
    return {"name": variable, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}


def _metadata(pool: Pool, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "namespace": pool.key.namespace,
        "labels": {**BASE_LABELS, Label.POOL: pool.key.name},
        "ownerReferences": [owner_reference(pool)],
    }
