"""The 2-of-3 key exchange."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from escrow_operator.errors import AlreadyMultisig, BadMultisigInfo, NotMultisig
from escrow_operator.models.common import ROLES, Role
from escrow_operator.models.monero import KeyExchange, MultisigInfo

from .bench import PASSWORD, Bench


def _peers(infos: Mapping[Role, str], role: Role) -> list[str]:
    return [info for peer, info in infos.items() if peer is not role]


async def _prepare(bench: Bench) -> dict[Role, str]:
    name = bench.fresh_name()
    for role in ROLES:
        await bench.wallets[role].create_wallet(name, PASSWORD)
    return {role: await bench.wallets[role].prepare_multisig() for role in ROLES}


async def _make(
    bench: Bench, infos: Mapping[Role, str], others: Mapping[Role, Mapping[Role, str]] | None = None
) -> dict[Role, KeyExchange]:
    """``others`` are other messages for some of them."""
    told = {role: _peers((others or {}).get(role, infos), role) for role in ROLES}
    return {role: await bench.wallets[role].make_multisig(told[role], 2, PASSWORD) for role in ROLES}


async def _exchange(bench: Bench, before: Mapping[Role, KeyExchange]) -> dict[Role, KeyExchange]:
    infos = {role: one.info for role, one in before.items()}
    return {role: await bench.wallets[role].exchange_multisig_keys(_peers(infos, role), PASSWORD) for role in ROLES}


class ExchangeContract:
    """Inherited where there is a fixture ``bench``."""

    async def test_three_come_to_one_address_after_two_exchanges_and_there_is_no_third(self, bench: Bench) -> None:
        prepared = await _prepare(bench)
        made = await _make(bench, prepared)
        between = MultisigInfo(multisig=True, ready=False, threshold=2, total=3)
        assert [await bench.wallets[role].is_multisig() for role in ROLES] == [between] * 3
        assert len({one.address for one in made.values()}) == 1, "they agree, on an address that is nobody's"
        placeholders = {one.address for one in made.values()}
        assert {await bench.wallets[role].address() for role in ROLES} == placeholders
        first = await _exchange(bench, made)
        assert {one.address for one in first.values()} == {""}
        early = {await bench.wallets[role].address() for role in ROLES}
        assert [await bench.wallets[role].is_multisig() for role in ROLES] == [between] * 3
        with pytest.raises(NotMultisig):
            await bench.wallet.export_multisig_info()
        last = await _exchange(bench, first)
        complete = MultisigInfo(multisig=True, ready=True, threshold=2, total=3)
        assert [await bench.wallets[role].is_multisig() for role in ROLES] == [complete] * 3
        addresses = {await bench.wallets[role].address() for role in ROLES}
        assert addresses == {one.address for one in last.values()}
        assert len(addresses) == 1
        assert early == addresses != placeholders
        assert all(one.info for one in last.values())
        assert len(addresses.pop()) == 95
        with pytest.raises(AlreadyMultisig):
            await _exchange(bench, first)
        with pytest.raises(AlreadyMultisig):
            await bench.wallet.prepare_multisig()
        with pytest.raises(AlreadyMultisig):
            await _make(bench, prepared)

    async def test_it_goes_on_after_a_wallet_was_closed_in_the_middle(self, bench: Bench) -> None:
        prepared = await _prepare(bench)
        repeated = prepared | {Role.BUYER: await bench.wallet.prepare_multisig()}
        assert repeated[Role.BUYER] != prepared[Role.BUYER], "the text differs, and either will do"
        made = await _make(bench, prepared, {Role.ARBITER: repeated})
        again = bench.fresh_name()
        await bench.wallet.create_wallet(again, PASSWORD)
        assert not (await bench.wallet.is_multisig()).multisig
        await bench.wallet.close_wallet()
        name = f"{again.rpartition('-')[0]}-{int(again.rpartition('-')[2]) - 1}"
        await bench.wallet.open_wallet(name, PASSWORD)
        infos = {role: one.info for role, one in (await _exchange(bench, made)).items()}
        last = {}
        for role in ROLES:
            # Those who come later get what the earlier ones said when they were complete.
            last[role] = await bench.wallets[role].exchange_multisig_keys(_peers(infos, role), PASSWORD)
            infos[role] = last[role].info
        assert len({one.address for one in last.values()}) == 1

    async def test_messages_that_do_not_belong_together_are_refused(self, bench: Bench) -> None:
        other = await _make(bench, await _prepare(bench))
        prepared = await _prepare(bench)
        wallet = bench.wallet
        with pytest.raises(BadMultisigInfo):
            await wallet.make_multisig(["MultisigxV2R1", "nonsense"], 2, PASSWORD)
        with pytest.raises(BadMultisigInfo):
            await wallet.make_multisig([one.info for one in list(other.values())[1:]], 2, PASSWORD)
        made = await _make(bench, prepared)
        infos = {role: one.info for role, one in made.items()}
        with pytest.raises(BadMultisigInfo):
            await wallet.exchange_multisig_keys(_peers(prepared, Role.BUYER), PASSWORD)
        with pytest.raises(BadMultisigInfo):
            await wallet.exchange_multisig_keys([infos[Role.VENDOR], other[Role.ARBITER].info], PASSWORD)
        with pytest.raises(BadMultisigInfo):
            await wallet.exchange_multisig_keys([infos[Role.VENDOR]], PASSWORD)
        last = await _exchange(bench, await _exchange(bench, made))
        assert len({one.address for one in last.values()}) == 1
