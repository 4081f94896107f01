"""Sessions that wait for slots or places that they could not use: nobody else waits behind them."""

from __future__ import annotations

import pytest

from escrow_operator.adapters.kube import PODS, SECRETS, SESSIONS
from escrow_operator.errors import WalletTimeout
from escrow_operator.models.session import Session
from escrow_operator.services.wallets.deeds import Deeds
from unit.world.place import World
from unit.world.wallets import FakeWallet


async def test_one_whose_secret_is_gone_keeps_no_slots_from_others(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch)
    await world.start()
    wallets = world.made_elsewhere()
    first = world.apply("first", setup="Open", wallets=wallets)
    await world.settle("first")
    world.clock.seconds += 1
    second = world.apply("second")
    await world.settle("second")
    pool = world.operator.store.sessions[first].pool_key
    assert world.operator.claims.waiting(pool) == [first, second]
    world.kube.remove(SECRETS, "passwords")
    world.warm()
    await world.settle("first")
    assert world.condition("Ready", "first") == ("False", "SecretNotFound")
    assert world.operator.claims.waiting(pool) == [second]
    await world.settle("second")
    assert world.status("second")["phase"] == "Active"


async def test_one_whose_looks_fail_keeps_no_place_from_others(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, max_active=1)
    await world.start()
    world.warm(number=2)
    world.apply("holder", eviction="Never")
    await world.settle("holder")
    for name in ("first", "second"):
        world.apply(name)
        await world.settle(name)
        assert world.condition("Ready", name) == ("False", "AtCapacity")
        world.clock.seconds += 1
    find = world.operator.deeds.find

    async def fails(session: Session) -> Deeds:
        if session.key.name == "first":
            raise RuntimeError("of a kind that nobody thought of")
        return await find(session)  # type: ignore[return-value]

    monkeypatch.setattr(world.operator.deeds, "find", fails)
    world.kube.remove(SESSIONS, "holder")
    await world.settle("holder")
    with pytest.raises(RuntimeError):
        await world.look("first")
    await world.settle("second")
    assert world.status("second")["phase"] == "Active"


@pytest.mark.parametrize("eviction", ["LRU", "Never"])
async def test_one_whose_wallets_do_not_open_gives_way_past_the_deadline(
    monkeypatch: pytest.MonkeyPatch, eviction: str
) -> None:
    create = FakeWallet.create_wallet

    async def hangs(wallet: FakeWallet, file: str, password: str, **more: object) -> None:
        if "stuck" in file:
            raise WalletTimeout("it hangs")
        await create(wallet, file, password, **more)

    monkeypatch.setattr(FakeWallet, "create_wallet", hangs)
    world = World(monkeypatch, max_active=1)
    await world.start()
    world.apply("stuck", eviction=eviction)
    for minute in range(40):
        if minute in (0, 10, 20):
            world.warm()
        await world.look("stuck")
        if minute == 5:
            world.apply("second")
            await world.settle("second")
            await world.look("stuck")
            assert world.condition("Ready", "stuck") == ("False", "KeyExchangeInterrupted"), "it may open yet"
        world.clock.seconds += 60
    assert world.condition("Ready", "stuck") == ("False", "OpeningTimedOut")
    world.warm()
    await world.look("second")
    await world.look("stuck")
    await world.settle("second")
    phases = world.status("stuck")["phase"], world.status("second")["phase"]
    assert phases == (("Suspended", "Active") if eviction == "LRU" else ("Opening", "Pending"))


async def test_a_pod_that_opens_wallets_with_any_password_is_told_and_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    async def opens(*_: object, **__: object) -> None:
        return None

    world = World(monkeypatch, max_active=1)
    await world.start()
    world.warm(number=2)
    world.apply("holder", eviction="Never")
    await world.settle("holder")
    wallets = world.made_elsewhere()
    world.apply("prober", setup="Open", wallets=wallets)
    pods = len(world.kube.all(PODS))
    monkeypatch.setattr(FakeWallet, "open_wallet", opens)
    await world.look("prober")
    assert world.condition("Ready", "prober") == ("False", "WalletError")
    assert len(world.kube.all(PODS)) == pods - 1
