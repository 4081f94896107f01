"""Escrows that are made before there is a session for them."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import pytest

from escrow_operator.adapters.kube import PODS, SECRETS, Resource
from escrow_operator.adapters.kube_errors import KubeError
from escrow_operator.errors import WalletStorageError
from escrow_operator.models.common import ROLES
from escrow_operator.services.pools import preparer
from escrow_operator.services.pools.objects import CurrentTemplates
from escrow_operator.services.pools.preparer import BUSY_SECONDS, FIRST_FAILURE_SECONDS, LEAST_SECONDS
from escrow_operator.services.pools.scheduling_gates import SETTLE_SECONDS
from unit.world.preparing import KEY, Preparing
from unit.world.wallets import FakeWallet


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> Preparing:
    world = Preparing(monkeypatch)
    await world.start()
    return world


async def test_one_is_made_and_proven(world: Preparing) -> None:
    [triple] = await world.prepare()
    [secret] = world.secrets()
    assert secret["immutable"] is True
    assert triple.escrow is not None
    assert base64.b64decode(secret["data"]["address"]).decode() == triple.escrow.address
    assert set(triple.slots) == set(ROLES) == set(world.pods())
    assert set(world.wallets.open_files()) == {f"{role}/{triple.escrow.file}" for role in ROLES}
    for role in ROLES:
        calls = (await world.wallets.client(triple.slots[role])).calls
        assert calls[-2:] == ["open_wallet", "address"], "it was not opened again from its file"


async def test_it_takes_no_slot_of_those_that_are_kept_warm(world: Preparing) -> None:
    world.set_spec(warmSlots=1)
    world.warm()
    assert await world.reconcile() is None
    assert not world.pods()
    world.warm()
    await world.reconcile()
    assert set(world.pods()) == set(ROLES)


async def test_none_is_made_while_sessions_are_served(world: Preparing) -> None:
    world.warm()
    with world.operator.preparer._gates.opening():
        assert await world.reconcile() == BUSY_SECONDS
    assert not world.pods()


async def test_none_is_made_while_sessions_take_others_of_which_some_are_left(world: Preparing) -> None:
    await world.prepare()
    world.set_spec(preparedEscrows=2)
    world.warm()
    world.operator.preparer._gates.unsettle()
    delay = await world.reconcile()
    assert delay == SETTLE_SECONDS
    assert len(world.secrets()) == 1
    world.clock.seconds += delay
    await world.reconcile()
    assert len(world.secrets()) == 2


async def test_one_is_made_while_sessions_come_when_none_is_left(world: Preparing) -> None:
    world.warm()
    world.operator.preparer._gates.unsettle()
    await world.reconcile()
    assert len(world.secrets()) == 1


async def test_none_is_made_without_monerod(world: Preparing) -> None:
    world.warm()
    world.daemons.down = True
    assert await world.reconcile() is None
    assert not world.pods()


async def test_no_more_are_made_than_are_wanted(world: Preparing) -> None:
    await world.prepare(3)
    assert len(world.secrets()) == 1


async def test_what_fails_is_thrown_away_and_not_tried_again_at_once(
    world: Preparing, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(*_: object, **__: object) -> None:
        raise WalletStorageError("no space")

    with monkeypatch.context() as patch:
        patch.setattr(FakeWallet, "create_wallet", full)
        world.warm()
        assert await world.reconcile() == FIRST_FAILURE_SECONDS
    assert not world.kube.all(PODS)
    assert not world.secrets()
    world.warm()
    assert await world.reconcile() == pytest.approx(FIRST_FAILURE_SECONDS)
    assert not world.pods()
    world.clock.seconds += FIRST_FAILURE_SECONDS - 1e-6
    assert await world.reconcile() == LEAST_SECONDS, "it goes round without a pause"
    world.clock.seconds += LEAST_SECONDS
    await world.reconcile()
    assert len(world.operator.prepared.ready(KEY)) == 1


async def test_a_slot_whose_status_kubelet_wrote_meanwhile_is_taken_all_the_same(world: Preparing) -> None:
    name = world.warm()[0]
    body = world.kube.server.get(PODS, KEY.namespace, name)
    body["metadata"]["annotations"]["changed"] = "yes"
    world.seen = lambda *_: None
    world.kube.put(PODS, body)
    await world.reconcile()
    assert len(world.operator.prepared.ready(KEY)) == 1


async def test_a_slot_that_is_gone_meanwhile_costs_only_time(world: Preparing) -> None:
    name = world.warm()[0]
    world.seen = lambda *_: None
    world.kube.remove(PODS, name)
    assert await world.reconcile() == BUSY_SECONDS
    assert not world.pods()
    assert not world.secrets()


async def test_slots_of_a_former_template_are_left_alone(world: Preparing) -> None:
    """What is prepared in them would be thrown away at once, again and again."""
    world.warm()
    world.operator.context.memory.put(world.pool.uid, CurrentTemplates(frozenset({"another"})))
    await world.reconcile()
    assert not world.pods()
    assert not world.wallets.disk


async def test_a_secret_that_is_refused_is_a_failure_like_any(
    world: Preparing, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.warm()
    create = world.kube.create

    async def full(resource: Resource, *args: Any) -> Any:
        if resource is SECRETS:
            raise KubeError(403, "Forbidden", "exceeded quota")
        return await create(resource, *args)

    monkeypatch.setattr(world.kube, "create", full)
    assert await world.reconcile() == FIRST_FAILURE_SECONDS
    assert not world.pods()


async def test_an_exchange_that_does_not_end_is_given_up(world: Preparing, monkeypatch: pytest.MonkeyPatch) -> None:
    async def hangs(*_: object, **__: object) -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr(FakeWallet, "prepare_multisig", hangs)
    monkeypatch.setattr(preparer, "LONGEST_SECONDS", 0.01)
    world.warm()
    assert await world.reconcile() == FIRST_FAILURE_SECONDS
    assert not world.pods()
