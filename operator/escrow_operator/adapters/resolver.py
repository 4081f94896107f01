"""Resolves host names, each in a thread of its own.

An event loop resolves names in a few shared threads (uvloop has four). A tenant sets monerod's address, and the name
servers of his domain may never answer: the system's resolver then blocks its thread for half a minute, whatever the
deadline of the call, so a handful of such names would occupy all threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

_NUMERIC = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV


class Resolver(AbstractResolver):
    """aiohttp's connectors call it once for all requests that wait for the same name, and not for IP addresses."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of a name. Raises OSError."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[list[Any]] = loop.create_future()

        def look_up() -> None:
            try:
                found = socket.getaddrinfo(
                    host, port, type=socket.SOCK_STREAM, family=family, flags=socket.AI_ADDRCONFIG
                )
            except Exception as error:  # a name that cannot be encoded raises other types
                _tell(loop, _fail, answer, error)
            else:
                _tell(loop, _succeed, answer, found)

        threading.Thread(target=look_up, name="resolver", daemon=True).start()
        return [
            ResolveResult(hostname=host, host=address[0], port=address[1], family=kind, proto=proto, flags=_NUMERIC)
            for kind, _, proto, _, address in await answer
        ]

    async def close(self) -> None:
        """Do nothing: the threads end with their look-ups, or with the process."""


def _tell(loop: asyncio.AbstractEventLoop, how: Any, answer: asyncio.Future[list[Any]], what: Any) -> None:
    with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
        loop.call_soon_threadsafe(how, answer, what)


def _succeed(answer: asyncio.Future[list[Any]], found: list[Any]) -> None:
    if not answer.done():
        answer.set_result(found)


def _fail(answer: asyncio.Future[list[Any]], error: Exception) -> None:
    if not answer.done():
        answer.set_exception(error if isinstance(error, OSError) else OSError(type(error).__name__))
