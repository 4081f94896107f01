"""The gateway on an API server in memory, with wallets on loopback and callers who have tokens and rights."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import Mapping
from typing import Any

import aiohttp
import httpx
import pytest
from prometheus_client import CollectorRegistry

from escrow_gateway import wallets as forwarding
from escrow_gateway.app import Gateway, make_app
from escrow_gateway.audit import AuditLog
from escrow_gateway.identity import ACCESS_REVIEWS, TOKEN_REVIEWS, Identities
from escrow_gateway.lifecycle import Lifecycle, wallet_path
from escrow_gateway.logins import Logins
from escrow_gateway.meters import Meters
from escrow_gateway.overview import Overview
from escrow_gateway.page import Page
from escrow_gateway.pools import Pools
from escrow_gateway.rounds import Rounds
from escrow_gateway.sessions import Sessions
from escrow_gateway.settings import Settings
from escrow_gateway.traces import Traced
from escrow_gateway.wallets import Wallets
from escrow_operator.adapters.kube import NAMESPACES, POOLS, SECRETS, SESSIONS, Resource
from escrow_operator.core.login import derive_login
from escrow_operator.models.common import ROLES, Role
from escrow_operator.models.session import Phase, SessionKey
from unit.adapters.fake_server import FakeServer, Serve
from unit.factories import pool_body, session_body
from unit.kube import InstantKube

Body = dict[str, Any]

KEY = SessionKey("shop", "demo")
LOGIN_KEY = "k" * 64
BUYERS = "buyers"
"""The buyer's token."""
AUDIENCE = "xmr-escrow-gateway"
HOME, LOGINS = "escrow", "logins"


class Cluster(InstantKube):
    """With reviews: ``tokens`` has user names, ``rights`` (user, verb, subresource) in the namespace ``shop``."""

    def __init__(self) -> None:
        super().__init__()
        self.put(NAMESPACES, {"metadata": {"name": HOME}})
        self.tokens: dict[str, str] = {}
        self.rights: set[tuple[str, str, str]] = set()
        self.reviews: list[str] = []
        self.audiences: list[str] = [AUDIENCE]
        self._merged = asyncio.Event()

    async def until_merged(self) -> None:
        """Wait for the first merge patch."""
        await self._merged.wait()

    async def merge(self, *args: Any) -> Body:
        """Noted."""
        found = await super().merge(*args)
        self._merged.set()
        return found

    async def create(self, resource: Resource, namespace: str | None, body: Mapping[str, Any]) -> Body:
        """Reviews are answered, and kept nowhere."""
        if resource == TOKEN_REVIEWS:
            self._ask("create", resource, None)
            self.reviews.append("token")
            user = self.tokens.get(body["spec"]["token"])
            if user is None or not set(body["spec"]["audiences"]) & set(self.audiences):
                return {"status": {"authenticated": False, "error": "no"}}
            return {
                "status": {
                    "authenticated": True,
                    "audiences": self.audiences,
                    "user": {"username": user, "groups": ["g"]},
                }
            }
        if resource == ACCESS_REVIEWS:
            self._ask("create", resource, None)
            spec, what = body["spec"], body["spec"]["resourceAttributes"]
            self.reviews.append("access")
            wanted = {(spec["user"], what["verb"], what["subresource"])}
            if what["verb"] == "list" and what["name"] == what["subresource"] == "":
                # "" in place of a namespace's name: all of them.
                wanted = {(spec["user"], what["namespace"], f"list {what['group']}/{what['resource']}")}
            allowed = bool(wanted & self.rights) and (what["namespace"] == "shop" or what["verb"] == "list")
            return {"status": {"allowed": allowed}}
        assert namespace is not None
        return await super().create(resource, namespace, body)


