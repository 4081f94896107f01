"""A stand-in for aiohttp.ClientSession: the part of it that JsonRpcClient uses."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterable
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import aiohttp
from aiohttp.client_middleware_digest_auth import DigestAuthMiddleware

from escrow_operator.models.monero import Login


class Reply(NamedTuple):
    """An HTTP answer."""

    status: int
    body: bytes


class Target(NamedTuple):
    """Where a request goes: "host:port", and the SHA-256 of the one certificate that is accepted, if it is one."""

    address: str
    pinned: bytes | None = None


class _Content:
    def __init__(self, body: bytes) -> None:
        self._body = body

    async def iter_any(self) -> AsyncIterator[bytes]:
        if self._body:
            yield self._body


class _Response:
    def __init__(self, reply: Reply) -> None:
        self.status = reply.status
        self.content = _Content(reply.body)

    def close(self) -> None:
        """Nothing is open."""


class _Post(AbstractAsyncContextManager[_Response]):
    def __init__(self, response: Awaitable[_Response]) -> None:
        self._response = response

    def __await__(self) -> Generator[Any, None, _Response]:
        return self._response.__await__()

    async def __aenter__(self) -> _Response:
        return await self._response

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is open."""


class Session:
    """``exchange`` takes where and how to connect, path, body and login, and gives the answer."""

    def __init__(self, exchange: Callable[[Target, str, bytes, Login | None], Awaitable[Reply]]) -> None:
        self._exchange = exchange
        self.closed = False

    def post(self, url: str, *, data: bytes, middlewares: Iterable[Any] = (), ssl: Any = True, **_: Any) -> _Post:
        return _Post(self._post(url, data, tuple(middlewares), ssl))

    async def close(self) -> None:
        self.closed = True

    async def _post(self, url: str, data: bytes, middlewares: tuple[Any, ...], tls: Any) -> _Response:
        if self.closed:
            raise RuntimeError("Session is closed")
        parts = urlsplit(url)
        login = _login(middlewares)
        pinned = tls.fingerprint if isinstance(tls, aiohttp.Fingerprint) else None
        target = Target(parts.netloc, pinned)

        async def send(_: object) -> _Response:
            return _Response(await self._exchange(target, parts.path, data, login))

        # The client's own middleware, which counts requests. The one for digest logins wants a real challenge.
        own = [one for one in middlewares if not isinstance(one, DigestAuthMiddleware)]
        response: _Response = await own[-1](None, send) if own else await send(None)
        return response


def _login(middlewares: tuple[Any, ...]) -> Login | None:
    for one in middlewares:
        if isinstance(one, DigestAuthMiddleware):
            return Login(one._login_str, one._password_bytes.decode())
    return None
