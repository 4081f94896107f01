"""What wallets and monerod say about payments, payouts and reorganisations."""

from __future__ import annotations

import pytest

from escrow_operator.errors import BadMultisigInfo, WalletDaemonUnavailable, WalletError
from escrow_operator.models.common import ROLES, Role
from escrow_operator.models.monero import NetType, TransferType
from regtest.calls import transfer_by_txid

from .bench import Bench

AMOUNT = 350_000_000_000
UNKNOWN = "ab" * 32


class MoneyContract:
    """Inherited where there is a fixture ``bench``."""

    async def test_a_payment_from_the_pool_to_the_depth_that_lets_it_be_spent(self, bench: Bench) -> None:
        address, wallet, daemon = await bench.escrow(), bench.wallet, bench.daemon
        txid = await bench.miner.pay(address, AMOUNT)
        await bench.refresh()
        (waiting,) = await wallet.transfers(pool=True, incoming=True)
        assert (waiting.txid, waiting.type, waiting.amount) == (txid, TransferType.POOL, AMOUNT)
        assert (waiting.confirmations, waiting.height, waiting.locked) == (0, 0, True)
        asked = await transfer_by_txid(wallet, txid)
        assert asked is not None
        assert (asked.text("txid"), asked.text("type"), asked.integer("amount")) == (txid, "pool", AMOUNT)
        assert await wallet.outputs() == []
        balance = await wallet.balance()
        assert (balance.total, balance.unlocked, balance.multisig_import_needed) == (AMOUNT, 0, False)
        found = (await daemon.transactions([txid, UNKNOWN]))[txid]
        assert (found.block_height, found.double_spend_seen, found.unlock_time) == (None, False, 0)
        assert found.key_images
        assert await daemon.spent([*found.key_images, UNKNOWN]) == dict.fromkeys(found.key_images, False)

        height = await bench.miner.mine()
        await bench.refresh()
        assert await wallet.height() == height
        (mined,) = await wallet.transfers(pool=True, incoming=True)
        assert (mined.txid, mined.type, mined.amount) == (txid, TransferType.IN, AMOUNT)
        assert (mined.confirmations, mined.height, mined.locked) == (1, height - 1, True)
        lists = [await bench.wallets[role].outputs() for role in ROLES]
        assert [(output.txid, output.amount, output.key_image) for output in lists[0]] == [(txid, AMOUNT, "")]
        assert lists[1:] == lists[:-1]
        balance = await wallet.balance()
        assert (balance.total, balance.unlocked, balance.blocks_to_unlock) == (AMOUNT, 0, 9)
        assert balance.multisig_import_needed
        found = (await daemon.transactions([txid]))[txid]
        assert found.block_height == height - 1
        assert await daemon.spent([*found.key_images]) == dict.fromkeys(found.key_images, True)

        with pytest.raises(BadMultisigInfo):
            await wallet.import_multisig_info(["not hexadecimal"])
        with pytest.raises(BadMultisigInfo):
            await wallet.import_multisig_info(["ab" * 100])
        with pytest.raises(BadMultisigInfo):
            await wallet.import_multisig_info([])
        assert await bench.share_key_images() == [1, 1, 1]
        lists = [await bench.wallets[role].outputs() for role in ROLES]
        assert lists[0][0].key_image
        assert lists[1:] == lists[:-1]
        assert not (await wallet.balance()).multisig_import_needed
        assert await daemon.spent([lists[0][0].key_image]) == {}

        await bench.miner.mine(9)
        await bench.refresh()
        (deep,) = await wallet.transfers(incoming=True)
        assert (deep.confirmations, deep.locked) == (10, False)
        balance = await wallet.balance()
        assert (balance.total, balance.unlocked, balance.blocks_to_unlock) == (AMOUNT, AMOUNT, 0)

    async def test_a_payout_spends_what_the_wallets_list(self, bench: Bench) -> None:
        address, wallet, daemon = await bench.escrow(), bench.wallet, bench.daemon
        await bench.miner.pay(address, AMOUNT)
        await bench.miner.mine(10)
        await bench.refresh()
        await bench.share_key_images()
        payout = await bench.miner.pay_out(bench.wallets)
        (spent,) = await wallet.outputs()
        paid = (await daemon.transactions([payout]))[payout]
        assert paid.key_images == {spent.key_image}
        assert paid.fee > 0
        assert await daemon.spent([spent.key_image]) == {spent.key_image: False}
        await bench.miner.mine()
        await bench.refresh()
        assert await daemon.spent([spent.key_image]) == {spent.key_image: True}
        assert await wallet.outputs() == [spent], "a spent output stays in the list"
        assert (await wallet.balance()).total == 0
        (out,) = await wallet.transfers(outgoing=True)
        assert (out.txid, out.type, out.confirmations) == (payout, TransferType.OUT, 1)
        assert out.amount + out.fee == AMOUNT

    async def test_a_reorganisation_takes_a_payment_back_to_the_pool(self, bench: Bench) -> None:
        address, wallet = await bench.escrow(), bench.wallet
        txid = await bench.miner.pay(address, AMOUNT)
        height = await bench.miner.mine(3)
        await bench.refresh()
        await bench.share_key_images()
        assert (await wallet.outputs())[0].key_image
        before = await bench.daemon.info()
        await bench.miner.pop(3)
        info = await bench.daemon.info()
        assert (info.height, info.tx_pool_size) == (height - 3, 1)
        await wallet.refresh()
        assert await wallet.height() == height, "a wallet stays on blocks of which there are no others yet"
        assert (await bench.daemon.transactions([txid]))[txid].block_height is None
        await bench.miner.mine()
        await wallet.refresh()
        assert await wallet.height() == height - 2
        (again,) = await wallet.transfers(incoming=True)
        assert (again.txid, again.confirmations) == (txid, 1)
        assert [(output.txid, output.key_image) for output in await wallet.outputs()] == [(txid, "")]
        after = await bench.daemon.info()
        assert (after.height, after.tx_pool_size) == (height - 2, 0)
        assert after.top_block_hash != before.top_block_hash

    async def test_what_a_wallet_says_that_does_not_reach_its_daemon(self, bench: Bench) -> None:
        address, wallet = await bench.escrow(), bench.wallets[Role.ARBITER]
        txid = await bench.miner.pay(address, AMOUNT)
        await bench.miner.mine()
        await wallet.refresh()
        height, outputs = await wallet.height(), await wallet.outputs()
        peer = bench.wallet
        await peer.refresh()
        info = await peer.export_multisig_info()
        await wallet.call("set_daemon", {"address": "http://127.0.0.1:1", "trusted": True}, 10)
        with pytest.raises(WalletDaemonUnavailable):
            await wallet.refresh()
        with pytest.raises(WalletDaemonUnavailable):
            await wallet.transfers(pool=True)
        with pytest.raises(WalletDaemonUnavailable):
            await transfer_by_txid(wallet, txid)
        assert (await wallet.height(), await wallet.outputs()) == (height, outputs)
        assert (await wallet.balance()).total == AMOUNT
        assert [found.txid for found in await wallet.transfers(incoming=True)] == [txid]
        with pytest.raises(WalletError):
            await wallet.import_multisig_info([info])
        assert await wallet.outputs() == [], "it was about to scan those blocks again"
        assert await wallet.height() == height - 1

    async def test_what_the_daemon_says_of_itself(self, bench: Bench) -> None:
        info = await bench.daemon.info()
        assert (info.nettype, info.synchronized, info.busy_syncing) == (NetType.FAKECHAIN, True, False)
        assert (info.status, info.target_height) == ("OK", 0)
        height = await bench.miner.mine(2)
        later = await bench.daemon.info()
        assert later.height == height == info.height + 2
        assert later.top_block_hash != info.top_block_hash
        assert await bench.daemon.transactions([UNKNOWN]) == {}
        assert await bench.daemon.spent([UNKNOWN]) == {}
