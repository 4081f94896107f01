"""Follows the wallet pods of the cluster.

Not through kopf: it lists all objects in one answer and keeps a task and a memory for each, which at three pods to a
session would be most of the operator's memory and CPU. Nothing of kopf's is lost, as pods have no handlers of changes.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Any

from escrow_operator.adapters.kube import PODS, Kube
from escrow_operator.adapters.kube_errors import ExpiredError, KubeError
from escrow_operator.core.manifests.common import SLOT_LABELS

_LOG = logging.getLogger(__name__)

FIRST_DELAY = 0.5
LONGEST_DELAY = 30.0
"""Seconds until a watch that failed is opened again, doubling; with chance, so that not all operators come at once."""


class Reflector:
    """One watch for each namespace served (or for all), from the version that a list was of.

    ``seen`` is called with each event's type and object; ``level`` lists a namespace anew and returns that list's
    version.
    """

    def __init__(
        self,
        kube: Kube,
        *,
        seen: Callable[[str, dict[str, Any]], Awaitable[None]],
        level: Callable[[str | None], Awaitable[str]],
    ) -> None:
        self._kube = kube
        self._seen = seen
        self._level = level
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, versions: dict[str | None, str]) -> None:
        """Follow namespaces, each from a version."""
        self._tasks = [asyncio.create_task(self._follow(*start)) for start in versions.items()]

    async def close(self) -> None:
        """Follow no more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _follow(self, namespace: str | None, version: str | None) -> None:
        delay = FIRST_DELAY
        while True:
            try:
                version = version or await self._level(namespace)
                async for event in self._kube.watch(PODS, namespace, version=version, labels=SLOT_LABELS):
                    version = event["object"]["metadata"]["resourceVersion"]
                    if event["type"] != "BOOKMARK":
                        await self._seen(event["type"], event["object"])
                    delay = FIRST_DELAY
            except ExpiredError:
                version = None
            except KubeError as error:
                _LOG.warning("the watch of pods ended: %s; it is opened again", error)
                await asyncio.sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
                delay = min(2 * delay, LONGEST_DELAY)
            except Exception:
                # What one pod does to a handler must not end the watch of all others.
                _LOG.exception("a pod's event could not be handled")
