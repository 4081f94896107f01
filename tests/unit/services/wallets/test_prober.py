"""Before anybody gives way it is asked whether the files exist, of slots that stay free and open no wallet."""

from __future__ import annotations

from typing import Any, cast

import pytest

from escrow_operator.errors import (
    InvalidPassword,
    InvalidWalletFileName,
    WalletError,
    WalletFileLocked,
    WalletFileNotFound,
    WalletTimeout,
)
from escrow_operator.models.common import ROLES, Role
from escrow_operator.models.slot import Slot
from escrow_operator.services.runtime.outcomes import Blocked, Failed, SlotBroken
from escrow_operator.services.wallets.prober import WalletFileProber
from unit.factories import pool, session, slot_body
from unit.world.context import make_context

FILES = {role: f"file-of-{role}" for role in ROLES}
POOL = pool()


class Bench:
    """Three free slots whose wallet-rpc answers so; the service of connections is this one."""

    def __init__(self, *roles: Role) -> None:
        ctx = make_context()
        self.store, self.memory = ctx.store, ctx.memory
        self.answers: dict[Role, WalletError | None] = dict.fromkeys(ROLES, InvalidPassword("wrong"))
        self.asked: list[tuple[Role, str]] = []
        self.passwords: list[str] = []
        self.free_meanwhile: list[int] = []
        self.prober = WalletFileProber(ctx, cast("Any", self))
        for role in roles or ROLES:
            self.store.see_slot(slot_body(role.value, role))

    async def client(self, slot: Slot) -> Any:
        bench = self

        class Wallet:
            async def open_wallet(self, file: str, password: str) -> None:
                bench.asked.append((slot.role, file))
                bench.passwords.append(password)
                bench.free_meanwhile.append(len(bench.store.free_slots(POOL.key)))
                if answer := bench.answers[slot.role]:
                    raise answer

        return Wallet()

    async def probe(self, files: dict[Role, str] | None = None, **who: Any) -> None:
        await self.prober.must_exist(session(**who), POOL, FILES if files is None else files)

    @property
    def free(self) -> int:
        return len(self.store.free_slots(POOL.key))


@pytest.mark.parametrize("answer", [InvalidPassword("wrong"), WalletFileLocked("open elsewhere")])
async def test_a_file_that_needs_another_password_is_there(answer: WalletError) -> None:
    bench = Bench()
    bench.answers[Role.VENDOR] = answer
    await bench.probe()
    assert sorted(bench.asked) == sorted(FILES.items())


async def test_nobody_has_the_password_that_is_tried() -> None:
    """It is another one each time: else whoever saw it could make a wallet that it opens."""
    bench = Bench()
    await bench.probe()
    assert len(set(bench.passwords)) == 3
    assert all(len(password) >= 32 for password in bench.passwords)


async def test_no_other_session_is_given_a_slot_while_it_is_asked_and_every_one_afterwards() -> None:
    bench = Bench()
    await bench.probe()
    assert bench.free_meanwhile == [0, 0, 0]
    assert bench.free == 3
    bench.answers[Role.BUYER] = WalletTimeout("hangs")
    with pytest.raises(Blocked):
        await bench.probe(dict.fromkeys(ROLES, "another"))
    assert bench.free == 3


@pytest.mark.parametrize("answer", [WalletFileNotFound("none"), InvalidWalletFileName("../../etc")])
async def test_one_that_is_not_there_fails_the_session_that_names_it_until_it_is(answer: WalletError) -> None:
    bench = Bench()
    bench.answers[Role.ARBITER] = answer
    with pytest.raises(Failed, match="file-of-arbiter") as failed:
        await bench.probe()
    assert (failed.value.reason, failed.value.again) == ("WalletFileNotFound", True)
    bench.answers[Role.ARBITER] = InvalidPassword("wrong")
    await bench.probe()
    assert len(bench.asked) == 6, "what is not proven is asked again"


async def test_a_wallet_that_does_not_answer_proves_nothing_and_takes_nobodys_place() -> None:
    bench = Bench()
    bench.answers[Role.BUYER] = WalletTimeout("hangs")
    with pytest.raises(Blocked) as blocked:
        await bench.probe()
    assert not isinstance(blocked.value, Failed)
    assert not blocked.value.keeps_place


async def test_a_process_that_opens_with_any_password_is_no_wallet_rpc() -> None:
    bench = Bench()
    bench.answers[Role.BUYER] = None
    with pytest.raises(SlotBroken, match="no monero-wallet-rpc") as broken:
        await bench.probe()
    assert broken.value.slot.role is Role.BUYER


async def test_each_session_is_asked_for_once_and_again_for_other_files() -> None:
    bench = Bench()
    await bench.probe()
    await bench.probe()
    assert len(bench.asked) == 3
    await bench.probe(FILES | {Role.BUYER: "another"})
    assert len(bench.asked) == 6
    await bench.probe(name="second")
    assert len(bench.asked) == 9


@pytest.mark.parametrize("files", [{}, {Role.BUYER: "f"}, FILES | {Role.VENDOR: ""}])
async def test_wallets_that_are_yet_to_be_made_are_not_looked_for(files: dict[Role, str]) -> None:
    bench = Bench()
    await bench.probe(files)
    assert bench.asked == []


async def test_without_a_slot_of_each_role_nobody_is_asked() -> None:
    bench = Bench(Role.BUYER, Role.VENDOR)
    await bench.probe()
    assert bench.asked == []
    bench.store.see_slot(slot_body("arbiter", Role.ARBITER))
    await bench.probe()
    assert len(bench.asked) == 3, "nothing was taken as proven"
