"""A session that was deleted, and another one of its name: nothing of the former one is remembered."""

from __future__ import annotations

import pytest

from escrow_operator.adapters.kube import SESSIONS
from escrow_operator.errors import WalletTimeout
from escrow_operator.models.common import ROLES
from unit.world.place import World
from unit.world.wallets import FakeWallet


async def test_it_does_not_queue_behind_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that waited for too long keeps no place, and has no place of before either."""
    world = World(monkeypatch)
    await world.start()
    world.apply()
    await world.settle()
    world.clock.seconds += 200
    await world.settle()
    assert world.condition("Ready") == ("False", "PoolEmpty")
    # Both before the next look, as after a watch that was away.
    world.kube.remove(SESSIONS, "trade")
    world.apply()
    await world.settle()
    world.warm()
    await world.settle()
    assert world.status()["phase"] == "Active"


@pytest.mark.parametrize("again", [False, True], ids=["gone", "again"])
async def test_one_that_only_waited_leaves_nothing_in_memory(monkeypatch: pytest.MonkeyPatch, again: bool) -> None:
    world = World(monkeypatch, max_active=1)
    await world.start()
    world.warm(number=2)
    world.apply("holder", eviction="Never")
    await world.settle("holder")
    for role in ROLES:
        world.wallets.file(role, "made-elsewhere", "open", "4elsewhere")
    wallets = world.made_elsewhere()
    key = world.apply(setup="Open", wallets=wallets)
    uid = world.operator.store.sessions[key].uid
    world.operator.context.stages.begin(uid)
    await world.settle()
    assert world.condition("Ready") == ("False", "AtCapacity")
    world.kube.remove(SESSIONS, "trade")
    if again:
        world.apply()
    await world.look()
    assert uid not in world.operator.context.memory._records
    assert world.operator.capacity.is_waiting(key) == again


async def test_that_it_has_the_wallets_of_before_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hangs(*_: object, **__: object) -> None:
        raise WalletTimeout("it hangs")

    world = World(monkeypatch)
    await world.start()
    world.warm(number=2)
    world.apply()
    await world.settle()
    world.kube.remove(SESSIONS, "trade")
    await world.settle()
    told: list[str] = []
    monkeypatch.setattr(world.operator.context.events, "record", lambda _, reason, *__, **___: told.append(reason))
    world.apply()
    with monkeypatch.context() as trouble:
        trouble.setattr(FakeWallet, "open_wallet", hangs)
        for _ in range(10):
            await world.look()
            world.clock.seconds += 60
    world.clock.seconds += 300
    await world.settle()
    assert world.status()["phase"] == "Active"
    assert told.count("WalletsReused") == 1
