"""Polls each monerod: at most one cheap request a second, however many pools and sessions use it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from escrow_operator.adapters.kube import SECRETS
from escrow_operator.adapters.kube_errors import KubeError
from escrow_operator.adapters.monerod import Daemon
from escrow_operator.adapters.tls import client_context
from escrow_operator.core.daemon import DaemonView, daemon_condition
from escrow_operator.core.login import is_configurable
from escrow_operator.core.secretuse import SECRET_NOT_MARKED, SecretUse, how_to_mark, is_marked
from escrow_operator.errors import DaemonError, DaemonUnreachable
from escrow_operator.models.common import SecretName
from escrow_operator.models.deed import SecretDataError, secret_data
from escrow_operator.models.monero import ChainFacts, DaemonInfo, Login
from escrow_operator.models.pool import DaemonKey, Pool, PoolKey
from escrow_operator.services.context import Context
from escrow_operator.services.monerod.batcher import ChainBatcher

_LOG = logging.getLogger(__name__)

NEXT_ANSWER_SECONDS = 10.0
"""Most seconds to wait for a monerod's next answer: above the poll interval, and the deadline of one request."""

HEARD_SECONDS = 0.5
"""A poll is skipped if monerod answered within so many seconds: a batch ends with the same query."""

SECRETS_SECONDS = 5.0
"""Seconds after which the Secrets of a monerod that fails are read again, since a user may have corrected them."""


class _SecretNotMarked(ValueError):
    """A Secret that spec.daemon names is not labelled for use with monerod."""


@dataclass
class _Watched:
    client: Daemon | None = None
    lookups: ChainBatcher | None = None
    connected: float = 0.0
    view: DaemonView | None = None
    heard: float = 0.0
    secrets: str | None = None
    refused: bool = False
    mark: tuple[Any, ...] = ()
    pools: set[PoolKey] = field(default_factory=set)
    answered: asyncio.Event = field(default_factory=asyncio.Event)


