"""The gateway's HTTP interface."""

from __future__ import annotations

import contextlib
import json
import logging
import re
import traceback
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, ExitStack
from typing import Any, NamedTuple

from pydantic_core import from_json
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from escrow_gateway.audit import AuditLog, Record
from escrow_gateway.envelope import Call, read_call
from escrow_gateway.identity import Identities, Right, User
from escrow_gateway.lifecycle import Lifecycle, read_spec
from escrow_gateway.limits import Places
from escrow_gateway.meters import Meters
from escrow_gateway.methods import Access
from escrow_gateway.openapi import document
from escrow_gateway.page import Page
from escrow_gateway.pools import Pools
from escrow_gateway.problems import Kind, Problem
from escrow_gateway.requests import length_of, patience_of, read_body
from escrow_gateway.rounds import EXPORTS, SUBMITS, Rounds
from escrow_gateway.sessions import OpenWallet, Sessions
from escrow_gateway.settings import Settings
from escrow_gateway.wallets import NotSent, Wallets
from escrow_operator.adapters.kube import urgently
from escrow_operator.adapters.tracing import ROLE, leaf, rpc_call
from escrow_operator.models.common import Role
from escrow_operator.models.session import SessionKey

_LOG = logging.getLogger(__name__)

SESSION_PATH = "/v1/namespaces/{namespace}/escrowsessions/{name}"
WALLET_PATH = SESSION_PATH + "/wallets/{role}/json_rpc"

AT_ONCE_BYTES = 2**20
"""An answer up to this is read to its end before it is sent: a caller who reads slowly keeps no wallet from others."""

_NOT_OPEN = re.compile(rb'"error"\s*:\s*\{\s*"code"\s*:\s*-13\b')
"""How wallet-rpc says that no wallet is open (WALLET_RPC_ERROR_CODE_NOT_OPEN)."""

LONGEST_REFUSAL = 300

TRIES = 2
"""Of a call that did not reach its wallet: the pod may have been replaced since the session was read."""


class _Wanted(NamedTuple):
    """Which wallet is called, and for how many seconds the call waits for it to be opened."""

    key: SessionKey
    role: Role
    patience: float


