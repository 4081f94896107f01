"""Tells the gateway the pools' login keys, in one Secret of the operator's own namespace.

So the gateway, which people talk to, may read no Secret of the namespaces where deeds are. What cannot be told makes no
pool worse: its wallets are served to whoever has a connection Secret, and the gateway says that it lacks the key.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import math

from escrow_operator.adapters.kube import SECRETS
from escrow_operator.adapters.kube_errors import ConflictError, KubeError, NotFoundError
from escrow_operator.core.manifests.gateway import login_entry, logins_secret
from escrow_operator.models.pool import Pool, PoolKey
from escrow_operator.services.context import Context
from escrow_operator.services.wallets.clients import WalletClients

_LOG = logging.getLogger(__name__)

LONGEST_KEY = 64
"""Characters: as the operator's own have. A tenant can write what he likes into his pool's Secret."""

PAUSE_SECONDS = 30.0
"""Nothing is written for so long after a write that was refused: the Secret may be full."""

MOST_IN_NAMESPACE = 50
"""Pools of one namespace that are published: a Secret has 1 MiB, and nobody is to fill it for all others."""


class GatewayLogins:
    """Keeps the Secret in step with the pools; nothing is done where the release has no gateway."""

    def __init__(self, ctx: Context, wallets: WalletClients) -> None:
        self._kube, self._store = ctx.kube, ctx.store
        self._namespace, self._name = ctx.settings.own_namespace, ctx.settings.logins_secret
        self._wallets = wallets
        self._told: dict[str, str] | None = None
        """The Secret's data as last seen; None before it was read."""
        self._turn = asyncio.Lock()
        self._clock = ctx.clock
        self._refused_at = -math.inf

    async def publish(self, pool: Pool) -> None:
        """Tell the key of a pool whose key is known."""
        key = self._wallets.login_key(pool) if self._name else None
        if key is not None:
            await self._try(login_entry(pool.key), key if len(key) <= LONGEST_KEY else None)

    async def withdraw(self, pool: PoolKey) -> None:
        """Take back the key of a pool that is about to be gone."""
        if self._name:
            await self._try(login_entry(pool), None)

    async def prune(self) -> None:
        """Read the Secret again, and take back the keys of pools that are gone."""
        if not self._name:
            return
        async with self._turn:
            self._told = None
        there = {login_entry(key) for key in self._store.pools}
        try:
            gone = [entry for entry in await self._read() if entry not in there]
        except KubeError as error:
            _LOG.warning("the Secret %s could not be read: %s", self._name, error)
            return
        for entry in gone:
            await self._try(entry, None)

    async def _try(self, entry: str, key: str | None) -> None:
        if self._clock.monotonic() - self._refused_at < PAUSE_SECONDS:
            return
        try:
            async with self._turn:
                await self._write(entry, key)
        except KubeError as error:
            self._told = None
            self._refused_at = self._clock.monotonic()
            _LOG.warning("the gateway was not told of pool %s: %s", entry, error)

    async def _write(self, entry: str, key: str | None) -> None:
        told = await self._read()
        text = None if key is None else base64.b64encode(key.encode()).decode()
        if told.get(entry) == text:
            return
        if text is not None and entry not in told and _number_beside(told, entry) >= MOST_IN_NAMESPACE:
            _LOG.warning("the gateway is told of %d pools of a namespace, and not of %s", MOST_IN_NAMESPACE, entry)
            return
        patch = {"data": {entry: text}}
        try:
            body = await self._kube.merge(SECRETS, self._namespace, self._name, patch)
        except NotFoundError:
            if text is None:
                return
            try:
                body = await self._kube.create(SECRETS, self._namespace, logins_secret(self._name, {entry: text}))
            except ConflictError:
                body = await self._kube.merge(SECRETS, self._namespace, self._name, patch)
        self._told = dict(body.get("data") or {})

    async def _read(self) -> dict[str, str]:
        if self._told is None:
            try:
                self._told = dict((await self._kube.get(SECRETS, self._namespace, self._name)).get("data") or {})
            except NotFoundError:
                self._told = {}
        return self._told


def _number_beside(told: dict[str, str], entry: str) -> int:
    namespace = entry.partition(".")[0]
    return sum(1 for other in told if other.partition(".")[0] == namespace)
