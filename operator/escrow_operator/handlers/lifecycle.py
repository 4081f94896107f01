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
from escrow_operator.handlers import slots
from escrow_operator.handlers.garbage import collect_rarely, settle_memory
from escrow_operator.handlers.health import not_alive, not_ready
from escrow_operator.handlers.kopf_settings import configure
from escrow_operator.handlers.memo import Memo
from escrow_operator.settings import Settings
from escrow_operator.wiring import Operator

_LOG = logging.getLogger(__name__)

FIRST_DELAY = 2.0
LONGEST_DELAY = 15.0
"""Seconds between attempts to start while the API server prevents it: doubling from the first to the longest."""

kopf.on.login(id="pod")(kopf.login_with_service_account)
kopf.on.login(id="kubeconfig")(kopf.login_with_kubeconfig)


@kopf.on.startup()
async def startup(settings: kopf.OperatorSettings, memo: Memo, **_: Any) -> None:
    """Configure kopf and start the services, for as long as it takes: probes are answered meanwhile.

    Full lists are read before kopf's own: a claim must know of the slots already held. Raises kopf.PermanentError when
    the CRDs are not installed, OSError when the probes' port is taken.
    """
    configure(settings)
    collect_rarely()
    memo.probes = await serve_probes(
        memo.settings.probe_port, alive=lambda: not_alive(memo), ready=lambda: not_ready(memo)
    )
    try:
        operator = await _start(memo.settings)
    except BaseException:
        await memo.probes.close()
        raise
    memo.running = operator
    memo.slots = slots.follow(operator, operator.listed)
    # An object may have been deleted between these lists and kopf's.
    for namespace in operator.namespaces.served:
        operator.wakeups.relist(namespace)
    settle_memory()


async def _start(settings: Settings) -> Operator:
    delay = FIRST_DELAY
    while True:
        try:
            return await Operator.start(settings)
        except NotFoundError as error:
            raise kopf.PermanentError(f"The CRDs are not installed (kubectl apply -f crds/): {error}") from error
        except KubeError as error:
            _LOG.warning("%s; the operator starts when the API server lets it", error)
        await asyncio.sleep(delay)
        delay = min(2 * delay, LONGEST_DELAY)


@kopf.on.cleanup()
async def cleanup(memo: Memo, **_: Any) -> None:
    """Stop the services."""
    if memo.slots is not None:
        await memo.slots.close()
    if memo.running is not None:
        await memo.running.stop()
    if memo.probes is not None:
        await memo.probes.close()
