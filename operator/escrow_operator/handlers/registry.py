"""kopf's handlers and settings for one operator."""

from __future__ import annotations

from typing import Any

import kopf

from escrow_operator.adapters.kube_errors import KubeError, NotFoundError
from escrow_operator.handlers.memory import collect_rarely, settle_memory
from escrow_operator.handlers.nodiff import NoDiff
from escrow_operator.models.common import GROUP, VERSION
from escrow_operator.models.pool import PoolKey
from escrow_operator.settings import Settings
from escrow_operator.wiring import Operator

WATCH_SECONDS = 300
"""How long one watch request lasts; a watch that dies silently is noticed by kopf's inactivity timeout before."""

REQUEST_SECONDS = 20
"""Deadline of kopf's own API requests (its default of 300 s hides an API server that hangs)."""

AGAIN_SECONDS = 2.0
"""Until a start that the API server prevented is tried again; kopf would wait for a minute."""

SWEEPS_MISSED = 3
"""Sweeps that may fail in a row before the liveness probe does."""


class Handlers:
    """Registers the handlers; ``operator`` is there between startup and cleanup."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._operator: Operator | None = None
        self.registry = kopf.OperatorRegistry()
        kopf.on.login(registry=self.registry, id="pod")(kopf.login_with_service_account)
        kopf.on.login(registry=self.registry, id="kubeconfig")(kopf.login_with_kubeconfig)
        kopf.on.startup(registry=self.registry)(self.startup)
        kopf.on.cleanup(registry=self.registry)(self.cleanup)
        kopf.on.probe(registry=self.registry, id="operator")(self.probe)
        kopf.on.event(GROUP, VERSION, "walletpools", registry=self.registry)(self.pool_event)

    @property
    def operator(self) -> Operator:
        """The running operator."""
        if self._operator is None:
            raise kopf.TemporaryError("the operator is still starting", delay=1)
        return self._operator

    async def startup(self, settings: kopf.OperatorSettings, **_: Any) -> None:
        """Configure kopf and start the services."""
        settings.peering.standalone = True
        settings.scanning.disabled = True
        settings.posting.enabled = False
        settings.networking.request_timeout = REQUEST_SECONDS
        settings.watching.server_timeout = WATCH_SECONDS
        settings.persistence.finalizer = f"{GROUP}/kopf"
        settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=f"kopf.{GROUP}")
        settings.persistence.diffbase_storage = NoDiff()
        collect_rarely()
        try:
            self._operator = await Operator.start(self._settings)
            settle_memory()
        except NotFoundError as error:
            raise kopf.PermanentError(f"The CRDs are not installed (kubectl apply -f crds/): {error}") from error
        except KubeError as error:
            raise kopf.TemporaryError(f"{error}; the operator tries again", delay=AGAIN_SECONDS) from error

    async def cleanup(self, **_: Any) -> None:
        """Stop the services."""
        if self._operator is not None:
            await self._operator.stop()

    async def probe(self, **_: Any) -> dict[str, Any]:
        """Liveness: fails when the sweep has stopped."""
        operator = self.operator
        late = operator.clock.monotonic() - operator.swept
        if late > SWEEPS_MISSED * self._settings.intervals.sweep.total_seconds():
            # Any other exception kopf would retry inside the probe's request, and the kubelet see a timeout.
            raise kopf.PermanentError(f"no sweep ended for {late:.0f} s")
        return {"sessions": len(operator.store.sessions), "pools": len(operator.store.pools)}

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
