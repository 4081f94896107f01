"""HTTP between the operator and Monero's servers, without sockets: every call passes one place.

``Network.session`` stands in for the aiohttp session that ``JsonRpcClient`` posts with. A server goes on with a call
whose client has gone, as the real ones do; a client whose server ends sees the connection break.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple, Protocol, cast

import aiohttp
from aiohttp.client_reqrep import ConnectionKey

from escrow_operator.models.monero import Login
from simulation.http_session import Reply, Session, Target
from simulation.process import spawn_apart

CONNECT_SECONDS = 5.0
"""Until a client gives up on an address that does not even refuse; the client's own timeout comes first."""


class Ended(Exception):
    """Raised by a server that has ended: the client sees its connection break."""


class Server(Protocol):
    """What listens at an address."""

    async def answer(self, path: str, request: dict[str, Any]) -> Reply:
        """Serve one request; it may be cancelled when the server's address closes. Raises Ended."""
        ...


class Call(NamedTuple):
    """One request, when it was made; ``method`` is the path of one that is not JSON-RPC."""

    at: float
    address: str
    method: str


class Trouble(StrEnum):
    """What can be wrong with the way to an address."""

    REFUSED = "refused"
    """Nobody listens there."""
    SILENT = "silent"
    """Nothing gets through, in either direction: a partition. Who waits for an answer goes on waiting."""
    HANG = "hang"
    """It takes connections, and does nothing with a request until it is healed."""
    GARBAGE = "garbage"
    """It does what is asked, and answers with something else."""
    DROP_ANSWER = "drop answer"
    """It does what is asked, and the connection breaks before the answer comes."""


@dataclass
class _Wrong:
    trouble: Trouble
    methods: frozenset[str]
    times: float
    reply: Reply
    healed: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass
class _Listener:
    server: Server
    login: Login | None
    certificate: bytes | None
    running: dict[asyncio.Task[Reply], None] = field(default_factory=dict)


