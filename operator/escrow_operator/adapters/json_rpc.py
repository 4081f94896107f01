"""JSON-RPC 2.0 over HTTP as Monero's servers speak it, with digest login, deadlines and one call at a time.

Digest nonces of these servers are tied to a TCP connection, and a wallet process works on one thread: a
client therefore holds one connection and sends its calls one after the other. Requests and answers may
carry passwords and key material; neither is quoted in an error or a log.
"""

import asyncio
import json
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import Protocol, TypeVar
from urllib.parse import urlsplit

import aiohttp
from aiohttp import ClientHandlerType, DigestAuthMiddleware
from aiohttp.client_middlewares import ClientMiddlewareType

from escrow_operator.errors import EscrowError
from escrow_operator.models.monero import MAX_PICONERO, Login

CONNECT_TIMEOUT = 5.0
"""Seconds to connect. A pod of the same cluster connects in milliseconds; one that does not is gone or cut
off, which is worth telling apart from a process that is busy."""

KEEPALIVE = 2.0
"""Seconds an idle connection is kept: the calls of one look, and of an opening, follow each other at once. An unchanged
session asks each of its wallets every 90 s only; holding that connection would take 17 KB, a new digest challenge takes
one more request."""

Choice = TypeVar("Choice", bound=StrEnum)


class ErrorType(Protocol):
    """An error class that takes its message and, optionally, the code of the answer."""

    def __call__(self, message: str, *, code: int | None = None) -> EscrowError:
        """Make the error."""
        ...


@dataclass(frozen=True)
class ErrorTypes:
    """The error class for each way a call can fail before its answer is understood."""

    unreachable: ErrorType
    timeout: ErrorType
    unauthorized: ErrorType
    protocol: ErrorType


class Fault(Exception):
    """The server answered with an error object. Internal to the adapters, which turn it into their errors.

    `message` is the server's text; it may quote the request, so it is no part of this exception's string.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"error {code}")
        self.code = code
        self.message = message


_TIMEOUT = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT)
"""The deadline of a call bounds reading and writing."""


def rpc_session() -> aiohttp.ClientSession:
    """Connections to any number of servers; each client of one uses one connection at a time, and the same again.

    A proxy or .netrc of the environment has no business between operator and wallet, so they are not looked at.
    """
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE)
    return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())


class Answer:
    """Typed reading of a result object; a missing or ill-typed field raises the protocol error."""

    def __init__(self, fields: Mapping[str, object], method: str, protocol_error: ErrorType) -> None:
        self._fields = fields
        self._method = method
        self._protocol_error = protocol_error

    def integer(self, name: str, default: int | None = None) -> int:
        """An unsigned 64-bit integer."""
        value = self._fields.get(name, default)
        # bool is an int to Python
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_PICONERO:
            raise self.unexpected(name)
        return value

    def text(self, name: str, default: str | None = None) -> str:
        """A string."""
        value = self._fields.get(name, default)
        if not isinstance(value, str):
            raise self.unexpected(name)
        return value

    def flag(self, name: str, *, default: bool | None = None) -> bool:
        """A boolean."""
        value = self._fields.get(name, default)
        if not isinstance(value, bool):
            raise self.unexpected(name)
        return value

    def choice(self, name: str, options: type[Choice]) -> Choice:
        """One of an enumeration's values."""
        try:
            return options(self.text(name))
        except ValueError:
            raise self.unexpected(name) from None

    def texts(self, name: str) -> list[str]:
        """A list of strings; a missing one is empty, as Monero leaves empty lists out."""
        values = self._fields.get(name, [])
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise self.unexpected(name)
        return list(values)

    def item(self, name: str) -> "Answer":
        """A nested object."""
        return self._nested(name, self._fields.get(name))

    def items(self, name: str) -> list["Answer"]:
        """A list of objects; a missing one is empty, as Monero leaves empty lists out."""
        values = self._fields.get(name, [])
        if not isinstance(values, list):
            raise self.unexpected(name)
        return [self._nested(name, value) for value in values]

    def unexpected(self, name: str) -> EscrowError:
        """The protocol error for a field, without its value."""
        return self._protocol_error(f"{self._method}: field {name!r} is missing or not of the expected type")

    def _nested(self, name: str, value: object) -> "Answer":
        if not isinstance(value, dict):
            raise self.unexpected(name)
        return Answer(value, f"{self._method}.{name}", self._protocol_error)


