"""Objects of before the schema said what a name is: they end in a condition, whatever they name."""

from __future__ import annotations

from typing import Any, cast

import pytest

from escrow_operator.adapters.kube import Resource
from escrow_operator.models.common import ROLES
from escrow_operator.services.pools.reconciler import PoolReconciler
from escrow_operator.services.runtime.outcomes import Failed
from escrow_operator.services.sessions.opening import SessionOpener
from unit.factories import pool, session
from unit.world.context import make_context

NOBODY = cast("Any", None)
"""In the place of a service that is not to be called."""

CLIMBS = "../../other-namespace/secrets/bank"


class FakeKube:
    """An API server that is asked for names only."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def get(self, resource: Resource, namespace: str | None, name: str) -> dict[str, Any]:
        self.asked.append(resource.path(namespace, name))
        return {}


async def test_a_session_is_refused_before_anything_is_done_for_it() -> None:
    kube = FakeKube()
    opener = SessionOpener(
        make_context(kube),
        capacity=NOBODY,
        claims=NOBODY,
        deeds=NOBODY,
        gates=NOBODY,
        opener=NOBODY,
        prepared=NOBODY,
        prober=NOBODY,
        status=NOBODY,
        wallets=NOBODY,
    )
    wallet = {"file": "f", "secretRef": {"name": CLIMBS}}
    climbing = session(spec={"setup": "Open", "wallets": {role.value: wallet for role in ROLES}})

    with pytest.raises(Failed) as caught:
        await opener.open(climbing, pool(), height=1)
    assert caught.value.reason == "SecretNameInvalid"
    assert kube.asked == []


async def test_a_pool_says_that_there_is_no_such_class() -> None:
    kube = FakeKube()
    service = PoolReconciler(
        make_context(kube),
        claims=NOBODY,
        daemons=NOBODY,
        gates=NOBODY,
        objects=NOBODY,
        prepared=NOBODY,
        stalled=NOBODY,
        status=NOBODY,
        wallets=NOBODY,
    )
    condition = await service._storage_problem(pool(storage={"storageClassName": "../../../api/v1/nodes/a"}))

    assert condition is not None
    assert condition.reason == "StorageClassNotFound"
    assert kube.asked == []
