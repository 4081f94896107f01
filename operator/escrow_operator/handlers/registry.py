"""kopf's handlers and settings for one operator."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import kopf

from escrow_operator.adapters.health import serve_probes
from escrow_operator.adapters.kube_errors import KubeError, NotFoundError
from escrow_operator.adapters.web import WebServer
from escrow_operator.handlers.memory import collect_rarely, settle_memory
from escrow_operator.handlers.nodiff import NoDiff
from escrow_operator.handlers.patience import Patience
from escrow_operator.models.common import GROUP, VERSION
from escrow_operator.models.pool import PoolKey
from escrow_operator.settings import Settings
from escrow_operator.wiring import Operator

_LOG = logging.getLogger(__name__)

WATCH_SECONDS = 300
"""How long one watch request lasts; a watch that dies silently is noticed by kopf's inactivity timeout before."""

REQUEST_SECONDS = 20
"""Deadline of kopf's own API requests (its default of 300 s hides an API server that hangs)."""

FIRST_DELAY = 2.0
LONGEST_DELAY = 15.0
"""Seconds until a start that the API server prevented is tried again, doubling."""


class Handlers:
    """Registers the handlers; ``operator`` is there between startup and cleanup."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._operator: Operator | None = None
        self._health: WebServer | None = None
        self.registry = kopf.OperatorRegistry()
        kopf.on.login(registry=self.registry, id="pod")(kopf.login_with_service_account)
        kopf.on.login(registry=self.registry, id="kubeconfig")(kopf.login_with_kubeconfig)
        kopf.on.startup(registry=self.registry)(self.startup)
        kopf.on.cleanup(registry=self.registry)(self.cleanup)
        kopf.on.event(GROUP, VERSION, "walletpools", registry=self.registry)(self.pool_event)

    @property
    def operator(self) -> Operator:
        """The running operator."""
        if self._operator is None:
            raise kopf.TemporaryError("the operator is still starting", delay=1)
        return self._operator

    async def startup(self, settings: kopf.OperatorSettings, **_: Any) -> None:
        """Configure kopf and start the services, for as long as it takes: probes are answered meanwhile."""
        settings.peering.standalone = True
        settings.scanning.disabled = True
        settings.posting.enabled = False
        settings.networking.request_timeout = REQUEST_SECONDS
        settings.networking.error_backoffs = Patience()
        settings.watching.server_timeout = WATCH_SECONDS
        settings.persistence.finalizer = f"{GROUP}/kopf"
        settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=f"kopf.{GROUP}")
        settings.persistence.diffbase_storage = NoDiff()
        collect_rarely()
        self._health = await serve_probes(self._settings.probe_port, alive=self.not_alive, ready=self.not_ready)
        try:
            self._operator = await self._start()
        except BaseException:
            await self._health.close()
            raise
        settle_memory()

    async def _start(self) -> Operator:
        delay = FIRST_DELAY
        while True:
            try:
                return await Operator.start(self._settings)
            except NotFoundError as error:
                raise kopf.PermanentError(f"The CRDs are not installed (kubectl apply -f crds/): {error}") from error
            except KubeError as error:
                _LOG.warning("%s; the operator starts when the API server lets it", error)
            await asyncio.sleep(delay)
            delay = min(2 * delay, LONGEST_DELAY)

    async def cleanup(self, **_: Any) -> None:
        """Stop the services."""
        if self._operator is not None:
            await self._operator.stop()
        if self._health is not None:
            await self._health.close()

    def not_alive(self) -> str | None:
        """What is wrong with the process itself, so that a restart may help: an API server that is away is not."""
        if self._operator is not None and not self._operator.upkeep.is_alive:
            return "no sweep was tried for too long"
        return None

    def not_ready(self) -> str | None:
        """Why what the operator knows of the cluster may not be true."""
        if self._operator is None:
            return "the operator is still starting"
        return None if self._operator.upkeep.is_fresh else "no sweep ended well for too long"

    async def pool_event(self, event: Any, **_: Any) -> None:
        """A WalletPool was seen."""
        body = event["object"]
        key = PoolKey(body["metadata"]["namespace"], body["metadata"]["name"])
        operator = self.operator
        known = operator.store.pools.get(key)
        if event["type"] == "DELETED":
            if operator.store.drop_pool(body):
                await operator.daemons.forget(key)
        elif not operator.store.see_pool(body):
            return
        pool = operator.store.pools.get(key)
        if pool:
            await operator.watch_daemon(pool)
        operator.wake_pool(key)
        if pool is None or known is None or (pool.uid, pool.generation) != (known.uid, known.generation):
            operator.wake_sessions(operator.store.sessions_of_pool(key))
