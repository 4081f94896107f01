"""What is kept of prepared escrows, by this process and the next one."""

from __future__ import annotations

import pytest

from escrow_operator.adapters.kube import PODS, SECRETS
from escrow_operator.errors import WalletDaemonUnavailable, WalletTimeout
from escrow_operator.models.common import Label, Role, SlotState
from escrow_operator.models.prepared import PreparedEscrow
from escrow_operator.services.pools.objects import CurrentTemplates
from escrow_operator.services.pools.prepared_upkeep import CHECK_SECONDS, LEAST_AGE, NOT_READY_SECONDS, UNKNOWN
from escrow_operator.services.slots.prepared import Triple
from unit.factories import at
from unit.world.preparing import KEY, Preparing
from unit.world.wallets import FakeWallet


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> Preparing:
    world = Preparing(monkeypatch)
    await world.start()
    await world.prepare()
    return world


def is_gone(world: Preparing) -> bool:
    return not world.pods() and not world.secrets()


async def test_the_next_process_proves_it_and_offers_it(world: Preparing) -> None:
    await world.start()
    assert not world.operator.prepared.ready(KEY)
    await world.reconcile()
    assert len(world.operator.prepared.ready(KEY)) == 1


@pytest.mark.parametrize("role", list(Role))
async def test_a_wallet_that_is_not_open_any_more_is_opened_again(world: Preparing, role: Role) -> None:
    """As after a restart of its pod."""
    await world.start()
    [triple] = world.operator.prepared.of_pool(KEY)
    await (await world.wallets.client(triple.slots[role])).close_wallet()
    await world.reconcile()
    assert len(world.operator.prepared.ready(KEY)) == 1
    assert len(world.wallets.open_files()) == len(Role)


@pytest.mark.parametrize("role", list(Role))
async def test_one_that_does_not_open_is_thrown_away_on_the_word_of_the_others(world: Preparing, role: Role) -> None:
    await world.start()
    [triple] = world.operator.prepared.of_pool(KEY)
    assert triple.escrow is None
    await (await world.wallets.client(triple.slots[role])).close_wallet()
    world.wallets.disk[role, triple.slots[role].wallet_file or ""].password = "another"
    await world.reconcile()
    assert is_gone(world)


async def test_one_whose_wallets_cannot_be_asked_leaves_its_secret(world: Preparing) -> None:
    """Nobody can tell whether a session had it before a restore."""
    await world.start()
    [triple] = world.operator.prepared.of_pool(KEY)
    for role, slot in triple.slots.items():
        assert slot.wallet_file
        await (await world.wallets.client(slot)).close_wallet()
        world.wallets.disk[role, slot.wallet_file].password = "another"
    await world.reconcile()
    assert not world.pods()
    [secret] = world.secrets()
    assert not secret["metadata"].get("ownerReferences")
    assert secret["metadata"]["annotations"][Label.CLAIMED_BY] == UNKNOWN


async def test_one_that_was_given_and_not_taken_is_thrown_away(world: Preparing) -> None:
    await world.start()
    [secret] = world.secrets()
    secret["metadata"].setdefault("annotations", {})[Label.CLAIMED_BY] = "uid"
    world.kube.put(SECRETS, secret)
    await world.reconcile()
    assert not world.pods(), "the Secret is that of the session"


async def test_one_that_was_not_completed_is_thrown_away(world: Preparing) -> None:
    await world.start()
    [secret] = world.secrets()
    world.seen = lambda *_: None
    stored = world.kube.server.objects["secrets", KEY.namespace, secret["metadata"]["name"]]
    stored["data"].pop("address")
    stored["metadata"]["ownerReferences"] = [{"uid": pod["metadata"]["uid"]} for pod in world.pods().values()]
    await world.reconcile()
    assert is_gone(world)


async def test_one_without_its_secret_is_thrown_away(world: Preparing) -> None:
    await world.start()
    [secret] = world.secrets()
    world.kube.remove(SECRETS, secret["metadata"]["name"])
    await world.reconcile()
    assert is_gone(world)


