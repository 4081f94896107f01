"""Kubernetes Events: the story that ``kubectl describe`` tells."""

from __future__ import annotations

import logging
import secrets
from typing import Any

from escrow_operator.adapters.clock import Clock
from escrow_operator.adapters.kube import EVENTS, Kube, KubeError
from escrow_operator.core.conditions import MAX_MESSAGE
from escrow_operator.models.common import API_VERSION, OPERATOR_NAME, format_time
from escrow_operator.models.pool import Pool
from escrow_operator.models.session import Session

_LOG = logging.getLogger(__name__)


class Recorder:
    """Writes Events. Losing one loses no state, so an error is only logged."""

    def __init__(self, kube: Kube, clock: Clock) -> None:
        self._kube = kube
        self._clock = clock

    async def record(self, about: Session | Pool, reason: str, message: str, *, warning: bool = False) -> None:
        """One Event about a session or a pool, and a log line."""
        _LOG.log(
            logging.WARNING if warning else logging.INFO,
            "%s %s: %s",
            about.key,
            reason,
            message,
            extra={"namespace": about.key.namespace, "object": about.key.name, "reason": reason},
        )
        now = format_time(self._clock.now())
        body: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "name": f"{about.key.name}.{secrets.token_hex(8)}",
                "namespace": about.key.namespace,
            },
            "involvedObject": {
                "apiVersion": API_VERSION,
                "kind": "WalletPool" if isinstance(about, Pool) else "EscrowSession",
                "namespace": about.key.namespace,
                "name": about.key.name,
                "uid": about.uid,
                "resourceVersion": about.resource_version,
            },
            "type": "Warning" if warning else "Normal",
            "reason": reason,
            "message": message[:MAX_MESSAGE],
            "source": {"component": OPERATOR_NAME},
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        try:
            await self._kube.create(EVENTS, about.key.namespace, body)
        except KubeError as error:
            if not error.is_namespace_ending:
                _LOG.warning("an Event of %s was lost: %s", about.key, error)
