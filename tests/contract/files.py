"""What wallet-rpc does with wallet files."""

from __future__ import annotations

import pytest

from escrow_operator.errors import (
    InvalidPassword,
    NotMultisig,
    NoWalletOpen,
    WalletFileExists,
    WalletFileNotFound,
    WalletRpcError,
)
from escrow_operator.models.monero import MultisigInfo
from regtest.calls import transfer_by_txid, version

from .bench import PASSWORD, Bench


class FilesContract:
    """Inherited where there is a fixture ``bench``."""

    async def test_with_no_wallet_open_it_says_so_to_everything_but_the_version(self, bench: Bench) -> None:
        wallet = bench.wallet
        assert await version(wallet) >> 16 == 1
        for call in (
            wallet.close_wallet,
            wallet.store,
            lambda: wallet.attribute("a/b"),
            lambda: wallet.set_attribute("a/b", "text"),
            wallet.address,
            wallet.height,
            wallet.balance,
            wallet.outputs,
            wallet.transfers,
            wallet.is_multisig,
            wallet.refresh,
            wallet.prepare_multisig,
            wallet.export_multisig_info,
        ):
            with pytest.raises(NoWalletOpen):
                await call()
        with pytest.raises(NoWalletOpen):
            await wallet.transfers(pool=True)
        with pytest.raises(NoWalletOpen):
            await transfer_by_txid(wallet, "a" * 64)

    async def test_a_method_that_there_is_not(self, bench: Bench) -> None:
        with pytest.raises(WalletRpcError) as caught:
            await bench.wallet.call("no_such_method", {}, 10)
        assert caught.value.code == -32601

    async def test_a_fresh_wallet_has_an_address_and_nothing_else(self, bench: Bench) -> None:
        await bench.fresh()
        wallet = bench.wallet
        assert len(await wallet.address()) == 95
        assert await wallet.is_multisig() == MultisigInfo(multisig=False, ready=False, threshold=0, total=0)
        assert (await wallet.balance()).total == 0
        assert await wallet.outputs() == []
        assert await wallet.transfers(incoming=True, outgoing=True, pool=True) == []
        with pytest.raises(NotMultisig):
            await wallet.export_multisig_info()
        with pytest.raises(NotMultisig):
            await wallet.exchange_multisig_keys(["MultisigxV2Rn1", "MultisigxV2Rn2"], PASSWORD)

    async def test_an_open_that_fails_leaves_the_wallet_open_and_one_that_succeeds_replaces_it(
        self, bench: Bench
    ) -> None:
        wallet = bench.wallet
        first = await bench.fresh()
        first_address = await wallet.address()
        second = await bench.fresh()
        second_address = await wallet.address()
        assert second_address != first_address
        with pytest.raises(WalletFileNotFound):
            await wallet.open_wallet(bench.fresh_name(), PASSWORD)
        with pytest.raises(InvalidPassword):
            await wallet.open_wallet(first, "wrong")
        with pytest.raises(WalletFileExists):
            await wallet.create_wallet(first, PASSWORD)
        assert await wallet.address() == second_address
        await wallet.open_wallet(first, PASSWORD)
        assert await wallet.address() == first_address
        await wallet.close_wallet()
        with pytest.raises(NoWalletOpen):
            await wallet.address()
        await wallet.open_wallet(second, PASSWORD)
        assert await wallet.address() == second_address

    async def test_a_text_stays_in_the_wallet_it_was_stored_in(self, bench: Bench) -> None:
        wallet = bench.wallet
        marked = await bench.fresh()
        assert await wallet.attribute("xmr-escrow.dev/a") is None
        await wallet.set_attribute("xmr-escrow.dev/a", "shop/trade/uid")
        await wallet.store()
        assert await wallet.attribute("xmr-escrow.dev/a") == "shop/trade/uid"
        assert await wallet.attribute("xmr-escrow.dev/b") is None
        await bench.fresh()
        assert await wallet.attribute("xmr-escrow.dev/a") is None
        await wallet.open_wallet(marked, PASSWORD)
        assert await wallet.attribute("xmr-escrow.dev/a") == "shop/trade/uid"
        await wallet.set_attribute("xmr-escrow.dev/a", "")
        assert await wallet.attribute("xmr-escrow.dev/a") == "", "it is emptied, not gone"
