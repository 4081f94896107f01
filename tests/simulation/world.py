"""The simulated world: a cluster with one pool, Monero, users, and operator processes that come and go.

Call it inside ``run``: time is the event loop's, and costs nothing to pass.
"""

from __future__ import annotations

import asyncio
import gc
import random
from collections.abc import Callable, Collection, Coroutine, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, TypeVar, cast
from unittest.mock import patch

import aiohttp
import looptime

from escrow_operator.adapters.clock import Clock
from escrow_operator.adapters.kube import PODS, POOLS, SECRETS, SESSIONS, Kube
from escrow_operator.adapters.kube_errors import KubeError, NotFoundError
from escrow_operator.core.login import derive_login
from escrow_operator.core.manifests.common import login_key_name
from escrow_operator.core.secretuse import SecretUse
from escrow_operator.handlers import Memo
from escrow_operator.handlers.pools import pool_seen
from escrow_operator.handlers.sessions import session_seen
from escrow_operator.handlers.slots import follow as follow_slots
from escrow_operator.models.common import API_VERSION, ROLES, Label, Role, format_time
from escrow_operator.models.deed import secret_data
from escrow_operator.models.monero import parse_xmr
from escrow_operator.models.pool import PoolKey
from escrow_operator.settings import IntervalSettings, SessionSettings, Settings
from escrow_operator.wiring import Operator

from .apiserver import ApiServer, Body
from .chain import Chain
from .cluster import Cluster, WalletServer
from .httpclient import ProcessSession
from .invariants import Watchman
from .kopf_watch import follow
from .kubeclient import Faults, SimKube, View
from .monerod import Monerod
from .network import Network
from .process import Dies, Process, task_factory
from .wallet_files import Volume
from .wallet_rpc import WalletProcess

SHOP = "shop"
POOL = "default"
DAEMON = "monerod:18081"
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
PATIENCE = 7200.0
"""Seconds for what must happen: where events are lost, it is the full lists every ten minutes that find it."""

QUIET_SECONDS = 20.0
"""Without a change in the API server: nothing more is under way."""

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T], *, seed: int = 0) -> T:
    """Run one world to its end on a virtual clock of its own; from the same seed always the same way."""
    with stage(seed) as loop:
        return loop.run_until_complete(work)


@contextmanager
def stage(seed: int = 0) -> Iterator[asyncio.AbstractEventLoop]:
    """The loop on which a world lives, for those who let it run in parts. Its time stands still in between."""
    chance = random.Random(seed)
    random.seed(seed)
    loop = looptime.new_event_loop(start=0.0, noop_cycles=0, idle_timeout=0.0)
    loop.set_task_factory(cast("Any", task_factory))
    # A third of a world's time, for what is thrown away with it.
    gc.disable()
    try:
        # File names and passwords, too, are the same for the same seed.
        with (
            patch("secrets.token_hex", lambda size: chance.randbytes(size).hex()),
            patch("secrets.token_urlsafe", lambda size: chance.randbytes(size).hex()),
        ):
            yield loop
    finally:
        rest = asyncio.all_tasks(loop)
        for task in rest:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*rest, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
        gc.enable()


class SimClock(Clock):
    """The loop's time; ``ahead`` is by how much the wall clock jumped."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> datetime:
        return (EPOCH + timedelta(seconds=self.monotonic()) + self.ahead).replace(microsecond=0)

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()


class Moment(NamedTuple):
    """``at`` is the loop's time in whole seconds; ``objects`` and ``wallets`` grow with whatever happens to them."""

    at: int
    objects: int
    wallets: int


