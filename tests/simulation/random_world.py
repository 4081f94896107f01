"""A world in which users, parties and faults do at random what each of them may do."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack, suppress
from datetime import timedelta
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from escrow_operator.adapters.kube import POOLS, SESSIONS
from escrow_operator.core.manifests.common import RPC_PORT
from escrow_operator.models.common import ROLES, Label, Role, parse_duration, parse_time
from escrow_operator.models.session import OPEN_PHASES, RESUMABLE_PHASES, Phase

from .apiserver import Body
from .kubeclient import Fault, View
from .names import POOL, SHOP
from .network import Ended, Trouble
from .process import CrashPoint, spawn_apart
from .wallet_reads import Fault as Refused
from .wallet_rpc import WalletProcess
from .world import World, stage

T = TypeVar("T")
P = ParamSpec("P")

PLACES = 2
"""sessions.maxActive: fewer than there are names."""

RECOVERY_SECONDS = 3600.0
"""After the last fault, until all is as it should be: more than the longest pause between attempts, and the sweeps'."""

LOOK_SECONDS = 10.0

NOTICE_SECONDS = 120.0

NAMES = ("ann", "bob", "cleo")
COPY = "copy"
"""A session that opens the wallets of another one."""

FAR_FUTURE = "2999-01-01T00:00:00Z"

names = st.sampled_from((*NAMES, COPY))
creators = st.sampled_from(NAMES)
roles = st.sampled_from(ROLES)


pauses = st.sampled_from((0.0, 0.01, 0.05, 0.3, 0.3, 2.0, 2.0, 10.0, 60.0, 400.0))
"""Seconds that pass after a rule: most of what an operator does takes less than a second."""

Act = Callable[Concatenate["RandomWorld", P], Awaitable[None]]
Rule = Callable[Concatenate["RandomWorld", P], None]


def may(**choices: st.SearchStrategy[Any]) -> Callable[[Act[P]], Rule[P]]:
    """A rule: something is done on the world's loop at one moment of its time; then time passes."""

    def decorate(act: Act[P]) -> Rule[P]:
        @wraps(act)
        def done(self: RandomWorld, then: float, *args: P.args, **kwargs: P.kwargs) -> None:
            async def both() -> None:
                await act(self, *args, **kwargs)
                await asyncio.sleep(then)

            self.loop.run_until_complete(both())

        return cast("Rule[P]", cast("Any", rule)(then=pauses, **choices)(done))

    return decorate


