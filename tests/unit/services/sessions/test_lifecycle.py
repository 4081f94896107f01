"""A session's life, from applied to closed and back, over an API server and wallets in memory."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from escrow_operator.adapters.kube import ENDPOINT_SLICES, PODS, SECRETS, SESSIONS
from escrow_operator.errors import WalletTimeout
from escrow_operator.models.common import FINALIZER, ROLES, Label, Role
from unit.world.place import Body, World
from unit.world.wallets import FakeWallet

PAYOUT = "e" * 64
Act = Callable[[World], Awaitable[None]]
CONNECTIONS = {f"trade-{role}-rpc" for role in ROLES}


async def active(monkeypatch: pytest.MonkeyPatch, *, spec: Any = None, **sessions: object) -> World:
    """A world with one session, which is Active; ``spec`` are fields of its spec."""
    world = World(monkeypatch, **sessions)
    await world.start()
    world.warm()
    world.apply(**(spec or {}))
    assert (await world.settle())["phase"] == "Active"
    return world


async def test_a_session_opens_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await active(monkeypatch)
    status = world.status()
    assert status["address"].startswith("4escrow")
    assert world.condition("Ready") == ("True", "WalletsOpen")
    assert world.condition("WalletsOpen") == ("True", "Open")
    assert world.condition("Reconciling") == ("", "")
    assert len(world.wallets.open_files()) == 3
    assert world.secret_names() >= CONNECTIONS


async def funded(monkeypatch: pytest.MonkeyPatch, **sessions: object) -> World:
    """The same with its amount paid and final."""
    world = await active(monkeypatch, **sessions)
    world.pay(world.status()["address"], "0.35", confirmations=10)
    world.chain.height += 1
    await world.settle()
    assert world.condition("Funded") == ("True", "Confirmed")
    return world


async def expired(world: World) -> None:
    world.clock.seconds += 3 * 3600
    status = await world.settle(until=lambda s: s["phase"] == "Expired" and not world.wallets.open_files())
    assert "wallets" not in status


async def test_p07_a_closed_session_says_of_money_and_monerod_that_it_does_not_know(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = await funded(monkeypatch)
    await expired(world)
    assert world.condition("Funded") == ("Unknown", "NotWatched")
    assert world.condition("DaemonSynced") == ("Unknown", "NotWatched")
    assert world.status()["balance"]["total"] == "0.35"
    assert world.status()["balance"]["asOf"] == "2026-01-01T03:16:40Z"


async def test_p07_so_does_one_whose_monerod_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await funded(monkeypatch)
    world.daemons.down = True
    await world.settle()
    assert world.condition("Ready") == ("False", "DaemonUnreachable")
    assert world.condition("WalletsOpen") == ("True", "Open")
    assert world.condition("Funded") == ("Unknown", "DaemonUnreachable")
    assert "asOf" in world.status()["balance"]
    world.daemons.down = False
    await world.settle()
    assert world.condition("Funded") == ("True", "Confirmed")
    assert "asOf" not in world.status()["balance"]


async def test_i8_one_wallet_that_hangs_keeps_no_reorganisation_from_being_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = await funded(monkeypatch)

    async def hangs(wallet: FakeWallet, **_: object) -> int:
        if wallet.role is Role.BUYER:
            raise WalletTimeout("no answer")
        return 0

    monkeypatch.setattr(FakeWallet, "refresh", hangs)
    world.chain.outputs.clear()
    world.chain.height += 1
    await world.look()
    assert world.condition("Funded") == ("False", "AwaitingPayment")
    world.clock.seconds += 60
    await world.look()
    assert world.condition("Ready") == ("False", "WalletSyncing")
    assert world.condition("Funded") == ("False", "AwaitingPayment")
    assert world.status()["balance"] == {"total": "0", "unlocked": "0", "blocksToUnlock": 0}


@pytest.mark.parametrize("how", ["touch", "spec"])
async def test_p22_an_expired_session_comes_back_by_a_touch_or_a_change_with_its_wallets(
    monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    world = await funded(monkeypatch)
    address, files = world.status()["address"], set(world.wallets.open_files())
    await expired(world)
    assert not world.kube.all(PODS)
    world.warm()
    await world.settle()
    assert world.status()["phase"] == "Expired", "by itself it stays closed"
    if how == "touch":
        world.touch()
    else:
        world.apply(ttl="3h")
    await world.settle()
    assert world.status()["phase"] == "Active"
    assert world.status()["address"] == address
    assert set(world.wallets.open_files()) == files
    assert world.condition("Funded") == ("True", "Confirmed")


async def test_p12_a_touch_in_the_future_keeps_no_session_open(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await active(monkeypatch)
    world.touch(text="2999-01-01T00:00:00Z")
    await world.settle()
    await expired(world)


async def test_p12_a_touch_of_before_the_end_does_not_bring_it_back(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await active(monkeypatch)
    world.touch(text="2026-01-01T00:16:40.900000Z")
    await expired(world)
    world.warm()
    await world.settle()
    assert world.status()["phase"] == "Expired"


async def test_max_age_is_over_for_who_touches_too_and_the_change_is_observed(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await active(monkeypatch, spec={"maxAge": "2h"})
    await expired(world)
    world.warm()
    world.touch()
    world.apply(maxAge="2h", eviction="Never")
    await world.settle()
    assert world.status()["phase"] == "Expired"
    assert world.status()["observedGeneration"] == 2
    world.apply(maxAge="9h")
    await world.settle()
    assert world.status()["phase"] == "Active"


async def suspended(world: World) -> None:
    world.apply(suspend=True)
    await world.settle(until=lambda s: s["phase"] == "Suspended" and not world.wallets.open_files())
    assert world.condition("Ready") == ("True", "SuspendedBySpec")
    assert "wallets" not in world.status()


async def test_a_session_is_closed_while_its_spec_wants_it_so_whoever_uses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await funded(monkeypatch)
    address, files = world.status()["address"], set(world.wallets.open_files())
    await suspended(world)
    assert world.condition("Funded") == ("Unknown", "NotWatched")
    world.warm()
    await world.settle()
    writes = len(world.kube.writes)
    world.touch()
    await world.settle()
    assert len(world.kube.writes) == writes, "not for a moment either"
    world.apply(suspend=True, ttl="9h")
    await world.settle()
    assert (world.status()["phase"], world.status()["observedGeneration"]) == ("Suspended", 3)
    assert not world.wallets.open_files()
    world.apply(suspend=False, ttl="9h")
    await world.settle()
    assert (world.status()["phase"], world.status()["address"]) == ("Active", address)
    assert set(world.wallets.open_files()) == files


async def test_one_that_is_suspended_from_the_start_takes_no_slots(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch)
    await world.start()
    world.warm()
    world.apply(suspend=True)
    await world.settle()
    assert world.condition("Ready") == ("True", "SuspendedBySpec")
    assert not world.secret_names() & CONNECTIONS
    world.apply(suspend=False)
    assert (await world.settle())["phase"] == "Active"


async def test_an_expired_one_that_is_suspended_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await active(monkeypatch)
    await expired(world)
    await suspended(world)


async def test_one_whose_max_age_is_over_when_it_may_open_again_says_that(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await active(monkeypatch, spec={"maxAge": "2h"})
    await suspended(world)
    world.clock.seconds += 3 * 3600
    world.apply(maxAge="2h", suspend=False)
    await world.settle()
    assert world.condition("Ready") == ("True", "Expired")


async def test_one_that_was_suspended_with_money_under_way_opens_again_after_its_max_age(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = await active(monkeypatch, spec={"maxAge": "2h"})
    world.pay(world.status()["address"], "0.35", confirmations=0)
    world.chain.height += 1
    await world.settle()
    world.apply(maxAge="2h", suspend=True)
    await world.settle(until=lambda s: s["phase"] == "Suspended" and not world.wallets.open_files())
    world.clock.seconds += 3 * 3600
    world.warm()
    world.apply(maxAge="2h", suspend=False)
    await world.settle()
    assert world.status()["phase"] == "Active"


async def test_a_settled_one_stays_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await funded(monkeypatch)
    await settled(world)
    world.apply(settlement={"outcome": "Release", "txid": PAYOUT}, suspend=True)
    await world.settle()
    assert world.status()["phase"] == "Completed"


async def test_p13_a_payment_under_way_stops_the_clocks(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await active(monkeypatch)
    world.pay(world.status()["address"], "0.35", confirmations=0)
    world.chain.height += 1
    await world.settle()
    assert "expiresAt" not in world.status()
    world.clock.seconds += 5 * 3600
    await world.settle()
    assert world.status()["phase"] == "Active"
    world.pay(world.status()["address"], "0.35", confirmations=10)
    world.chain.height += 1
    await world.settle()
    assert world.condition("Funded") == ("True", "Confirmed")
    assert world.status()["lastActivityTime"] == "2026-01-01T05:16:40Z", "a payment is use"
    assert world.status()["expiresAt"] == "2026-01-01T07:16:40Z"


async def settled(world: World) -> None:
    """Pay out all of it, and let it become final."""
    address = world.status()["address"]
    world.apply(settlement={"outcome": "Release", "txid": PAYOUT})
    world.pay_out(address, PAYOUT, confirmations=20)
    await world.settle(until=lambda s: s["phase"] == "Completed" and not world.wallets.open_files())


async def test_p08_the_name_of_a_settled_trade_is_not_used_again_by_accident(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await funded(monkeypatch)
    await settled(world)
    assert world.condition("Ready") == ("True", "Settled")
    for role in ROLES:
        deed = world.kube.find(SECRETS, f"trade-{role}-wallet")
        assert deed is not None
        assert deed["metadata"]["annotations"][Label.SETTLED] == f"Completed by {PAYOUT}"
    world.kube.remove(SESSIONS, "trade")
    await world.settle()
    world.warm()
    world.apply()
    await world.settle()
    assert world.condition("Ready") == ("False", "NameSettled")
    assert not world.wallets.open_files()
    world.apply(reuseSettledWallets=True)
    await world.settle()
    assert world.status()["phase"] == "Active"


async def test_money_that_is_gone_by_no_known_payout_stays_noted_when_nobody_looks_any_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = await funded(monkeypatch)
    assert "moneyMovedAt" not in world.status()
    world.pay_out(world.status()["address"], PAYOUT, confirmations=1)
    world.chain.height += 1
    await world.settle()
    assert world.condition("Funded") == ("False", "Spent")
    moved = world.status()["moneyMovedAt"]
    await expired(world)
    assert world.condition("Funded") == ("Unknown", "NotWatched")
    assert world.status()["moneyMovedAt"] == moved
    world.warm()
    world.apply(settlement={"outcome": "Release", "txid": PAYOUT})
    world.touch()
    await world.settle(until=lambda s: s["phase"] == "Settling")
    assert "moneyMovedAt" not in world.status()


async def test_p26_a_settled_session_is_ready_closed_and_observes_edits(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await funded(monkeypatch)
    await settled(world)
    assert world.condition("WalletsOpen") == ("False", "Settled")
    assert world.condition("Settled")[0] == "True"
    assert world.condition("Reconciling") == world.condition("Stalled") == ("", "")
    world.apply(settlement={"outcome": "Release", "txid": PAYOUT}, ttl="9h")
    await world.settle()
    assert (world.status()["phase"], world.status()["observedGeneration"]) == ("Completed", 3)


async def test_p10_connections_appear_after_the_address_is_in_all_three_deeds(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await active(monkeypatch)
    writes = [(verb, name) for verb, kind, name in world.kube.writes if kind in ("secrets", "endpointslices")]
    addressed = [writes.index(("patch", f"trade-{role}-wallet")) for role in ROLES]
    published = [writes.index(("apply", name)) for name in [*CONNECTIONS, "trade-wallets"]]
    assert max(addressed) < min(published)


async def test_p14_nothing_is_written_for_who_waits_at_the_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, max_active=1, min_stay="0s")
    await world.start()
    world.warm(number=2)
    world.apply("holder", eviction="Never")
    await world.settle("holder")
    secrets = world.secret_names()
    world.apply("waiting")
    await world.settle("waiting")
    assert world.condition("Ready", "waiting") == ("False", "AtCapacity")
    assert world.secret_names() == secrets
    body = world.kube.find(SESSIONS, "waiting")
    assert body is not None
    assert FINALIZER not in body["metadata"].get("finalizers", [])
    assert not world.operator.claims.waiting(world.operator.store.sessions["shop", "waiting"].pool_key)  # type: ignore[index]


async def test_p14_pods_are_started_for_places(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch, max_active=2, min_stay="0s")
    await world.start()
    for number in range(6):
        world.apply(f"trade-{number}")
        await world.settle(f"trade-{number}")
    session = next(iter(world.operator.store.sessions.values()))
    assert len(world.operator.claims.waiting(session.pool_key)) == 2
    assert world.condition("Ready", "trade-1") == ("False", "PoolEmpty")
    assert world.condition("Ready", "trade-2") == ("False", "AtCapacity")


def existing(world: World, *missing: Role) -> dict[str, object]:
    """``spec.wallets`` of wallets that were made elsewhere, with the password that a Secret has."""
    for role in ROLES:
        if role not in missing:
            world.wallets.file(role, "made-elsewhere", "open", "4elsewhere")
    return world.made_elsewhere()


async def test_p13_nobody_gives_way_for_wallets_that_do_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await active(monkeypatch, max_active=1, min_stay="0s")
    world.warm()
    world.apply("mistaken", setup="Open", wallets=existing(world, Role.VENDOR))
    await world.settle("mistaken")
    assert world.condition("Stalled", "mistaken") == ("True", "WalletFileNotFound")
    await world.settle()
    assert world.status()["phase"] == "Active"
    existing(world)
    world.apply("right", setup="Open", wallets=existing(world))
    await world.look("right")
    await world.settle(until=lambda s: s["phase"] == "Evicted")
    await world.settle("right")
    assert world.status("right")["address"] == "4elsewhere"


async def test_p13_nor_for_wallets_that_were_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await active(monkeypatch, max_active=1, min_stay="0s")
    await expired(world)
    lost = next(path for path in world.wallets.disk if path[0] is Role.BUYER)
    kept = world.wallets.disk.pop(lost)
    world.warm()
    world.touch()
    await world.settle(until=lambda s: s["phase"] == "Failed")
    world.warm()
    world.apply("good")
    await world.settle("good")
    world.warm()
    # Something changed, so it is tried again: at the cap, by asking whether the file is there.
    world.apply(ttl="5h")
    await world.settle()
    assert world.condition("Stalled") == ("True", "WalletFileNotFound")
    await world.settle("good")
    assert world.status("good")["phase"] == "Active"
    world.wallets.disk[lost] = kept
    world.apply(ttl="6h")
    await world.look()
    await world.settle("good")
    await world.settle()
    assert world.status()["phase"] == "Active"


@pytest.mark.parametrize(("policy", "phase"), [("Delete", "Evicted"), ("Suspend", "Suspended")])
async def test_p25_an_empty_session_gives_way_as_the_policy_says(
    monkeypatch: pytest.MonkeyPatch, policy: str, phase: str
) -> None:
    world = await active(monkeypatch, max_active=1, min_stay="0s", eviction_policy=policy)
    world.warm()
    world.apply("newcomer")
    await world.look("newcomer")
    await world.look()
    assert not world.wallets.open_files()
    if phase == "Evicted":
        world.warm()
        await world.settle()
        assert world.kube.find(SESSIONS, "trade") is None
    else:
        assert world.condition("Ready") == ("True", "Suspended")
        assert world.condition("WalletsOpen") == ("False", "Suspended")


async def test_who_uses_an_evicted_session_before_it_is_deleted_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await active(monkeypatch, max_active=1, min_stay="0s")
    world.warm()
    world.apply("newcomer")
    await world.look("newcomer")
    seen = world.seen
    late: list[Callable[[], None]] = []

    def used_meanwhile(kind: str, plural: str, body: Body) -> None:
        seen(kind, plural, body)
        # The touch is there before the deletion, its watch event only afterwards.
        if plural == SESSIONS.plural and body["status"].get("phase") == "Evicted" and not late:
            late.append(lambda: seen("MODIFIED", SESSIONS.plural, world.session()))
            world.seen = lambda *_: None
            world.touch()
            world.seen = used_meanwhile

    world.seen = used_meanwhile
    await world.look()
    assert world.kube.find(SESSIONS, "trade") is not None
    late[0]()
    await world.look()
    assert world.status()["phase"] == "Pending"


async def test_p25_a_session_with_money_is_suspended_and_never_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await funded(monkeypatch, max_active=1, min_stay="0s", eviction_policy="Delete")
    world.warm()
    world.apply("newcomer")
    await world.settle("newcomer")
    await world.settle()
    assert world.status()["phase"] == "Suspended"
    await world.settle("newcomer")
    assert world.status("newcomer")["phase"] == "Active"


async def test_p11_a_slot_that_may_have_a_wallet_open_is_never_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between adoption and the phase Opening, then a pod is lost and the pool is empty."""
    world = await active(monkeypatch)
    body = world.session()
    body["status"]["phase"] = "Pending"
    world.kube.put(SESSIONS, body)
    lost = next(name for pod in world.kube.all(PODS) if (name := pod["metadata"]["name"]).startswith("vendor"))
    world.kube.remove(PODS, lost)
    await world.start()
    await world.look()
    free = [pod for pod in world.kube.all(PODS) if pod["metadata"]["labels"][Label.SLOT] == "free"]
    assert not free
    world.warm()
    await world.settle()
    assert world.status()["phase"] == "Active"


