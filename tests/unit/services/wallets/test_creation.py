"""An interrupted key exchange leaves no more files than it must, and never goes on in the middle."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
from collections.abc import Collection, Mapping
from typing import Any, cast

import pytest

from escrow_operator.adapters.kube_errors import ConflictError
from escrow_operator.core.manifests.common import deed_name
from escrow_operator.core.manifests.session import annotation_path
from escrow_operator.errors import (
    InvalidPassword,
    WalletError,
    WalletFileDamaged,
    WalletStorageError,
    WalletTimeout,
    WalletUnauthorized,
)
from escrow_operator.models.common import ROLES, Label, Role
from escrow_operator.models.deed import Deed
from escrow_operator.models.slot import Slot
from escrow_operator.services.runtime.outcomes import Failed, NotOpened, SlotBroken
from escrow_operator.services.wallets.creation import WalletCreator
from escrow_operator.services.wallets.deeds import MAX_ATTEMPTS, DeedStore, is_own_file
from escrow_operator.services.wallets.key_exchange import ESCROW
from unit.factories import session, session_body, slot
from unit.services.wallets.exchange_rpc import FakeRpc, File
from unit.world.context import make_context

SESSION = session()
STEPS = (
    "close_wallet",
    "create_wallet",
    "prepare_multisig",
    "make_multisig",
    "exchange_multisig_keys",
    "is_multisig",
    "address",
)


def _deed(role: Role) -> Deed:
    return Deed(role, "shop.demo.00000000", f"{role}-password", pool="default")


class Bench:
    """Three processes, deeds that are kept as the API server keeps them, and an operator that tries."""

    def __init__(self, **settings: Any) -> None:
        self.ctx = make_context(self, **settings)
        self.ctx.store.see_session(session_body())
        self.rpc = {role: FakeRpc() for role in ROLES}
        self.slots: dict[Role, Slot] = {role: slot(role.value, role) for role in ROLES}
        self.deeds: dict[Role, Deed] = {role: _deed(role) for role in ROLES}
        self.maker = WalletCreator(
            self.ctx, claims=cast("Any", self), deeds=DeedStore(self.ctx), wallets=cast("Any", self)
        )

    async def patch(self, _: object, __: str, name: str, ops: list[dict[str, Any]], **___: object) -> dict[str, Any]:
        """A deed is written."""
        role = next(role for role in ROLES if name == deed_name(SESSION.key, role))
        written = {op["path"]: op["value"] for op in ops}
        assert written["/metadata/resourceVersion"] == self.deeds[role].version
        data = {key: base64.b64encode(text.encode()).decode() for key, text in written["/stringData"].items()}
        notes = {Label.TERM: written[annotation_path(Label.TERM)]}
        meta = {"resourceVersion": f"{self.deeds[role].version}+", "annotations": notes}
        secret = {"metadata": meta, "data": data}
        self.deeds[role] = Deed.from_secret(role, secret)
        return secret

    async def renote(self, slots: Mapping[Role, Slot], files: Mapping[Role, str]) -> Mapping[Role, Slot]:
        self.slots = {role: dataclasses.replace(slots[role], wallet_file=files[role]) for role in ROLES}
        return self.slots

    async def client(self, slot: Slot) -> Any:
        return self.rpc[slot.role]

    async def make(self) -> str:
        deeds, slots, address = await self.maker.make(SESSION, self.slots, self.deeds, 7)
        assert deeds == self.deeds
        assert [slots[role].role for role in ROLES] == list(ROLES)
        assert all(self.rpc[role].disk[deeds[role].file].state == ESCROW for role in ROLES)
        assert all(rpc.open is None for rpc in self.rpc.values()), "they are opened again, to prove them"
        return address

    def files(self) -> int:
        return sum(len(rpc.disk) for rpc in self.rpc.values())

    def fail(self, role: Role, method: str, error: WalletError, *, late: bool = False) -> None:
        self.rpc[role].faults[method] = error
        self.rpc[role].late = late


async def test_an_exchange_that_nobody_interrupts_takes_three_files() -> None:
    bench = Bench()
    assert await bench.make() == "4escrow"
    assert bench.files() == 3


async def test_no_more_exchanges_run_at_once_than_are_allowed_and_who_is_gone_meanwhile_begins_none() -> None:
    bench = Bench(max_key_exchanges=1)
    async with bench.maker._turns.turn(urgent=True):
        waiting = asyncio.ensure_future(bench.make())
        await asyncio.sleep(0)
        assert bench.files() == 0
        bench.ctx.store.see_session(session_body(generation=2))
    with pytest.raises(ConflictError):
        await waiting
    assert bench.files() == 0


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("method", STEPS)
@pytest.mark.parametrize("role", ROLES)
async def test_wherever_it_is_interrupted_the_next_try_succeeds_with_few_files(
    role: Role, method: str, late: bool
) -> None:
    """Files are spent only where wallets had begun to be multisig."""
    bench = Bench()
    if method == "close_wallet":
        bench.rpc[role].open = File("left by somebody")
    bench.fail(role, method, WalletTimeout("deadline"), late=late)
    with pytest.raises(NotOpened, match=f"KeyExchangeInterrupted: .*{role} wallet") as interrupted:
        await bench.make()
    assert interrupted.value.slot == bench.slots[role]
    assert await bench.make() == "4escrow"
    spent = method in ("make_multisig", "exchange_multisig_keys")
    assert bench.files() <= (6 if spent else 3)


async def test_three_wallets_that_had_come_to_the_end_are_taken_without_another_exchange() -> None:
    bench = Bench()
    await bench.make()
    for rpc in bench.rpc.values():
        rpc.faults["prepare_multisig"] = WalletTimeout("no exchange is wanted")
    assert await bench.make() == "4escrow"
    assert (bench.files(), {deed.attempt for deed in bench.deeds.values()}) == (3, {1})


async def test_three_complete_wallets_of_different_addresses_are_left_alone() -> None:
    bench = Bench()
    await bench.make()
    bench.rpc[Role.BUYER].disk[bench.deeds[Role.BUYER].file].address = "4another"
    assert await bench.make() == "4escrow"
    assert bench.files() == 6


@pytest.mark.parametrize("error", [InvalidPassword("half written"), WalletFileDamaged("half written")])
async def test_a_file_that_was_left_half_written_gets_another_name(error: WalletError) -> None:
    bench = Bench()
    before = bench.deeds[Role.VENDOR].file
    bench.rpc[Role.VENDOR].disk[before] = File("half")
    bench.fail(Role.VENDOR, "open_wallet", error)
    assert await bench.make() == "4escrow"
    assert [bench.deeds[role].file == before for role in ROLES] == [True, False, True]


async def test_a_wallet_that_somebody_uses_is_not_converted() -> None:
    """A deed may name it by mistake, or because somebody wants that."""
    bench = Bench()
    used = File("vendor-password", money=5)
    bench.rpc[Role.VENDOR].disk[bench.deeds[Role.VENDOR].file] = used
    await bench.make()
    assert used == File("vendor-password", money=5)


async def test_a_file_that_the_operator_did_not_name_is_not_even_opened() -> None:
    bench = Bench()
    for name in ("savings", "shop.other.00000000", "shop.demo.0000", "shop.demo.00000000.keys"):
        assert not is_own_file(SESSION, name)
    savings = bench.rpc[Role.VENDOR].disk["savings"] = File("vendor-password")
    bench.deeds[Role.VENDOR] = dataclasses.replace(bench.deeds[Role.VENDOR], file="savings")
    bench.fail(Role.VENDOR, "open_wallet", WalletTimeout("it was opened"))
    await bench.make()
    assert savings == File("vendor-password")


async def test_an_exchange_that_never_completes_ends_with_a_bound_number_of_files() -> None:
    bench = Bench()
    for _ in range(MAX_ATTEMPTS):
        bench.fail(Role.VENDOR, "exchange_multisig_keys", WalletTimeout("deadline"))
        with pytest.raises(NotOpened):
            await bench.make()
    files = bench.files()
    assert files == 3 * MAX_ATTEMPTS
    with pytest.raises(Failed, match=r"KeyExchangeFailed: .*delete the Secrets demo-buyer-wallet") as failed:
        await bench.make()
    assert not failed.value.again
    assert bench.files() == files


async def test_what_the_deeds_count_outlives_the_operator() -> None:
    deed = Deed(Role.BUYER, "file", "password", attempt=MAX_ATTEMPTS)
    data: Collection[str] = deed.to_secret()
    assert "attempt" in data
    assert "attempt" not in Deed(Role.BUYER, "file", "password").to_secret()


async def test_a_full_volume_makes_no_files() -> None:
    bench = Bench()
    for _ in range(3):
        bench.fail(Role.ARBITER, "create_wallet", WalletStorageError("full"))
        with pytest.raises(NotOpened, match="StorageError: The arbiter wallet"):
            await bench.make()
    assert bench.files() == 2
    assert await bench.make() == "4escrow"
    assert bench.files() == 3


async def test_a_pod_that_refuses_its_login_is_replaced() -> None:
    bench = Bench()
    bench.fail(Role.BUYER, "close_wallet", WalletUnauthorized("401"))
    with pytest.raises(SlotBroken):
        await bench.make()


async def test_no_pod_is_called_that_is_not_ready() -> None:
    bench = Bench()
    bench.slots[Role.BUYER] = slot("buyer", Role.BUYER, ready=False, ip=None)
    with pytest.raises(NotOpened, match="SlotNotReady"):
        await bench.make()
    assert bench.files() == 0
