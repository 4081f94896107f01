"""What a wallet that is cut off from monerod means, by the Secrets its pod was started with."""

from __future__ import annotations

import dataclasses
from typing import Any, NoReturn, cast

import pytest

from escrow_operator.core.daemon import DaemonView
from escrow_operator.models.common import ROLES, Role
from escrow_operator.services.activation import Escrow
from escrow_operator.services.blocked import CutOff, SlotBroken
from escrow_operator.services.daemons import DaemonService
from escrow_operator.services.inspection import Inspector
from escrow_operator.services.monitor import Monitor
from escrow_operator.services.store import Store
from unit.factories import daemon_info, pool, session, slot


class FakeStore:
    """One pool."""

    def __init__(self) -> None:
        self.pools = {found.key: found for found in (pool(),)}


class FakeDaemons:
    """A monerod that answers, with Secrets of a certain version."""

    def __init__(self, secrets: str | None) -> None:
        self._secrets = secrets

    def view(self, _: object) -> DaemonView:
        return DaemonView(daemon_info())

    def secrets(self, _: object) -> str | None:
        return self._secrets


class FakeMonitor:
    """Its wallets do not reach monerod."""

    async def read(self, *_: object) -> NoReturn:
        raise CutOff("cut off")


def _escrow(**versions: str) -> Escrow:
    slots = {role: dataclasses.replace(slot(role, role), daemon_secrets=versions.get(role, "2")) for role in ROLES}
    return Escrow(session(), slots, "address")


def _inspector(secrets: str | None) -> Inspector:
    fakes: tuple[Any, ...] = (FakeStore(), FakeDaemons(secrets), FakeMonitor())
    return Inspector(cast("Store", fakes[0]), cast("DaemonService", fakes[1]), cast("Monitor", fakes[2]))


async def test_a_pod_with_earlier_secrets_is_replaced() -> None:
    with pytest.raises(SlotBroken) as broken:
        await _inspector("2").read(_escrow(vendor="1"))
    assert (broken.value.slot.role, broken.value.reason) == (Role.VENDOR, "DaemonSecretsChanged")


@pytest.mark.parametrize("now", ["2", None])
async def test_others_are_not(now: str | None) -> None:
    with pytest.raises(CutOff):
        await _inspector(now).read(_escrow())


async def test_a_pod_of_the_former_daemon_waits_for_its_turn() -> None:
    escrow = _escrow(vendor="1")
    escrow.slots[Role.VENDOR] = dataclasses.replace(escrow.slots[Role.VENDOR], daemon="former")
    with pytest.raises(CutOff):
        await _inspector("2").read(escrow)
