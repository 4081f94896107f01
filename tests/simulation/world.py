"""The simulated world: a cluster with one pool, Monero, users, and operator processes that come and go.

Call it inside ``run``: time is the event loop's, and costs nothing to pass.
"""

from __future__ import annotations

import asyncio
import gc
import random
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NamedTuple, TypeVar, cast
from unittest.mock import patch

import aiohttp
import looptime

from escrow_operator.adapters.kube import EVENTS, LEASES, PODS, POOLS, SECRETS, SESSIONS, Kube
from escrow_operator.adapters.kube_errors import KubeError
from escrow_operator.core.manifests.common import login_key_name
from escrow_operator.handlers import Memo
from escrow_operator.handlers.pools import pool_seen
from escrow_operator.handlers.sessions import session_seen
from escrow_operator.handlers.slots import follow as follow_slots
from escrow_operator.models.common import ROLES, Label, Role
from escrow_operator.models.deed import secret_data
from escrow_operator.models.monero import Login
from escrow_operator.models.pool import PoolKey
from escrow_operator.replica import Replica
from escrow_operator.settings import IntervalSettings, SessionSettings, Settings
from escrow_operator.wiring import Operator
from testbed.wallets import access

from .apiserver import ApiServer, Body
from .chain import Chain
from .clock import SimClock
from .cluster import Cluster, WalletServer
from .httpclient import ProcessSession
from .invariants import Watchman
from .kopf_watch import follow
from .kubeclient import Faults, SimKube, View
from .monerod import Monerod
from .names import DAEMON, POOL, SHOP, place
from .namespaces import Namespaces
from .network import Network
from .process import Dies, Process, let_pause, spawn_apart, task_factory
from .users import Users
from .wallet_files import Volume
from .wallet_rpc import WalletProcess

PATIENCE = 7200.0
"""Seconds for what must happen, far more than anything takes."""

NEXT_SECONDS = 3.0
"""After the end of a process until the next one begins."""

RESYNC = timedelta(minutes=2)
"""Where events are lost it is full lists that find it: sooner than in truth, as nothing is learnt from the waiting."""

UNQUIET = frozenset({EVENTS.plural, LEASES.plural})
"""Kinds that may change while nothing is under way."""

QUIET_SECONDS = 20.0
"""Without a change in the API server: nothing more is under way."""

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T], *, seed: int = 0, pauses: bool = False) -> T:
    """Run one world to its end on a virtual clock of its own; from the same seed always the same way.

    With ``pauses`` its processes can be paused.
    """
    with stage(seed) as loop:
        if pauses:
            let_pause(loop)
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
        if rest:
            loop.run_until_complete(asyncio.wait(rest))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()
        gc.enable()


def memo_of(settings: Settings, operator: Operator) -> Memo:
    """What kopf passes to handlers in a process that has no rivals."""
    memo = Memo(settings)
    memo.replica = cast("Replica", Unrivalled(operator))
    return memo


class Unrivalled(NamedTuple):
    """In the place of a Replica: its operator acts from its beginning to its end."""

    operator: Operator


class Moment(NamedTuple):
    """``at`` is the loop's time in whole seconds; ``objects`` and ``wallets`` grow with whatever happens to them."""

    at: int
    objects: int
    wallets: int


