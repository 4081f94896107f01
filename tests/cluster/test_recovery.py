"""What happens to an Active session when its pods and wallets are interfered with."""

from __future__ import annotations

import json

import pytest_asyncio

from escrow_operator.adapters.kube import PODS
from escrow_operator.models.common import ROLES, Role
from harness.api import Body
from harness.escrow import Escrow, condition
from harness.operator import OperatorUnderTest
from harness.place import Place
from harness.waiting import wait_for


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def steady(place: Place) -> Escrow:
    """An Active session."""
    return await place.active("steady")


async def _ready_again(escrow: Escrow, before: Body, history: list[Body]) -> Body:
    """Wait until the session was seen not Ready, and is Ready with what it had before."""

    async def interrupted() -> bool:
        return any(condition(status, "Ready").get("status") == "False" for status in history)

    await wait_for(interrupted, what="Ready False", explain=escrow.explain)
    after = await escrow.until_active()
    assert after["address"] == before["address"]
    endpoints = [{role: w["endpoint"] for role, w in s["wallets"].items()} for s in (before, after)]
    assert endpoints[0] == endpoints[1], "clients keep their URL"
    return after


async def test_a_deleted_pod_is_replaced_and_its_wallet_reopened(
    place: Place, steady: Escrow, operator: OperatorUnderTest
) -> None:
    before = await steady.until_active()
    lost = before["wallets"]["vendor"]["pod"]
    async with steady.history() as history:
        await place.api.delete(PODS, place.namespace, lost)
        after = await _ready_again(steady, before, history)
    fresh = after["wallets"]["vendor"]["pod"]
    assert fresh != lost
    assert [after["wallets"][r]["pod"] for r in ("buyer", "arbiter")] == [
        before["wallets"][r]["pod"] for r in ("buyer", "arbiter")
    ]
    await steady.until_event("SlotReplaced")
    async with steady.wallets(Role.VENDOR) as wallets:  # with the login of the new pod
        assert await wallets[Role.VENDOR].address() == before["address"]
    host = (await steady.connection(Role.VENDOR))["host"]
    ip = (await place.api.get(PODS, place.namespace, fresh))["status"]["podIP"]
    look_up = f"import json, socket; print(json.dumps(socket.gethostbyname_ex({host!r})[2]))"

    async def resolves() -> bool:
        addresses: list[str] = json.loads(await operator.python(look_up))
        return addresses == [ip]

    # CoreDNS caches an answer for a few seconds.
    await wait_for(resolves, what=f"{host} to be {ip} inside the cluster")


async def test_wallets_that_a_client_closed_are_opened_again(steady: Escrow) -> None:
    before = await steady.until_active()
    async with steady.history() as history, steady.wallets() as wallets:
        for role in ROLES:
            await wallets[role].close_wallet()
        after = await _ready_again(steady, before, history)
        assert [await wallets[role].address() for role in ROLES] == [before["address"]] * len(ROLES)
    assert after["wallets"] == before["wallets"]
    assert any(condition(status, "Ready").get("reason") == "WalletClosed" for status in history)


async def test_a_wallet_that_a_client_replaced_by_another_one_is_opened_again(steady: Escrow) -> None:
    before = await steady.until_active()
    async with steady.history() as history, steady.wallets(Role.BUYER) as wallets:
        await wallets[Role.BUYER].create_wallet("somebody-elses", "password")
        await _ready_again(steady, before, history)
        assert await wallets[Role.BUYER].address() == before["address"]


async def test_a_wallet_process_that_ends_is_started_again_and_its_wallet_reopened(
    place: Place, steady: Escrow
) -> None:
    before = await steady.until_active()
    pod = before["wallets"]["arbiter"]["pod"]
    async with steady.history() as history:
        await place.kubectl("exec", pod, "-c", "monero-wallet-rpc", "--", "sh", "-c", "kill 1")
        after = await _ready_again(steady, before, history)
    assert after["wallets"] == before["wallets"]
    async with steady.wallets(Role.ARBITER) as wallets:
        assert await wallets[Role.ARBITER].address() == before["address"]
