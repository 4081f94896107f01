"""Forwards calls to wallet pods: one connection to each, with its digest login, one call at a time."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from http import HTTPStatus
from typing import NamedTuple

import aiohttp

from escrow_gateway.cache import Recent
from escrow_gateway.logins import Logins
from escrow_gateway.problems import Kind, Problem
from escrow_gateway.sessions import OpenWallet
from escrow_operator.adapters.json_rpc import JsonRpcClient, StillBusy, is_busy
from escrow_operator.adapters.wallet_rpc import WALLET_ERRORS
from escrow_operator.core.manifests.common import slot_url

KEEPALIVE = 30.0
"""Seconds an idle connection is kept: a new one costs a digest challenge, which doubles the time of a short call."""

CLIENTS = 1_024
"""Clients kept; each takes about 5 kB, and 17 kB with a connection."""


class NotSent(Exception):
    """The wallet never got the call: it can be sent again. The pod may be gone, or be another one by now."""


class Answer(NamedTuple):
    """A wallet's answer on its way: the length it announces, if it does, and its bytes."""

    length: int | None
    chunks: AsyncIterator[bytes]


class Wallets:
    """Keeps a client for each pod that was called lately."""

    def __init__(self, session: aiohttp.ClientSession, logins: Logins, *, longest: int, deadline: float) -> None:
        self._session = session
        self._logins = logins
        self._longest = longest
        self._deadline = deadline
        self._clients: Recent[tuple[str, str, bool], JsonRpcClient] = Recent(CLIENTS, math.inf)

    @asynccontextmanager
    async def forward(self, wallet: OpenWallet, body: bytes) -> AsyncIterator[Answer]:
        """Send a call and hand out its answer. Raises Problem, and NotSent before the wallet could have acted on it."""
        try:
            async with asyncio.timeout(self._deadline), AsyncExitStack() as stack:
                response = await self._open(stack, wallet, body)
                if response.status == HTTPStatus.UNAUTHORIZED:
                    # The pool's key may have changed.
                    await self._renew(wallet)
                    raise NotSent
                if response.status != HTTPStatus.OK:
                    raise _odd(f"It answered with HTTP status {response.status}.")
                if response.content_length is not None and response.content_length > self._longest:
                    raise _odd("Its answer is longer than any that is forwarded.")
                yield Answer(response.content_length, self._bounded(response))
        except TimeoutError:
            raise Problem(
                Kind.WALLET_SLOW,
                f"The wallet did not answer within {self._deadline:g} s. What was asked may still be done: look at the"
                " wallet before you ask again.",
            ) from None
        except aiohttp.ClientError:
            raise _odd("The connection broke.") from None

    async def _open(self, stack: AsyncExitStack, wallet: OpenWallet, body: bytes) -> aiohttp.ClientResponse:
        client = await self._clients.get(_key(wallet), lambda: self._make(wallet))
        try:
            return await stack.enter_async_context(client.stream(body, waiting=self._deadline / 2))
        except aiohttp.ServerFingerprintMismatch:
            # Another pod's, or the pool's key has changed.
            await self._renew(wallet)
            raise NotSent from None
        except (aiohttp.ConnectionTimeoutError, aiohttp.ClientConnectorError) as error:
            if is_busy(error):
                raise _busy("for a minute") from None
            raise NotSent from None
        except StillBusy:
            raise _busy(f"with earlier calls for {self._deadline / 2:g} s") from None
        except (TimeoutError, aiohttp.ClientError):
            raise
        except Exception as error:
            # Malformed headers and challenges raise errors of many kinds; their texts may quote what a wallet sent.
            raise _odd(f"Its answer is none of a wallet ({type(error).__name__}).") from None

    async def _renew(self, wallet: OpenWallet) -> None:
        """Have the next call made with what opens the pod by now. Raises Problem."""
        self._clients.drop(_key(wallet))
        await self._logins.access(wallet, fresh=True)

    async def _bounded(self, response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
        read = 0
        async for chunk in response.content.iter_any():
            read += len(chunk)
            if read > self._longest:
                raise _odd("Its answer is longer than any that is forwarded.")
            yield chunk

    async def _make(self, wallet: OpenWallet) -> JsonRpcClient:
        access = await self._logins.access(wallet)
        if access is None:
            raise Problem(
                Kind.NOT_READY,
                f"The operator has not published the logins of WalletPool {wallet.session.pool_key.name} yet. Is it"
                " running, and installed with the same release as this gateway?",
                retry_after=5,
            )
        pinned = aiohttp.Fingerprint(access.certificate) if access.certificate else None
        url = slot_url(wallet.ip, tls=wallet.tls)
        return JsonRpcClient(url, WALLET_ERRORS, login=access.login, tls=pinned, session=self._session)


def _busy(how: str) -> Problem:
    return Problem(Kind.BUSY, f"The wallet has been busy {how}: this call was not sent.", retry_after=5)


def _key(wallet: OpenWallet) -> tuple[str, str, bool]:
    return wallet.pod_uid, wallet.ip, wallet.tls


def _odd(what: str) -> Problem:
    return Problem(
        Kind.WALLET_AWAY,
        f"{what} What was asked may have been done: look at the wallet before you ask again.",
    )
