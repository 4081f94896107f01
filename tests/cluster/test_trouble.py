"""What only the operator can find wrong with a session: a condition says what to do, and nothing is lost."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import pytest
import pytest_asyncio

from escrow_operator.adapters.kube import SECRETS, SESSIONS
from escrow_operator.core.secretuse import SecretUse
from escrow_operator.models.common import WALLET_RPC, Label, Role
from harness.api import Body
from harness.escrow import Escrow, condition
from harness.place import Place

WARM_SLOTS = 2

PLAIN, PLAIN_PASSWORD = "plain", "plain-password"


class Made(NamedTuple):
    """Wallets that two deleted sessions left, as ``spec.wallets``, and the address of the first."""

    one: dict[str, Body]
    other: dict[str, Body]
    address: str


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def made(place: Place) -> Made:
    """Two escrows, and a wallet that is no multisig beside them."""
    one, other = place.escrow("one"), place.escrow("other")
    await one.apply()
    await other.apply()
    status = await one.until_active()
    await other.until_active()
    async with one.wallets(Role.VENDOR) as wallets:
        await wallets[Role.VENDOR].create_wallet(PLAIN, PLAIN_PASSWORD)
        await wallets[Role.VENDOR].close_wallet()
    await place.secret("plain", {"password": PLAIN_PASSWORD})
    found = Made(await one.deeds_as_wallets(), await other.deeds_as_wallets(), status["address"])
    await one.delete()
    await other.delete()
    return found


@pytest_asyncio.fixture(loop_scope="session")
async def escrow(request: pytest.FixtureRequest, place: Place) -> AsyncIterator[Escrow]:
    """A session of the test's own; afterwards it is gone, and all slots are back."""
    found = place.escrow("e" + "".join(c for c in request.node.name if c.isalnum())[4:36].lower())
    yield found
    await found.delete()
    await place.until_warm()


async def _is_denied(escrow: Escrow, reason: str, *words: str) -> Body:
    """It waits, holds no slots, and says why; the status then."""
    ready = await escrow.until_condition("Ready", "False", reason)
    assert [word for word in words if word not in ready["message"]] == [], ready["message"]
    status = await escrow.until(lambda s: not s.get("wallets"), "no wallets")
    assert "address" not in status or status["phase"] == "Failed"
    await escrow.until_event(reason)
    return status


def _with(wallets: dict[str, Body], role: str, **change: Any) -> dict[str, Body]:
    return wallets | {role: wallets[role] | change}


async def test_an_unknown_pool_and_one_that_appears_later(place: Place, escrow: Escrow) -> None:
    await escrow.apply(poolRef={"name": "later"})
    status = await _is_denied(escrow, "PoolNotFound", "no WalletPool later", "Create it")
    assert status["phase"] == "Pending"
    await place.make_pool("later")
    await escrow.until_active()


async def test_a_missing_secret_and_one_that_appears_later(place: Place, escrow: Escrow, made: Made) -> None:
    await escrow.apply(setup="Open", wallets=_with(made.one, "buyer", secretRef={"name": "mended-later"}))
    status = await _is_denied(escrow, "SecretNotFound", "mended-later", "buyer", "Create it")
    assert status["phase"] == "Pending"
    assert not await escrow.pods()
    await place.secret("mended-later", await place.read_secret(made.one["buyer"]["secretRef"]["name"]))
    assert (await escrow.until_active())["address"] == made.address


async def test_a_missing_key_of_a_secret(place: Place, escrow: Escrow, made: Made) -> None:
    right = (await place.read_secret(made.one["vendor"]["secretRef"]["name"]))["password"]
    await place.secret("without", {"pin": right})
    await escrow.apply(setup="Open", wallets=_with(made.one, "vendor", secretRef={"name": "without"}))
    await _is_denied(escrow, "SecretKeyMissing", "without", "'password'", "spec.wallets.vendor")
    assert "pin" not in condition(await escrow.status(), "Ready")["message"], "what it has is not everybody's to know"
    assert not await escrow.pods()
    await place.secret("without", {"password": right})
    assert (await escrow.until_active())["address"] == made.address


