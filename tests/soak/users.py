"""People who trade: each plays one story after the other, and does not know what is broken at the moment."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from random import Random

from escrow_operator.adapters.kube import SESSIONS
from escrow_operator.errors import WalletError
from escrow_operator.models.common import ROLES, Role
from harness.api import Body
from harness.chain import Chain
from harness.escrow import AMOUNT, Escrow, condition, is_active
from harness.place import Place
from regtest.payout import Platform

from .books import Books
from .patience import PASSES, Stuck, do, insist
from .timeline import Timeline

CONFIRMATIONS = 2
LOCK_BLOCKS = 10
SHORT_TTL = "20s"

CLOSED = ("Expired", "Evicted", "Suspended")
"""Phases out of which a touch brings a session back."""

Story = Callable[["User", Escrow], Awaitable[None]]


class Bank:
    """The one customer's wallet and miner, over connections that break when pods go."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._lock = asyncio.Lock()

    async def pay(self, address: str) -> None:
        """Pay the amount, more than once if an answer is lost. Raises Stuck."""
        await self._with_connections(f"a payment to {address[:8]}", lambda: self._chain.pay(address, AMOUNT))

    async def mine(self, blocks: int) -> None:
        """Mine, more blocks if an answer is lost. Raises Stuck."""
        await self._with_connections(f"{blocks} blocks", lambda: self._chain.mine(blocks))

    @property
    def address(self) -> str:
        """Where payouts go."""
        return self._chain.customer.address

    async def _with_connections(self, what: str, action: Callable[[], Awaitable[object]]) -> None:
        async def attempt() -> None:
            async with self._lock:
                try:
                    await asyncio.wait_for(action(), 60.0)
                except (*PASSES, TimeoutError):
                    await asyncio.wait_for(self._chain.connect(), 60.0)
                    raise

        await do(what, attempt)


@dataclass(frozen=True, slots=True)
class User:
    """Plays stories in one place, by a random generator of his own."""

    name: str
    place: Place
    bank: Bank
    books: Books
    timeline: Timeline
    rng: Random
    specs: dict[str, Mapping[str, object]] = field(default_factory=dict)
    """What was applied last, by the session's name."""

    async def play(self, stop: asyncio.Event) -> None:
        """One story after the other until ``stop``; the last one is played to its end."""
        number, deck = 0, list[Story]()
        while not stop.is_set():
            if not deck:
                deck = list(STORIES)
                self.rng.shuffle(deck)
            story, number = deck.pop(), number + 1
            escrow = self.place.escrow(f"{self.name}-{number}")
            title = story.__name__.removeprefix("_").replace("_", " ")
            self.timeline.say(f"{escrow.name}: {title}")
            try:
                await story(self, escrow)
                self.books.counts[title] += 1
            except Stuck as error:
                self.timeline.violated(f"{escrow.name} ({title}): {error}\n{await _explained(escrow)}")
            await self._leave(escrow)

    async def _leave(self, escrow: Escrow) -> None:
        try:
            await do(f"{escrow.name} to be deleted", lambda: escrow.delete(wait=False))
            await insist(f"{escrow.name} and its pods to be gone", escrow.is_gone)
            self.timeline.say(f"{escrow.name}: gone")
        except Stuck as error:
            self.timeline.violated(str(error))

    async def create(self, escrow: Escrow, **spec: object) -> Body:
        """Apply a session and wait until its wallets are open."""
        await self.apply(escrow, **spec)
        return await self.until_active(escrow)

    async def apply(self, escrow: Escrow, **spec: object) -> None:
        """Apply a session, and remember how."""
        self.specs[escrow.name] = {"confirmations": CONFIRMATIONS, **spec}
        await do(f"{escrow.name} to be applied", lambda: escrow.apply(**self.specs[escrow.name]))

    async def found(self, escrow: Escrow) -> Body | None:
        """The session, unless it is gone."""
        return await self.place.api.find(SESSIONS, self.place.namespace, escrow.name)

    async def status(self, escrow: Escrow) -> Body:
        """Its status now; who finds it closed uses it, and who finds it evicted applies it again, as he is told."""
        body = await self.found(escrow)
        if body is None:
            await escrow.apply(**self.specs[escrow.name])
            self.books.counts["applied again after an eviction"] += 1
            return {}
        status: Body = body.get("status") or {}
        if status.get("phase") in CLOSED:
            await escrow.touch()
        return status

    async def until_active(self, escrow: Escrow) -> Body:
        """Wait until it is Active and Ready, touching it when it was closed meanwhile; the status then."""

        async def look() -> Body | None:
            status = await self.status(escrow)
            return status if is_active(status) else None

        status = await insist(f"{escrow.name} to be Active", look)
        self.books.counts["opened"] += 1
        return status

    async def until(self, escrow: Escrow, what: str, test: Callable[[Body], bool]) -> Body:
        """Wait for something in its status; the status then."""

        async def look() -> Body | None:
            status = await self.status(escrow)
            return status if test(status) else None

        return await insist(f"{escrow.name}: {what}", look)

    async def pause(self, longest: float) -> None:
        """Do something else for a while."""
        await asyncio.sleep(self.rng.uniform(0.0, longest))


async def _explained(escrow: Escrow) -> str:
    try:
        return await escrow.explain()
    except PASSES as error:
        return f"(nothing can be said about it: {error})"


