"""A pool that is deleted and applied again is served as soon as a new one, and not from what was its predecessor's."""

from __future__ import annotations

from escrow_operator.adapters.kube import DEPLOYMENTS, POOLS, SECRETS, SERVICES
from escrow_operator.core.manifests.common import deployment_name, login_key_name, service_name
from escrow_operator.models.common import ROLES
from escrow_operator.models.pool import PoolKey
from harness.place import POOL, Place
from harness.waiting import wait_for

WARM_SECONDS = 60.0


async def test_a_pool_deleted_and_applied_again_is_warm_within_a_minute(place: Place) -> None:
    former = await place.api.get(POOLS, place.namespace, POOL)
    await place.api.delete(POOLS, place.namespace, POOL)

    async def gone() -> bool:
        return await place.api.find(POOLS, place.namespace, POOL) is None

    await wait_for(gone, what="the pool to be gone", explain=place.explain)
    # At once: its Secret, Service and Deployments are there until garbage collection takes them.
    made = await place.make_pool()
    uid = made["metadata"]["uid"]
    assert uid != former["metadata"]["uid"]
    await place.until_warm(within=WARM_SECONDS)

    key = PoolKey(place.namespace, POOL)
    for resource, name in [
        (SECRETS, login_key_name(key)),
        (SERVICES, service_name(key)),
        *((DEPLOYMENTS, deployment_name(key, role)) for role in ROLES),
    ]:
        owners = (await place.api.get(resource, place.namespace, name))["metadata"]["ownerReferences"]
        assert [owner["uid"] for owner in owners] == [uid], name
    trade = await place.active("trade")
    await trade.delete()


async def test_a_login_key_that_was_deleted_is_made_again_when_pods_wait_for_it(place: Place) -> None:
    await place.until_warm()
    key = PoolKey(place.namespace, POOL)
    await place.api.delete(SECRETS, place.namespace, login_key_name(key))
    # More slots than there are need the Secret; nothing else tells that it is gone.
    await place.make_pool(warmSlots=2)
    await place.until_warm(2, within=WARM_SECONDS)
