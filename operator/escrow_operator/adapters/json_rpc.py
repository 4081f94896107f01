"""JSON-RPC 2.0 over HTTP as Monero's servers speak it, with digest login, deadlines and one call at a time.

Digest nonces of these servers are tied to a TCP connection, and a wallet process works on one thread: a
client therefore holds one connection and sends its calls one after the other. Requests and answers may
carry passwords and key material; neither is quoted in an error or a log.

The server may be hostile: a tenant sets monerod's address, and a wallet's pod may be compromised. Whatever is sent, and
however slowly, a call ends within its deadline, in bounded memory, with a result of the expected form or one of the
client's error types.
"""

import asyncio
import contextlib
import json
import socket
import ssl
import warnings
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import urlsplit

import aiohttp
from aiohappyeyeballs import AddrInfoType
from aiohttp import ClientHandlerType, DigestAuthMiddleware
from aiohttp.client_middlewares import ClientMiddlewareType
from aiohttp.connector import Connection
from pydantic_core import from_json

from escrow_operator.adapters.answer import Answer, ErrorType
from escrow_operator.adapters.fence import must_still_pass
from escrow_operator.adapters.resolver import Resolver
from escrow_operator.adapters.tracing import leaf, rpc_call
from escrow_operator.errors import NotLeading
from escrow_operator.models.common import printable
from escrow_operator.models.monero import Login

CONNECT_TIMEOUT = 5.0
"""Seconds to connect. A pod of the same cluster accepts in milliseconds; a pod that does not is gone or cut
off, which this timeout distinguishes from a busy process."""

SYN_RETRIES = 1
"""Of a TCP connection: the kernel gives up after three seconds. It is what tells a pod that is cut off from a busy one
where a connection begins with TLS: a busy process does no handshake before it is free."""

GOODBYE_SECONDS = 0.1
"""For the other side to answer the end of TLS. What it sends meanwhile is still read and decrypted, and it may send
without end."""

KEEPALIVE = 2.0
"""Seconds an idle connection is kept: the calls of one reconciliation follow each other at once. Each wallet of an
unchanged session is queried every 90 s only; keeping its connection would take 17 KB, and a new digest challenge takes
one more request."""

LONGEST_ANSWER = 4 * 2**20
"""Most bytes read of an answer. A payment takes up to 700, in a wallet's list of transfers as in the key images for its
peers, so this suffices for 6,000 payments into one escrow. If thirty slots, those of the default cap, answer that much
at once, they take a quarter of the operator's default memory limit."""

LONGEST_REFUSAL = 64 * 2**10
"""Most bytes read of the body of a login challenge; Monero's has 100."""

MOST_VALUES = 200_000
"""Most values in an answer: as many as 6,000 transfers have. As a Python object each takes up to 100 bytes, where the
shortest JSON of one has three."""


@dataclass(frozen=True)
class ErrorTypes:
    """The error class for each way a call can fail before its answer is understood."""

    unreachable: ErrorType
    timeout: ErrorType
    unauthorized: ErrorType
    protocol: ErrorType
    too_long: ErrorType


