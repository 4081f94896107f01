"""Where the host names of an open session lead, whatever happens to its pods."""

from __future__ import annotations

import base64
import dataclasses
from typing import Any

import pytest

from escrow_operator.adapters.kube import ENDPOINT_SLICES, SECRETS
from escrow_operator.models.common import ROLES, Role
from escrow_operator.models.monero import Login
from escrow_operator.models.session import Phase, Session
from escrow_operator.models.slot import Slot
from escrow_operator.services.runtime.outcomes import Blocked, NotOpened
from escrow_operator.services.sessions.opening import SessionOpener
from escrow_operator.services.wallets.clients import Access
from unit.factories import session, slot
from unit.kube import InstantKube
from unit.world.context import make_context


class Logins:
    """Hands out a login for each slot, in the place of all services around the one under test."""

    async def access(self, slot: Slot) -> Access:
        return Access(Login("operator", f"{slot.uid}/{slot.login_key}"), None)


class Bench:
    """A session that was published with three pods."""

    def __init__(self) -> None:
        self.kube = InstantKube()
        names = ("capacity", "claims", "deeds", "gates", "opener", "prepared", "prober", "status", "wallets")
        fakes: dict[str, Any] = dict.fromkeys(names, Logins())
        self.opener = SessionOpener(make_context(self.kube), **fakes)
        self.slots = {role: slot(role.value, role, ip=f"10.0.0.{n}") for n, role in enumerate(ROLES, 1)}

    @property
    def session(self) -> Session:
        return self.told(opened=True)

    def told(self, *, opened: bool) -> Session:
        wallets = {role.value: {"pod": role.value, "secret": "s", "opened": opened} for role in ROLES}
        return session(phase=Phase.ACTIVE, status={"address": "4escrow", "wallets": wallets})

    def change(self, role: Role, **change: Any) -> None:
        self.slots[role] = dataclasses.replace(self.slots[role], **change)

    async def publish(self) -> None:
        await self.opener._publish(self.session, self.slots)

    async def follow(self, *, opened: bool = True) -> None:
        await self.opener.follow(self.told(opened=opened), self.slots)

    @property
    def published(self) -> int:
        """How often host names were written."""
        return self.kube.written("apply").count("endpointslices/demo-wallets")

    def passwords(self) -> set[str]:
        return {base64.b64decode(body["data"]["password"]).decode() for body in self.kube.all(SECRETS)}

    def ready(self) -> dict[str, bool]:
        """The addresses that the host names lead to, as DNS does: only those that are ready."""
        body = self.kube.find(ENDPOINT_SLICES, "demo-wallets")
        endpoints = body["endpoints"] if body else []
        return {endpoint["addresses"][0]: endpoint["conditions"]["ready"] for endpoint in endpoints}


async def test_a_pod_with_another_address_is_published_again() -> None:
    bench = Bench()
    await bench.publish()
    await bench.publish()
    assert bench.published == 1
    bench.change(Role.VENDOR, ip="10.0.0.9")
    await bench.publish()
    assert bench.ready() == {"10.0.0.1": True, "10.0.0.9": True, "10.0.0.3": True}


async def test_another_login_key_is_published_again() -> None:
    bench = Bench()
    await bench.publish()
    bench.change(Role.VENDOR, login_key="other")
    await bench.publish()
    assert "pod-vendor/other" in bench.passwords()


async def test_an_open_session_follows_its_pods_without_being_opened_again() -> None:
    bench = Bench()
    await bench.publish()
    bench.change(Role.BUYER, ip="10.0.0.9")
    await bench.follow()
    assert "10.0.0.9" in bench.ready()


@pytest.mark.parametrize("absent", [{"ready": False}, {"ready": False, "ip": None}])
async def test_a_pod_that_cannot_be_called_is_told_first_and_then_hidden(absent: dict[str, Any]) -> None:
    """An operator that dies in between leaves no status that says "opened" beside host names that say otherwise."""
    bench = Bench()
    await bench.publish()
    bench.change(Role.VENDOR, **absent)
    with pytest.raises(Blocked, match="SlotNotReady") as first:
        await bench.follow()
    assert (first.value.retry_after, bench.published) == (0.0, 1)
    with pytest.raises(NotOpened, match="SlotNotReady: Pod vendor"):
        await bench.follow(opened=False)
    assert [address for address, ready in bench.ready().items() if ready] == ["10.0.0.1", "10.0.0.3"]


async def test_a_fresh_operator_hides_a_pod_that_cannot_be_called() -> None:
    bench = Bench()
    bench.change(Role.VENDOR, ready=False)
    with pytest.raises(NotOpened):
        await bench.follow(opened=False)
    assert bench.ready()["10.0.0.2"] is False
    bench.change(Role.VENDOR, ready=True)
    await bench.follow(opened=False)
    assert bench.ready()["10.0.0.2"] is True


async def test_a_pod_that_is_gone_is_not_published_while_its_session_waits_for_another() -> None:
    bench = Bench()
    await bench.publish()
    del bench.slots[Role.VENDOR]
    await bench.follow()
    assert bench.ready() == {"10.0.0.1": True, "10.0.0.3": True}
    bench.slots.clear()
    await bench.follow()
    assert bench.kube.find(ENDPOINT_SLICES, "demo-wallets") is None


async def test_a_session_that_was_never_published_has_no_host_names() -> None:
    bench = Bench()
    bench.change(Role.VENDOR, ready=False)
    await bench.opener.follow(session(phase=Phase.OPENING), bench.slots)
    assert bench.published == 0


async def test_a_fresh_operator_writes_nothing_for_a_session_that_is_well() -> None:
    bench = Bench()
    await bench.follow()
    assert bench.published == 0
