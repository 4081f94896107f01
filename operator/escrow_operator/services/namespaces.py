"""The namespaces that are served by name (watchNamespaces), and which of them cannot be served at the moment.

With watchNamespaces the operator's rights are in a Role in each of these namespaces, and are deleted with it. A refusal
(403) in one namespace concerns that namespace alone (invariant I10).
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Iterable
from typing import TypeVar

from escrow_operator.adapters.kube import NAMESPACES
from escrow_operator.adapters.kube_errors import KubeError, NotFoundError
from escrow_operator.models.pool import PoolKey
from escrow_operator.models.session import SessionKey
from escrow_operator.services.context import Context

_LOG = logging.getLogger(__name__)

LOOK_SECONDS = 30.0
"""Requeue delay in seconds of a namespace, one request each time; a pod that begins to end there requeues it sooner."""

FORGET_SECONDS = 600.0
"""Seconds for which lists of a namespace must be refused before it counts as gone, where the operator may not get the
namespace itself. Until then its objects still count: pods that the operator may not read can hold wallets and places
under the cap."""

T = TypeVar("T")


class Namespaces:
    """Notes which namespaces refuse requests, are ending or are gone; requeues the objects of those ending or gone.

    ``named`` is empty when the whole cluster is served: then no namespace is reconciled, and a refusal is an error.
    """

    def __init__(self, ctx: Context) -> None:
        self._kube, self._store, self._clock = ctx.kube, ctx.store, ctx.clock
        self._meters, self._wakeups = ctx.meters, ctx.wakeups
        self.named = ctx.settings.namespaces
        self.served: tuple[str | None, ...] = self.named or (None,)
        self._refused: dict[str, float] = {}
        self._gone: set[str] = set()

    def is_refused(self, namespace: str | None) -> bool:
        """Whether the last attempt to read a namespace was refused."""
        return namespace in self._refused

    def is_gone(self, namespace: str) -> bool:
        """Whether a named namespace was found not to exist."""
        return namespace in self._gone

    async def apart(self, namespace: str | None, work: Awaitable[T]) -> T | None:
        """The result of ``work`` in one namespace; None (noted, and logged once) when it is forbidden there.

        Raises KubeError for any other error, and for a refusal when ``namespace`` is None.
        """
        try:
            result = await work
        except KubeError as error:
            if namespace is None or not error.is_forbidden:
                raise
            if namespace not in self._refused:
                _LOG.warning("namespace %s cannot be served, the others are: %s", namespace, error)
            self._refused.setdefault(namespace, self._clock.monotonic())
            self._meters.namespaces_refused.set(len(self._refused))
            return None
        if namespace is not None and self._refused.pop(namespace, None) is not None:
            _LOG.info("namespace %s is served again", namespace)
            self._meters.namespaces_refused.set(len(self._refused))
        return result

    async def look(self, namespace: str) -> float:
        """Reconcile a named namespace; returns the requeue delay in seconds. Raises KubeError, except 403 and 404."""
        try:
            body = await self._kube.get(NAMESPACES, None, namespace)
        except NotFoundError:
            self._store.ending.discard(namespace)
            self._gone.add(namespace)
            self._forget(namespace)
        except KubeError as error:
            if not error.is_forbidden:
                raise
            refused = self._refused.get(namespace)
            if refused is not None and self._clock.monotonic() - refused > FORGET_SECONDS:
                self._forget(namespace)
        else:
            self._gone.discard(namespace)
            if "deletionTimestamp" not in body["metadata"]:
                self._store.ending.discard(namespace)
            elif namespace not in self._store.ending:
                _LOG.warning("namespace %s is being deleted; its sessions and pools end", namespace)
                self._store.ending.add(namespace)
                pools = [key for key in self._store.pools if key.namespace == namespace]
                self._changed([key for key in self._store.sessions if key.namespace == namespace], pools)
        return LOOK_SECONDS

    def _changed(self, sessions: Iterable[SessionKey], pools: Iterable[PoolKey]) -> None:
        self._wakeups.sessions(sessions)
        for pool in pools:
            self._wakeups.pool(pool)
        self._wakeups.place_free()

    def _forget(self, namespace: str) -> None:
        sessions, pools = self._store.forget_namespace(namespace)
        if sessions or pools:
            _LOG.warning("namespace %s is gone, and with it %d sessions", namespace, len(sessions))
        self._changed(sessions, pools)
