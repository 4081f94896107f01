"""The pools' login keys, from which the logins of their wallet pods derive.

The operator publishes them in one Secret beside the gateway, which therefore may read no Secret of any other namespace.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import NamedTuple

from escrow_gateway.cache import Recent
from escrow_gateway.sessions import OpenWallet, away
from escrow_operator.adapters.kube import SECRETS, Kube
from escrow_operator.adapters.kube_errors import KubeError, NotFoundError
from escrow_operator.core.login import derive_login
from escrow_operator.core.manifests.common import endpoint_hosts
from escrow_operator.core.manifests.gateway import login_entry
from escrow_operator.core.wallet_tls import derive_certificate
from escrow_operator.models.monero import Login

KEEP_SECONDS = 300.0
AGAIN_SECONDS = 2.0
"""A key that is missing, or that a wallet refused, is looked for again after this at the earliest."""


class Access(NamedTuple):
    """A pod's login, and the SHA-256 of its certificate; None where it is served without TLS."""

    login: Login
    certificate: bytes | None


class Logins:
    """Reads the Secret when a key is asked for; no watch."""

    def __init__(self, kube: Kube, namespace: str, secret: str) -> None:
        self._kube = kube
        self._namespace, self._secret = namespace, secret
        self._keys: Recent[None, Mapping[str, str]] = Recent(1, KEEP_SECONDS)

    async def access(self, wallet: OpenWallet, *, fresh: bool = False) -> Access | None:
        """What opens the wallet's pod; None when the operator has not published its pool's key. Raises Problem."""
        entry = login_entry(wallet.session.pool_key)
        within = AGAIN_SECONDS if fresh else None
        keys = await self._keys.get(None, self._fetch, within=within)
        if entry not in keys:
            keys = await self._keys.get(None, self._fetch, within=AGAIN_SECONDS)
        key = keys.get(entry)
        if not key:
            return None
        hosts = endpoint_hosts(wallet.session.pool_key)
        certificate = derive_certificate(key, wallet.pod_uid, hosts).digest if wallet.tls else None
        return Access(derive_login(key, wallet.pod_uid), certificate)

    async def check(self) -> None:
        """Raises Problem unless the API server answers: without it no call can be served."""
        await self._keys.get(None, self._fetch, within=AGAIN_SECONDS)

    async def _fetch(self) -> Mapping[str, str]:
        try:
            secret = await self._kube.get(SECRETS, self._namespace, self._secret)
        except NotFoundError:
            # The operator makes it with the first pool.
            return {}
        except KubeError:
            raise away() from None
        return {name: key for name, text in (secret.get("data") or {}).items() if (key := _decoded(text))}


def _decoded(text: str) -> str | None:
    try:
        return base64.b64decode(text, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return None
