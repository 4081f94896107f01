"""Escrows that are prepared: given at once, to one session, whatever is killed or restored."""

from __future__ import annotations

import asyncio
from typing import Any

from escrow_operator.adapters.kube import EVENTS, PODS, POOLS, SECRETS, SESSIONS
from escrow_operator.core.manifests.common import deed_name
from escrow_operator.core.manifests.prepared import PREPARED_TYPE
from escrow_operator.models.common import API_VERSION, ROLES, Label
from escrow_operator.models.session import SessionKey
from harness.api import Body
from harness.escrow import Escrow, decode
from harness.operator import OperatorUnderTest
from harness.place import POOL, Place
from harness.waiting import wait_for


async def _secrets(place: Place) -> list[Body]:
    """Of prepared escrows that no session has."""
    found = await place.api.list(SECRETS, place.namespace, labels=Label.PREPARED)
    claimed = [Label.CLAIMED_BY in (secret["metadata"].get("annotations") or {}) for secret in found]
    assert {secret["type"] for secret in found} <= {PREPARED_TYPE}
    return [secret for secret, is_claimed in zip(found, claimed, strict=True) if not is_claimed]


async def _names(escrow: Escrow) -> set[str]:
    return {pod["metadata"]["name"] for pod in await escrow.pods()}


async def test_a_session_gets_the_prepared_escrow_with_its_open_wallets(place: Place) -> None:
    await place.make_pool(preparedEscrows=1)
    await place.until_prepared()
    prepared = {pod["metadata"]["name"] for pod in await place.slots(f"{Label.SLOT}=prepared")}
    [secret] = await _secrets(place)
    trade = place.escrow("trade")
    await trade.apply()
    status = await trade.until_active()
    assert await _names(trade) == prepared
    assert status["address"] == decode(secret)["address"]
    assert "KeysExchanged" not in await trade.reasons()
    for role in ROLES:
        deed = await trade.deed(role)
        assert (deed["file"], deed["address"]) == (decode(secret)["file"], status["address"])
    uid = (await trade.get())["metadata"]["uid"]
    async with trade.wallets() as wallets:
        for role in ROLES:
            assert await wallets[role].address() == status["address"]
            assert await wallets[role].attribute(Label.CLAIMED_BY) == f"{place.namespace}/trade/{uid}"
    await place.until_prepared()


async def test_i7_killed_while_it_prepares_and_afterwards(place: Place, operator: OperatorUnderTest) -> None:
    await place.make_pool(preparedEscrows=2)

    async def begun() -> bool:
        return len(await place.slots(f"{Label.SLOT}=prepared")) > len(ROLES)

    await wait_for(begun, what="another escrow to be prepared", explain=place.explain)
    await operator.kill()
    await place.until_prepared(2)
    before = {secret["metadata"]["name"] for secret in await _secrets(place)}
    await operator.kill()
    await operator.until_ready()
    await place.until_prepared(2)
    assert {secret["metadata"]["name"] for secret in await _secrets(place)} == before, "they are as good as they were"


async def test_wallets_of_a_prepared_escrow_whose_pod_is_started_again_are_opened_again(place: Place) -> None:
    await place.make_pool(preparedEscrows=1)
    await place.until_prepared()
    [pod] = await place.slots(f"{Label.SLOT}=prepared,{Label.ROLE}=vendor")
    # A container that ends; its pod stays.
    await place.kubectl("exec", pod["metadata"]["name"], "-c", "monero-wallet-rpc", "--", "sh", "-c", "kill 1")

    async def again() -> bool:
        found = await place.api.get(PODS, place.namespace, pod["metadata"]["name"])
        return any(status["restartCount"] for status in found["status"]["containerStatuses"])

    await wait_for(again, what="its container to be started again", explain=place.explain)
    await place.until_prepared()
    assert await place.api.find(PODS, place.namespace, pod["metadata"]["name"]), "it was thrown away"


async def test_i14_after_a_restore_of_the_api_server_it_is_not_given_again(
    place: Place, operator: OperatorUnderTest
) -> None:
    """A backup knows the prepared escrow, and not the session that got it since."""
    await place.make_pool(preparedEscrows=1)
    await place.until_prepared()
    [secret] = await _secrets(place)
    former = place.escrow("former")
    await former.apply()
    address = (await former.until_active())["address"]
    await place.until_prepared()
    pods = await former.pods()
    await operator.scale(0)
    try:
        await _restore(place, former, secret, pods)
    finally:
        await operator.scale(1)

    async def kept() -> bool:
        events = await place.api.list(EVENTS, place.namespace)
        return any(event["reason"] == "PreparedEscrowKept" for event in events)

    await wait_for(kept, what="the Event of it", explain=place.explain)
    later = [place.escrow(f"later-{number}") for number in range(2)]
    await asyncio.gather(*(escrow.apply() for escrow in later))
    for escrow in later:
        assert (await escrow.until_active())["address"] != address
    left = await place.api.get(SECRETS, place.namespace, secret["metadata"]["name"])
    assert not left["metadata"].get("ownerReferences"), "it may be all that unlocks the former session's money"
    assert f"{place.namespace}/former/" in left["metadata"]["annotations"][Label.CLAIMED_BY]


async def _restore(place: Place, former: Escrow, secret: Body, pods: list[Body]) -> None:
    """Make the API server as it was before the session; the pods run on, with its wallets open."""
    pool = await place.api.get(POOLS, place.namespace, POOL)
    owner = {
        "apiVersion": API_VERSION,
        "kind": "WalletPool",
        "name": POOL,
        "uid": pool["metadata"]["uid"],
        "controller": True,
    }
    for pod in pods:
        labels = {Label.SLOT: "prepared", Label.SESSION: None, Label.SESSION_UID: None}
        meta = {"labels": labels, "ownerReferences": [owner]}
        await place.api.merge(PODS, place.namespace, pod["metadata"]["name"], {"metadata": meta})
    await place.api.merge(SESSIONS, place.namespace, former.name, {"metadata": {"finalizers": None}})
    await place.api.delete(SESSIONS, place.namespace, former.name, now=True)
    for role in ROLES:
        await place.api.delete(SECRETS, place.namespace, deed_name(SessionKey(place.namespace, former.name), role))

    async def gone() -> bool:
        return await place.api.find(SECRETS, place.namespace, secret["metadata"]["name"]) is None

    await wait_for(gone, what="the Secret to be gone with its session", explain=place.explain)
    kept: dict[str, Any] = {"name": secret["metadata"]["name"], "labels": secret["metadata"]["labels"]}
    body = {"metadata": kept, "type": PREPARED_TYPE, "data": secret["data"], "immutable": True}
    await place.api.create(SECRETS, place.namespace, body)


async def test_nothing_stays_of_what_is_not_wanted_any_more(place: Place) -> None:
    await place.make_pool(preparedEscrows=1)
    await place.until_prepared()
    await place.make_pool(preparedEscrows=0)
    await place.until_prepared(0)

    async def gone() -> bool:
        return not await _secrets(place)

    await wait_for(gone, what="its Secret to be gone", explain=place.explain)
