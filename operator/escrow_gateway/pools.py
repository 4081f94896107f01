"""What a WalletPool allows callers of the gateway."""

from __future__ import annotations

from pydantic import ValidationError

from escrow_gateway.cache import Recent
from escrow_gateway.problems import Kind, Problem
from escrow_gateway.sessions import away
from escrow_operator.adapters.kube import POOLS, Kube
from escrow_operator.adapters.kube_errors import KubeError, NotFoundError
from escrow_operator.models.pool import Pool, PoolKey

FRESH_SECONDS = 10.0
CACHED = 1_024


class Pools:
    """Reads pools when a call depends on one."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self._allows: Recent[PoolKey, bool] = Recent(CACHED, FRESH_SECONDS)

    async def must_allow_keys(self, pool: PoolKey) -> None:
        """Raises Problem unless the pool's spec allows methods that show keys."""
        if not await self._allows.get(pool, lambda: self._fetch(pool)):
            raise Problem(
                Kind.KEYS_OFF,
                f"WalletPool {pool.name} does not allow methods that show keys: whoever administers it may set"
                " spec.gateway.allowKeyMethods.",
            )

    async def _fetch(self, pool: PoolKey) -> bool:
        try:
            found = Pool.parse(await self._kube.get(POOLS, pool.namespace, pool.name))
        except (NotFoundError, ValidationError):
            return False
        except KubeError:
            raise away() from None
        return found.spec.gateway.allow_key_methods