class Fault(Exception):
    """The server answered with an error object. Internal to the adapters, which turn it into the operator's errors.

    `message` is the server's text; it may quote the request, so it is not part of this exception's string.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"error {code}")
        self.code = code
        self.message = message


_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT)
"""Reading and writing have no timeout here: the deadline of the call bounds them."""

_PATIENT = aiohttp.ClientTimeout(total=None)
"""The same for a wallet with TLS: aiohttp counts the handshake as a part of connecting (see SYN_RETRIES)."""


def count_values(data: bytes) -> int:
    """At most so many values are in a JSON text: each in an object or a list has a comma or a bracket before it."""
    return sum(map(data.count, (b",", b"[", b"{")))


def _socket(address: AddrInfoType) -> socket.socket:
    family, kind, protocol, *_ = address
    made = socket.socket(family, kind, protocol)
    if hasattr(socket, "TCP_SYNCNT"):
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_SYNCNT, SYN_RETRIES)
    return made


def rpc_session(keepalive: float = KEEPALIVE) -> aiohttp.ClientSession:
    """A session for any number of servers; each client uses one connection at a time, and reuses it.

    An idle connection is kept for ``keepalive`` seconds.

    A proxy or .netrc file of the environment must not affect calls to wallets, so the environment is ignored.
    """
    with warnings.catch_warnings():
        # Its default is to wait for half a minute; aiohttp 4 is to have another way.
        warnings.simplefilter("ignore", DeprecationWarning)
        connector = aiohttp.TCPConnector(
            limit=0,
            keepalive_timeout=keepalive,
            resolver=Resolver(),
            socket_factory=_socket,
            ssl_shutdown_timeout=GOODBYE_SECONDS,
        )
    return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), request_class=_FencedRequest)


class _FencedRequest(aiohttp.ClientRequest):
    """Asks the fence once more when there is a connection: a handshake takes as long as the wallet is busy."""

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        must_still_pass()
        return await super().send(conn)


class JsonRpcClient:
    """One server's JSON-RPC endpoint (`base_url` + /json_rpc).

    `tls` is for https URLs: the SSL context, or the one certificate that is accepted; None trusts the system's. A given
    `session` is used and not closed by the client; its connector must keep connections alive. Without one the client
    makes its own by `connect`. `on_request` is called for every HTTP request, those of a digest challenge included.
    `longest` is the maximum length of an answer in bytes.
    """

    def __init__(
        self,
        base_url: str,
        errors: ErrorTypes,
        *,
        login: Login | None = None,
        tls: ssl.SSLContext | aiohttp.Fingerprint | None = None,
        session: aiohttp.ClientSession | None = None,
        connect: Callable[[], aiohttp.ClientSession] = rpc_session,
        on_request: Callable[[], None] | None = None,
        longest: int = LONGEST_ANSWER,
    ) -> None:
        parts = urlsplit(base_url)
        if parts.username is not None or parts.password is not None:
            raise ValueError("put user and password into login, not into the URL: URLs get logged")
        self._base_url = base_url.rstrip("/")
        self._host = parts.hostname or ""
        self._errors = errors
        self._lock = asyncio.Lock()
        self._tls: ssl.SSLContext | aiohttp.Fingerprint | bool = True if tls is None else tls
        self._timeout = _PATIENT if isinstance(tls, aiohttp.Fingerprint) else _TIMEOUT
        self._session = session
        self._connect = connect
        self._owned: aiohttp.ClientSession | None = None
        self._on_request = on_request
        self._longest = longest
        self._login = login
        self._middlewares = self._fresh_login()

    async def aclose(self) -> None:
        """Close the connection."""
        if self._owned is not None:
            await self._owned.close()
            self._owned = None

    def _fresh_login(self) -> tuple[ClientMiddlewareType, ...]:
        """The middlewares, with a digest login that has seen no challenge yet."""
        if self._login is None:
            return (self._send,)
        return DigestAuthMiddleware(self._login.user, self._login.password), self._send

    async def _send(self, request: aiohttp.ClientRequest, handler: ClientHandlerType) -> aiohttp.ClientResponse:
        must_still_pass()
        if self._on_request is not None:
            self._on_request()
        response = await handler(request)
        if response.status == HTTPStatus.UNAUTHORIZED:
            # The body is read to its end, so that the answer to the challenge goes over the same connection.
            await _read(response, LONGEST_REFUSAL)
        return response

    async def call(self, method: str, params: Mapping[str, object], deadline: float) -> Answer:
        """The result of one call; `deadline` seconds include waiting for earlier calls of this client.

        Raises Fault for an error answer, and the client's error types.
        """
        request = {"jsonrpc": "2.0", "id": "0", "method": method, "params": params}
        body = await self._body(method, "/json_rpc", request, deadline, self._longest)
        answer = Answer(body, method, self._errors.protocol)
        if "error" in body:
            raise self._fault(method, body["error"])
        return answer.item("result")

    async def post(
        self, path: str, params: Mapping[str, object], deadline: float, *, longest: int | None = None
    ) -> Answer:
        """The answer of a call that Monero serves at a path of its own. Raises the client's error types."""
        body = await self._body(path, path, params, deadline, longest or self._longest)
        return Answer(body, path, self._errors.protocol)

    async def _body(
        self, method: str, path: str, request: Mapping[str, object], deadline: float, longest: int
    ) -> dict[str, object]:
        with leaf(method, rpc_call(method, self._host)):
            return await self._exchange(method, path, request, deadline, longest)

    async def _exchange(
        self, method: str, path: str, request: Mapping[str, object], deadline: float, longest: int
    ) -> dict[str, object]:
        sent = False
        data = json.dumps(request).encode()
        # `from None` below, since aiohttp's exceptions hold the request, which may carry a password.
        try:
            async with asyncio.timeout(deadline), self._lock:
                sent = True
                status, answer = await self._post(path, data, longest)
                if status == HTTPStatus.UNAUTHORIZED and self._login is not None:
                    # The nonce may have been of another connection. Only a login that is refused without one is wrong:
                    # for that the slot's pod is replaced.
                    self._middlewares = self._fresh_login()
                    status, answer = await self._post(path, data, longest)
        except _TooLong:
            raise self._errors.too_long(f"{method}: the answer is longer than any that is read") from None
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError) as error:
            if is_busy(error):
                raise self._errors.timeout(f"{method}: it is too busy for a TLS handshake") from None
            raise self._errors.unreachable(f"{method}: {_reason(error)}") from None
        except TimeoutError:
            what = "no answer" if sent else "still waiting for an earlier call"
            raise self._errors.timeout(f"{method}: {what} after {deadline:g} s") from None
        except NotLeading:
            raise
        except Exception as error:
            # Malformed headers raise errors of many kinds, too. If they were of a challenge, the next call must not
            # answer that challenge.
            self._middlewares = self._fresh_login()
            raise self._errors.protocol(f"{method}: {type(error).__name__}") from None
        if status == HTTPStatus.UNAUTHORIZED:
            raise self._errors.unauthorized(f"{method}: the RPC login was refused")
        if status != HTTPStatus.OK:
            raise self._errors.protocol(f"{method}: unexpected HTTP status {status}")
        return self._parse(method, answer)

    @contextlib.asynccontextmanager
    async def stream(self, data: bytes, *, waiting: float) -> AsyncIterator[aiohttp.ClientResponse]:
        """The response to a request that is written already, its body unread; the next call waits for the block's end.

        A login that is refused is tried anew once. Raises StillBusy after ``waiting`` seconds for earlier calls,
        aiohttp's errors, and errors of any kind for a malformed challenge; once sent it has no deadline of its own.
        """
        try:
            async with asyncio.timeout(waiting):
                await self._lock.acquire()
        except TimeoutError:
            raise StillBusy from None
        try:
            async with contextlib.AsyncExitStack() as stack:
                # Leaving closes the connection unless the body was read to its end.
                yield await self._challenged(stack, data)
        finally:
            self._lock.release()

    async def _challenged(self, stack: contextlib.AsyncExitStack, data: bytes) -> aiohttp.ClientResponse:
        try:
            response = await stack.enter_async_context(self._open("/json_rpc", data))
            if response.status == HTTPStatus.UNAUTHORIZED and self._login is not None:
                response.close()
                self._middlewares = self._fresh_login()
                response = await stack.enter_async_context(self._open("/json_rpc", data))
        except (aiohttp.ClientError, TimeoutError):
            raise
        except Exception:
            # The next call must not answer this challenge.
            self._middlewares = self._fresh_login()
            raise
        return response

    async def _post(self, path: str, data: bytes, longest: int) -> tuple[int, bytes]:
        """The HTTP status, and the body if the status is 200, else empty."""
        async with self._open(path, data) as response:
            return response.status, await _read(response, longest) if response.status == HTTPStatus.OK else b""

    def _open(self, path: str, data: bytes) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        return self._http().post(
            self._base_url + path,
            data=data,
            headers=_HEADERS,
            ssl=self._tls,
            timeout=self._timeout,
            middlewares=self._middlewares,
            allow_redirects=False,
            auto_decompress=False,
        )

    def _parse(self, method: str, data: bytes) -> dict[str, object]:
        if count_values(data) > MOST_VALUES:
            raise self._errors.too_long(f"{method}: the answer has more parts than any that is read")
        try:
            # The parser bounds depth and digits. Strings are not cached, since some are keys.
            body = from_json(data, allow_inf_nan=False, cache_strings="keys")
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise self._errors.protocol(f"{method}: the answer is not a JSON object")
        return body

    def _http(self) -> aiohttp.ClientSession:
        if self._session is not None:
            return self._session
        if self._owned is None:
            self._owned = self._connect()
        return self._owned

    def _fault(self, method: str, error: object) -> Exception:
        code, message = (error.get("code"), error.get("message")) if isinstance(error, dict) else (None, None)
        if isinstance(code, bool) or not isinstance(code, int) or abs(code) > LARGEST_CODE:
            return self._errors.protocol(f"{method}: the answer's error has no code")
        # The message is missing with code 0.
        return Fault(code, message if isinstance(message, str) else "")


