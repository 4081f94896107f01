"""Deeds that somebody changes while a session has its slots (invariant I1)."""

from __future__ import annotations

import pytest

from escrow_operator.adapters.kube import SECRETS, SESSIONS
from escrow_operator.errors import WalletTimeout
from escrow_operator.models.common import ROLES
from escrow_operator.models.session import SessionKey
from unit.world.place import SHOP, World
from unit.world.wallets import FakeWallet


def noted_files(world: World, key: SessionKey) -> set[str | None]:
    store = world.operator.store
    return {slot.wallet_file for slot in store.slots_of_session(key.namespace, store.sessions[key].uid)}


async def test_i1_slots_that_a_session_has_do_not_take_the_wallets_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hangs(*_: object, **__: object) -> None:
        raise WalletTimeout("it hangs")

    world = World(monkeypatch)
    await world.start()
    world.warm(number=2)
    first = world.apply()
    await world.settle()
    with monkeypatch.context() as trouble:
        trouble.setattr(FakeWallet, "exchange_multisig_keys", hangs)
        second = world.apply("second")
        await world.look("second")
    assert world.status("second")["phase"] == "Opening"
    for role in ROLES:
        deed = world.kube.server.get(SECRETS, SHOP, f"trade-{role}-wallet")
        meta = {"name": f"second-{role}-wallet", "namespace": SHOP}
        world.kube.put(SECRETS, {"metadata": meta, "data": deed["data"]})
    world.clock.seconds += 60
    await world.look("second")
    assert world.condition("Ready", "second") == ("False", "WalletInUse")
    assert not noted_files(world, first) & noted_files(world, second)
    assert len(world.wallets.open_files()) == 3
    world.kube.remove(SESSIONS, "trade")
    await world.settle()
    world.warm()
    await world.settle("second")
    assert world.status("second")["phase"] == "Active"