class Network:
    """Addresses are "host:port". ``latency`` is seconds one way.

    ``calls`` are all requests that were made, in order. ``failures`` are exceptions that came out of servers: mistakes
    in the simulation.
    """

    def __init__(self, *, latency: float = 0.0005) -> None:
        self.latency = latency
        self.calls: list[Call] = []
        self.failures: list[BaseException] = []
        self._listeners: dict[str, _Listener] = {}
        self._wrong: dict[str, list[_Wrong]] = {}

    def listen(
        self, address: str, server: Server, *, login: Login | None = None, certificate: bytes | None = None
    ) -> None:
        """Have a server answer at an address, in place of another.

        With ``login`` only to those who know it; with the SHA-256 of a ``certificate`` over TLS alone.
        """
        self.close(address)
        self._listeners[address] = _Listener(server, login, certificate)

    def close(self, address: str) -> None:
        """Nobody listens there any more; calls under way end with a broken connection."""
        listener = self._listeners.pop(address, None)
        for task in tuple(listener.running) if listener else ():
            task.cancel()

    def listens(self, address: str) -> bool:
        """Whether a server is there."""
        return address in self._listeners

    def disturb(
        self,
        address: str,
        trouble: Trouble,
        *,
        methods: Collection[str] = (),
        times: float = float("inf"),
        reply: Reply = Reply(200, b"\x16\x03\x01 garbage"),  # noqa: B008 - a tuple
    ) -> None:
        """Have something go wrong with the next ``times`` calls of some methods (all, with none named)."""
        self._wrong.setdefault(address, []).append(_Wrong(trouble, frozenset(methods), times, reply))

    def heal(self, address: str) -> None:
        """All is well again with an address; calls that hung go on."""
        for wrong in self._wrong.pop(address, ()):
            wrong.healed.set()

    def heal_all(self) -> None:
        """The same with all addresses."""
        for address in tuple(self._wrong):
            self.heal(address)

    def session(self) -> aiohttp.ClientSession:
        """A client's connections."""
        return cast("aiohttp.ClientSession", Session(self.exchange))

    async def exchange(self, target: Target, path: str, data: bytes, login: Login | None) -> Reply:
        """One request and its answer, for the sessions."""
        request = json.loads(data)
        method = str(request.get("method", path)) if path == "/json_rpc" else path
        self.calls.append(Call(asyncio.get_running_loop().time(), target.address, method))
        return await self._exchange(target, path, request, method, login)

    async def _exchange(
        self, target: Target, path: str, request: dict[str, Any], method: str, login: Login | None
    ) -> Reply:
        await pause(self.latency)
        address = target.address
        wrong = self._next_wrong(address, method)
        trouble = wrong.trouble if wrong else None
        listener = self._listeners.get(address)
        if trouble is Trouble.SILENT:
            await asyncio.sleep(CONNECT_SECONDS)
            raise aiohttp.ConnectionTimeoutError(f"Connection timeout to host http://{address}{path}")
        if listener is None or trouble is Trouble.REFUSED:
            raise _refused(address)
        if wrong is not None and trouble is Trouble.HANG:
            await wrong.healed.wait()
        _shake_hands(listener, target)
        if listener.login is not None and listener.login != login:
            return Reply(401, b"")
        reply = await self._served(listener, path, request)
        await self._until_not_silent(address)
        await pause(self.latency)
        if trouble is Trouble.DROP_ANSWER:
            raise aiohttp.ServerDisconnectedError
        return wrong.reply if wrong is not None and trouble is Trouble.GARBAGE else reply

    async def _served(self, listener: _Listener, path: str, request: dict[str, Any]) -> Reply:
        task = spawn_apart(_answer(listener.server, path, request))
        listener.running[task] = None
        task.add_done_callback(listener.running.pop)
        task.add_done_callback(self._note)
        # The call goes on when its client has gone: wait, unlike await, does not pass on a cancellation.
        await asyncio.wait({task})
        if task.cancelled():
            raise aiohttp.ServerDisconnectedError
        try:
            return task.result()
        except Ended:
            raise aiohttp.ServerDisconnectedError from None

    def _note(self, task: asyncio.Task[Reply]) -> None:
        """Keep what a server failed with: its client may have gone, and takes it for a broken answer otherwise."""
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, Ended):
            self.failures.append(error)

    async def _until_not_silent(self, address: str) -> None:
        """An answer is held back by a partition that came meanwhile."""
        for wrong in self._wrong.get(address, ()):
            if wrong.trouble is Trouble.SILENT and not wrong.methods:
                await wrong.healed.wait()

    def _next_wrong(self, address: str, method: str) -> _Wrong | None:
        for wrong in self._wrong.get(address, ()):
            if wrong.times > 0 and (not wrong.methods or method in wrong.methods):
                wrong.times -= 1
                return wrong
        return None


def _shake_hands(listener: _Listener, target: Target) -> None:
    """A server of either kind breaks the connection of a client that speaks the other language."""
    if (listener.certificate is None) != (target.pinned is None):
        raise aiohttp.ServerDisconnectedError
    if listener.certificate != target.pinned:
        host, _, port = target.address.rpartition(":")
        shown = listener.certificate or b""
        raise aiohttp.ServerFingerprintMismatch(target.pinned or b"", shown, host, int(port))


async def pause(seconds: float) -> None:
    """Let the time pass, and others run in any case."""
    await asyncio.sleep(seconds)


def json_reply(body: Mapping[str, Any]) -> Reply:
    """The answer of a server that understood the request."""
    return Reply(200, json.dumps(body).encode())


def _refused(address: str) -> aiohttp.ClientConnectorError:
    host, _, port = address.rpartition(":")
    key = ConnectionKey(host, int(port), False, True, None, None, None)
    return aiohttp.ClientConnectorError(key, OSError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED)))


async def _answer(server: Server, path: str, request: dict[str, Any]) -> Reply:
    return await server.answer(path, request)
