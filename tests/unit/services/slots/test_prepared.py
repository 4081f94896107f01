"""Which prepared escrows a session may get."""

from __future__ import annotations

import pytest

from escrow_operator.adapters.kube import PODS
from escrow_operator.models.common import ROLES, Role
from unit.world.preparing import KEY, Preparing


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> Preparing:
    world = Preparing(monkeypatch, wanted=2)
    await world.start()
    await world.prepare(2)
    return world


async def test_the_oldest_is_offered_first_and_a_reserved_one_to_nobody(world: Preparing) -> None:
    first, second = world.operator.prepared.ready(KEY)
    world.operator.prepared.reserve(first.name)
    assert [triple.name for triple in world.operator.prepared.ready(KEY)] == [second.name]
    world.operator.prepared.release(first.name)
    assert world.operator.prepared.ready(KEY)[0].name == first.name


async def test_one_that_lacks_a_pod_is_not_offered(world: Preparing) -> None:
    first, second = world.operator.prepared.ready(KEY)
    world.kube.remove(PODS, first.slots[Role.VENDOR].name)
    assert [triple.name for triple in world.operator.prepared.ready(KEY)] == [second.name]


async def test_one_whose_pod_has_another_process_is_not_offered(world: Preparing) -> None:
    first, second = world.operator.prepared.ready(KEY)
    body = world.kube.server.get(PODS, KEY.namespace, first.slots[Role.ARBITER].name)
    body["status"]["containerStatuses"] = [{"restartCount": 1}]
    world.kube.put(PODS, body)
    assert [triple.name for triple in world.operator.prepared.ready(KEY)] == [second.name]


async def test_one_that_is_doubted_is_offered_again_only_when_it_is_proven(world: Preparing) -> None:
    first, _ = world.operator.prepared.ready(KEY)
    world.operator.prepared.doubt(first.slots)
    assert len(world.operator.prepared.ready(KEY)) == 1
    await world.reconcile()
    assert len(world.operator.prepared.ready(KEY)) == 2


async def test_a_pool_lacks_what_its_spec_wants_and_a_deleted_one_nothing(world: Preparing) -> None:
    prepared = world.operator.prepared
    assert prepared.lacking(world.pool) == 0
    world.set_spec(preparedEscrows=5)
    assert prepared.lacking(world.pool) == 3
    for role in ROLES:
        world.kube.remove(PODS, prepared.of_pool(KEY)[0].slots[role].name)
    assert prepared.lacking(world.pool) == 4
