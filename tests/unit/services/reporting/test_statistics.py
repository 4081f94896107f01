"""Numbers that are kept while things change are those that a count of everything gives."""

from __future__ import annotations

from collections import Counter
from typing import Any, cast

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from escrow_operator.adapters.clock import Clock
from escrow_operator.core.poolstatus import count_slots
from escrow_operator.models.common import Role, format_time, parse_time
from escrow_operator.models.pool import Pool, PoolKey
from escrow_operator.models.session import Phase, SessionKey
from escrow_operator.services.reporting.statistics import Statistics
from escrow_operator.services.runtime.memory import Memory
from escrow_operator.services.slots.capacity import Capacity
from escrow_operator.services.state.newest import Listed
from escrow_operator.services.state.store import Store
from unit.factories import at, pool_body, session, session_body, slot_body
from unit.world.context import make_context

POOL = PoolKey("shop", "default")
NAMES = ("a", "b", "c")
PODS = ("p", "q", "r", "s")

SESSIONS = st.builds(
    lambda name, phase, opened, reborn: ("session", name, phase, opened, reborn),
    st.sampled_from(NAMES),
    st.sampled_from([None, *Phase]),
    st.none() | st.integers(0, 10_000),
    st.booleans(),
)
SLOTS = st.builds(
    lambda *parts: ("slot", *parts),
    st.sampled_from(PODS),
    st.sampled_from(Role),
    st.none() | st.sampled_from(NAMES),
    st.booleans(),
    st.booleans(),
)
GONE = st.tuples(st.sampled_from(["session gone", "slot gone"]), st.sampled_from(NAMES + PODS))
LEVEL = st.tuples(st.just("level"), st.sets(st.sampled_from(NAMES + PODS)))
STEPS = st.lists(SESSIONS | SLOTS | GONE | LEVEL, max_size=40)


def _step(store: Store, step: tuple[Any, ...]) -> None:
    match step:
        case ("session", name, phase, opened, reborn):
            body = session_body(name, phase=phase)
            if opened is not None:
                body["status"]["openedAt"] = format_time(at(opened))
            if reborn:
                body["metadata"]["uid"] += "-again"
            store.see_session(body)
        case ("slot", name, role, owner, ready, terminating):
            owned = store.sessions.get(SessionKey("shop", owner or ""), session(owner)) if owner else None
            store.see_slot(slot_body(name, role, owner=owned, ready=ready, terminating=terminating))
        case ("session gone", name):
            store.drop_session(session_body(name))
        case ("slot gone", name):
            store.drop_slot(slot_body(name))
        case ("level", names):
            version = session_body()["metadata"]["resourceVersion"]
            store.drop_absent_sessions(Listed("shop", {f"uid-shop-{name}" for name in names}, version))
            store.drop_absent_slots(Listed("shop", {f"pod-{name}" for name in names}, version))


@given(STEPS)
def test_the_tallies_are_what_a_full_count_says(steps: list[tuple[Any, ...]]) -> None:
    store = Store(Memory())
    for step in steps:
        _step(store, step)
        found = store.sessions.values()
        assert store.tallies.phases == Counter((seen.key.namespace, seen.phase) for seen in found)
        for state, roles in count_slots(store.slots_of_pool(POOL)).items():
            for role, number in roles.items():
                assert store.tallies.slots[POOL, Role(role), state] == number
        holders = store.holders()
        opened = [
            parse_time(seen.status["openedAt"]).timestamp()
            for seen in found
            if seen.uid in holders and "openedAt" in seen.status
        ]
        now = at(20_000).timestamp()
        mean = sum(now - moment for moment in opened) / len(opened) if opened else 0.0
        assert abs(store.tallies.mean_age(now) - mean) < 0.001


class StoppedClock:
    def now(self) -> Any:
        return at(100)


class NoWalk(dict[Any, Any]):
    """Objects that may be looked up, and not gone through."""

    def __iter__(self) -> Any:
        raise AssertionError("all objects were gone through")

    values = items = keys = __iter__


def test_reading_the_metrics_goes_through_no_sessions_and_no_pods() -> None:
    clock = cast("Clock", StoppedClock())
    registry = CollectorRegistry()

    class FakeKube:
        def __init__(self) -> None:
            self.requests = Counter({("get", "pods"): 2})

    ctx = make_context(FakeKube(), clock=clock, max_active=10)
    store = ctx.store
    told = {"type": "Ready", "status": "False", "reason": "SlotsStarting"}
    body = pool_body() | {"status": {"conditions": [told], "daemon": {"height": 7, "network": "regtest"}}}
    known = Pool.parse(body)
    store.pools[known.key] = known
    waiting = {"type": "Ready", "status": "False", "reason": "PoolEmpty", "lastTransitionTime": format_time(at(70))}
    store.see_session(session_body("b", phase=Phase.PENDING, status={"conditions": [waiting]}))
    store.see_session(session_body("a", phase=Phase.ACTIVE, status={"openedAt": format_time(at(40))}))
    for role in Role:
        store.see_slot(slot_body(role.value, role, owner=session("a")))
    store.see_slot(slot_body("free"))
    store.sessions, store._slots = NoWalk(store.sessions), NoWalk(store._slots)
    Statistics(ctx, Capacity(ctx), registry)

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"xmr_escrow_{name}", labels)

    assert value("sessions_active") == 1
    assert value("sessions_utilisation_ratio") == 0.1
    assert value("session_average_age_seconds") == 60
    assert value("sessions", namespace="shop", phase="Active") == 1
    assert value("slots", namespace="shop", pool="default", role="buyer", state="free") == 1
    assert value("slots", namespace="shop", pool="default", role="vendor", state="adopted") == 1
    assert value("slots", namespace="shop", pool="default", role="vendor", state="free") == 0
    assert value("session_conditions", namespace="shop", type="Ready", status="False", reason="PoolEmpty") == 1
    assert value("session_longest_unready_seconds", namespace="shop") == 100
    mine = {"namespace": "shop", "pool": "default"}
    assert value("pool_conditions", **mine, type="Ready", status="False", reason="SlotsStarting") == 1
    assert value("pool_daemon_height_blocks", **mine, network="regtest") == 7
    assert value("pool_volume_claim_info", **mine, role="buyer", persistentvolumeclaim="default-buyer-wallets") == 1
    assert value("api_requests_total", verb="get", resource="pods") == 2
