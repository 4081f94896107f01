"""Records Kubernetes Events, which ``kubectl describe`` shows."""

from __future__ import annotations

import asyncio
import logging
import secrets
from typing import Any

from escrow_operator.adapters.clock import Clock
from escrow_operator.adapters.kube import EVENTS, Kube
from escrow_operator.adapters.kube_errors import KubeError
from escrow_operator.adapters.tracing import outside
from escrow_operator.core.conditions import MAX_MESSAGE
from escrow_operator.errors import NotLeading
from escrow_operator.models.common import API_VERSION, OPERATOR_NAME, format_time, printable
from escrow_operator.models.pool import Pool
from escrow_operator.models.session import Session
from escrow_operator.services.runtime.meters import Meters

_LOG = logging.getLogger(__name__)

BACKLOG = 5_000
"""Events that may wait to be written. Further ones are dropped and counted, as in client-go's broadcaster: an
overloaded API server has more important requests to serve."""

FLUSH_SECONDS = 0.5
"""Seconds to write the Events that still wait when the operator stops: another one waits to lead."""


class EventRecorder:
    """Writes Events one after the other, in the background, so that no reconciliation waits for them.

    A lost Event loses no state, so an error is only logged and counted.
    """

    def __init__(self, kube: Kube, clock: Clock, meters: Meters) -> None:
        self._kube = kube
        self._clock = clock
        self._meters = meters
        self._backlog: asyncio.Queue[dict[str, Any]] = asyncio.Queue(BACKLOG)
        self._writer: asyncio.Task[None] | None = None

    def record(self, about: Session | Pool, reason: str, message: str, *, warning: bool = False) -> None:
        """Queue an Event about a session or a pool to be written, and log it at once."""
        message = printable(message, MAX_MESSAGE)
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
            "message": message,
            "source": {"component": OPERATOR_NAME},
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        try:
            self._backlog.put_nowait(body)
        except asyncio.QueueFull:
            self._meters.events_lost.inc()
            return
        if self._writer is None:
            # For ever, and so in no span of the work that records the first Event.
            with outside():
                self._writer = asyncio.create_task(self._write_all())

    async def close(self) -> None:
        """Write the Events that still wait, for ``FLUSH_SECONDS`` at most, and stop."""
        if self._writer is None:
            return
        try:
            async with asyncio.timeout(FLUSH_SECONDS):
                await self._backlog.join()
        except TimeoutError:
            _LOG.warning("%d Events were not written before the end", self._backlog.qsize())
        self._writer.cancel()
        await asyncio.gather(self._writer, return_exceptions=True)

    async def _write_all(self) -> None:
        while True:
            body = await self._backlog.get()
            try:
                await self._kube.create(EVENTS, body["metadata"]["namespace"], body)
            except NotLeading:
                self._meters.events_lost.inc()
            except KubeError as error:
                if not error.is_namespace_ending:
                    self._meters.events_lost.inc()
                    _LOG.warning("an Event of %s was lost: %s", body["involvedObject"]["name"], error)
            except Exception:
                # An error in one Event must not keep the others from being written.
                self._meters.events_lost.inc()
                _LOG.exception("an Event of %s was lost", body["involvedObject"]["name"])
            finally:
                self._backlog.task_done()