class World:
    """``sessions`` are settings of the operator; ``locking`` tells whether the storage's file locks hold."""

    def __init__(
        self, *, seed: int = 0, warm: int = 1, locking: bool = False, view: View | None = None, **sessions: Any
    ) -> None:
        self.chance = random.Random(seed)
        self.clock = SimClock()
        self.server = ApiServer(self.clock.now)
        self.network = Network()
        self.chain = Chain()
        self.monerod = Monerod(self.chain)
        self.network.listen(DAEMON, self.monerod)
        self.volumes: dict[tuple[str, str], Volume] = {}
        self.wallets: list[WalletProcess] = []
        self._locking = locking
        self.view = view or View()
        self.faults = Faults()
        self.cluster = Cluster(
            self.server,
            self.chance,
            self.clock.now,
            start_wallet=self._start_wallet,
            stop_listening=self.network.close,
        )
        self.settings = Settings(
            sessions=SessionSettings(**sessions),
            intervals=IntervalSettings(),
            slot_login_image="login",
        )
        self.watchman = Watchman(self)
        self.processes: list[Process] = []
        self.operators: dict[str, Operator] = {}
        self.make_pool(warm=warm)

    # Operators

    async def start_operator(self, dies: Dies = lambda _: False) -> Process:
        """One more process; it looks at all there is, then follows it."""
        process = Process(f"operator-{len(self.processes)}", dies)
        self.processes.append(process)
        kube = SimKube(self.server, process, self.view, self.faults)

        def connect() -> aiohttp.ClientSession:
            return cast("aiohttp.ClientSession", ProcessSession(self.network, process))

        async def main() -> None:
            operator = Operator(cast("Kube", kube), self.settings, self.clock, connect)
            self.operators[process.name] = operator
            while True:
                try:
                    await operator.begin()
                    break
                except KubeError:
                    await asyncio.sleep(2.0)
            memo = Memo(self.settings)
            memo.running = operator
            follow_slots(operator, operator.listed)
            for namespace in operator.namespaces.served:
                operator.wakeups.relist(namespace)
            await asyncio.gather(
                follow(kube, POOLS, pool_seen, memo),
                follow(kube, SESSIONS, session_seen, memo),
            )

        process.spawn(main())
        return process

    # Users

    def make_pool(self, name: str = POOL, *, warm: int = 1, **spec: Any) -> None:
        """What ``kubectl apply`` does with a pool."""
        daemon = {"address": DAEMON, "network": "regtest", "trusted": True}
        body = {
            "apiVersion": API_VERSION,
            "kind": "WalletPool",
            "metadata": {"name": name},
            "spec": {"image": "wallet", "daemon": daemon, "warmSlots": warm, **spec},
        }
        self.server.apply(POOLS, SHOP, body)

    def apply(self, name: str, **spec: Any) -> None:
        """What ``kubectl apply`` does with a session."""
        body = {
            "apiVersion": API_VERSION,
            "kind": "EscrowSession",
            "metadata": {"name": name},
            "spec": {"poolRef": {"name": POOL}, "amount": "0.35", **spec},
        }
        self.server.apply(SESSIONS, SHOP, body)

    def apply_with_wallets_of(self, other: str, name: str) -> None:
        """A session that opens the wallets of another one, with copies of their passwords."""
        wallets = {}
        for role in ROLES:
            deed = self.server.get(SECRETS, SHOP, f"{other}-{role.value}-wallet")
            copy = {"name": f"{name}-{role.value}", "labels": {Label.SECRET_USE: SecretUse.WALLET_PASSWORD.value}}
            self.server.apply(SECRETS, SHOP, {"metadata": copy, "data": {"password": deed["data"]["password"]}})
            wallets[role.value] = {"file": secret_data(deed, "file")["file"], "secretRef": {"name": copy["name"]}}
        self.apply(name, setup="Open", wallets=wallets)

    def delete(self, name: str) -> None:
        """What ``kubectl delete --wait=false`` does."""
        try:
            self.server.delete(SESSIONS, SHOP, name)
        except NotFoundError:
            return

    def delete_pool(self, name: str = POOL) -> None:
        """The same with a pool."""
        try:
            self.server.delete(POOLS, SHOP, name)
        except NotFoundError:
            return

    def touch(self, name: str, text: str | None = None) -> None:
        """Use a session, as a client tells that it does."""
        annotations = {Label.TOUCH: text or format_time(self.clock.now())}
        self.server.apply(SESSIONS, SHOP, {"metadata": {"name": name, "annotations": annotations}})

    def pay(self, name: str, xmr: str, *, confirmations: int = 0) -> str:
        """A customer pays into an escrow; the txid."""
        txid = self.chain.pay(self.status(name)["address"], parse_xmr(xmr))
        self.chain.mine(confirmations)
        return txid

    def pay_out(self, name: str, *, confirmations: int = 0) -> str:
        """Two parties sign a payout of all that is in the escrow; the txid."""
        txid = self.chain.pay_out(self.status(name)["address"])
        self.chain.mine(confirmations)
        return txid

    def reorganise(self, depth: int, *, grow: int = 0, vanish: Collection[str] = ()) -> None:
        """The newest blocks are replaced by others."""
        self.watchman.before_reorganisation()
        self.chain.reorganise(depth, grow=grow, vanish=vanish)

    # Looking

    def session(self, name: str) -> Body | None:
        """The object as it is."""
        return self.server.find(SESSIONS, SHOP, name)

    def status(self, name: str) -> Body:
        """Its status, empty without."""
        return (self.session(name) or {}).get("status") or {}

    def phase(self, name: str) -> str | None:
        """Its phase; None without an object."""
        return self.status(name).get("phase")

    def is_true(self, name: str, kind: str) -> bool:
        """Whether a condition is True."""
        return self._condition(name, kind).get("status") == "True"

    def reason(self, name: str, kind: str) -> str | None:
        """The reason of a condition."""
        return self._condition(name, kind).get("reason")

    def _condition(self, name: str, kind: str) -> Body:
        return next((c for c in self.status(name).get("conditions") or () if c["type"] == kind), {})

    def pods_of(self, name: str) -> list[Body]:
        """The pods that a session has adopted."""
        return [pod for pod in self.server.all(PODS, SHOP) if pod["metadata"]["labels"].get(Label.SESSION) == name]

    def moment(self) -> Moment:
        """As it is now; two that are equal are the same to an operator that begins."""
        return Moment(int(self.clock.monotonic()), self.server.version, sum(wallet.changes for wallet in self.wallets))

    def is_warm(self) -> bool:
        """Whether the pools have their free slots."""
        return all(
            free and min(free.values()) >= pool["spec"]["warmSlots"]
            for pool in self.server.all(POOLS)
            for free in [(pool.get("status") or {}).get("free")]
        )

    def secret(self, name: str) -> Body | None:
        """A Secret, as it is."""
        return self.server.find(SECRETS, SHOP, name)

    def volume(self, role: Role, pool: str = POOL) -> Volume:
        """The wallet files of a role."""
        return self.volumes.setdefault((SHOP, f"{pool}-{role.value}-wallets"), Volume(locking=self._locking))

    async def until(
        self, holds: Callable[[], Any], *, what: str, within: float = PATIENCE, every: float = 0.05
    ) -> None:
        """Let time pass until something is so. Raises AssertionError when it takes longer than so many seconds."""
        ends = self.clock.monotonic() + within
        while not holds():
            if self.clock.monotonic() > ends:
                raise AssertionError(f"after {within:g} s still not so: {what}\n{self.story()}")
            await asyncio.sleep(every)

    async def quiet(self, *, within: float = PATIENCE) -> None:
        """Let time pass until nothing has changed for QUIET_SECONDS."""
        ends, version, since = self.clock.monotonic() + within, self.server.version, self.clock.monotonic()
        while self.clock.monotonic() - since < QUIET_SECONDS:
            if self.clock.monotonic() > ends:
                raise AssertionError(f"it never came to rest\n{self.story()}")
            await asyncio.sleep(0.5)
            now = sum(1 for event in self.server.log[-200:] if event.plural != "events" and event.version > version)
            if now:
                version, since = self.server.version, self.clock.monotonic()

    def story(self, last: int = 40) -> str:
        """The last things that happened, for people."""
        lines = []
        for event in self.server.log[-last:]:
            body = event.body
            note = (body.get("status") or {}).get("phase") or body.get("reason") or ""
            lines.append(f"{event.version} {event.kind} {event.plural} {body['metadata']['name']} {note}")
        steps = [f"{process.name}: {process.steps[-8:]}" for process in self.processes]
        return "\n".join([*lines, *steps])

    # Wallets

    def _start_wallet(self, pod: Body, address: str) -> WalletServer:
        role = Role(pod["metadata"]["labels"][Label.ROLE])
        pool = pod["metadata"]["labels"][Label.POOL]
        volume = self.volume(role, pool)
        process = WalletProcess(volume, self.monerod, name=pod["metadata"]["name"])
        self.wallets.append(process)
        key = secret_data(self.server.get(SECRETS, SHOP, login_key_name(PoolKey(SHOP, pool))), "key")["key"]
        self.network.listen(address, process, login=derive_login(key, pod["metadata"]["uid"]))
        return process

    def wallets_are_open(self, name: str) -> bool:
        """Whether each of a session's pods has a wallet open."""
        pods = self.pods_of(name)
        return len(pods) == len(ROLES) and all(
            (process := self.cluster.process_of(pod)) and cast("WalletProcess", process).open for pod in pods
        )