class Gateway:
    """Serves calls with what it is made of; holds no state of its own."""

    def __init__(
        self,
        settings: Settings,
        *,
        identities: Identities,
        lifecycle: Lifecycle,
        pools: Pools,
        rounds: Rounds,
        sessions: Sessions,
        wallets: Wallets,
    ) -> None:
        self._settings = settings
        self._identities = identities
        self._lifecycle = lifecycle
        self._pools = pools
        self._rounds = rounds
        self._sessions = sessions
        self._wallets = wallets
        self.places = Places(
            calls=settings.calls,
            of_caller=settings.calls_per_caller,
            to_wallet=settings.calls_per_wallet,
            request_bytes=max(settings.request_bytes, settings.longest_request),
        )

    async def call_wallet(self, request: Request, send: Send) -> None:
        """Forward one JSON-RPC call. Raises Problem until the answer has begun."""
        record: Record = request.scope["record"]
        user = await self.user(request)
        key, role = _key(request), _role(request)
        record.role = role.value
        # What is asked of the API server for a known caller goes before reviews of tokens that anybody may send.
        with urgently(), self.places.caller(user.name), self._room(request):
            call = read_call(await self._body(request))
            record.method, record.access = call.method, call.access.value
            await self._identities.must_be_allowed(user, Right(*key, call.access.value, role.value))
            if call.access is Access.KEYS:
                await self._pools.must_allow_keys((await self._sessions.read(key)).pool_key)
            wanted = _Wanted(key, role, patience_of(request, self._settings.longest_wait.total_seconds()))
            with ExitStack() as place:
                place.enter_context(self.places.wallet((key, role), user.name))
                has_begun = call.method in EXPORTS and await self._rounds.begin(key, role, user.name)
                succeeded = False
                try:
                    succeeded = await self._carry_out(call, wanted, place, send)
                finally:
                    if has_begun and not succeeded:
                        self._rounds.give_back(key, role, user.name)
            if succeeded and call.method in SUBMITS:
                self._rounds.end(key)

    async def _carry_out(self, call: Call, wanted: _Wanted, place: ExitStack, send: Send) -> bool:
        """Find the wallet, and forward; once more where nothing was carried out. Returns whether there is a result."""
        for _ in range(TRIES):
            wallet = await self._sessions.wallet(wanted.key, wanted.role, patience=wanted.patience)
            try:
                return await self._forward(wallet, call, place, send)
            except NotSent:
                self._sessions.forget(wanted.key)
        raise Problem(
            Kind.WALLET_AWAY,
            f"The {wanted.role} wallet cannot be reached, or is not open; the operator sees to that. The call was"
            " not carried out: try again in a moment.",
            retry_after=2,
        )

    async def show_session(self, request: Request) -> Response:
        """GET of a session."""
        user, key = await self.user(request), _key(request)
        with self.places.caller(user.name):
            await self._identities.must_be_allowed(user, Right(*key, "get"))
            return _json(await self._lifecycle.show(key))

    async def put_session(self, request: Request) -> Response:
        """PUT of a session: get it, or create it."""
        user, key = await self.user(request), _key(request)
        with self.places.caller(user.name), self._room(request):
            spec = read_spec(await self._body(request), key)
            for verb in ("create", "get"):
                await self._identities.must_be_allowed(user, Right(*key, verb))
            made = await self._lifecycle.get_or_create(key, spec, user.name)
        if not made.is_new:
            # As any use does, it keeps the session open, or wakes it.
            await self._sessions.use(key)
        return _json(made.body, 201 if made.is_new else 200)

    async def _forward(self, wallet: OpenWallet, call: Call, place: ExitStack, send: Send) -> bool:
        """Send the wallet's answer; returns whether it is a result, as far as that matters to anybody."""
        async with contextlib.AsyncExitStack() as stack:
            stack.enter_context(leaf(call.method, {**rpc_call(call.method, wallet.ip), ROLE: wallet.role.value}))
            answer = await stack.enter_async_context(self._wallets.forward(wallet, call.body))
            self._sessions.note_use(wallet.session)
            first, ended = await _first_part(answer.chunks)
            if ended:
                await stack.aclose()
                if _NOT_OPEN.search(first[:LONGEST_REFUSAL]):
                    # The session was closed a moment ago, or its pod restarted: nothing was done.
                    raise NotSent
                # The wallet is done, however slowly the caller reads.
                place.close()
            await send(_start(len(first) if ended else answer.length))
            await send({"type": "http.response.body", "body": first, "more_body": not ended})
            if not ended:
                async for chunk in answer.chunks:
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        return call.method not in EXPORTS | SUBMITS or not ended or _is_result(first)

    def _room(self, request: Request) -> AbstractContextManager[None]:
        """Memory for the request's body. Raises Problem."""
        return self.places.bytes(length_of(request, self._settings.longest_request))

    async def user(self, request: Request) -> User:
        """Who sent a request. Raises Problem."""
        user = await self._identities.user(request.headers.get("authorization"))
        request.scope["record"].user = user.name
        return user

    async def _body(self, request: Request) -> bytes:
        body = await read_body(
            request,
            longest=self._settings.longest_request,
            patience=self._settings.request_patience.total_seconds(),
        )
        request.scope["record"].bytes_in = len(body)
        return body


