"""What the old way does: that is the baseline which the operator is measured against."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

import pytest

from benchmarks.oldway import OldWay, Rounds
from benchmarks.opening import Wallets
from escrow_operator.adapters.wallet_rpc import WalletRpc
from escrow_operator.models.common import ROLES, Role
from regtest.payout import Platform


class EventRecorder:
    """Wallets that write down what they are asked."""

    def __init__(self, role: Role, asked: list[str]) -> None:
        self._role = role
        self._asked = asked

    def __getattr__(self, method: str) -> object:
        async def note(*args: object, **_: object) -> int:
            self._asked.append(f"{args[0] if method == 'call' else method} {self._role}")
            if method == "call":
                raise StopAsking
            return 0

        return note


class StopAsking(Exception):
    """The first call of a payout is enough to see."""


@pytest.fixture
def asked() -> list[str]:
    return []


@pytest.fixture
def old(asked: list[str]) -> OldWay:
    slots = cast("Mapping[Role, WalletRpc]", {role: EventRecorder(role, asked) for role in ROLES})
    spec = {role.value: {"file": f"{role}-file"} for role in ROLES}
    return OldWay(slots, Wallets(spec, dict.fromkeys(ROLES, "secret"), "4address"))


async def test_a_balance_opens_all_three_one_after_the_other_and_closes_them(old: OldWay, asked: list[str]) -> None:
    await old.balance(ROLES)
    opened = [f"{method} {role}" for role in ROLES for method in ("open_wallet", "refresh")]
    closed = [f"close_wallet {role}" for role in ROLES]
    assert asked == [*opened, f"balance {ROLES[0]}", *closed]


async def test_a_release_opens_all_three_for_its_first_rpc_already(old: OldWay, asked: list[str]) -> None:
    with pytest.raises(StopAsking):
        await old.release("4somebody")
    assert asked[: 2 * len(ROLES)] == [f"{m} {role}" for role in ROLES for m in ("open_wallet", "refresh")]
    # The platform refreshes before it exports: opening did that.
    assert asked[2 * len(ROLES)].startswith("export_multisig_info")


async def test_a_release_opened_once_is_the_platforms_own_round(
    old: OldWay, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def pay(_: Platform, address: str, amount: int) -> str:
        asked.append(f"pay {address} {amount}")
        return "txid"

    monkeypatch.setattr(Platform, "pay", pay)
    await old.release_opened_once("4somebody")
    assert asked[2 * len(ROLES)].startswith("pay 4somebody")
    assert asked[2 * len(ROLES) + 1 :] == [f"close_wallet {role}" for role in ROLES]


async def test_a_variant_can_stand_beside_the_newest_time_of_another() -> None:
    rounds = Rounds()
    rounds.seconds["balance"]["old"] += [1.0, 2.0]
    rounds.same("balance, from the status", "old", "balance")
    assert rounds.seconds["balance, from the status"]["old"] == [2.0]