class DaemonPoller:
    """Keeps the last view of each monerod, and requeues its sessions and pools when it changes.

    ``connect`` makes the HTTP session for a monerod.
    """

    def __init__(self, ctx: Context, connect: Callable[[], aiohttp.ClientSession]) -> None:
        self._kube, self._meters, self._wakeups = ctx.kube, ctx.meters, ctx.wakeups
        self._interval = ctx.settings.intervals.daemon.total_seconds()
        self._connect = connect
        self._watched: dict[DaemonKey, _Watched] = {}
        self._keys: dict[PoolKey, DaemonKey] = {}

    async def watch(self, pool: Pool) -> None:
        """Start to poll a pool's monerod, unless it is polled already."""
        spec = pool.spec.daemon
        key = DaemonKey(pool.key.namespace if spec.has_secrets else "", spec)
        if self._keys.get(pool.key) == key:
            return
        await self.forget(pool.key)
        self._keys[pool.key] = key
        fresh = key not in self._watched
        self._watched.setdefault(key, _Watched()).pools.add(pool.key)
        if fresh:
            self._wakeups.daemon(key)

    def poll_all(self) -> None:
        """Poll every monerod now, those that ``watch`` was told of while no queue took anything included."""
        for key in self._watched:
            self._wakeups.daemon(key)

    def view(self, pool: PoolKey) -> DaemonView | None:
        """The last view of a pool's monerod; None before the first answer."""
        watched = self._of(pool)
        return watched.view if watched else None

    def secrets(self, pool: Pool) -> str | None:
        """Resource versions of monerod's Secrets as last read; empty without any, None before they could be read."""
        if not pool.spec.daemon.has_secrets:
            return ""
        watched = self._of(pool.key)
        return watched.secrets if watched else None

    def secrets_problem(self, pool: PoolKey) -> tuple[str, str] | None:
        """Why the Secrets of a pool's monerod cannot be used, as (reason, message); None if they were read."""
        watched = self._of(pool)
        if watched is None or watched.view is None or watched.secrets is not None:
            return None
        return SECRET_NOT_MARKED if watched.refused else "DaemonSecretsNotRead", watched.view.problem

    async def poll(self, key: DaemonKey) -> float | None:
        """Query monerod once; returns the requeue delay in seconds, None when no pool uses this monerod any more."""
        watched = self._watched.get(key)
        if watched is None:
            return None
        if asyncio.get_running_loop().time() - watched.heard < HEARD_SECONDS:
            return self._interval
        try:
            view = DaemonView(await (await self._client(key, watched)).info())
        except (DaemonError, KubeError, ValueError) as error:
            view = DaemonView(None, str(error))
            watched.refused = isinstance(error, _SecretNotMarked)
            if watched.refused:
                watched.secrets = None
            if key.namespace and asyncio.get_running_loop().time() - watched.connected > SECRETS_SECONDS:
                await self._disconnect(watched)
        except Exception:
            # Whatever is wrong with this answer, the last view is no longer known to hold.
            _LOG.exception("the answer of monerod at %s could not be read", key.spec.address)
            view = DaemonView(None, "its answer could not be read")
        self._hear(key, watched, view)
        return self._interval

    def _hear(self, key: DaemonKey, watched: _Watched, view: DaemonView) -> None:
        """Record a view, and requeue the sessions and pools that its changes may concern."""
        watched.view = view
        watched.answered.set()
        watched.answered = asyncio.Event()
        reason = daemon_condition(view, key.spec).reason
        before, watched.mark = watched.mark, (watched.secrets, reason, *(view.mark or ()))
        if watched.mark != before:
            only_mempool = watched.mark[:-1] == before[:-1]
            for pool in list(watched.pools):
                self._wakeups.daemon_changed(pool, view, only_mempool=only_mempool)

    async def next_view(self, pool: PoolKey) -> DaemonView | None:
        """The view after the next poll, or the last one on timeout. An extra query would be a request per session."""
        watched = self._of(pool)
        if watched is None:
            return None
        try:
            async with asyncio.timeout(NEXT_ANSWER_SECONDS):
                await watched.answered.wait()
        except TimeoutError:
            pass
        return watched.view

    async def facts(self, pool: Pool, txids: Iterable[str], key_images: Iterable[str]) -> ChainFacts:
        """Query transactions and key images, batched with the questions of other sessions. Raises DaemonError."""
        watched = self._of(pool.key)
        if watched is None or watched.lookups is None:
            raise DaemonUnreachable("it was not asked yet")
        return await watched.lookups.facts(txids, key_images)

    async def forget(self, pool: PoolKey) -> None:
        """Stop polling for a pool that is gone, or whose spec names another monerod."""
        key = self._keys.pop(pool, None)
        if key is None:
            return
        watched = self._watched[key]
        watched.pools.discard(pool)
        if not watched.pools:
            del self._watched[key]
            await self._disconnect(watched)

    async def close(self) -> None:
        """Close all connections."""
        for pool in list(self._keys):
            await self.forget(pool)

    def _of(self, pool: PoolKey) -> _Watched | None:
        key = self._keys.get(pool)
        return self._watched.get(key) if key else None

    @staticmethod
    async def _disconnect(watched: _Watched) -> None:
        lookups, client = watched.lookups, watched.client
        watched.lookups = watched.client = None
        if lookups:
            await lookups.close()
        if client:
            await client.aclose()

    async def _client(self, key: DaemonKey, watched: _Watched) -> Daemon:
        """The client, made if there is none. Raises KubeError or ValueError if its Secrets are missing or unusable."""
        if watched.client is not None:
            return watched.client
        spec, versions = key.spec, list[str]()

        async def read(reference: SecretName | None, *wanted: str) -> list[str]:
            if reference is None:
                return []
            body = await self._kube.get(SECRETS, key.namespace, reference.name)
            if not is_marked(body, SecretUse.MONEROD):
                raise _SecretNotMarked(how_to_mark(key.namespace, reference.name, SecretUse.MONEROD))
            try:
                data = secret_data(body, *wanted)
                found = [data[name] for name in wanted]
            except (KeyError, SecretDataError):
                # The message does not tell which of the keys the Secret has: only users who may read it may know.
                raise ValueError(f"Secret {reference.name} does not have {' and '.join(wanted)} as text") from None
            # Unlike a hash, the resource version reveals nothing of the Secret's data.
            versions.append(body["metadata"]["resourceVersion"])
            return found

        login = await read(spec.login_secret_ref, "username", "password")
        if login and not is_configurable(Login(*login)):
            assert spec.login_secret_ref is not None  # noqa: S101 - it was just read
            raise ValueError(
                f"Secret {spec.login_secret_ref.name} has a username or password that wallets cannot be configured"
                " with: neither may have line breaks, '#' or spaces at its ends, and the username no ':'"
            )
        ca = await read(spec.tls.ca_secret_ref, "ca.crt")
        certificate = await read(spec.tls.client_secret_ref, "tls.crt", "tls.key")
        watched.secrets = ".".join(versions)
        watched.client = Daemon(
            spec.url,
            login=Login(*login) if login else None,
            tls=client_context(*ca, certificate=certificate),
            connect=self._connect,
            on_request=self._meters.daemon_requests.inc,
        )

        def last() -> DaemonInfo | None:
            return watched.view.info if watched.view else None

        def heard(info: DaemonInfo) -> None:
            watched.heard = asyncio.get_running_loop().time()
            self._hear(key, watched, DaemonView(info))

        watched.lookups = ChainBatcher(watched.client, before=last, heard=heard)
        watched.connected = asyncio.get_running_loop().time()
        return watched.client