class Bench:
    """``call`` is what a caller does; ``wallets`` are the servers by role."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> None:
        self.kube = Cluster()
        self.log = io.StringIO()
        self.wallets = {role: FakeServer(results={"get_balance": {"balance": 1}}) for role in ROLES}
        self._urls: dict[str, str] = {}
        monkeypatch.setattr(forwarding, "slot_url", self._slot_url)
        self.settings = Settings(logins_secret=LOGINS, own_namespace=HOME, longest_wait="1s", **settings)
        self.session = aiohttp.ClientSession()
        kube: Any = self.kube
        self.registry = CollectorRegistry()
        meters = Meters(self.registry)
        self.sessions = Sessions(kube, meters.touches)
        self.logins = Logins(kube, HOME, LOGINS)
        self.pools = Pools(kube)
        self.rounds = Rounds(self.sessions)
        self.identities = Identities(kube, AUDIENCE)
        gateway = Gateway(
            self.settings,
            identities=self.identities,
            lifecycle=Lifecycle(kube, self.sessions),
            pools=self.pools,
            rounds=self.rounds,
            sessions=self.sessions,
            wallets=Wallets(
                self.session,
                self.logins,
                longest=self.settings.longest_answer,
                deadline=self.settings.call_deadline.total_seconds(),
            ),
        )
        page = Page(gateway.user, gateway.places, self.identities, Overview(kube))
        self.app = Traced(make_app(gateway, AuditLog(self.log), meters, page), self.settings.trust_traceparent)
        self.http = httpx.AsyncClient(
            transport=httpx.ASGITransport(self.app, raise_app_exceptions=False), base_url="http://gateway"
        )

    def _slot_url(self, ip: str, *, tls: bool) -> str:
        url = self._urls.get(ip, "http://127.0.0.1:9")
        assert url.startswith("https:") or not tls
        return url

    async def start(self, serve: Serve) -> None:
        """An open session, and the buyer, who may do everything with his wallet."""
        for number, role in enumerate(ROLES, 1):
            self.wallets[role].login = derive_login(LOGIN_KEY, f"pod-{role}")
            self._urls[f"10.0.0.{number}"] = await serve(self.wallets[role].handle)
        self.publish(LOGIN_KEY)
        self.kube.put(POOLS, pool_body())
        self.put_session(Phase.ACTIVE)
        self.kube.tokens[BUYERS] = "buyer"
        self.allow("buyer", "buyer", "read", "sign", "relay", "keys")

    async def close(self) -> None:
        """End all connections."""
        await self.http.aclose()
        await self.rounds.settle()
        await self.sessions.settle()
        await self.session.close()

    def lead(self, role: Role, url: str) -> None:
        """The wallet's pod is at another URL."""
        self._urls[f"10.0.0.{ROLES.index(role) + 1}"] = url

    def publish(self, key: str) -> None:
        """What the operator tells of logins."""
        data = {"shop.default": base64.b64encode(key.encode()).decode()}
        self.kube.put(SECRETS, {"metadata": {"name": LOGINS, "namespace": HOME}, "data": data})

    def put_session(self, phase: Phase, *, opened: bool = True, **body: Any) -> None:
        """The session as the operator reports it."""
        wallets = {
            role.value: {"pod": f"pod-{role}", "podUID": f"pod-{role}", "podIP": f"10.0.0.{n}", "opened": opened}
            for n, role in enumerate(ROLES, 1)
        }
        status = {"wallets": body.pop("wallets", wallets)} | body.pop("status", {})
        self.kube.put(SESSIONS, session_body(phase=phase, status=status, **body))

    def allow(self, user: str, subresource: str, *verbs: str) -> None:
        """Bind a role."""
        self.kube.rights |= {(user, verb, subresource) for verb in verbs}

    def move(self, role: Role, ip: str) -> None:
        """The wallet's pod gets another address."""
        number = ROLES.index(role) + 1
        self._urls[ip] = self._urls.pop(f"10.0.0.{number}")

    async def call(
        self,
        method: str = "get_balance",
        params: Mapping[str, object] | None = None,
        *,
        role: str = "buyer",
        token: str | None = BUYERS,
        key: SessionKey = KEY,
        **headers: str,
    ) -> httpx.Response:
        """One call."""
        body = {"jsonrpc": "2.0", "id": "0", "method": method, "params": params or {}}
        return await self.post(wallet_path(key, role), json.dumps(body).encode(), token=token, **headers)

    async def post(self, path: str, data: bytes, *, token: str | None = BUYERS, **headers: str) -> httpx.Response:
        """One request."""
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        return await self.http.post(path, content=data, headers=headers)

    @property
    def lines(self) -> list[Body]:
        """The audit log."""
        return [json.loads(line) for line in self.log.getvalue().splitlines()]