async def test_resumed_before_its_wallets_were_closed_it_goes_on_with_them(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await funded(monkeypatch)
    body = world.session()
    body["status"]["phase"] = "Suspended"
    body["status"]["lastTouch"] = "before"
    world.kube.put(SESSIONS, body)
    world.touch()
    world.warm(Role.BUYER)
    await world.start()
    await world.settle()
    assert world.status()["phase"] == "Active"
    free = [pod for pod in world.kube.all(PODS) if pod["metadata"]["labels"][Label.SLOT] == "free"]
    assert len(free) == 1
    assert len(world.wallets.open_files()) == 3


async def test_a_deleted_session_that_waits_leaves_all_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch)
    await world.start()
    world.apply()
    await world.settle()
    pool = next(iter(world.operator.store.sessions.values())).pool_key
    assert world.operator.claims.waiting(pool)
    world.kube.remove(SESSIONS, "trade")
    await world.look()
    assert not world.operator.claims.waiting(pool)


async def opened(world: World) -> None:
    world.warm(number=2)
    world.apply()
    await world.settle()


async def closed(world: World) -> None:
    world.clock.seconds += 3 * 3600
    await world.settle(until=lambda s: s["phase"] == "Expired" and not world.wallets.open_files())


async def reopened(world: World) -> None:
    world.touch()
    world.warm(number=2)
    await world.settle()


