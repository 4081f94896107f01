"""What wallets and monerod say is put together only where it is of one height, and two wallets say it."""

from __future__ import annotations

import dataclasses
from typing import Any, NoReturn

import pytest

from escrow_operator.core.agreement import agree
from escrow_operator.core.daemon import DaemonView
from escrow_operator.models.common import ROLES, Role
from escrow_operator.models.monero import ChainFacts
from escrow_operator.services.context import Context
from escrow_operator.services.runtime.outcomes import Blocked, CutOff, SlotBroken
from escrow_operator.services.sessions.inspection import Escrow, Inspector
from escrow_operator.services.wallets.monitor import Survey
from unit.factories import daemon_info, pool_body, session, slot
from unit.money import chain, output, transaction, txid, view
from unit.world.context import make_context


def _of_one_pool() -> Context:
    ctx = make_context()
    ctx.store.see_pool(pool_body())
    return ctx


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
    fakes: tuple[Any, ...] = (FakeDaemons(secrets), FakeMonitor())
    return Inspector(_of_one_pool(), *fakes)


class Trade:
    """Three wallets that say the same of a payout at a height, and a monerod that has it."""

    def __init__(self, depth: int, *, trouble: Blocked | None = None, height: int = 10) -> None:
        paid, change = output("0.35", "a"), output("0.0001", "c")
        money = agree(dict.fromkeys(ROLES, view(paid, change, height=10)))
        self.survey = Survey(money, 10, trouble)
        found = chain({"a": 50, "c": transaction(depth, spends=["a"])}, spent=["a"])
        self.found = dataclasses.replace(found, height=height)
        self.asked = 0

    def view(self, _: object) -> DaemonView:
        return DaemonView(daemon_info())

    async def next_view(self, _: object) -> None: ...

    def secrets(self, _: object) -> str | None:
        return None

    async def read(self, *_: object) -> Survey:
        return self.survey

    def is_exchange_due(self, *_: object) -> bool:
        return False

    async def facts(self, *_: object) -> ChainFacts:
        self.asked += 1
        return self.found

    def look(self) -> tuple[Inspector, Escrow]:
        fake: Any = self
        settled = session(spec={"settlement": {"outcome": "Release", "txid": txid("c")}})
        return Inspector(_of_one_pool(), fake, fake), dataclasses.replace(_escrow(), session=settled)


@pytest.mark.parametrize(("depth", "final"), [(990, False), (1000, True)])
async def test_one_wallet_that_does_not_answer_keeps_no_trade_open_that_is_over(depth: int, final: bool) -> None:
    trouble = Blocked("WalletUnreachable", "no answer", retry_after=1.0)
    inspector, escrow = Trade(depth, trouble=trouble).look()
    reading, told = await inspector.read(escrow)
    assert told is trouble
    view = inspector.payout(escrow.session, reading)
    assert view
    assert view.is_final is final


async def test_what_monerod_says_of_another_height_is_not_put_together_with_what_wallets_say() -> None:
    inspector, escrow = Trade(1000, height=11).look()
    with pytest.raises(Blocked, match="WalletSyncing"):
        await inspector.read(escrow)


@pytest.mark.parametrize(("depth", "asked"), [(1000, 1), (0, 2)])
async def test_monerod_is_asked_again_only_about_what_may_have_changed(depth: int, asked: int) -> None:
    trade = Trade(depth)
    inspector, escrow = trade.look()
    await inspector.read(escrow)
    await inspector.read(escrow)
    assert trade.asked == asked
    trade.survey = Survey(trade.survey.money, 10)
    await inspector.read(escrow)
    assert trade.asked == asked + 1


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
