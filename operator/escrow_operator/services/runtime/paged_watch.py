"""Watches one kind of object in the cluster.

Not through kopf, which lists all objects in one answer and keeps a task and a memory for each. At 10,000 sessions that
was a quarter of the operator's memory, and with three pods to a session it would be most of it.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any

from escrow_operator.adapters.kube_errors import ExpiredError, KubeError
from escrow_operator.services.runtime.gather import ends_task

_LOG = logging.getLogger(__name__)

FIRST_DELAY = 0.5
LONGEST_DELAY = 30.0
"""Seconds until a failed watch is reopened: doubling from the first to the longest, with jitter to spread operators."""


class PagedWatch:
    """Watches ``what`` (a name for the log) in each namespace served (None: the cluster), from the version of a list.

    ``watch`` opens a watch at a namespace and a version, ``seen`` is called with each event's type and object,
    ``level`` relists a namespace and returns the list's version.
    """

    def __init__(
        self,
        what: str,
        *,
        watch: Callable[[str | None, str], AsyncIterator[dict[str, Any]]],
        seen: Callable[[str, dict[str, Any]], Awaitable[None]],
        level: Callable[[str | None], Awaitable[str]],
    ) -> None:
        self._what = what
        self._watch = watch
        self._seen = seen
        self._level = level
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, versions: Mapping[str | None, str | None]) -> None:
        """Watch namespaces, each from its version; where that is None, from a list read first."""
        self._tasks = [asyncio.create_task(self._follow(*start)) for start in versions.items()]

    async def close(self) -> None:
        """Stop all watches."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _follow(self, namespace: str | None, version: str | None) -> None:
        delay = FIRST_DELAY
        while True:
            began = version
            try:
                version = version or await self._level(namespace)
                async for event in self._watch(namespace, version):
                    version = event["object"]["metadata"]["resourceVersion"]
                    if event["type"] != "BOOKMARK":
                        await self._pass_on(event)
                    delay = FIRST_DELAY
                if version != began:
                    continue
            except ExpiredError:
                version = None
            except KubeError as error:
                # Warn once only: retries do not end, and a namespace may be gone for good.
                level = logging.WARNING if delay == FIRST_DELAY else logging.DEBUG
                _LOG.log(level, "the watch of %s ended: %s; it is opened again", self._where(namespace), error)
            except BaseException as error:
                if ends_task(error):
                    raise
                _LOG.exception("the watch of %s says what cannot be read", self._where(namespace))
                if version == began:
                    # The same event would come again: a relist skips it.
                    version = None
            await asyncio.sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
            delay = min(2 * delay, LONGEST_DELAY)

    async def _pass_on(self, event: dict[str, Any]) -> None:
        """Handle one event. An error with one object must not end the watch of the others, nor reopen it repeatedly."""
        try:
            await self._seen(event["type"], event["object"])
        except BaseException as error:
            if ends_task(error):
                raise
            _LOG.exception("an event of %s could not be handled", self._what)

    def _where(self, namespace: str | None) -> str:
        return self._what if namespace is None else f"{self._what} in {namespace}"