async def test_a_secret_of_another_type_is_not_read(world: Preparing) -> None:
    await world.start()
    [secret] = world.secrets()
    world.kube.put(SECRETS, secret | {"type": "Opaque"})
    await world.reconcile()
    assert not world.pods()


async def test_one_that_a_session_had_is_given_to_nobody_and_its_secret_is_kept(world: Preparing) -> None:
    """As after a restore of the API server from a backup; the wallets' volumes remember."""
    await world.start()
    [triple] = world.operator.prepared.of_pool(KEY)
    wallet = await world.wallets.client(triple.slots[Role.ARBITER])
    await wallet.set_attribute(Label.CLAIMED_BY, "shop/former/uid")
    await world.reconcile()
    assert not world.pods()
    [secret] = world.secrets()
    assert not secret["metadata"].get("ownerReferences")
    assert "shop/former/uid" in secret["metadata"]["annotations"][Label.CLAIMED_BY]


async def test_one_that_was_paid_to_is_given_to_nobody_and_its_secret_is_kept(world: Preparing) -> None:
    await world.start()
    [triple] = world.operator.prepared.of_pool(KEY)
    address = await (await world.wallets.client(triple.slots[Role.BUYER])).address()
    world.pay(address, "1", confirmations=3)
    await world.reconcile()
    assert not world.pods()
    assert len(world.secrets()) == 1


async def test_an_old_one_is_thrown_away(world: Preparing) -> None:
    world.set_spec(preparedMaxAge="1h")
    left = await world.reconcile()
    assert left is not None
    assert left <= 3600
    world.clock.seconds += 3601
    await world.reconcile()
    assert is_gone(world)


