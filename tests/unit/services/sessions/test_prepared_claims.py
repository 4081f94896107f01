"""A session that is given a prepared escrow: at once, and nobody else ever."""

from __future__ import annotations

import base64
import dataclasses
from typing import Any

import pytest

from escrow_operator.adapters.kube import EVENTS, PODS, SECRETS, SESSIONS
from escrow_operator.core.daemon import DaemonView
from escrow_operator.core.manifests.session import DEED_TYPE
from escrow_operator.models.common import API_VERSION, ROLES, Label, Role
from escrow_operator.models.pool import PoolKey
from escrow_operator.services.slots.prepared import Triple
from escrow_operator.services.wallets.claim_marks import mark_of
from unit.world.place import SHOP
from unit.world.preparing import KEY, Preparing


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> Preparing:
    world = Preparing(monkeypatch, min_stay="1s")
    await world.start()
    await world.prepare()
    return world


def calls(world: Preparing) -> list[str]:
    """Of all wallets."""
    return [call for wallet in world.wallets._clients.values() for call in wallet.calls]


def deeds(world: Preparing) -> list[dict[str, Any]]:
    return [body for body in world.kube.all(SECRETS) if body.get("type") == DEED_TYPE]


async def killed_before_it_is_sealed(world: Preparing, monkeypatch: pytest.MonkeyPatch) -> Triple:
    """A session takes the prepared escrow, and its operator dies before its deeds have the address."""

    async def dies(*_: object) -> None:
        raise RuntimeError("killed")

    monkeypatch.setattr(world.operator.sessions._opener._deeds, "record_address", dies)
    [triple] = world.operator.prepared.ready(KEY)
    world.apply()
    with pytest.raises(RuntimeError):
        await world.look()
    return triple


async def test_it_is_ready_after_one_reconciliation_and_no_wallet_is_made(world: Preparing) -> None:
    [triple] = world.operator.prepared.ready(KEY)
    made = calls(world).count("create_wallet"), calls(world).count("open_wallet")
    world.apply()
    await world.look()
    assert world.condition("Ready")[0] == "True"
    assert triple.escrow is not None
    assert world.status()["address"] == triple.escrow.address
    assert (calls(world).count("create_wallet"), calls(world).count("open_wallet")) == made
    assert {wallet["pod"] for wallet in world.status()["wallets"].values()} == {s.name for s in triple.slots.values()}


async def test_its_deeds_are_its_own_and_sealed_before_its_address_is_published(world: Preparing) -> None:
    world.apply()
    await world.look()
    assert {deed["metadata"]["name"] for deed in deeds(world)} == {f"trade-{role}-wallet" for role in ROLES}
    for deed in deeds(world):
        assert deed["immutable"] is True
        assert base64.b64decode(deed["data"]["address"]).decode() == world.status()["address"]
        assert not deed["metadata"].get("ownerReferences")


async def test_its_wallets_are_marked_and_its_escrow_is_claimed(world: Preparing) -> None:
    world.apply()
    await world.look()
    assert world.marks() == dict.fromkeys(ROLES, mark_of(world.known()))
    [secret] = world.secrets()
    assert secret["metadata"]["annotations"][Label.CLAIMED_BY] == world.known().uid


async def test_two_sessions_never_share_one(world: Preparing) -> None:
    world.warm()
    for name in ("one", "two"):
        world.apply(name)
        await world.settle(name)
    assert world.status("one")["address"] != world.status("two")["address"]


async def test_it_is_deleted_and_comes_back_with_its_address(world: Preparing) -> None:
    world.apply()
    address = (await world.settle())["address"]
    world.kube.remove(SESSIONS, "trade")
    await world.settle()
    assert not world.kube.all(PODS)
    assert not world.secrets(), "its Secret goes with the session"
    world.warm()
    world.apply()
    assert (await world.settle())["address"] == address


async def test_a_name_that_has_deeds_takes_none(world: Preparing) -> None:
    world.apply()
    address = (await world.settle())["address"]
    world.kube.remove(SESSIONS, "trade")
    await world.settle()
    await world.prepare()
    world.warm()
    world.apply()
    assert (await world.settle())["address"] == address
    assert len(world.operator.prepared.ready(KEY)) == 1


async def test_wallets_made_elsewhere_take_none(world: Preparing) -> None:
    wallets = world.made_elsewhere()
    for role in ROLES:
        world.wallets.file(role, "made-elsewhere", "open", "4elsewhere")
    world.warm()
    world.apply(setup="Open", wallets=wallets)
    assert (await world.settle())["address"] == "4elsewhere"
    assert len(world.operator.prepared.ready(KEY)) == 1


async def test_without_a_place_under_the_cap_it_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    world = Preparing(monkeypatch, max_active=1, min_stay="1h")
    await world.start()
    await world.prepare()
    world.apply("one")
    await world.settle("one")
    await world.prepare()
    world.apply("two")
    await world.settle("two")
    assert world.condition("Ready", "two") == ("False", "AtCapacity")
    assert len(world.operator.prepared.ready(KEY)) == 1


