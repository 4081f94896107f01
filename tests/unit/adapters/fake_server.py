"""A monero-wallet-rpc or monerod on loopback, with digest login as epee does it."""

import hashlib
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from aiohttp import web
from multidict import CIMultiDict

from escrow_operator.adapters.wallet_rpc import WalletRpc
from escrow_operator.models.monero import Login

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

Serve = Callable[[Handler], Awaitable[str]]
"""Starts a server for the test; the base URL then."""

UNAUTHORIZED_PAGE = "<html><head><title>Unauthorized Access</title></head></html>"


@dataclass
class FakeServer:
    """Answers methods with recorded `results` or `errors`, else as monero-wallet-rpc answers unknown ones."""

    results: dict[str, object] = field(default_factory=dict)
    errors: dict[str, tuple[int, str]] = field(default_factory=dict)
    login: Login | None = None
    nonce: str = "u4KPEkEB4S0BI1mzR0XKiQ=="
    calls: list[tuple[str, Mapping[str, object]]] = field(default_factory=list)
    challenges: int = 0

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One request."""
        if self.login is not None and not self._authorized(request, self.login):
            self.challenges += 1
            headers: CIMultiDict[str] = CIMultiDict()
            for algorithm in ("MD5", "MD5-sess"):
                challenge = (
                    f'Digest qop="auth",algorithm={algorithm},realm="monero-rpc",nonce="{self.nonce}",stale=false'
                )
                headers.add("WWW-authenticate", challenge)
            return web.Response(status=401, headers=headers, text=UNAUTHORIZED_PAGE)
        assert request.path == "/json_rpc"
        body = await request.json()
        method = body["method"]
        self.calls.append((method, body["params"]))
        answer: dict[str, object] = {"id": body["id"], "jsonrpc": "2.0"}
        if method in self.results:
            answer["result"] = self.results[method]
        else:
            code, message = self.errors.get(method, (-32601, "Method not found"))
            answer["error"] = {"code": code, "message": message} if message else {"code": code}
        return web.json_response(answer)

    def _authorized(self, request: web.Request, login: Login) -> bool:
        header = request.headers.get("authorization", "")
        fields = re.findall(r'(\w+)=(?:"([^"]*)"|([^,]*))', header)
        sent: dict[str, str] = {key: quoted or bare for key, quoted, bare in fields}
        if sent.get("nonce") != self.nonce:
            return False
        secret = _md5(f"{login.user}:monero-rpc:{login.password}")
        resource = _md5(f"{request.method}:{sent['uri']}")
        expected = _md5(f"{secret}:{self.nonce}:{sent['nc']}:{sent['cnonce']}:{sent['qop']}:{resource}")
        return sent["response"] == expected


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


class MakeWallet(Protocol):
    """The fixture ``wallet``."""

    async def __call__(self, server: FakeServer | Handler, login: Login | None = None) -> WalletRpc:
        """A client of a server."""
        ...
