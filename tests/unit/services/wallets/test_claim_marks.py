"""What wallets tell of the session that has them."""

from __future__ import annotations

import pytest

from escrow_operator.models.common import ROLES, Label, Role
from escrow_operator.services.wallets.claim_marks import LONGEST_MARK, former_use, mark_of, put_marks
from unit.factories import session, slot
from unit.world.wallets import Chain, FakeWallet, FakeWallets


@pytest.fixture
async def wallets() -> dict[Role, FakeWallet]:
    world = FakeWallets(Chain())
    found = {}
    for role in ROLES:
        world.file(role, "file", "open", "4escrow")
        found[role] = await world.client(slot(role.value, role))
        await found[role].open_wallet("file", "open")
    return found


async def test_fresh_wallets_tell_nothing(wallets: dict[Role, FakeWallet]) -> None:
    assert await former_use(wallets) is None  # type: ignore[arg-type]


@pytest.mark.parametrize("role", list(Role))
async def test_one_marked_wallet_is_enough(wallets: dict[Role, FakeWallet], role: Role) -> None:
    await wallets[role].set_attribute(Label.CLAIMED_BY, "shop/former/uid")
    assert "shop/former/uid" in str(await former_use(wallets))  # type: ignore[arg-type]


async def test_a_payment_is_enough(wallets: dict[Role, FakeWallet]) -> None:
    wallets[Role.BUYER]._chain.pay("4escrow", 1, "a" * 64, 0)
    assert await former_use(wallets) is not None  # type: ignore[arg-type]


async def test_the_sessions_own_mark_does_not_count_and_is_in_the_files(wallets: dict[Role, FakeWallet]) -> None:
    await put_marks(wallets, session())  # type: ignore[arg-type]
    assert await former_use(wallets, allowed=mark_of(session())) is None  # type: ignore[arg-type]
    assert await former_use(wallets, allowed=mark_of(session("other"))) is not None  # type: ignore[arg-type]
    assert {wallet._file.stored[Label.CLAIMED_BY] for wallet in wallets.values()} == {mark_of(session())}


async def test_what_a_party_wrote_there_is_cut(wallets: dict[Role, FakeWallet]) -> None:
    await wallets[Role.BUYER].set_attribute(Label.CLAIMED_BY, "\x1b[2J" + "x" * 100_000)
    text = str(await former_use(wallets))  # type: ignore[arg-type]
    assert len(text) < LONGEST_MARK + 50
    assert "\x1b" not in text