async def paid_out(world: World) -> None:
    address = world.status()["address"]
    world.pay(address, "0.35", confirmations=10)
    world.chain.height += 1
    await world.settle()
    world.apply(settlement={"outcome": "Release", "txid": PAYOUT})
    world.pay_out(address, PAYOUT, confirmations=20)
    await world.settle(until=lambda s: s["phase"] == "Completed" and not world.wallets.open_files())


async def deleted(world: World) -> None:
    world.kube.remove(SESSIONS, "trade")
    await world.settle()


STORIES = [
    (opened,),
    (opened, closed),
    (opened, closed, reopened),
    (opened, paid_out),
    (opened, deleted),
    (opened, deleted, opened),
]


@pytest.mark.parametrize("happens", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("story", STORIES, ids=lambda story: "-".join(act.__name__ for act in story))
async def test_i7_killed_at_every_write_it_ends_where_it_ends_without(
    monkeypatch: pytest.MonkeyPatch, story: Sequence[Act], happens: bool
) -> None:
    *before, act = story
    for write in range(60):
        world = World(monkeypatch)
        await world.start()
        for one in before:
            await one(world)
        world.kube.fail_at = (write, happens)
        await act(world)
        assert_nothing_leaks(world)
        await world.stop()
        if world.kube.fail_at is not None:
            assert write > 3, "it wrote something"
            return
    raise AssertionError("more writes than anybody would make")


def assert_nothing_leaks(world: World) -> None:
    body = world.kube.find(SESSIONS, "trade")
    open_files = world.wallets.open_files()
    pods = {pod["metadata"]["uid"]: pod["metadata"] for pod in world.kube.all(PODS)}
    assert set(open_files.values()) <= {uid for uid, meta in pods.items() if meta["labels"][Label.SLOT] == "adopted"}
    adopted = [meta for meta in pods.values() if meta["labels"][Label.SLOT] == "adopted"]
    if body is None or body["status"]["phase"] != "Active":
        assert not adopted
        assert not open_files
        assert not any(secret.get("data") for secret in world.kube.all(SECRETS) if _is_connection(secret))
        assert world.kube.find(ENDPOINT_SLICES, "trade-wallets") is None or body is None
    else:
        assert len(adopted) == len(open_files) == 3
        assert {meta["labels"][Label.SESSION_UID] for meta in adopted} == {body["metadata"]["uid"]}
        addresses = {world.wallets.disk[role, name].address for role, name in map(_file, open_files)}
        assert addresses == {body["status"]["address"]}


def _is_connection(secret: dict[str, Any]) -> bool:
    return secret["metadata"]["name"] in CONNECTIONS


def _file(path: str) -> tuple[Role, str]:
    role, _, name = path.partition("/")
    return Role(role), name


async def test_i10_a_session_that_names_no_secret_asks_ever_less_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch)
    await world.start()
    world.warm()
    wallet = {"file": "w", "secretRef": {"name": "there-is-none", "key": "password"}}
    world.apply(setup="Open", wallets={role.value: wallet for role in ROLES})
    first = await world.look()
    assert world.condition("Ready") == ("False", "SecretNotFound")
    world.clock.seconds += 1200
    assert (first, await world.look()) == (5.0, 120.0)


