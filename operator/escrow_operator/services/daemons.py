"""Watches the monerod of each pool: one cheap request at a time, however many sessions there are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from escrow_operator.adapters.kube import SECRETS, Kube, KubeError
from escrow_operator.adapters.monerod import Daemon
from escrow_operator.adapters.tls import client_context
from escrow_operator.core.daemon import DaemonView, daemon_condition
from escrow_operator.errors import DaemonError
from escrow_operator.models.deed import secret_data
from escrow_operator.models.monero import ChainTransaction, Login
from escrow_operator.models.pool import DaemonSpec, Pool, PoolKey


@dataclass
class _Watched:
    spec: DaemonSpec
    client: Daemon


class DaemonService:
    """The last view of each pool's monerod. ``changed`` is called when wallets may have news."""

    def __init__(self, kube: Kube, changed: Callable[[PoolKey], None]) -> None:
        self._kube = kube
        self._changed = changed
        self._watched: dict[PoolKey, _Watched] = {}
        self._views: dict[PoolKey, DaemonView] = {}
        self._marks: dict[PoolKey, tuple[Any, ...]] = {}

    def view(self, pool: PoolKey) -> DaemonView | None:
        """What monerod last said; None before it was first asked."""
        return self._views.get(pool)

    async def poll(self, pool: Pool) -> None:
        """Ask once. A new block, another mempool size or another verdict is a change."""
        try:
            watched = await self._connection(pool)
            view = DaemonView(await watched.client.info())
        except (DaemonError, KubeError, ValueError) as error:
            view = DaemonView(None, str(error))
        self._views[pool.key] = view
        info = view.info
        mark = (
            daemon_condition(view, pool.spec.daemon).reason,
            info and info.top_block_hash,
            info and info.tx_pool_size,
        )
        if mark != self._marks.get(pool.key):
            self._marks[pool.key] = mark
            self._changed(pool.key)

    async def transaction(self, pool: Pool, txid: str) -> ChainTransaction | None:
        """What monerod knows of a transaction. Raises DaemonError."""
        return await (await self._connection(pool)).client.transaction(txid)

    async def forget(self, pool: PoolKey) -> None:
        """The pool is gone."""
        self._views.pop(pool, None)
        self._marks.pop(pool, None)
        watched = self._watched.pop(pool, None)
        if watched:
            await watched.client.aclose()

    async def close(self) -> None:
        """End all connections."""
        for pool in list(self._watched):
            await self.forget(pool)

    async def _connection(self, pool: Pool) -> _Watched:
        """The connection that fits the pool's spec. Raises KubeError or ValueError for what its Secrets lack."""
        spec = pool.spec.daemon
        watched = self._watched.get(pool.key)
        if watched and watched.spec == spec:
            return watched
        login = ca = None
        if spec.login_secret_ref:
            data = await self._secret(pool, spec.login_secret_ref.name, "username", "password")
            login = Login(data["username"], data["password"])
        if spec.tls.ca_secret_ref:
            ca = (await self._secret(pool, spec.tls.ca_secret_ref.name, "ca.crt"))["ca.crt"]
        fresh = _Watched(spec, Daemon(spec.url, login=login, verify=client_context(ca)))
        if watched:
            await watched.client.aclose()
        self._watched[pool.key] = fresh
        return fresh

    async def _secret(self, pool: Pool, name: str, *keys: str) -> dict[str, str]:
        data = secret_data(await self._kube.get(SECRETS, pool.key.namespace, name))
        missing = [key for key in keys if key not in data]
        if missing:
            raise ValueError(f"Secret {name} has no key {', '.join(missing)}")
        return data