@pytest.mark.parametrize("role", list(Role))
async def test_one_that_a_session_had_before_a_restore_is_not_given_again(world: Preparing, role: Role) -> None:
    """The API server is as it was before the claim, and this process has not noticed; the wallets remember."""
    [triple] = world.operator.prepared.ready(KEY)
    await (await world.wallets.client(triple.slots[role])).set_attribute(Label.CLAIMED_BY, "shop/former/uid")
    world.warm()
    world.apply()
    status = await world.settle()
    assert triple.escrow is not None
    assert status["address"] != triple.escrow.address
    [kept] = world.secrets()
    assert not kept["metadata"].get("ownerReferences")


async def test_one_that_was_paid_to_is_nobodys_and_its_secret_is_kept(world: Preparing) -> None:
    """As after a restore of both API server and volumes: the chain remembers."""
    [triple] = world.operator.prepared.ready(KEY)
    world.pay(triple.address, "1", confirmations=3)
    world.warm()
    world.apply()
    status = await world.settle(until=lambda status: status.get("address"))
    assert status["address"] != triple.address
    assert "PreparedEscrowKept" in [event["reason"] for event in world.kube.all(EVENTS)]
    [kept] = world.secrets()
    assert not kept["metadata"].get("ownerReferences")


async def test_a_claim_that_another_operator_made_first_leads_to_other_wallets(world: Preparing) -> None:
    [triple] = world.operator.prepared.ready(KEY)
    [secret] = world.secrets()
    secret["metadata"].setdefault("annotations", {})[Label.CLAIMED_BY] = "another"
    world.kube.put(SECRETS, secret)
    world.warm()
    world.apply()
    status = await world.settle()
    assert triple.escrow is not None
    assert status["address"] != triple.escrow.address
    assert world.secrets()[0]["metadata"]["annotations"][Label.CLAIMED_BY] == "another"


async def test_after_a_crash_before_the_mark_its_wallets_are_marked_all_the_same(
    world: Preparing, monkeypatch: pytest.MonkeyPatch
) -> None:
    triple = await killed_before_it_is_sealed(world, monkeypatch)
    for file in world.wallets.disk.values():
        file.attributes.clear()
        file.stored.clear()
    await world.start()
    status = await world.settle()
    assert triple.escrow is not None
    assert status["address"] == triple.escrow.address
    assert world.marks() == dict.fromkeys(ROLES, mark_of(world.known()))


async def test_after_a_crash_wallets_of_another_session_are_replaced(
    world: Preparing, monkeypatch: pytest.MonkeyPatch
) -> None:
    triple = await killed_before_it_is_sealed(world, monkeypatch)
    for file in world.wallets.disk.values():
        file.attributes[Label.CLAIMED_BY] = "shop/former/uid"
    await world.start()
    status = await world.settle()
    assert triple.escrow is not None
    assert status["address"] not in ("", triple.escrow.address)


async def test_a_session_that_is_gone_gets_none(world: Preparing) -> None:
    world.apply()
    session = world.known()
    world.seen = lambda *_: None
    world.kube.remove(SESSIONS, "trade")
    world.kube.put(
        SESSIONS,
        {
            "apiVersion": API_VERSION,
            "metadata": {"name": "trade", "namespace": SHOP},
            "spec": {"poolRef": {"name": "default"}, "amount": "0.35"},
        },
    )
    await world.look()
    assert world.known() == session
    assert len(world.operator.prepared.ready(KEY)) == 1
    assert Label.CLAIMED_BY not in (world.secrets()[0]["metadata"].get("annotations") or {})


async def test_while_monerod_is_behind_none_is_given(world: Preparing, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody could say whether anything was paid to it."""
    view = world.daemons.view

    def behind(pool: PoolKey) -> DaemonView | None:
        found = view(pool)
        assert found is not None
        assert found.info is not None
        return dataclasses.replace(found, info=dataclasses.replace(found.info, target_height=10**6))

    monkeypatch.setattr(world.daemons, "view", behind)
    world.apply()
    await world.look()
    assert len(world.operator.prepared.ready(KEY)) == 1


async def test_a_session_that_was_made_again_in_another_pool_begins_anew(
    world: Preparing, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its wallets belong in that pool's storage."""
    world.apply()

    async def made_again(*_: object) -> bool:
        world.kube.remove(SESSIONS, "trade")
        world.apply(poolRef={"name": "second"})
        return False

    monkeypatch.setattr(world.operator.sessions._opener._prepared, "is_unused", made_again)
    world.warm()
    await world.look()
    assert not deeds(world)


async def test_a_pod_that_begins_to_end_meanwhile_is_not_adopted(world: Preparing) -> None:
    world.apply()
    ending = world.pods()[Role.VENDOR]
    ending["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    world.seen = lambda *_: None
    world.kube.put(PODS, ending)
    await world.look()
    assert world.condition("Ready") == ("False", "Contention")
    assert Label.SESSION_UID not in world.pods()[Role.VENDOR]["metadata"]["labels"]
