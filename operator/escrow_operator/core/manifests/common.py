"""Names, labels and owners of the operator's objects."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from escrow_operator.models.common import API_VERSION, OPERATOR_NAME, WALLET_RPC, Label, Role, SlotState
from escrow_operator.models.pool import Pool, PoolKey
from escrow_operator.models.session import Session, SessionKey

RPC_PORT = 18083
"""wallet-rpc's port in every slot."""

BASE_LABELS = {
    "app.kubernetes.io/managed-by": OPERATOR_NAME,
    "app.kubernetes.io/part-of": OPERATOR_NAME,
}

SLOT_LABELS = {"app.kubernetes.io/managed-by": OPERATOR_NAME, "app.kubernetes.io/name": WALLET_RPC}
"""Labels of all slots in the cluster: the selector by which the operator watches pods."""


def free_slot_labels(pool: PoolKey, role: Role) -> dict[str, str]:
    """Labels of the free slots of a role: the selector of its Deployment."""
    return {Label.POOL: pool.name, Label.ROLE: role.value, Label.SLOT: SlotState.FREE.value}


def slot_url(ip: str, *, tls: bool) -> str:
    """Where wallet-rpc of the pod with this address is called. Raises ValueError for what is no address."""
    host = f"[{ip}]" if ip_address(ip).version == 6 else ip
    return f"{_scheme(tls)}://{host}:{RPC_PORT}"


def _scheme(tls: bool) -> str:
    return "https" if tls else "http"


def volume_claim_name(pool: PoolKey, role: Role) -> str:
    """The PersistentVolumeClaim with the wallet files of a role."""
    return f"{pool.name}-{role.value}-wallets"


def deployment_name(pool: PoolKey, role: Role) -> str:
    """The Deployment that keeps a role's free slots warm."""
    return f"{pool.name}-{role.value}"


def service_name(pool: PoolKey) -> str:
    """The headless Service of a pool, under which the sessions' wallets have their DNS names."""
    return f"{pool.name}-wallets"


def login_key_name(pool: PoolKey) -> str:
    """The Secret with a pool's login key."""
    return f"{pool.name}-slot-login"


def deed_name(session: SessionKey, role: Role) -> str:
    """The deed: the Secret with the file name and password of a wallet that the operator made."""
    return f"{session.name}-{role.value}-wallet"


def connection_name(session: SessionKey, role: Role) -> str:
    """The Secret with which a client connects to a session's wallet."""
    return f"{session.name}-{role.value}-rpc"


def endpoint_slice_name(session: SessionKey) -> str:
    """The EndpointSlice with a session's host names."""
    return f"{session.name}-wallets"


def disruption_budget_name(session: SessionKey) -> str:
    """The PodDisruptionBudget of a session, which there is while its parties sign."""
    return f"{session.name}-signing"


def endpoint_host(session: SessionKey, pool: PoolKey, role: Role) -> str:
    """The DNS name of a session's wallet, which stays the same when the pod behind it is replaced."""
    return f"{session.name}-{role.value}.{service_name(pool)}.{session.namespace}.svc"


def endpoint_url(session: SessionKey, pool: PoolKey, role: Role, *, tls: bool) -> str:
    """URL of a session's wallet RPC inside the cluster."""
    return f"{_scheme(tls)}://{endpoint_host(session, pool, role)}:{RPC_PORT}"


def endpoint_hosts(pool: PoolKey) -> tuple[str, ...]:
    """All names by which wallets of a pool are called, whatever their sessions: those that their certificates have."""
    service = f"*.{service_name(pool)}.{pool.namespace}.svc"
    return service, f"{service}.cluster.local"


def owner_reference(owner: Pool | Session) -> dict[str, Any]:
    """The owner reference by which garbage collection deletes an object with its pool or session."""
    return {
        "apiVersion": API_VERSION,
        "kind": "WalletPool" if isinstance(owner, Pool) else "EscrowSession",
        "name": owner.key.name,
        "uid": owner.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