class JsonRpcClient:
    """One server's JSON-RPC endpoint (`base_url` + /json_rpc).

    `tls` is the SSL context for https URLs, None trusts the system's certificates. `session` is used instead of one of
    its own, and stays open; its connector must keep connections. `on_request` is called for every HTTP request, those
    of a digest challenge included.
    """

    def __init__(
        self,
        base_url: str,
        errors: ErrorTypes,
        *,
        login: Login | None = None,
        tls: ssl.SSLContext | None = None,
        session: aiohttp.ClientSession | None = None,
        on_request: Callable[[], None] | None = None,
    ) -> None:
        parts = urlsplit(base_url)
        if parts.username is not None or parts.password is not None:
            raise ValueError("put user and password into login, not into the URL: URLs get logged")
        self._base_url = base_url.rstrip("/")
        self._errors = errors
        self._lock = asyncio.Lock()
        self._tls: ssl.SSLContext | bool = True if tls is None else tls
        self._session = session
        self._owned: aiohttp.ClientSession | None = None
        self._on_request = on_request
        self._login = login
        self._middlewares = self._fresh_login()

    async def aclose(self) -> None:
        """Close the connection."""
        if self._owned is not None:
            await self._owned.close()
            self._owned = None

    def _fresh_login(self) -> tuple[ClientMiddlewareType, ...]:
        """One that has seen no challenge yet."""
        if self._login is None:
            return (self._send,)
        return DigestAuthMiddleware(self._login.user, self._login.password), self._send

    async def _send(self, request: aiohttp.ClientRequest, handler: ClientHandlerType) -> aiohttp.ClientResponse:
        if self._on_request is not None:
            self._on_request()
        response = await handler(request)
        if response.status == HTTPStatus.UNAUTHORIZED:
            # Read to its end, so that the answer to the challenge goes over the same connection.
            await response.read()
        return response

    async def call(self, method: str, params: Mapping[str, object], deadline: float) -> Answer:
        """The result of one call; `deadline` seconds include waiting for earlier calls of this client.

        Raises Fault for an error answer, and the client's error types.
        """
        request = {"jsonrpc": "2.0", "id": "0", "method": method, "params": params}
        body = await self._body(method, "/json_rpc", request, deadline)
        answer = Answer(body, method, self._errors.protocol)
        if "error" in body:
            raise self._fault(method, body["error"])
        return answer.item("result")

    async def post(self, path: str, params: Mapping[str, object], deadline: float) -> Answer:
        """The answer of one of the calls that Monero serves at a path of their own. Raises the client's error types."""
        return Answer(await self._body(path, path, params, deadline), path, self._errors.protocol)

    async def _body(self, method: str, path: str, request: Mapping[str, object], deadline: float) -> dict[str, object]:
        status, data = await self._post(method, path, request, deadline)
        if status == HTTPStatus.UNAUTHORIZED and self._login is not None:
            # A nonce may have been another connection's. Only a login that is refused from the start is wrong: it
            # costs the slot its pod.
            self._middlewares = self._fresh_login()
            status, data = await self._post(method, path, request, deadline)
        if status == HTTPStatus.UNAUTHORIZED:
            raise self._errors.unauthorized(f"{method}: the RPC login was refused")
        if status != HTTPStatus.OK:
            raise self._errors.protocol(f"{method}: unexpected HTTP status {status}")
        try:
            body = json.loads(data)
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise self._errors.protocol(f"{method}: the answer is not a JSON object")
        return body

    async def _post(self, method: str, path: str, request: Mapping[str, object], deadline: float) -> tuple[int, bytes]:
        sent = False
        # `from None` below: a client's exceptions hold the request, and with it the password it carries.
        try:
            async with asyncio.timeout(deadline), self._lock:
                sent = True
                async with self._http().post(
                    self._base_url + path,
                    json=request,
                    ssl=self._tls,
                    timeout=_TIMEOUT,
                    middlewares=self._middlewares,
                    allow_redirects=False,
                ) as response:
                    return response.status, await response.read()
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError) as error:
            raise self._errors.unreachable(f"{method}: {_reason(error)}") from None
        except TimeoutError:
            what = "no answer" if sent else "still waiting for an earlier call"
            raise self._errors.timeout(f"{method}: {what} after {deadline:g} s") from None
        except aiohttp.ClientError as error:
            raise self._errors.protocol(f"{method}: {type(error).__name__}") from None

    def _http(self) -> aiohttp.ClientSession:
        if self._session is not None:
            return self._session
        if self._owned is None:
            self._owned = rpc_session()
        return self._owned

    def _fault(self, method: str, error: object) -> Exception:
        if not isinstance(error, dict) or not isinstance(error.get("code"), int):
            return self._errors.protocol(f"{method}: the answer's error has no code")
        # At code 0 the message is missing.
        return Fault(error["code"], str(error.get("message") or ""))


def _reason(error: aiohttp.ClientError) -> str:
    """In words that are the same each time: aiohttp's own name objects by their address."""
    match error:
        case aiohttp.ClientConnectorCertificateError():
            refused = error.certificate_error
            return f"its certificate was not accepted ({getattr(refused, 'verify_message', '') or refused})"
        case aiohttp.ClientConnectorError():
            return error.os_error.strerror or str(error.os_error) or type(error).__name__
        case _:
            return str(error) or type(error).__name__
