"""What kopf does for handlers of ``kopf.on.event``: a list, then watches, each event handed to the handler.

kopf itself needs sockets. ``unit/handlers/test_kopf.py`` holds the real one to what is assumed of it here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from escrow_operator.adapters.kube import Resource
from escrow_operator.adapters.kube_errors import ExpiredError, KubeError
from escrow_operator.handlers import Memo
from escrow_operator.services.runtime.gather import ends_task

from .kubeclient import SimKube

_LOG = logging.getLogger(__name__)

AGAIN_SECONDS = 1.0
"""After a request that failed."""

Handler = Callable[..., Any]
"""As kopf's decorators return it: a coroutine function."""


async def follow(kube: SimKube, resource: Resource, namespace: str | None, handler: Handler, memo: Memo) -> None:
    """For as long as the process lives; None is all namespaces."""
    while True:
        try:
            version: str | None = await _list(kube, resource, namespace, handler, memo)
        except KubeError:
            await asyncio.sleep(AGAIN_SECONDS)
            continue
        while version is not None:
            try:
                async for event in kube.watch(resource, namespace, version=version):
                    version = event["object"]["metadata"]["resourceVersion"]
                    if event["type"] != "BOOKMARK":
                        await _handle(handler, event, memo)
            except ExpiredError:
                version = None
            except KubeError:
                # A connection that broke: kopf goes on where it was.
                await asyncio.sleep(AGAIN_SECONDS)


async def _list(kube: SimKube, resource: Resource, namespace: str | None, handler: Handler, memo: Memo) -> str:
    version = ""
    async for page in kube.pages(resource, namespace):
        for body in page.items:
            await _handle(handler, {"type": None, "object": body}, memo)
        version = page.version
    return version


async def _handle(handler: Handler, event: dict[str, Any], memo: Memo) -> None:
    """kopf logs what a handler of events raises, and goes on."""
    try:
        await handler(event=event, memo=memo)
    except BaseException as error:
        if ends_task(error):
            raise
        _LOG.exception("an event could not be handled")
