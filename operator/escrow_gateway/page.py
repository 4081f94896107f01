"""Serves the page, and what it shows: to whom the files go does not matter, lists go to those who may list."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from escrow_gateway.audit import Record
from escrow_gateway.identity import CORE, Identities, Right, User
from escrow_gateway.limits import Places
from escrow_gateway.overview import Overview, Told, entity_tag
from escrow_operator.models.session import SessionKey

FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page/style.css": ("style.css", "text/css; charset=utf-8"),
    "/page/icon.svg": ("icon.svg", "image/svg+xml"),
    "/page/main.js": ("main.js", "text/javascript; charset=utf-8"),
    "/page/api.js": ("api.js", "text/javascript; charset=utf-8"),
    "/page/dom.js": ("dom.js", "text/javascript; charset=utf-8"),
    "/page/overview.js": ("overview.js", "text/javascript; charset=utf-8"),
    "/page/session.js": ("session.js", "text/javascript; charset=utf-8"),
}
"""Paths, and the package's files behind them."""

HEADERS = {
    # Only what the gateway serves runs or is asked, and no text of a tenant can become markup.
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self';"
        " base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
    ),
    "cache-control": "no-cache",
    "cross-origin-opener-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}

LIST_HEADERS = {name: HEADERS[name] for name in ("cache-control", "x-content-type-options")}

LISTS = "/v1/{plural}", "/v1/namespaces/{namespace}/{plural}"

Caller = Callable[[Request], Awaitable[User]]


class Page:
    """``caller`` tells who sent a request, and raises Problem for strangers."""

    def __init__(self, caller: Caller, places: Places, identities: Identities, overview: Overview) -> None:
        self._caller, self._places = caller, places
        self._identities = identities
        self._overview = overview

    def routes(self) -> list[Route]:
        """All that it serves."""
        found = [Route(path, _file(*file), methods=["GET"]) for path, file in FILES.items()]
        for path in LISTS:
            found.append(Route(path.replace("{plural}", "escrowsessions"), self.sessions, methods=["GET"]))
            found.append(Route(path.replace("{plural}", "walletpools"), self.pools, methods=["GET"]))
        event_path = "/v1/namespaces/{namespace}/escrowsessions/{name}/events"
        return [*found, Route(event_path, self.events, methods=["GET"])]

    async def sessions(self, request: Request) -> Response:
        """GET of the sessions of a namespace, or of all."""
        namespace = _namespace(request)
        right = Right(namespace or "", "", "list")
        return await self._answer(request, right, lambda: self._overview.sessions(namespace))

    async def pools(self, request: Request) -> Response:
        """GET of the pools of a namespace, or of all."""
        namespace = _namespace(request)
        right = Right(namespace or "", "", "list", resource="walletpools")
        return await self._answer(request, right, lambda: self._overview.pools(namespace))

    async def events(self, request: Request) -> Response:
        """GET of the Events of a session, for those who may list the Events of its namespace."""
        key = SessionKey(request.path_params["namespace"], request.path_params["name"])
        record: Record = request.scope["record"]
        record.namespace, record.session = key
        right = Right(key.namespace, "", "list", resource="events", group=CORE)
        return await self._answer(request, right, lambda: self._overview.events(key))

    async def _answer(self, request: Request, right: Right, tell: Callable[[], Awaitable[Told]]) -> Response:
        user = await self._caller(request)
        with self._places.caller(user.name):
            await self._identities.must_be_allowed(user, right)
            told = await tell()
        return _unless_known(request, told.data, told.tag, LIST_HEADERS, "application/json")


def _file(name: str, media_type: str) -> Callable[[Request], Awaitable[Response]]:
    data = (files("escrow_gateway") / "static" / name).read_bytes()
    tag = entity_tag(data)

    async def serve(request: Request) -> Response:
        return _unless_known(request, data, tag, HEADERS, media_type)

    return serve


def _unless_known(request: Request, data: bytes, tag: str, headers: Mapping[str, str], media_type: str) -> Response:
    """The data, or nothing for who has it already."""
    told = {**headers, "etag": tag}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=told)
    return Response(data, headers=told, media_type=media_type)


def _namespace(request: Request) -> str | None:
    found: str | None = request.path_params.get("namespace")
    record: Record = request.scope["record"]
    record.namespace = found
    return found