async def test_a_wrong_password_is_tried_once_and_again_when_it_was_mended(
    place: Place, escrow: Escrow, made: Made
) -> None:
    await place.secret("wrong", {"password": "wrong"})
    await escrow.apply(setup="Open", wallets=_with(made.one, "arbiter", secretRef={"name": "wrong"}))
    status = await _is_denied(escrow, "WrongPassword", "arbiter", "Correct the Secret", "not tried again")
    assert status["phase"] == "Failed"
    # More than a sweep's time, in which the operator looks at it again and again.
    other = await place.active("meanwhile")
    await other.delete()
    assert (await escrow.status())["phase"] == "Failed"
    reasons = await escrow.reasons()
    assert (reasons.count("SlotsClaimed"), reasons.count("WrongPassword")) == (1, 1), reasons
    assert not await escrow.pods()
    right = await place.read_secret(made.one["arbiter"]["secretRef"]["name"])
    await place.secret("wrong", {"password": right["password"]})
    assert (await escrow.until_active())["address"] == made.address


async def test_a_wallet_file_that_is_not_there(escrow: Escrow, made: Made) -> None:
    await escrow.apply(setup="Open", wallets=_with(made.one, "buyer", file="no-such-file"))
    status = await _is_denied(escrow, "WalletFileNotFound", "no-such-file", "restore the file")
    assert status["phase"] == "Failed"


async def test_a_wallet_file_that_is_restored_is_found_by_the_next_look(
    place: Place, escrow: Escrow, made: Made
) -> None:
    await escrow.apply(setup="Open", wallets=_with(made.one, "buyer", file="restored"))
    status = await _is_denied(escrow, "WalletFileNotFound", "restored", "tried again at")
    assert status["failure"]["tries"] == 1
    pod = await place.free_slot(Role.BUYER)
    for suffix in ("", ".keys"):
        source = f"/wallets/{made.one['buyer']['file']}{suffix}"
        await place.kubectl("exec", pod, "-c", WALLET_RPC, "--", "cp", source, f"/wallets/restored{suffix}")
    # The next look is ten minutes away, in the status: there is no other clock to move.
    due = {"status": {"failure": {"retryAt": "2026-01-01T00:00:00Z"}}}
    await place.api.merge(SESSIONS, place.namespace, escrow.name, due, subresource="status")
    assert (await escrow.until_active())["address"] == made.address
    assert "failure" not in await escrow.status()


async def test_a_wallet_that_is_not_multisig(escrow: Escrow, made: Made) -> None:
    wallets = _with(made.one, "vendor", file=PLAIN, secretRef={"name": "plain"})
    await escrow.apply(setup="Open", wallets=wallets)
    status = await _is_denied(escrow, "NotMultisig", PLAIN, "2-of-3")
    assert status["phase"] == "Failed"


async def test_wallets_of_different_addresses(escrow: Escrow, made: Made) -> None:
    await escrow.apply(setup="Open", wallets=made.one | {"buyer": made.other["buyer"]})
    status = await _is_denied(escrow, "AddressMismatch", "different addresses", "belong together")
    assert status["phase"] == "Failed"
    assert "address" not in status


async def test_wallets_that_do_not_have_the_expected_address(escrow: Escrow, made: Made) -> None:
    await escrow.apply(setup="Open", wallets=made.other, address=made.address)
    status = await _is_denied(escrow, "AddressMismatch", "expected", made.address[:12])
    assert status["phase"] == "Failed"


async def test_a_secret_that_is_not_text(place: Place, escrow: Escrow, made: Made) -> None:
    body: Body = {"apiVersion": "v1", "kind": "Secret", "data": {"password": "//79"}}
    body["metadata"] = {"name": "binary", "labels": {Label.SECRET_USE: SecretUse.WALLET_PASSWORD.value}}
    await place.api.apply(SECRETS, place.namespace, body)
    await escrow.apply(setup="Open", wallets=_with(made.one, "buyer", secretRef={"name": "binary"}))
    await _is_denied(escrow, "SecretInvalid", "binary", "not UTF-8")
    assert condition(await escrow.status(), "Ready")["status"] == "False"
