from __future__ import annotations

import asyncio

import pytest

from simulation.chain import Chain
from simulation.monerod import Monerod
from simulation.network import Ended
from simulation.parties import pay_out, share_key_images
from simulation.wallet_files import Damage, Volume
from simulation.wallet_keys import complete
from simulation.wallet_reads import Fault
from simulation.wallet_rpc import AUTO_REFRESH_SECONDS, WalletProcess

PASSWORD = "password"


class Bench:
    """Three wallets of an escrow that was made elsewhere, open."""

    def __init__(self) -> None:
        self.chain = Chain(5)
        self.daemon = Monerod(self.chain)
        self.volumes = [Volume(), Volume(), Volume()]
        self.wallets = [WalletProcess(volume, self.daemon, factor=0) for volume in self.volumes]
        self.address = ""

    async def start(self) -> Bench:
        for volume, wallet, keys in zip(self.volumes, self.wallets, complete("one"), strict=True):
            volume.add("escrow", "password", keys)
            await wallet.call("open_wallet", filename="escrow", password="password")
            self.address = keys.address
        return self


async def open_it(process: WalletProcess, name: str = "a", password: str = PASSWORD) -> None:
    await process.call("open_wallet", filename=name, password=password)


async def refused(process: WalletProcess, name: str = "a", password: str = PASSWORD) -> str:
    with pytest.raises(Fault) as caught:
        await open_it(process, name, password)
    assert caught.value.code == -1
    return caught.value.message


async def create(volume: Volume, daemon: Monerod, name: str = "a") -> WalletProcess:
    process = WalletProcess(volume, daemon, factor=0)
    await process.call("create_wallet", filename=name, password="password")
    return process


async def test_a_file_is_open_in_one_process_until_it_ends() -> None:
    volume, daemon = Volume(), Monerod(Chain())
    first = await create(volume, daemon)
    second = WalletProcess(volume, daemon, factor=0)
    assert "is opened by another wallet program" in await refused(second)
    first.kill()
    await open_it(second)
    assert volume.holders("a") == (second,)
    assert not volume.opened_twice


async def test_a_lock_that_does_not_hold_is_evidence() -> None:
    volume, daemon = Volume(locking=False), Monerod(Chain())
    await create(volume, daemon)
    await open_it(WalletProcess(volume, daemon, factor=0))
    assert volume.opened_twice == ["a"]


@pytest.mark.parametrize("password", ["password", "wrong"])
async def test_opening_what_is_open_drops_its_lock(password: str) -> None:
    volume, daemon = Volume(), Monerod(Chain())
    first = await create(volume, daemon)
    if password == "wrong":
        assert await refused(first, password=password) == "Failed to open wallet : Invalid password."
    else:
        await open_it(first)
    await open_it(WalletProcess(volume, daemon, factor=0))
    assert volume.opened_twice == ["a"]


async def test_a_full_volume_opens_and_does_not_store() -> None:
    volume, daemon = Volume(), Monerod(Chain())
    (await create(volume, daemon)).kill()
    volume.full = True
    process = WalletProcess(volume, daemon, factor=0)
    await open_it(process)
    for method, params in (("close_wallet", {}), ("create_wallet", {"filename": "b", "password": ""})):
        with pytest.raises(Fault, match="failed to save file"):
            await process.call(method, **params)
    assert process.open
    volume.full = False
    await process.call("close_wallet")
    assert not process.open


async def test_what_else_can_be_wrong_with_files() -> None:
    volume, daemon = Volume(), Monerod(Chain())
    (await create(volume, daemon)).kill()
    process, copy = WalletProcess(volume, daemon, factor=0), volume.backup("a")
    volume.damage("a", Damage.KEYS)
    assert "failed to deserialize keys buffer" in await refused(process)
    volume.remove("a")
    assert "file not found" in await refused(process)
    volume.restore("a", copy)
    volume.broken = True
    assert "Input/output error" in await refused(process)
    volume.broken, volume.read_only = False, True
    assert "is opened by another wallet program" in await refused(process)
    volume.read_only = False
    await open_it(process)