async def _opens_and_deletes(user: User, escrow: Escrow) -> None:
    await user.create(escrow)
    await user.pause(5.0)


async def _deletes_before_it_is_open(user: User, escrow: Escrow) -> None:
    await do(f"{escrow.name} to be applied", escrow.apply)
    await user.pause(6.0)


async def _comes_back_after_it_expired(user: User, escrow: Escrow) -> None:
    address = (await user.create(escrow, ttl=SHORT_TTL))["address"]

    async def expired() -> bool:
        # It may be evicted before.
        body = await user.found(escrow)
        return body is None or (body.get("status") or {}).get("phase") in CLOSED

    await insist(f"{escrow.name} to expire", expired)
    await _same_address(user, escrow, address)


async def _comes_back_after_it_was_deleted(user: User, escrow: Escrow) -> None:
    address = (await user.create(escrow))["address"]
    await do(f"{escrow.name} to be deleted", lambda: escrow.delete(wait=False))
    await insist(f"{escrow.name} and its pods to be gone", escrow.is_gone)
    await user.apply(escrow)
    await _same_address(user, escrow, address)


async def _same_address(user: User, escrow: Escrow, address: str) -> None:
    again = (await user.until_active(escrow))["address"]
    if again != address:
        user.timeline.violated(f"I4: {escrow.name} has another address than before: {again}, not {address}")


async def _uses_its_wallets(user: User, escrow: Escrow) -> None:
    address = (await user.create(escrow))["address"]
    for _ in range(user.rng.randint(1, 3)):
        role = user.rng.choice(ROLES)

        async def ask(role: Role = role) -> str:
            await user.until_active(escrow)
            async with asyncio.timeout(60.0), escrow.wallets(role) as wallets:
                return await wallets[role].address()

        if await insist(f"the {role} wallet of {escrow.name} to answer", ask) != address:
            user.timeline.violated(f"I1: the {role} wallet of {escrow.name} is another one")
        user.books.counts["wallet calls"] += 1


async def _names_a_wrong_password(user: User, escrow: Escrow) -> None:
    """After its wallets were made, another session wants them with a password that is a canary."""
    await user.create(escrow)
    canary, secret = secrets.token_hex(16), f"{escrow.name}-wrong"
    user.books.canaries[canary] = "a wrong password"
    wallets = await insist("the deeds", escrow.deeds_as_wallets)
    await do(f"{escrow.name} to be deleted", lambda: escrow.delete(wait=False))
    await insist(f"{escrow.name} and its pods to be gone", escrow.is_gone)
    await do("the Secret", lambda: user.place.secret(secret, {"password": canary}))
    wallets[Role.VENDOR]["secretRef"] = {"name": secret}
    await user.apply(escrow, setup="Open", wallets=wallets)
    await user.until(escrow, "to be Failed", lambda status: status.get("phase") == "Failed")


async def _is_paid_and_pays_out(user: User, escrow: Escrow) -> None:
    address = (await user.create(escrow))["address"]
    user.books.paid.add(address)
    await user.bank.pay(address)

    async def funded() -> bool:
        await user.bank.mine(1)
        return condition(await user.status(escrow), "Funded").get("status") == "True"

    await insist(f"{escrow.name} to be Funded", funded)
    user.books.counts["funded"] += 1
    await user.bank.mine(LOCK_BLOCKS)
    txid = await _paid_out(user, escrow)
    if txid is None:
        user.books.counts["payouts whose answer was lost"] += 1
        return
    user.books.settled.add(escrow.name)
    outcome = user.rng.choice(("Release", "Refund"))

    settlement = {"outcome": outcome, "txid": txid}

    async def settle() -> None:
        await user.status(escrow)
        await escrow.change(settlement=settlement)
        user.specs[escrow.name] = {**user.specs[escrow.name], "settlement": settlement}

    await do("the settlement", settle)

    async def settled() -> bool:
        await user.bank.mine(1)
        return (await user.status(escrow)).get("phase") in ("Completed", "Refunded")

    await insist(f"{escrow.name} to be settled", settled)
    user.books.counts["settled"] += 1


async def _paid_out(user: User, escrow: Escrow) -> str | None:
    """The transaction; None when nobody knows whether one was sent: a second one would find no money."""
    submitted = False

    async def pay_out() -> str | None:
        nonlocal submitted
        await user.until_active(escrow)
        async with asyncio.timeout(180.0), escrow.wallets(Role.VENDOR, Role.ARBITER) as wallets:
            platform = Platform(wallets[Role.VENDOR], wallets[Role.ARBITER])
            await platform.sync_key_images()
            submitted = True
            try:
                [txid] = await platform.sweep(user.bank.address)
            except WalletError as error:
                # -17 and -37: no money, or none that is unlocked, for example since another try took it.
                submitted = getattr(error, "code", None) in (-17, -37)
                raise
            return txid

    try:
        return await insist(f"the payout of {escrow.name}", pay_out, within=240.0)
    except Stuck:
        if submitted:
            return None
        raise


STORIES: tuple[Story, ...] = (
    _opens_and_deletes,
    _deletes_before_it_is_open,
    _comes_back_after_it_expired,
    _comes_back_after_it_was_deleted,
    _uses_its_wallets,
    _names_a_wrong_password,
    _is_paid_and_pays_out,
)
