"""A whole operator over an API server and wallets in memory, looked at one reconciliation at a time."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, cast

import pytest

from escrow_operator import wiring
from escrow_operator.adapters.kube import PODS, POOLS, SECRETS, SESSIONS, Kube
from escrow_operator.adapters.kube_errors import UnavailableError
from escrow_operator.core.daemon import DaemonView
from escrow_operator.core.manifests.pool import deployment
from escrow_operator.models.common import API_VERSION, ROLES, Label, Role, format_time
from escrow_operator.models.monero import ChainFacts, parse_xmr
from escrow_operator.models.pool import DaemonKey, Pool, PoolKey
from escrow_operator.models.session import SessionKey
from escrow_operator.settings import IntervalSettings, SessionSettings, Settings
from simulation.apiserver import Event
from unit.clocks import FakeClock
from unit.factories import daemon_info
from unit.kube import InstantKube

from .wallets import Chain, FakeWallets

Body = dict[str, Any]

SHOP = "shop"
Seen = Callable[[str, str, Body], None]
"""Who is told of a change as by a watch: what happened, to which kind, and the object."""
LOOKS = 40
"""In which a session must come to rest."""


class FakeDaemons:
    """A monerod that answers, unless it is down."""

    def __init__(self, chain: Chain) -> None:
        self.chain = chain
        self.down = False

    def view(self, _: PoolKey) -> DaemonView | None:
        if self.down:
            return DaemonView(None, "it is down")
        chain = self.chain
        waiting = sum(len(paid) for paid in chain.announced.values())
        top = f"{chain.height:064x}"
        return DaemonView(replace(daemon_info(), height=chain.height, top_block_hash=top, tx_pool_size=waiting))

    def secrets(self, _: Pool) -> str | None:
        return ""

    async def next_view(self, pool: PoolKey) -> DaemonView | None:
        return self.view(pool)

    async def facts(self, _: Pool, txids: Iterable[str], key_images: Iterable[str]) -> ChainFacts:
        chain = self.chain
        known = {txid: chain.transactions[txid] for txid in txids if txid in chain.transactions}
        spent = dict.fromkeys(chain.spent & set(key_images), True)
        return ChainFacts(f"{chain.height:064x}", chain.height, known, spent)

    async def watch(self, _: Pool) -> None:
        return None

    async def forget(self, _: PoolKey) -> None:
        return None

    async def poll(self, _: DaemonKey) -> None:
        return None

    async def close(self) -> None:
        return None


class World:
    """``start`` an operator (again, as after a crash), ``apply`` sessions, ``settle`` until nothing more happens."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **sessions: Any) -> None:
        self.clock = FakeClock()
        self.clock.seconds = 1000.0
        self.kube = InstantKube(self.clock.now)
        self.kube.server.subscribers += [self.kube.collect, self._tell]
        self.seen: Seen = lambda *_: None
        self.chain = Chain()
        self.wallets = FakeWallets(self.chain)
        self.daemons = FakeDaemons(self.chain)
        self._pods = itertools.count(1)
        monkeypatch.setattr(wiring, "WalletClients", lambda *_: self.wallets)
        monkeypatch.setattr(wiring, "DaemonPoller", lambda *_: self.daemons)
        self.settings = Settings(
            sessions=SessionSettings(**sessions), intervals=IntervalSettings(), slot_login_image="login"
        )
        self._operator: wiring.Operator | None = None
        self.kube.put(
            POOLS,
            {
                "apiVersion": API_VERSION,
                "metadata": {"name": "default", "namespace": SHOP},
                "spec": {
                    "image": "wallet",
                    "preparedEscrows": 0,
                    "daemon": {"address": "monerod:18081", "network": "regtest"},
                },
            },
        )

    def change_pool(self, **spec: Any) -> None:
        """Somebody changes fields of the pool's spec."""
        body = self.kube.find(POOLS, "default", SHOP)
        assert body is not None
        self.kube.put(POOLS, {**body, "spec": {**body["spec"], **spec}})

    @property
    def operator(self) -> wiring.Operator:
        """The running one."""
        assert self._operator is not None, "start it first"
        return self._operator

    async def start(self) -> None:
        """The next operator, which knows nothing but what is in the cluster; the one before is no more."""
        await self.stop()
        self._operator = wiring.Operator(cast("Kube", self.kube), self.settings, self.clock)
        for name in ("sessions", "pools", "preparations"):
            await self.operator.wakeups.queues[name].close()
        self.seen = self._deliver
        for resource in (POOLS, SESSIONS, PODS):
            for body in self.kube.all(resource):
                self._deliver("ADDED", resource.plural, copy.deepcopy(body))

    async def stop(self) -> None:
        """End the operator's tasks, as a crash does."""
        if self._operator is not None and self._operator.context.events._writer is not None:
            self._operator.context.events._writer.cancel()

    def _tell(self, event: Event) -> None:
        self.seen(event.kind, event.plural, event.body)

    def _deliver(self, kind: str, plural: str, body: Body) -> None:
        store, meta = self.operator.store, body["metadata"]
        gone = kind == "DELETED"
        if plural == SESSIONS.plural:
            _ = store.drop_session(body) if gone else store.see_session(body)
        elif plural == POOLS.plural:
            store.see_pool(body)
        elif plural == PODS.plural:
            if gone:
                store.drop_slot(body)
                self.wallets.pod_gone(meta["uid"])
            else:
                store.see_slot(body)

    def warm(self, *roles: Role, number: int = 1) -> list[str]:
        """Free slots, as the Deployments would have made them; their names."""
        names = []
        pool = self.operator.store.pools[PoolKey(SHOP, "default")]
        for role, _ in itertools.product(roles or ROLES, range(number)):
            body = copy.deepcopy(
                deployment(pool, role, replicas=1, login_key="key", daemon_secrets="", login_image="login")
            )
            template = body["spec"]["template"]
            name = f"{role}-{next(self._pods)}"
            meta = template["metadata"] | {
                "name": name,
                "namespace": SHOP,
                "ownerReferences": [{"uid": "rs", "controller": True}],
            }
            status = {
                "phase": "Running",
                "podIP": f"10.0.0.{next(self._pods)}",
                "conditions": [{"type": "Ready", "status": "True"}],
                "containerStatuses": [{"restartCount": 0}],
            }
            spec = {"nodeName": "node"}
            self.kube.put(PODS, {"metadata": meta, "spec": spec, "status": status})
            names.append(name)
        return names

    def apply(self, name: str = "trade", **spec: Any) -> SessionKey:
        """What ``kubectl apply`` does."""
        self.kube.put(
            SESSIONS,
            {
                "apiVersion": API_VERSION,
                "metadata": {"name": name, "namespace": SHOP},
                "spec": {"poolRef": {"name": "default"}, "amount": "0.35", **spec},
            },
        )
        return SessionKey(SHOP, name)

    def made_elsewhere(self, file: str = "made-elsewhere") -> dict[str, Any]:
        """``spec.wallets`` that name this file, with a Secret that has the password "open"; no wallet is made."""
        mark = {"xmr-escrow.dev/secret-use": "wallet-password"}
        marked = {"name": "passwords", "namespace": SHOP, "labels": mark}
        self.kube.put(SECRETS, {"metadata": marked, "data": {"password": "b3Blbg=="}})
        return {role.value: {"file": file, "secretRef": {"name": "passwords"}} for role in ROLES}

    def touch(self, name: str = "trade", text: str | None = None) -> None:
        """What clients do."""
        body = self.session(name)
        body["metadata"].setdefault("annotations", {})[Label.TOUCH] = text or format_time(self.clock.now())
        self.kube.put(SESSIONS, body)

    def pay(self, address: str, xmr: str, *, confirmations: int, txid: str = "a" * 64) -> None:
        """A payment into an escrow, this deep."""
        self.chain.pay(address, parse_xmr(xmr), txid, confirmations)

    def pay_out(self, address: str, txid: str, *, confirmations: int) -> None:
        """All that is in the escrow goes out in a transaction this deep."""
        self.chain.pay_out(address, txid, confirmations)

    async def look(self, name: str = "trade") -> float | None:
        """One reconciliation."""
        return await self.operator.sessions.reconcile(SessionKey(SHOP, name))

    async def settle(self, name: str = "trade", until: Callable[[Body], Any] | None = None) -> Body:
        """Look again and again until the object no longer changes, or passes a test; its status then."""
        last: Body | None = None
        for _ in range(LOOKS):
            try:
                await self.look(name)
            except UnavailableError:
                # The one that was told so died of it.
                await self.start()
                continue
            body = self.kube.find(SESSIONS, name)
            if body is None:
                return {}
            if until(body["status"]) if until else body == last:
                # What the next sweep finds.
                if await self.operator.closer.find_stale(None):
                    await self.look(name)
                return cast("Body", body["status"])
            last = copy.deepcopy(body)
        raise AssertionError(f"{name} did not come to rest: {last}")

    def session(self, name: str = "trade") -> Body:
        """A copy of the session as it is."""
        return self.kube.server.get(SESSIONS, SHOP, name)

    def status(self, name: str = "trade") -> Body:
        """The status as it is."""
        return cast("Body", self.session(name).get("status") or {})

    def condition(self, kind: str, name: str = "trade") -> tuple[str, str]:
        """Status and reason of a condition; empty when there is none."""
        for found in self.status(name).get("conditions") or ():
            if found["type"] == kind:
                return found["status"], found["reason"]
        return "", ""

    def secret_names(self) -> set[str]:
        """Of all Secrets there are."""
        return {body["metadata"]["name"] for body in self.kube.all(SECRETS)}
