"""Follows one kind of object in the cluster.

Not through kopf: it lists all objects in one answer and keeps a task and a memory for each. At 10,000 sessions that was
a quarter of the operator's memory, and with three pods to a session it would be most of it.
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
"""Seconds until a watch that failed is opened again, doubling; with chance, so that not all operators come at once."""


class PagedWatch:
    """One watch of ``what`` (for the log) for each namespace served (or for all), from the version a list was of.

    ``watch`` opens one at a namespace and a version, ``seen`` is called with each event's type and object; ``level``
    lists a namespace anew and returns that list's version.
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
        """Follow namespaces, each from a version; from a list of its own where there is none yet."""
        self._tasks = [asyncio.create_task(self._follow(*start)) for start in versions.items()]

    async def close(self) -> None:
        """Follow no more."""
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
                # Once: it is tried again for as long as it takes, and a namespace may be gone for good.
                level = logging.WARNING if delay == FIRST_DELAY else logging.DEBUG
                _LOG.log(level, "the watch of %s ended: %s; it is opened again", self._where(namespace), error)
            except BaseException as error:
                if ends_task(error):
                    raise
                _LOG.exception("the watch of %s says what cannot be read", self._where(namespace))
                if version == began:
                    # The same would come again: a list leaves it behind.
                    version = None
            await asyncio.sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311 - no secret
            delay = min(2 * delay, LONGEST_DELAY)

    async def _pass_on(self, event: dict[str, Any]) -> None:
        """What one object does to a handler must not end the watch of all others, nor keep it busy."""
        try:
            await self._seen(event["type"], event["object"])
        except BaseException as error:
            if ends_task(error):
                raise
            _LOG.exception("an event of %s could not be handled", self._what)

    def _where(self, namespace: str | None) -> str:
        return self._what if namespace is None else f"{self._what} in {namespace}"
