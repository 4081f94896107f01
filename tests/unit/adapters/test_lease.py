"""The Lease as an object: taken on what was seen, renewed and released by its holder alone."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any, cast

import pytest

from escrow_operator.adapters.kube import LEASES, NAMESPACES, Kube
from escrow_operator.adapters.kube_errors import ConflictError, NotFoundError
from escrow_operator.adapters.lease import Lease
from escrow_operator.core.leadership import Holding
from simulation.clock import SimClock
from unit.kube import InstantKube

NAME, HOME = "escrow-north", "xmr-escrow-system"


@pytest.fixture
def kube() -> InstantKube:
    kube = InstantKube()
    kube.put(NAMESPACES, {"metadata": {"name": HOME}})
    return kube


class Ticking(SimClock):
    """Never the same time twice, however fast the test is."""

    def __init__(self) -> None:
        super().__init__()
        self.ticks = 0

    def exactly_now(self) -> datetime:
        self.ticks += 1
        return super().exactly_now() + timedelta(microseconds=self.ticks)


def lease(kube: InstantKube, identity: str) -> Lease:
    return Lease(cast("Kube", kube), Ticking(), namespace=HOME, name=NAME, identity=identity, seconds=15.0)


def spec(kube: InstantKube) -> dict[str, Any]:
    body = kube.find(LEASES, NAME, HOME)
    assert body is not None
    found: dict[str, Any] = body["spec"]
    return found


async def test_it_is_made_by_whoever_comes_first(kube: InstantKube) -> None:
    one, other = lease(kube, "one"), lease(kube, "other")
    assert await one.read() is None
    await one.take(None, 1)
    with pytest.raises(ConflictError):
        await other.take(None, 1)
    found = await other.read()
    assert found == Holding("one", 1, 15.0, found.version if found else "")
    for field in ("acquireTime", "renewTime"):
        # The only form in which Kubernetes reads one.
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", spec(kube)[field])


async def test_it_is_taken_as_it_was_seen(kube: InstantKube) -> None:
    one, other = lease(kube, "one"), lease(kube, "other")
    await one.take(None, 1)
    seen = await other.read()
    kube.server.merge(LEASES, HOME, NAME, {"spec": {"renewTime": "later"}})
    with pytest.raises(ConflictError):
        await other.take(seen, 2)
    await other.take(await other.read(), 2)
    assert (spec(kube)["holderIdentity"], spec(kube)["leaseTransitions"]) == ("other", 2)


async def test_only_its_holder_renews_and_releases_it(kube: InstantKube) -> None:
    one, other = lease(kube, "one"), lease(kube, "other")
    await one.take(None, 1)
    before = await other.read()
    await one.renew(1)
    after = await other.read()
    assert before is not None
    assert after is not None
    assert before.version != after.version, "others must see it"
    await one.release(1)
    assert spec(kube)["holderIdentity"] == ""

    await other.take(await other.read(), 2)
    for late in (one.renew(1), one.release(1), other.renew(1)):
        with pytest.raises(ConflictError):
            await late
    assert spec(kube)["holderIdentity"] == "other"


async def test_a_note_of_somebody_else_on_it_is_no_loss(kube: InstantKube) -> None:
    one = lease(kube, "one")
    await one.take(None, 1)
    kube.server.merge(LEASES, HOME, NAME, {"metadata": {"annotations": {"seen-by": "an admin"}}})
    await one.renew(1)


async def test_one_that_was_deleted_cannot_be_renewed(kube: InstantKube) -> None:
    one = lease(kube, "one")
    await one.take(None, 1)
    kube.remove(LEASES, NAME, HOME)
    with pytest.raises(NotFoundError):
        await one.renew(1)
