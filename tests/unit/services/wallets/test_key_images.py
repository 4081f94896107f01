"""Wallets are told the key images of the others; two of three are enough, and one that lies keeps nobody from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from escrow_operator.adapters.wallet_rpc import WalletRpc
from escrow_operator.errors import BadMultisigInfo, NotMultisig, WalletError, WalletTimeout
from escrow_operator.models.common import ROLES, Role
from escrow_operator.services.wallets.key_images import exchange


@dataclass
class Wallet:
    """What it exports, and what it makes of what it is told; one piece of garbage spoils a whole import."""

    gives: str | WalletError
    takes: WalletError | None = None
    accepted: list[str] = field(default_factory=list)
    asked: int = 0

    async def export_multisig_info(self) -> str:
        self.asked += 1
        if isinstance(self.gives, WalletError):
            raise self.gives
        return self.gives

    async def import_multisig_info(self, infos: list[str]) -> None:
        assert infos
        if self.takes:
            raise self.takes
        if any("garbage" in info for info in infos):
            raise BadMultisigInfo("garbage")
        self.accepted += infos


def three(**others: Wallet) -> dict[Role, Wallet]:
    return {role: others.get(role.value) or Wallet(role.value) for role in ROLES}


async def shared(wallets: dict[Role, Wallet]) -> bool:
    return await exchange(cast("dict[Role, WalletRpc]", wallets))


async def test_each_is_told_what_the_two_others_gave_and_not_its_own() -> None:
    wallets = three()
    assert await shared(wallets)
    for role, wallet in wallets.items():
        assert wallet.accepted == [peer.value for peer in ROLES if peer is not role]
        assert wallet.asked == 1, "each export erases the nonces of the one before"


@pytest.mark.parametrize("silent", [Wallet(WalletTimeout("hangs")), Wallet(NotMultisig("another")), Wallet("")])
async def test_one_that_gives_none_keeps_the_two_others_from_nothing(silent: Wallet) -> None:
    wallets = three(vendor=silent)
    assert await shared(wallets)
    assert wallets[Role.BUYER].accepted == ["arbiter"]
    assert wallets[Role.ARBITER].accepted == ["buyer"]
    assert silent.accepted == ["buyer", "arbiter"], "and is told what they gave"


async def test_with_one_alone_there_is_nothing_to_exchange() -> None:
    wallets = three(vendor=Wallet(WalletTimeout("hangs")), arbiter=Wallet(WalletTimeout("hangs")))
    assert not await shared(wallets)
    assert not any(wallet.accepted for wallet in wallets.values())


async def test_garbage_of_one_spoils_nothing_of_the_other() -> None:
    wallets = three(arbiter=Wallet("garbage"))
    assert await shared(wallets)
    assert wallets[Role.BUYER].accepted == ["vendor"]
    assert wallets[Role.VENDOR].accepted == ["buyer"]


async def test_a_wallet_that_takes_nothing_keeps_nobody_from_it() -> None:
    wallets = three(buyer=Wallet("buyer", takes=WalletTimeout("hangs")))
    assert await shared(wallets)
    assert wallets[Role.VENDOR].accepted == ["buyer", "arbiter"]


GIVES = st.sampled_from(["good", "garbage", None])


@given(st.tuples(GIVES, GIVES, GIVES))
async def test_what_is_good_reaches_all_others_whenever_two_give_anything(given_by: tuple[str | None, ...]) -> None:
    said = dict(zip(ROLES, given_by, strict=True))
    wallets = {role: Wallet(f"{word} {role}" if word else WalletTimeout("hangs")) for role, word in said.items()}
    assert await shared(wallets) is (sum(word is not None for word in given_by) >= 2)
    if sum(word is not None for word in given_by) >= 2:
        for role, wallet in wallets.items():
            assert wallet.accepted == [f"good {peer}" for peer in ROLES if peer is not role and said[peer] == "good"]