async def test_where_the_clock_is_ahead_none_is_made_anew_all_the_time(
    world: Preparing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(world.clock, "now", lambda: at(10**9))
    await world.reconcile()
    assert not is_gone(world)
    world.clock.seconds += LEAST_AGE.total_seconds()
    await world.reconcile()
    assert is_gone(world)


async def test_all_of_it_that_ends_at_once_is_thrown_away_by_who_proved_it(world: Preparing) -> None:
    """As by the drain of a node."""
    for pod in world.pods().values():
        pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        world.kube.put(PODS, pod)
    world.set_spec(preparedEscrows=0)
    await world.reconcile()
    [secret] = world.secrets()
    assert secret["metadata"]["ownerReferences"], "it stays when its pods are gone"


async def test_one_wallet_alone_is_not_believed(world: Preparing) -> None:
    """Its party can make it say anything."""
    await world.start()
    [triple] = world.operator.prepared.of_pool(KEY)
    for role in (Role.BUYER, Role.VENDOR):
        await (await world.wallets.client(triple.slots[role])).close_wallet()
        world.wallets.disk[role, triple.slots[role].wallet_file or ""].password = "another"
    await world.reconcile()
    assert not world.pods()
    assert len(world.secrets()) == 1


async def test_a_mark_that_was_emptied_is_a_mark(world: Preparing) -> None:
    await world.start()
    [triple] = world.operator.prepared.of_pool(KEY)
    await (await world.wallets.client(triple.slots[Role.BUYER])).set_attribute(Label.CLAIMED_BY, "")
    await world.reconcile()
    assert not world.pods()
    assert len(world.secrets()) == 1


@pytest.mark.parametrize("known", [True, False])
async def test_without_monerod_nothing_is_decided_of_what_was_not_proven(
    world: Preparing, monkeypatch: pytest.MonkeyPatch, known: bool
) -> None:
    async def away(*_: object, **__: object) -> int:
        raise WalletDaemonUnavailable("down")

    if not known:
        await world.start()
    monkeypatch.setattr(FakeWallet, "refresh", away)
    world.set_spec(preparedEscrows=0)
    delay = await world.reconcile()
    assert is_gone(world) is known
    assert known or delay == CHECK_SECONDS


async def test_pods_with_another_file_are_not_opened(world: Preparing) -> None:
    await world.start()
    body = world.pods()[Role.VENDOR]
    body["metadata"]["annotations"][Label.WALLET_FILE] = "another"
    world.kube.put(PODS, body)
    await world.reconcile()
    assert is_gone(world)


async def test_ready_in_between_it_is_waited_for_anew(world: Preparing) -> None:
    for ready in ("False", "True", "False"):
        body = world.pods()[Role.VENDOR]
        body["status"]["conditions"] = [{"type": "Ready", "status": ready}]
        world.kube.put(PODS, body)
        await world.reconcile()
        world.clock.seconds += NOT_READY_SECONDS / 2 + 1
    await world.reconcile()
    assert not is_gone(world)


async def test_one_of_another_template_is_thrown_away(world: Preparing) -> None:
    world.operator.context.memory.put(world.pool.uid, CurrentTemplates(frozenset()))
    await world.reconcile()
    assert not is_gone(world), "while no slots may start there is nothing to compare with"
    world.operator.context.memory.put(world.pool.uid, CurrentTemplates(frozenset({"another"})))
    await world.reconcile()
    assert is_gone(world)


async def test_one_that_is_not_wanted_is_thrown_away(world: Preparing) -> None:
    world.set_spec(preparedEscrows=0)
    await world.reconcile()
    assert is_gone(world)


async def test_one_that_lost_a_pod_is_thrown_away(world: Preparing) -> None:
    world.kube.remove(PODS, world.pods()[Role.VENDOR]["metadata"]["name"])
    world.set_spec(preparedEscrows=0)
    await world.reconcile()
    assert is_gone(world)


async def test_one_that_is_not_ready_is_waited_for_and_then_thrown_away(world: Preparing) -> None:
    body = world.pods()[Role.VENDOR]
    body["status"]["conditions"] = [{"type": "Ready", "status": "False"}]
    world.kube.put(PODS, body)
    assert await world.reconcile() == CHECK_SECONDS
    assert not is_gone(world)
    world.clock.seconds += NOT_READY_SECONDS + 1
    await world.reconcile()
    assert is_gone(world)


async def test_a_pod_that_a_session_has_adopted_meanwhile_is_not_deleted(world: Preparing) -> None:
    """Of another operator."""
    [triple] = world.operator.prepared.of_pool(KEY)
    body = world.pods()[Role.VENDOR]
    world.seen = lambda *_: None
    body["metadata"]["labels"][Label.SLOT] = SlotState.ADOPTED.value
    world.kube.put(PODS, body)
    await world.operator.preparer._upkeep.end(world.pool, triple, "test")
    assert [pod["metadata"]["name"] for pod in world.kube.all(PODS)] == [body["metadata"]["name"]]


async def test_what_was_decided_before_a_crash_is_not_decided_again(world: Preparing) -> None:
    """By then too few wallets may answer."""
    [triple] = world.operator.prepared.of_pool(KEY)
    await world.operator.preparer._upkeep._decide(world.pool, triple, *_known(triple))
    world.kube.remove(PODS, triple.slots[Role.BUYER].name)
    world.kube.remove(PODS, triple.slots[Role.VENDOR].name)
    await world.start()
    world.set_spec(preparedEscrows=0)
    await world.reconcile()
    assert is_gone(world)


def _known(triple: Triple) -> tuple[PreparedEscrow, str]:
    assert triple.escrow is not None
    return triple.escrow, triple.address


async def test_wallets_that_do_not_open_for_a_while_are_waited_for_and_then_given_up(
    world: Preparing, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hangs(*_: object, **__: object) -> None:
        raise WalletTimeout("deadline")

    await world.start()
    [triple] = world.operator.prepared.of_pool(KEY)
    await (await world.wallets.client(triple.slots[Role.BUYER])).close_wallet()
    monkeypatch.setattr(FakeWallet, "open_wallet", hangs)
    assert await world.reconcile() == CHECK_SECONDS
    world.clock.seconds += NOT_READY_SECONDS + 1
    await world.reconcile()
    assert is_gone(world)