async def gone(world: World, name: str = "trade") -> None:
    world.kube.remove(SESSIONS, name)
    for _ in range(5):
        await world.look(name)
    assert world.kube.find(SESSIONS, name) is None


@pytest.mark.parametrize("terms", [{"amount": "0.01"}, {"confirmations": 1}])
async def test_i13_a_session_made_anew_cannot_make_less_the_payment(
    monkeypatch: pytest.MonkeyPatch, terms: dict[str, Any]
) -> None:
    """The amount cannot change once the address is there: not by deleting the session and applying it again either."""
    world = await active(monkeypatch)
    address = world.status()["address"]
    world.pay(address, "0.01", confirmations=1)
    await gone(world)
    world.warm()
    world.apply(**terms)
    await world.look()
    assert world.condition("Ready") == ("False", "DeedsDisagree")
    assert world.condition("Funded") == ("", "")
    await gone(world)
    world.warm()
    world.apply(amount="0.350")
    assert (await world.settle())["address"] == address


async def test_an_amount_that_is_corrected_while_the_wallets_open_is_the_one_that_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(monkeypatch)
    await world.start()
    world.warm()
    world.apply()
    opens = world.operator.opener.open_all
    amounts = ["0.7"]

    async def edited(*args: Any) -> str:
        if amounts:
            body = world.session()
            body["spec"]["amount"] = amounts.pop()
            body["metadata"]["generation"] = body["metadata"].get("generation", 1) + 1
            world.kube.put(SESSIONS, body)
        return await opens(*args)

    monkeypatch.setattr(world.operator.opener, "open_all", edited)
    status = await world.settle(until=lambda s: s.get("phase") == "Active")
    assert status["address"]
    assert world.condition("Ready") == ("True", "WalletsOpen")


async def test_the_status_says_where_the_gateway_finds_the_wallets(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await active(monkeypatch)
    for role in ROLES:
        wallet = world.status()["wallets"][role]
        pod = world.kube.find(PODS, wallet["pod"])
        assert pod is not None
        assert (wallet["podUID"], wallet["podIP"]) == (pod["metadata"]["uid"], pod["status"]["podIP"])


async def test_a_pool_may_have_no_connection_secrets_made(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(monkeypatch)
    await world.start()
    world.change_pool(connectionSecrets=False)
    world.warm()
    world.apply()
    assert (await world.settle())["phase"] == "Active"
    assert not world.secret_names() & CONNECTIONS
    assert all("secret" not in wallet for wallet in world.status()["wallets"].values())


async def test_an_open_session_keeps_what_it_told_its_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await active(monkeypatch)
    world.change_pool(connectionSecrets=False)
    world.chain.height += 1
    await world.settle()
    assert all("secret" in wallet for wallet in world.status()["wallets"].values())
    assert world.secret_names() >= CONNECTIONS