LARGEST_CODE = 2**31
"""JSON-RPC's own codes have five digits."""

_HEADERS = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
"""Monero compresses nothing, and a compressed answer of another server could take a thousand times as much memory."""


class StillBusy(Exception):
    """Earlier calls of a client have not ended: this one was not sent."""


class _TooLong(Exception):
    """The answer has more bytes than the limit."""


async def _read(response: aiohttp.ClientResponse, longest: int) -> bytes:
    """The body. Once it exceeds ``longest`` bytes, stops reading, closes the connection and raises _TooLong."""
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > longest:
            response.close()
            raise _TooLong
    return bytes(body)


def _reason(error: aiohttp.ClientError) -> str:
    """The cause, as the same text each time: aiohttp's own texts contain object addresses and quote the server."""
    return printable(_words(error), LONGEST_REASON)


def is_busy(error: Exception) -> bool:
    """Whether a server took the connection, and then did nothing for the minute that a TLS handshake may take."""
    return isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, ConnectionAbortedError)


LONGEST_REASON = 200


def _words(error: aiohttp.ClientError) -> str:
    match error:
        case aiohttp.ClientConnectorCertificateError():
            refused = error.certificate_error
            return f"its certificate was not accepted ({getattr(refused, 'verify_message', '') or refused})"
        case aiohttp.ServerFingerprintMismatch():
            return "its certificate is not the one of this pod"
        case aiohttp.ClientConnectorError():
            return error.os_error.strerror or str(error.os_error) or type(error).__name__
        case _:
            return str(error) or type(error).__name__