class WalletEndpoint:
    """An ASGI application, since its answer may be longer than what is kept in memory."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        await self._gateway.call_wallet(Request(scope, receive), send)


class Audited:
    """Around everything: logs and counts each request, and tells problems as problem details."""

    def __init__(self, app: ASGIApp, audit: AuditLog, meters: Meters) -> None:
        self._app, self._audit, self._meters = app, audit, meters

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, and note it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        record = Record(scope["method"], scope["path"])
        scope["record"] = record
        # Whether there is one decides if the router raises what it cannot serve.
        scope["app"] = self

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
            else:
                record.bytes_out += len(message.get("body", b""))
            await send(message)

        self._meters.in_flight.inc()
        try:
            await self._app(scope, receive, told)
        except Exception as error:
            problem = _problem_of(error)
            record.problem = problem.kind.slug
            if record.status:
                # The answer has begun: breaking it off is all that tells of the trouble. uvicorn logs what is raised.
                raise problem from None
            await send_problem(problem, told)
        finally:
            self._meters.in_flight.dec()
            self._note(record)

    def _note(self, record: Record) -> None:
        access = record.access or "other"
        self._meters.requests.labels(access, str(record.status)).inc()
        self._meters.seconds.labels(access).observe(record.seconds)
        if record.problem:
            self._meters.problems.labels(record.problem).inc()
        self._audit.write(record)


def make_app(gateway: Gateway, audit: AuditLog, meters: Meters, page: Page | None = None) -> ASGIApp:
    """The whole application; without ``page`` nothing is listed, and ``/`` is not there."""
    described = _json(document(with_page=page is not None))

    async def openapi(_: Request) -> Response:
        return described

    routes = [
        Route(WALLET_PATH, WalletEndpoint(gateway), methods=["POST"]),
        Route(SESSION_PATH, gateway.show_session, methods=["GET"]),
        Route(SESSION_PATH, gateway.put_session, methods=["PUT"]),
        Route("/openapi.json", openapi, methods=["GET"]),
        *(page.routes() if page else ()),
    ]
    # Without Starlette's application around it, which answers errors itself.
    return Audited(Router(routes, redirect_slashes=False), audit, meters)


async def send_problem(problem: Problem, send: Send) -> None:
    """Answer with a problem."""
    body = problem.body()
    headers = {**problem.all_headers(), "content-length": str(len(body))}
    await send(
        {
            "type": "http.response.start",
            "status": problem.kind.status.value,
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        }
    )
    await send({"type": "http.response.body", "body": body, "more_body": False})


def _problem_of(error: Exception) -> Problem:
    if isinstance(error, Problem):
        return error
    if isinstance(error, HTTPException) and error.status_code == Kind.WRONG_HTTP_METHOD.status:
        allowed = (error.headers or {}).get("Allow", "")
        return Problem(Kind.WRONG_HTTP_METHOD, f"Use {allowed}; see /openapi.json.", headers={"allow": allowed})
    if isinstance(error, HTTPException):
        return Problem(Kind.NOT_FOUND, f"Nothing is served here; {WALLET_PATH} is a wallet, see /openapi.json.")
    # Its text may quote a request.
    frames = "".join(traceback.format_tb(error.__traceback__))
    _LOG.error("a request failed: %s\n%s", type(error).__name__, frames)
    return Problem(Kind.INTERNAL, "The gateway failed; its log tells why. What was asked may have been done.")


async def _first_part(chunks: AsyncIterator[bytes]) -> tuple[bytes, bool]:
    """An answer up to ``AT_ONCE_BYTES``, and whether that is all of it."""
    first = bytearray()
    async for chunk in chunks:
        first += chunk
        if len(first) >= AT_ONCE_BYTES:
            return bytes(first), False
    return bytes(first), True


def _is_result(answer: bytes) -> bool:
    """Whether a whole answer is the result of a call, and no error."""
    try:
        found = from_json(answer)
    except ValueError:
        return False
    return isinstance(found, dict) and "result" in found and not found.get("error")


def _start(length: int | None) -> Message:
    headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
    if length is not None:
        headers.append((b"content-length", str(length).encode()))
    return {"type": "http.response.start", "status": 200, "headers": headers}


def _key(request: Request) -> SessionKey:
    key = SessionKey(request.path_params["namespace"], request.path_params["name"])
    record: Record = request.scope["record"]
    record.namespace, record.session = key
    return key


def _role(request: Request) -> Role:
    try:
        return Role(request.path_params["role"])
    except ValueError:
        raise Problem(Kind.NOT_FOUND, f"An escrow has the wallets {', '.join(Role)}.") from None


def _json(body: Any, status: int = 200) -> Response:
    data = json.dumps(body).encode()
    return Response(data, status, {"cache-control": "no-store"}, media_type="application/json")
