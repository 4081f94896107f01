"""kopf's startup and cleanup handlers.

kopf ends the process when a watch reports an error other than 410 (kopf 1.45, ``continuous_watch``), such as an API
server's 500 in the middle of a stream. Kubelet restarts the container; wallets stay open meanwhile, and the next
process finds all state in the cluster (invariant I7).
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import kopf

from escrow_operator.adapters.health import serve_probes
from escrow_operator.adapters.kube_errors import KubeError, NotFoundError
from escrow_operator.adapters.metrics import serve_metrics
from escrow_operator.handlers import slots
from escrow_operator.handlers.garbage import collect_rarely, settle_memory
from escrow_operator.handlers.health import not_alive, not_ready
from escrow_operator.handlers.kopf_settings import configure
from escrow_operator.handlers.memo import Memo
from escrow_operator.replica import Replica

_LOG = logging.getLogger(__name__)

FIRST_DELAY = 2.0
LONGEST_DELAY = 15.0
"""Seconds between attempts to start while the API server prevents it: doubling from the first to the longest."""

kopf.on.login(id="pod")(kopf.login_with_service_account)
kopf.on.login(id="kubeconfig")(kopf.login_with_kubeconfig)


@kopf.on.startup()
async def startup(settings: kopf.OperatorSettings, memo: Memo, **_: Any) -> None:
    """Configure kopf, and begin to follow and to campaign, for as long as it takes: probes are answered meanwhile.

    Full lists are read before kopf's own. Raises kopf.PermanentError when the CRDs are not installed, OSError when the
    probes' port is taken.
    """
    configure(settings)
    collect_rarely()
    memo.probes = await serve_probes(
        memo.settings.probe_port, alive=lambda: not_alive(memo), ready=lambda: not_ready(memo)
    )
    try:
        replica = await _start(memo)
    except BaseException:
        await memo.probes.close()
        raise
    memo.replica = replica
    memo.slots = slots.follow(memo, replica.operator.listed)
    settle_memory()
    replica.campaign()


async def _start(memo: Memo) -> Replica:
    delay = FIRST_DELAY
    while True:
        try:
            return await _warm(memo)
        except NotFoundError as error:
            raise kopf.PermanentError(f"The CRDs are not installed (kubectl apply -f crds/): {error}") from error
        except KubeError as error:
            _LOG.warning("%s; the operator starts when the API server lets it", error)
        await asyncio.sleep(delay)
        delay = min(2 * delay, LONGEST_DELAY)


async def _warm(memo: Memo) -> Replica:
    """A replica that has read full lists. Raises KubeError; nothing is left open then."""
    replica = await Replica.connect(memo.settings)
    try:
        memo.metrics = await serve_metrics(replica.registries, memo.settings.metrics_port)
        await replica.warm()
    except BaseException:
        await _close_metrics(memo)
        await replica.stop()
        raise
    return replica


async def _close_metrics(memo: Memo) -> None:
    if memo.metrics is not None:
        await memo.metrics.close()
        memo.metrics = None


@kopf.on.cleanup()
async def cleanup(memo: Memo, **_: Any) -> None:
    """Hand over, and stop."""
    if memo.replica is not None:
        await memo.replica.leadership.stop()
    if memo.slots is not None:
        await memo.slots.close()
    if memo.replica is not None:
        await memo.replica.stop()
    await _close_metrics(memo)
    if memo.probes is not None:
        await memo.probes.close()