class World(Users):
    """``sessions`` are settings of the operator; ``locking`` tells whether the storage's file locks hold.

    ``serves`` are the namespaces that the operator is told to serve, with rights in each of them; all of them without.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        warm: int = 1,
        prepared: int = 0,
        locking: bool = False,
        view: View | None = None,
        serves: tuple[str, ...] = (),
        **sessions: Any,
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
            intervals=IntervalSettings(resync=RESYNC) if self.view.lose_every else IntervalSettings(),
            slot_login_image="login",
            namespaces=serves,
        )
        self.watchman = Watchman(self)
        self.processes: list[Process] = []
        self.operators: dict[str, Operator] = {}
        self.steps: list[str] = []
        """Of all processes, in their order."""
        self._main: dict[str, asyncio.Task[None]] = {}
        self.namespaces = Namespaces(self.server)
        self.namespaces.make(SHOP)
        self.make_pool(warm=warm, prepared=prepared)

    # Operators

    async def operate(self, dies: Dies = lambda _: False) -> None:
        """What the operator's Deployment does: one process, and after its end another one."""
        process = await self.start_operator(dies)

        async def start_again(process: Process) -> None:
            while True:
                await process.ended.wait()
                await process.kill()
                await asyncio.sleep(NEXT_SECONDS)
                process = await self.start_operator(dies)

        spawn_apart(start_again(process))

    async def stop_operator(self) -> None:
        """SIGTERM to the process there is, if there is one; what ``operate`` begins next is another version."""
        process = self.processes[-1]
        self._main[process.name].cancel()
        stopping = process.spawn(self.operators[process.name].stop())
        killed = spawn_apart(process.ended.wait())
        await asyncio.wait({stopping, killed}, return_when=asyncio.FIRST_COMPLETED)
        process.end()

    async def start_operator(self, dies: Dies = lambda _: False) -> Process:
        """One more process; it looks at all there is, then follows it."""
        process = Process(f"operator-{len(self.processes)}", dies, self.steps)
        self.processes.append(process)
        rights = self.namespaces.has_rights if self.settings.namespaces else None
        kube = SimKube(self.server, process, self.view, self.faults, rights)

        def connect() -> aiohttp.ClientSession:
            return cast("aiohttp.ClientSession", ProcessSession(self.network, process))

        operator = Operator(cast("Kube", kube), self.settings, self.clock, connect)
        self.operators[process.name] = operator

        async def main() -> None:
            while True:
                try:
                    await operator.begin()
                    break
                except KubeError:
                    await asyncio.sleep(2.0)
            memo = memo_of(self.settings, operator)
            pods = follow_slots(memo, operator.listed)
            try:
                await asyncio.gather(
                    *(
                        follow(kube, resource, namespace, handler, memo)
                        for namespace in operator.namespaces.served
                        for resource, handler in ((POOLS, pool_seen), (SESSIONS, session_seen))
                    )
                )
            finally:
                await pods.close()

        self._main[process.name] = process.spawn(main())
        return process

    # Those who run monerod

    def require_login(self, username: str, password: str) -> None:
        """From now on monerod answers only those who know this login, operator or wallet."""
        self.monerod.login = Login(username, password)
        self.network.listen(DAEMON, self.monerod, login=self.monerod.login)

    # Looking

    def moment(self) -> Moment:
        """As it is now; two that are equal are the same to an operator that begins."""
        return Moment(int(self.clock.monotonic()), self.server.version, sum(wallet.changes for wallet in self.wallets))

    def is_warm(self) -> bool:
        """Whether the pools have their free slots and their prepared escrows."""
        return all(
            "free" in status
            and min(status["free"].values()) >= pool["spec"]["warmSlots"]
            and status["preparedEscrows"] >= pool["spec"]["preparedEscrows"]
            for pool in self.server.all(POOLS)
            for status in [pool.get("status") or {}]
        )

    def unknown(self) -> list[str]:
        """What the living operators take the sessions, pools and slots for that these are not, or no longer."""
        found = []
        for process in self.processes:
            store = self.operators[process.name].store
            for resource, known in ((SESSIONS, store.sessions), (POOLS, store.pools), (PODS, store._slots)):
                seen = {(*key, one.resource_version) for key, one in known.items()}
                metas = [body["metadata"] for body in self.server.all(resource)]
                there = {(meta["namespace"], meta["name"], meta["resourceVersion"]) for meta in metas}
                if not process.dead and seen != there:
                    found.append(f"I7: {process.name} is mistaken about {resource.plural}: {sorted(seen ^ there)}")
        return found

    def volume(self, role: Role, pool: str = POOL) -> Volume:
        """The wallet files of a role."""
        namespace, name = place(pool)
        return self.volumes.setdefault((namespace, f"{name}-{role.value}-wallets"), Volume(locking=self._locking))

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
            now = sum(1 for event in self.server.log[-200:] if event.plural not in UNQUIET and event.version > version)
            if now:
                version, since = self.server.version, self.clock.monotonic()

    def story(self, last: int = 40) -> str:
        """The last things that happened, for people."""
        lines = []
        for event in [event for event in self.server.log[-4 * last :] if event.plural != LEASES.plural][-last:]:
            body = event.body
            note = (body.get("status") or {}).get("phase") or body.get("reason") or ""
            lines.append(f"{event.version} {event.kind} {event.plural} {body['metadata']['name']} {note}")
        return "\n".join([*lines, *self.steps[-16:]])

    # Wallets

    def _start_wallet(self, pod: Body, address: str) -> WalletServer:
        meta = pod["metadata"]
        pool = PoolKey(meta["namespace"], meta["labels"][Label.POOL])
        volume = self.volume(Role(meta["labels"][Label.ROLE]), f"{pool.namespace}/{pool.name}")
        process = WalletProcess(volume, self.monerod, name=meta["name"], daemon_login=self._daemon_login(pod))
        self.wallets.append(process)
        key = secret_data(self.server.get(SECRETS, pool.namespace, login_key_name(pool)), "key")["key"]
        login, certificate = access(pod, key)
        self.network.listen(address, process, login=login, certificate=certificate)
        return process

    def _daemon_login(self, pod: Body) -> Login | None:
        """monerod's login as a pod is configured with it: it is read once, when the pod starts."""
        found: dict[str, str] = {}
        for variable in pod["spec"]["initContainers"][0]["env"]:
            source: Mapping[str, str] = (variable.get("valueFrom") or {}).get("secretKeyRef") or {}
            if variable["name"] in ("DAEMON_USER", "DAEMON_PASSWORD"):
                secret = self.server.get(SECRETS, pod["metadata"]["namespace"], source["name"])
                found[variable["name"]] = secret_data(secret, source["key"])[source["key"]]
        return Login(found["DAEMON_USER"], found["DAEMON_PASSWORD"]) if found else None

    def wallets_are_open(self, name: str) -> bool:
        """Whether each of a session's pods has a wallet open, and none of them is about to end."""
        pods = self.pods_of(name)
        return len(pods) == len(ROLES) and all(
            (process := self.cluster.process_of(pod))
            and cast("WalletProcess", process).open
            and "deletionTimestamp" not in pod["metadata"]
            for pod in pods
        )