class RandomWorld(RuleBasedStateMachine):
    """Each rule is done at one moment. The world ends with all faults healed, and at rest."""

    def __init__(self) -> None:
        super().__init__()
        self._stack = ExitStack()
        self.loop = self._stack.enter_context(stage())
        self.world: World = self.loop.run_until_complete(self._begin())

    async def _begin(self) -> World:
        world = World(max_active=PLACES, min_stay=timedelta(seconds=1), eviction_policy="Suspend")
        # A node may take all three pods of a prepared escrow at once: then nobody can tell whether it was used.
        world.watchman.forgets_no_secret = False
        await world.operate(self._dies)
        await world.until(world.is_warm, what="the pool to be warm")
        return world

    _steps_to_live = -1
    _highest = 0
    _after = False

    def _dies(self, point: CrashPoint) -> bool:
        """Counts down to the step that kills."""
        if self._steps_to_live < 0 or point.after != self._after:
            return False
        self._steps_to_live -= 1
        return self._steps_to_live < 0

    # The beginning

    @initialize(
        open_ones=st.sampled_from((0, 1, 2)),
        prepared=st.sampled_from((0, 0, 0, 1)),
        delay=st.sampled_from((0.0, 0.0, 0.3, 3.0)),
        lose_every=st.sampled_from((0, 0, 5)),
        swap_every=st.sampled_from((0, 0, 3)),
    )
    def begin(self, open_ones: int, prepared: int, delay: float, lose_every: int, swap_every: int) -> None:
        """Some sessions are Active; the operator sees the cluster so from its next start, or its watches' end, on."""
        self.loop.run_until_complete(self._open(NAMES[:open_ones]))
        self.world.make_pool(prepared=prepared)
        self.world.view.__dict__.update(View(delay, lose_every, swap_every).__dict__)

    async def _open(self, names: Sequence[str]) -> None:
        for name in names:
            self.world.apply(name)
        await self.world.until(
            lambda: all(self.world.phase(name) == Phase.ACTIVE for name in names), what=f"{names} to be Active"
        )

    # Users

    @may(name=creators, ttl=st.sampled_from(("2h", "2h", "60s")))
    async def apply(self, name: str, ttl: str) -> None:
        """Create a session, or change its time to live."""
        self.world.apply(name, ttl=ttl)

    @may(name=names)
    async def delete(self, name: str) -> None:
        """Delete a session."""
        self.world.delete(name)

    @may(name=creators)
    async def copy(self, name: str) -> None:
        """Have another session open its wallets, too."""
        if self.world.status(name).get("address") and self.world.session(COPY) is None:
            self.world.apply_with_wallets_of(name, COPY)

    @may(name=creators)
    async def recreate(self, name: str) -> None:
        """Delete a session, and apply it again as soon as it is gone."""
        self.world.delete(name)
        with suppress(AssertionError):
            await self.world.until(lambda: self.world.session(name) is None, what="it to be gone", within=60.0)
            self.world.apply(name)

    @may(name=names, text=st.sampled_from((None, None, FAR_FUTURE)))
    async def touch(self, name: str, text: str | None) -> None:
        """Use it, by a clock that is right or not."""
        if self.world.session(name):
            self.world.touch(name, text)

    @may(name=creators)
    async def come_back(self, name: str) -> None:
        """Have a session expire, and use it then."""
        if self.world.session(name):
            self.world.apply(name, ttl="60s")
            with suppress(AssertionError):
                await self.world.until(lambda: self.world.phase(name) == "Expired", what="its end", within=100.0)
                self.world.touch(name)

    @may(name=creators)
    async def trade(self, name: str) -> None:
        """A trade from its payment to its end, where nothing keeps it from that."""
        session = self.world.session(name)
        if not session or not self.world.is_true(name, "Ready") or "settlement" in session["spec"]:
            return
        self.world.pay(name, "0.35", confirmations=10)
        with suppress(AssertionError):
            await self.world.until(lambda: self.world.is_true(name, "Funded"), what="Funded", within=60.0)
            txid = self.world.pay_out(name, confirmations=1)
            self.world.apply(name, settlement={"outcome": "Release", "txid": txid})
            await asyncio.sleep(10)
            self.world.chain.mine(12)

    @may(name=creators, confirmations=st.sampled_from((0, 10)))
    async def push_out(self, name: str, confirmations: int) -> None:
        """Pay into a session, and have others want its place."""
        if self.world.status(name).get("address"):
            self.world.pay(name, "0.35", confirmations=confirmations)
            await asyncio.sleep(35)
            for other in NAMES:
                if other != name:
                    self.world.apply(other, ttl="2h")
                    if self.world.phase(other) in ("Expired", "Suspended"):
                        self.world.touch(other)

    @may(name=names, xmr=st.sampled_from(("0.2", "0.35")), confirmations=st.sampled_from((0, 1, 10)))
    async def pay(self, name: str, xmr: str, confirmations: int) -> None:
        """A customer pays."""
        if self.world.status(name).get("address"):
            self.world.pay(name, xmr, confirmations=confirmations)

    @may(name=names, confirmations=st.sampled_from((0, 1, 12)), outcome=st.sampled_from(("Release", "Refund")))
    async def settle(self, name: str, confirmations: int, outcome: str) -> None:
        """Two parties pay all of it out, and say so."""
        session = self.world.session(name)
        if session and self.world.status(name).get("address") and "settlement" not in session["spec"]:
            with suppress(ValueError):
                txid = self.world.pay_out(name, confirmations=confirmations)
                self.world.apply(name, settlement={"outcome": outcome, "txid": txid})

    # Those who run the pool

    @may(warm=st.sampled_from((1, 2)), prepared=st.sampled_from((0, 0, 1, 2)))
    async def scale(self, warm: int, prepared: int) -> None:
        """More or fewer free slots, or the pool made again."""
        self.world.make_pool(warm=warm, prepared=prepared)

    @may()
    async def delete_pool(self) -> None:
        """Delete the pool."""
        self.world.delete_pool()

    @may(pause=st.sampled_from((0.0, 0.01, 0.3)))
    async def remake_pool(self, pause: float) -> None:
        """Delete it with all its sessions, and make it again as soon as it is gone."""
        self.world.delete_pool()
        for body in self.world.server.all(SESSIONS):
            self.world.delete(body["metadata"]["name"])
        with suppress(AssertionError):
            await self.world.until(
                lambda: not self.world.server.all(POOLS), what="it to be gone", within=60.0, every=0.01
            )
            await asyncio.sleep(pause)
            self.world.make_pool()

    # Parties, with their own wallet's login

    @may(name=names, role=roles)
    async def close_wallet(self, name: str, role: Role) -> None:
        """A client closes the wallet that it was to use."""
        self._call(name, role, "close_wallet")

    @may(name=names, role=roles)
    async def replace_wallet(self, name: str, role: Role) -> None:
        """A client opens another wallet in its place."""
        self._call(name, role, "create_wallet", filename=f"party-{self.world.server.version}", password="", language="")

    @may(name=names, role=roles)
    async def export(self, name: str, role: Role) -> None:
        """A client begins a signing round."""
        self._call(name, role, "export_multisig_info")

    # Monero

    @may(blocks=st.sampled_from((1, 1, 10)))
    async def mine(self, blocks: int) -> None:
        """Blocks are found."""
        self.world.chain.mine(blocks)

    @may(depth=st.sampled_from((1, 3, 12)), grow=st.sampled_from((0, 1, 4)))
    async def reorganise(self, depth: int, grow: int) -> None:
        """The newest blocks are replaced."""
        self._highest = max(self._highest, self.world.chain.height)
        self.world.reorganise(depth, grow=grow)

    @may(down=st.booleans())
    async def monerod(self, down: bool) -> None:
        """It goes, or comes back."""
        self.world.monerod.down = down

    # Nodes, networks, API server

    @may(name=names, role=roles)
    async def lose_pod(self, name: str, role: Role) -> None:
        """A pod goes with its node."""
        for pod in self._pods(name, role):
            self.world.cluster.lose(pod)

    @may(name=names, role=roles)
    async def restart_pod(self, name: str, role: Role) -> None:
        """Its node reboots."""
        for pod in self._pods(name, role):
            if self.world.cluster.process_of(pod):
                self.world.cluster.restart(pod)

    @may(name=names, role=roles, trouble=st.sampled_from(Trouble), times=st.sampled_from((1, 2, 5)))
    async def disturb(self, name: str, role: Role, trouble: Trouble, times: int) -> None:
        """Something is wrong with the way to a wallet."""
        for address in self._addresses(name, role):
            self.world.network.disturb(address, trouble, times=times)

    @may(name=names, role=roles)
    async def heal(self, name: str, role: Role) -> None:
        """It is well again."""
        for address in self._addresses(name, role):
            self.world.network.heal(address)

    @may(role=roles, full=st.booleans())
    async def fill(self, role: Role, full: bool) -> None:
        """A volume is full, or has space again."""
        self.world.volume(role).full = full

    @may(number=st.sampled_from((0, 1)), silent=st.booleans())
    async def silence(self, number: int, silent: bool) -> None:
        """Nothing is heard of a node, or it is heard again."""
        node = self.world.cluster.nodes[number]
        if silent and not node.silent:
            self.world.cluster.silence(node)
        elif node.silent and not silent:
            self.world.cluster.hear(node)

    @may()
    async def compact(self) -> None:
        """The API server forgets what was: watches have to list again."""
        self.world.server.compact()

    @may(name=names, role=roles, seconds=st.sampled_from((1.0, 30.0, 400.0)))
    async def hang(self, name: str, role: Role, seconds: float) -> None:
        """A wallet hangs for a while."""
        for wallet in self._wallets(name, role):
            wallet.hang()
            self.loop.call_later(seconds, wallet.resume)

    @may(fault=st.sampled_from(Fault), times=st.sampled_from((1, 2, 5)), writes_only=st.booleans())
    async def fail(self, fault: Fault, times: int, writes_only: bool) -> None:
        """The API server fails some requests."""
        self.world.faults.strike(fault, times, writes_only=writes_only)

    @precondition(lambda self: self._steps_to_live < 0)
    @may(steps=st.integers(0, 12), after=st.booleans())
    async def crash(self, steps: int, after: bool) -> None:
        """The operator is killed at one of its next steps."""
        self._steps_to_live, self._after = steps, after

    @may(seconds=st.sampled_from((-3600, -30, 30, 3600)))
    async def jump(self, seconds: int) -> None:
        """All clocks on the wall jump."""
        self.world.clock.ahead += timedelta(seconds=seconds)

    # What must be

    @invariant()
    def nothing_is_violated(self) -> None:
        """Those invariants that hold at any time."""
        self._must_be_none(self.world.watchman.at_any_time())

    def teardown(self) -> None:
        """Heal it, and let it come to rest."""
        try:
            self.loop.run_until_complete(self._end())
        finally:
            self._stack.close()

    async def _end(self) -> None:
        world = self.world
        self._steps_to_live = -1
        world.faults.heal()
        world.monerod.down = False
        world.view.__dict__.update(View().__dict__)
        world.network.heal_all()
        # Longer than any chain that was replaced: wallets stay on that until then.
        world.chain.mine(max(0, self._highest - world.chain.height) + 1)
        for role in ROLES:
            world.volume(role).full = False
        for node in world.cluster.nodes:
            if node.silent:
                world.cluster.hear(node)
        pool = world.server.find(POOLS, SHOP, POOL)
        if pool and "deletionTimestamp" in pool["metadata"]:
            # It waits for its open sessions, and starts nothing for them meanwhile.
            for body in world.server.all(SESSIONS):
                world.delete(body["metadata"]["name"])
            await world.until(lambda: not world.server.all(POOLS), what="the pool to be gone")
        world.make_pool(warm=1)
        # What the last rules did is noticed first, at the latest by the third look.
        await asyncio.sleep(NOTICE_SECONDS)
        with suppress(AssertionError):
            await world.until(
                lambda: not self._violations(), what="all to be well", within=RECOVERY_SECONDS, every=LOOK_SECONDS
            )
        await world.quiet()
        self._must_be_none(self._violations())

    def _violations(self) -> list[str]:
        return [
            *self.world.watchman.at_rest(),
            *self.world.unknown(),
            *self._nobody_waits(),
            *self._clocks_are_right(),
            *self._says_why(),
        ]

    def _says_why(self) -> list[str]:
        """Who is open is Ready again when nothing is wrong any more; who is not, says why."""
        found = []
        for body in self.world.server.all(SESSIONS):
            name = body["metadata"]["name"]
            phase, reason = self.world.phase(name), self.world.reason(name, "Ready")
            if phase in OPEN_PHASES and not self.world.is_true(name, "Ready"):
                found.append(f"I10: session {name} is {phase} and not Ready ({reason}), with nothing wrong")
            if not reason:
                found.append(f"I8: session {name} is {phase} and does not say why")
        return found

    def _clocks_are_right(self) -> list[str]:
        """Nobody stays longer than his ttl, and a closed session comes back when it is used."""
        found, now = [], self.world.clock.now()
        for body in self.world.server.all(SESSIONS):
            status, meta = body.get("status") or {}, body["metadata"]
            touch = (meta.get("annotations") or {}).get(Label.TOUCH)
            suspended = body["spec"].get("suspend", False)
            if not suspended and self.world.reason(meta["name"], "Ready") == "SuspendedBySpec":
                found.append(f"I6: session {meta['name']} is suspended by a spec that does not want it")
            if suspended and status.get("phase") in (*OPEN_PHASES, Phase.OPENING, Phase.PENDING, Phase.FAILED):
                found.append(f"I6: session {meta['name']} is to be suspended, and is {status['phase']}")
            if status.get("phase") in RESUMABLE_PHASES and not suspended and touch and touch != status.get("lastTouch"):
                found.append(f"I6: session {meta['name']} was used, and is {status['phase']}")
            ttl = parse_duration(body["spec"].get("ttl", "2h"))
            if status.get("expiresAt") and parse_time(status["expiresAt"]) > now + ttl:
                found.append(f"I6: session {meta['name']} is open until {status['expiresAt']}")
        return found

    def _nobody_waits(self) -> list[str]:
        """I10: who has nothing to wait for goes on."""
        sessions = self.world.server.all(SESSIONS)
        phases = {body["metadata"]["name"]: (body.get("status") or {}).get("phase") for body in sessions}
        there_is_room = sum(phase in OPEN_PHASES for phase in phases.values()) < PLACES
        return [
            f"I10: session {name} is {phase} ({self.world.reason(name, 'Ready')}), with room for it"
            for name, phase in phases.items()
            if (phase == Phase.OPENING or (phase in (None, Phase.PENDING) and there_is_room))
            and not self._may_wait(name)
        ]

    def _may_wait(self, name: str) -> bool:
        """Whether a session waits for what somebody has to do: its wallets are another's, or its trade is over."""
        reason = self.world.reason(name, "Ready")
        return reason == "NameSettled" or (reason == "WalletInUse" and self.world.session(COPY) is not None)

    def _must_be_none(self, violations: list[str]) -> None:
        assert not violations, "\n".join([*violations, self.world.story()])

    # How it is done

    def _pods(self, name: str, role: Role) -> list[Body]:
        return [pod for pod in self.world.pods_of(name) if pod["metadata"]["labels"][Label.ROLE] == role]

    def _addresses(self, name: str, role: Role) -> list[str]:
        return [f"{ip}:{RPC_PORT}" for pod in self._pods(name, role) if (ip := pod["status"].get("podIP"))]

    def _wallets(self, name: str, role: Role) -> list[WalletProcess]:
        found = (self.world.cluster.process_of(pod) for pod in self._pods(name, role))
        return [cast("WalletProcess", process) for process in found if process]

    def _call(self, name: str, role: Role, method: str, **params: str) -> None:
        """A party's call, whose answer nobody waits for."""

        async def call(wallet: WalletProcess) -> None:
            with suppress(Refused, Ended):
                await wallet.call(method, **params)

        for wallet in self._wallets(name, role):
            spawn_apart(call(wallet))
