"""A ReplicaSet that starts no pods any more is replaced; one that cannot, or has not yet, is left alone."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from escrow_operator.adapters.kube import DEPLOYMENTS
from escrow_operator.core.manifests.common import deployment_name
from escrow_operator.core.manifests.pool import template_of
from escrow_operator.models.common import Label, Role
from escrow_operator.services.pools.stalled import (
    PATIENCE_GROWS,
    STALL_SECONDS,
    SURPLUS_SECONDS,
    StalledReplicaSets,
)
from simulation.apiserver import Body
from unit.factories import at, slot_body
from unit.services.pools.bench import KEY, SPEC, Bench

BUYER, VENDOR = deployment_name(KEY, Role.BUYER), deployment_name(KEY, Role.VENDOR)


class StallBench(Bench):
    """A pool of two slots for each role, of which the buyer has only one."""

    def __init__(self) -> None:
        super().__init__(spec=SPEC | {"warmSlots": 2})
        self.free()
        self.free(Role.VENDOR, Role.ARBITER, generation="b")

    def deployment(self, name: str = BUYER) -> Body:
        found = self.api.find(DEPLOYMENTS, name)
        assert found is not None
        return found

    def stamp(self, name: str = BUYER) -> str | None:
        found: str | None = self.deployment(name)["spec"]["template"]["metadata"]["annotations"].get(Label.ANEW)
        return found

    def tell(self, *, behind: int = 0, replicas: int = 1, refused: bool = False, **spec: Any) -> None:
        """The buyer's Deployment says how it is, and is changed by others as given."""
        body = copy.deepcopy(self.deployment())
        body["spec"] |= spec
        generation = self.api.put(DEPLOYMENTS, body)["metadata"]["generation"]
        conditions = [{"type": "ReplicaFailure", "status": str(refused), "reason": "FailedCreate"}]
        status = {"observedGeneration": generation - behind, "updatedReplicas": replicas, "conditions": conditions}
        self.api.put(DEPLOYMENTS, body | {"status": status})

    def ended(self) -> list[str]:
        """Pods that were deleted."""
        return [name for verb, plural, name in self.api.writes if (verb, plural) == ("delete", "pods")]

    async def look_twice(self) -> None:
        """As far apart as a ReplicaSet may take to create a pod, and once more for what the second one asked for."""
        await self.look()
        self.clock.seconds += STALL_SECONDS
        await self.look()
        await self.look()


async def test_a_role_that_gets_no_pods_gets_another_replica_set() -> None:
    bench = StallBench()
    assert await bench.look() == STALL_SECONDS
    digest = template_of(bench.deployment())
    bench.tell()
    await bench.look_twice()
    assert bench.stamp() == "1"
    assert template_of(bench.deployment()) == digest, "the pods that there are would be replaced"
    assert bench.stamp(VENDOR) is None, "it has all its pods"
    writes = len(bench.api.writes)
    await bench.look()
    assert bench.api.writes[writes:] == []


@pytest.mark.parametrize(
    "said",
    [{"behind": 1}, {"replicas": 2}, {"refused": True}, {"paused": True}],
    ids=["not told yet", "has them", "may not", "paused by others"],
)
async def test_what_is_not_a_stall_is_left_alone(said: dict[str, Any]) -> None:
    bench = StallBench()
    await bench.look()
    bench.tell(**said)
    await bench.look_twice()
    assert bench.stamp() is None


async def test_one_that_creates_pods_is_left_alone() -> None:
    """However many it lacks: sessions may take them faster than they are made."""
    bench = StallBench()
    await bench.look()
    bench.tell()
    await bench.look()
    bench.clock.seconds += STALL_SECONDS
    assert bench.store.see_slot(slot_body("buyer-b", created=at(bench.clock.seconds), terminating=True))
    await bench.look()
    await bench.look()
    assert bench.stamp() is None


async def test_the_end_of_what_was_created_last_is_no_progress() -> None:
    bench = StallBench()
    assert bench.store.see_slot(slot_body("buyer-b", created=at(1.0), terminating=True))
    await bench.look()
    bench.tell()
    bench.clock.seconds += STALL_SECONDS - 1.0
    bench.store.drop_slot(slot_body("buyer-b", created=at(1.0)))
    await bench.look()
    bench.clock.seconds += 1.0
    await bench.look()
    await bench.look()
    assert bench.stamp() == "1"


async def test_a_stamp_that_changed_nothing_is_followed_by_rarer_ones() -> None:
    bench = StallBench()
    await bench.look()
    bench.tell()
    await bench.look_twice()
    stamps = {bench.stamp()}
    bench.tell()
    for _ in range(PATIENCE_GROWS - 1):
        await bench.look_twice()
        stamps.add(bench.stamp())
    assert stamps == {"1"}
    await bench.look_twice()
    stamps.add(bench.stamp())
    assert len(stamps) == 2, "it never tries again"


async def test_all_pods_start_at_once_and_what_the_former_one_leaves_is_ended() -> None:
    """But for what a session is about to adopt; and not before the new ones are there."""
    bench = StallBench()
    await bench.look()
    bench.tell()
    await bench.look_twice()
    assert bench.deployment()["spec"]["strategy"]["rollingUpdate"]["maxSurge"] == "100%"
    assert "strategy" not in bench.deployment(VENDOR)["spec"]
    for name in ("buyer-x", "buyer-y"):
        await bench.look()
        bench.clock.seconds += SURPLUS_SECONDS
        await bench.look()
        assert bench.ended() == []
        body = slot_body(name, created=at(bench.clock.seconds))
        body["metadata"]["annotations"][Label.ANEW] = "1"
        assert bench.store.see_slot(body)
    bench.free(Role.BUYER, generation="taken")
    taken = [slot for slot in bench.store.free_slots(KEY) if slot.name == "buyer-taken"]
    bench.store.reserve(taken)
    await bench.look()
    bench.clock.seconds += SURPLUS_SECONDS
    await bench.look()
    assert bench.ended() == ["buyer-a"]


async def test_the_next_operator_keeps_it_so() -> None:
    """Free slots are not replaced because an operator starts."""
    bench = StallBench()
    await bench.look()
    bench.tell()
    await bench.look_twice()
    assert bench.stamp() == "1"
    bench.start()
    await bench.look()
    assert bench.stamp() == "1"


@pytest.mark.parametrize("nonsense", ["", "x" * 4000, "-1", "9" * 4000])
async def test_a_stamp_of_others_is_not_kept(nonsense: str) -> None:
    bench = StallBench()
    await bench.look()
    body = copy.deepcopy(bench.deployment())
    body["spec"]["template"]["metadata"]["annotations"][Label.ANEW] = nonsense
    known, stalled = bench.store.pools[KEY], StalledReplicaSets(bench.ctx)
    stalled.found(known, body)
    assert stalled.stamped(known, bench.deployment()) == bench.deployment()


async def test_a_deployment_that_is_gone_is_made_again_and_not_stamped() -> None:
    bench = StallBench()
    await bench.look()
    bench.api.remove(DEPLOYMENTS, BUYER)
    bench.clock.seconds += STALL_SECONDS
    await bench.look()
    assert bench.api.find(DEPLOYMENTS, BUYER) is None
    assert bench.store.pools[KEY]