async def test_a_stored_cache_survives_and_another_is_lost() -> None:
    volume, daemon = Volume(), Monerod(Chain(50))
    process = await create(volume, daemon)
    await process.call("refresh")
    process.kill()
    process = WalletProcess(volume, daemon, factor=0)
    await open_it(process)
    assert await process.call("get_height") == {"height": 1}
    await process.call("refresh")
    await process.stop()
    process = WalletProcess(volume, daemon, factor=0)
    await open_it(process)
    assert await process.call("get_height") == {"height": 50}


async def test_a_process_that_hangs_ends_when_it_is_killed_and_does_nothing_any_more() -> None:
    volume, daemon = Volume(), Monerod(Chain())
    process = await create(volume, daemon)
    process.hang()
    opening = asyncio.create_task(process.call("create_wallet", filename="b", password=PASSWORD))
    waiting = asyncio.create_task(process.call("get_version"))
    stopping = asyncio.create_task(process.stop())
    await asyncio.sleep(0.01)
    assert not stopping.done()
    process.kill()
    for task in (opening, waiting):
        with pytest.raises(Ended):
            await task
    await stopping
    assert list(volume.files) == ["a"]
    assert not volume.holders("a")


async def test_parties_pay_out() -> None:
    bench = await Bench().start()
    first, second, third = bench.wallets
    with pytest.raises(Fault, match="not enough money"):
        await pay_out(bench.chain, first, second)
    bench.chain.pay(bench.address, 10**12, 10**11)
    bench.chain.mine(10)
    txid = await pay_out(bench.chain, first, second, amount=10**11)
    assert len(bench.chain.pool[txid].spends) == 2
    bench.chain.mine()
    await share_key_images(second, third)
    outputs = (await third.call("incoming_transfers", transfer_type="all"))["transfers"]
    assert [output["spent"] for output in outputs] == [True, True, False]


async def test_an_export_in_the_middle_of_a_payout_makes_it_stale() -> None:
    bench = await Bench().start()
    first, second, _ = bench.wallets
    bench.chain.pay(bench.address, 10**12)
    bench.chain.mine(10)
    payout = asyncio.create_task(pay_out(bench.chain, first, second))
    assert second.open
    while not second.open.cache.peers:  # noqa: ASYNC110 - others run meanwhile, and it ends with the payout
        await asyncio.sleep(0)
    await first.call("export_multisig_info")
    with pytest.raises(Fault, match="stale") as caught:
        await payout
    assert caught.value.code == -35


async def test_an_export_of_other_outputs_gives_wrong_key_images() -> None:
    bench = await Bench().start()
    first, second, _ = bench.wallets
    bench.chain.pay(bench.address, 1)
    bench.chain.mine()
    await first.call("refresh")
    assert second.open
    other = Chain(5, network="other")
    other.pay(bench.address, 1)
    other.mine()
    second.open.cache.refresh(Monerod(other), second.open.keys)
    info = (await second.call("export_multisig_info"))["info"]
    assert await first.call("import_multisig_info", info=[info]) == {"n_outputs": 1}
    assert first.open
    (received,) = first.open.cache.received
    assert received.key_image not in ("", received.output.key_image)


def test_a_rival_of_a_payment_takes_its_place() -> None:
    chain = Chain(5)
    txid = chain.pay("address", 10**12)
    rival = chain.double_spend(txid)
    assert chain.pool[txid].double_spend_seen
    chain.mine(rivals=[rival])
    assert chain.find(txid) is None
    assert chain.find(rival)
    chain.pay_out("elsewhere", "address")
    with pytest.raises(ValueError, match="to spend"):
        chain.pay_out("elsewhere")
    chain.mine()
    chain.reorganise(2)
    assert len(chain.pool) == 2
    assert not chain.spent().keys() - {image for t in chain.pool.values() for image in t.spends}
    assert txid not in chain.pool


def test_two_runs_of_one_story_have_the_same_ids() -> None:
    def story() -> tuple[str, str]:
        chain = Chain(5)
        txid = chain.pay("address", 1)
        chain.mine()
        chain.reorganise(1, vanish=[txid], grow=2)
        return txid, chain.top

    assert story() == story()


async def test_a_wallet_scans_by_itself_now_and_then() -> None:
    chain = Chain(5)
    process = await create(Volume(), Monerod(chain))
    assert await process.call("get_height") == {"height": 1}
    process._refreshed -= AUTO_REFRESH_SECONDS
    assert await process.call("get_height") == {"height": 5}
