"""Invariant I9: no password, key or multisig message in status, events, logs, argv or environment."""

from __future__ import annotations

import asyncio
import json
import re

import pytest_asyncio

from escrow_operator.adapters.kube import DEPLOYMENTS, ENDPOINT_SLICES, EVENTS, PODS, POOLS, SECRETS, SESSIONS
from escrow_operator.models.common import ROLES, WALLET_RPC
from harness.chain import Chain
from harness.escrow import AMOUNT, Escrow, condition, decode
from harness.operator import NAMESPACE, OperatorUnderTest
from harness.place import Place

WRONG = "not-the-password-of-any-wallet"

MULTISIG = re.compile(rf"MultisigV|MultisigxV|{b'Monero multisig'.hex()}|(?i:spend_?key|view_?key|multisig_info)")
"""Key-exchange messages, exports (as wallet-rpc writes them, in hexadecimal), and names of what only a key has."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def told(place: Place, chain: Chain, operator: OperatorUnderTest) -> dict[str, str]:
    """All that a session, funded and with key images exchanged, and one that failed leave for others to read."""
    paid, reuser = await place.active("paid", confirmations=1), place.escrow("failed")
    await chain.pay((await paid.status())["address"], AMOUNT)
    await chain.mine(1)
    await paid.until(lambda s: condition(s, "Funded").get("status") == "True", "funded")
    former = await place.active("former")
    wallets = await former.deeds_as_wallets()
    await former.delete()
    await place.secret("wrong", {"password": WRONG})
    wallets["vendor"]["secretRef"] = {"name": "wrong"}
    await reuser.apply(setup="Open", wallets=wallets)
    await reuser.until_phase("Failed")
    texts = {
        resource.plural: json.dumps(await place.api.list(resource, place.namespace))
        for resource in (SESSIONS, POOLS, EVENTS, PODS, DEPLOYMENTS, ENDPOINT_SLICES)
    }
    texts["the operator's pod"] = json.dumps(await place.api.list(PODS, NAMESPACE))
    texts["the operator's log"] = await operator.log()
    for slot in await place.slots():
        name = slot["metadata"]["name"]
        texts[f"the log of {name}"] = await place.api.logs(place.namespace, name)
    texts["kubectl describe"] = await place.kubectl("describe", "escrow,wpool")
    for pod in await paid.pods():
        name = pod["metadata"]["name"]
        texts[f"kubectl describe of {name}"] = await place.kubectl("describe", "pod", name)
        argv = ("exec", name, "-c", WALLET_RPC, "--", "cat", "/proc/1/cmdline", "/proc/1/environ")
        texts[f"argv and environment in {name}"] = await place.kubectl(*argv)
    return texts


async def _secrets(place: Place) -> dict[str, str]:
    """Every secret value there is, by where it comes from."""
    found = {"the wrong password": WRONG}
    for secret in await place.api.list(SECRETS, place.namespace):
        name = secret["metadata"]["name"]
        for key, value in decode(secret).items():
            if key in ("password", "key", "username"):
                found[f"{name}/{key}"] = value
    return found


async def test_i9_no_secret_is_told_to_anybody(place: Place, told: dict[str, str]) -> None:
    secrets = await _secrets(place)
    # A deed for each role of two sessions, a connection for each role of the open one, and the pool's login key.
    assert len([name for name in secrets if name.endswith("/password")]) >= 3 * len(ROLES)
    assert any(name.endswith("-slot-login/key") for name in secrets)
    leaks = [f"{name} in {where}" for where, text in told.items() for name, value in secrets.items() if value in text]
    assert not leaks


async def test_i9_no_multisig_message_is_told_to_anybody(told: dict[str, str]) -> None:
    leaks = [f"{match[0]!r} in {where}" for where, text in told.items() for match in MULTISIG.finditer(text)]
    assert not leaks


async def test_i9_what_is_searched_has_something_in_it(place: Place, told: dict[str, str]) -> None:
    paid = place.escrow("paid")
    assert "WrongPassword" in told["events"]
    assert "WrongPassword" in told["the operator's log"]
    assert (await paid.status())["address"] in told["escrowsessions"]
    assert "--wallet-dir=/wallets" in told["pods"]
    assert all(text for where, text in told.items() if where.startswith("argv"))


async def test_i9_a_client_of_one_role_learns_only_its_own_login(place: Place) -> None:
    paid: Escrow = place.escrow("paid")
    connections = await asyncio.gather(*(paid.connection(role) for role in ROLES))
    deeds = await asyncio.gather(*(paid.deed(role) for role in ROLES))
    passwords = [secret["password"] for secret in (*connections, *deeds)]
    assert len(set(passwords)) == len(passwords)
