"""The objects of simulated escrows: pools on simulated nodes, and sessions whose wallets need no files."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.fleet.fakes import DAEMON_PORT
from benchmarks.fleet.kwok import SELECTOR, TOLERATIONS
from escrow_operator.core.manifests.common import volume_claim_name
from escrow_operator.core.secretuse import SecretUse
from escrow_operator.models.common import API_VERSION, ROLES, Label
from escrow_operator.models.pool import PoolKey
from harness.api import Body

ADDRESS = "4" + "B" * 94
PASSWORD_SECRET = "wallet-password"
STORAGE_CLASS = "simulated"
LABELS = {"xmr-escrow.dev/simulation": "true"}


def storage_class() -> Body:
    """A class without a provisioner: the claims of simulated pods bind to volumes that nobody mounts."""
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": STORAGE_CLASS, "labels": LABELS},
        "provisioner": "kubernetes.io/no-provisioner",
        "volumeBindingMode": "Immediate",
    }


def volumes(pool: PoolKey) -> Iterator[Body]:
    """The three volumes that a pool's claims bind to."""
    for role in ROLES:
        claim = volume_claim_name(pool, role)
        yield {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": f"{pool.namespace}-{claim}", "labels": LABELS},
            "spec": {
                "capacity": {"storage": "1Gi"},
                "accessModes": ["ReadWriteMany"],
                "storageClassName": STORAGE_CLASS,
                "persistentVolumeReclaimPolicy": "Retain",
                "claimRef": {
                    "apiVersion": "v1",
                    "kind": "PersistentVolumeClaim",
                    "namespace": pool.namespace,
                    "name": claim,
                },
                "hostPath": {"path": "/nonexistent"},
            },
        }


def pool(key: PoolKey, *, image: str, daemon: str, warm_slots: int, daemon_port: int = DAEMON_PORT) -> Body:
    """A WalletPool whose slots run on simulated nodes. ``daemon`` is the address of the fake monerod's pod."""
    return {
        "apiVersion": API_VERSION,
        "kind": "WalletPool",
        "metadata": {"name": key.name},
        "spec": {
            "image": image,
            "daemon": {"address": f"{daemon}:{daemon_port}", "network": "regtest", "trusted": True},
            "warmSlots": warm_slots,
            "preparedEscrows": 0,
            "storage": {"storageClassName": STORAGE_CLASS, "size": "1Gi", "accessModes": ["ReadWriteMany"]},
            "nodeSelector": SELECTOR,
            "tolerations": TOLERATIONS,
            "terminationGracePeriodSeconds": 30,
        },
    }


def session(name: str, pool_name: str) -> Body:
    """An EscrowSession that opens wallets of its own."""
    return {
        "apiVersion": API_VERSION,
        "kind": "EscrowSession",
        "metadata": {"name": name},
        "spec": {
            "poolRef": {"name": pool_name},
            "setup": "Open",
            "wallets": {
                role.value: {"file": f"{name}-{role.value}", "secretRef": {"name": PASSWORD_SECRET}} for role in ROLES
            },
            "address": ADDRESS,
            "amount": "1",
        },
    }


def password_secret() -> Body:
    """One password for all: reading it is what costs the operator a request."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": PASSWORD_SECRET, "labels": {Label.SECRET_USE: SecretUse.WALLET_PASSWORD.value}},
        "stringData": {"password": "no wallet has this"},
    }
