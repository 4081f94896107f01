"""A monerod that speaks TLS with a certificate of a private authority, and asks for one and for a login."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio
import trustme

from harness.escrow import condition
from harness.place import Place
from harness.secured import LOGIN, OwnDaemon, identify, log_in, own_monerod, secured_daemon, vouch
from harness.waiting import wait_for

WARM_SLOTS = None


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def monerod(place: Place) -> AsyncIterator[OwnDaemon]:
    """It, for all tests of the module."""
    async with own_monerod(place, asks_certificate=True) as found:
        yield found


async def test_wallets_read_the_chain_over_tls_with_the_login(place: Place, monerod: OwnDaemon) -> None:
    await vouch(place, "right", monerod.authority)
    await identify(place, "right", monerod.authority)
    await log_in(place, "right", LOGIN.password)
    await place.make_pool("right", daemon=secured_daemon("right", monerod.address, identified=True))
    escrow = await place.active("over-tls", poolRef={"name": "right"})
    await monerod.daemon.generate_blocks((await escrow.status())["address"], 1)
    await escrow.until(lambda s: float((s.get("balance") or {}).get("total", "0")) > 0, "a balance")
    await escrow.delete()


async def test_an_authority_and_a_login_that_are_corrected_reach_operator_and_wallets(
    place: Place, monerod: OwnDaemon
) -> None:
    async def says(words: str) -> bool:
        synced = condition(await place.pool("wrong"), "DaemonSynced")
        return synced.get("reason") == "DaemonUnreachable" and words in synced["message"]

    await vouch(place, "wrong", trustme.CA())
    await identify(place, "wrong", monerod.authority)
    await log_in(place, "wrong", "correct-house")
    await place.make_pool("wrong", daemon=secured_daemon("wrong", monerod.address, identified=True))
    await wait_for(lambda: says("certificate was not accepted"), what="the wrong authority", explain=place.explain)
    await vouch(place, "wrong", monerod.authority)
    await wait_for(lambda: says("login was refused"), what="the wrong password", explain=place.explain)
    await log_in(place, "wrong", LOGIN.password)
    await place.until_pool("DaemonSynced", "True", "Synced", name="wrong")
    # Slots that were warm before have the authority and the login of then.
    escrow = await place.active("corrected", poolRef={"name": "wrong"})
    await escrow.delete()
