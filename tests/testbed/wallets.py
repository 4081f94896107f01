"""Clients of wallet pods for those who know a pool's login key, or have a connection Secret."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from escrow_operator.adapters.wallet_rpc import WalletRpc
from escrow_operator.core.login import derive_login
from escrow_operator.core.manifests.common import endpoint_hosts
from escrow_operator.core.wallet_tls import derive_certificate
from escrow_operator.models.monero import Login
from escrow_operator.models.slot import Slot


def by_connection(url: str, secret: Mapping[str, str]) -> WalletRpc:
    """Of what a connection Secret names, at the URL to which its port is forwarded."""
    login = Login(secret["username"], secret["password"])
    authority = secret.get("ca.crt")
    if authority is None:
        return WalletRpc(url, login)
    digest = x509.load_pem_x509_certificate(authority.encode()).fingerprint(hashes.SHA256())
    return WalletRpc(secured(url), login, certificate=digest)


def by_key(url: str, pod: dict[str, Any], key: str) -> WalletRpc:
    """Of a pod, at the URL to which its port is forwarded."""
    login, digest = access(pod, key)
    return WalletRpc(url if digest is None else secured(url), login, certificate=digest)


def access(pod: dict[str, Any], key: str) -> tuple[Login, bytes | None]:
    """A pod's login, and the SHA-256 of its certificate if it has one."""
    slot = Slot.parse(pod)
    certificate = derive_certificate(key, slot.uid, endpoint_hosts(slot.pool)) if slot.tls else None
    return derive_login(key, slot.uid), certificate.digest if certificate else None


def secured(url: str) -> str:
    """The same URL for a server with TLS."""
    return url.replace("http://", "https://")
