"""A session that cannot open its wallets: what it does, what it writes down, and which of its pods go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import pytest

from escrow_operator.core.backoff import OPENING_DEADLINE
from escrow_operator.core.conditions import Condition
from escrow_operator.core.report import Report, compose_status
from escrow_operator.models.common import ROLES, Role
from escrow_operator.models.session import Phase, Session, SessionKey
from escrow_operator.models.slot import Slot
from escrow_operator.services.runtime.outcomes import Blocked, NotOpened
from escrow_operator.services.sessions.inspection import Escrow
from escrow_operator.services.sessions.reconciler import SessionReconciler
from escrow_operator.services.sessions.renewal import Renewal
from unit.clocks import FakeClock
from unit.factories import pool, session_body, slot_body
from unit.world.context import make_context

KEY = SessionKey("shop", "demo")
POOL = pool()
FORMER = "former"


class Bench:
    """All services around the one under test are this object, except those that decide about opening."""

    def __init__(self, *, phase: Phase = Phase.OPENING, daemon: str | None = None) -> None:
        self.clock = FakeClock()
        ctx = make_context(self, clock=self.clock)
        self.store = ctx.store
        self.error: Blocked | None = None
        self.synced: bool | None = True
        self.tries, self.deleted = 0, list[str]()
        self.store.see_session(session_body("demo", phase=phase))
        for role in ROLES:
            self.store.see_slot(slot_body(role.value, role, owner=self.session, daemon=daemon))
        wallets = {role.value: {"pod": role.value, "opened": True} for role in ROLES}
        self.store.see_session(session_body("demo", phase=phase, status={"wallets": wallets}))
        names = ("opener", "capacity", "claims", "closer", "inspector", "status")
        fakes: dict[str, Any] = dict.fromkeys(names, self)
        self.service = SessionReconciler(ctx, **fakes, renewal=Renewal(ctx, cast("Any", self)))

    def hands_out(self, _: Session) -> bool:
        return True

    @property
    def session(self) -> Session:
        return self.store.sessions[KEY]

    @property
    def ready(self) -> dict[str, Any]:
        return self.session.condition("Ready") or {}

    def slot(self, role: Role) -> Slot:
        return self.held(self.session)[role]

    def fail(self, reason: str, role: Role) -> None:
        self.error = NotOpened(reason, "It does not.", slot=self.slot(role))

    async def look(self) -> float | None:
        return await self.service.reconcile(KEY)

    # The services around it.

    def held(self, session: Session) -> dict[Role, Slot]:
        return {slot.role: slot for slot in self.store.slots_of_session(session.key.namespace, session.uid)}

    async def follow(self, *_: object) -> None: ...

    def forget(self, _: SessionKey) -> None: ...

    async def open(self, session: Session, *_: object) -> Escrow:
        self.tries += 1
        if self.error:
            raise self.error
        return Escrow(session, self.held(session), "4escrow")

    def height(self, _: Session) -> int:
        if self.synced is None:
            raise Blocked("DaemonUnreachable", "It is down.", retry_after=5.0)
        return 7

    def pool(self, _: Session) -> Any:
        return POOL

    def daemon(self, _: Session) -> Condition:
        return Condition("DaemonSynced", bool(self.synced), "Reason", "")

    async def report(self, session: Session, report: Report) -> Session:
        status: Mapping[str, Any] = compose_status(session, report, now=self.clock.now())
        self.store.see_session(session_body("demo", status=dict(status)))
        return self.session

    async def delete(self, _: object, __: str, name: str, *, uid: str, version: str | None = None) -> None:
        assert (uid, version) == (f"pod-{name}", None)
        self.deleted.append(name)

    def is_ending(self, _: str) -> bool:
        return False

    def must_be_evicted(self, _: Session) -> bool:
        return False

    def leave(self, *_: object) -> None: ...

    def stop_waiting(self, *_: object) -> None: ...

    def mark(self, *_: object) -> None: ...


async def test_events_in_between_try_nothing_and_write_nothing() -> None:
    bench = Bench()
    bench.fail("WalletBusy", Role.BUYER)
    assert await bench.look() == 5.0
    told, version = bench.ready, bench.session.resource_version
    assert (told["reason"], bench.session.status["opening"]["attempts"]) == ("WalletBusy", 1)
    bench.clock.seconds = 3
    assert await bench.look() == 2.0
    assert bench.tries == 1
    assert bench.ready == told
    bench.clock.seconds = 5
    assert await bench.look() == 10.0
    assert bench.tries == 2
    assert version != bench.session.resource_version


async def test_past_the_deadline_the_pod_goes_once_and_that_is_written_down() -> None:
    bench = Bench()
    bench.fail("SlotNotReady", Role.VENDOR)
    await bench.look()
    bench.clock.seconds = OPENING_DEADLINE.total_seconds()
    await bench.look()
    assert bench.deleted == ["vendor"]
    assert bench.session.status["opening"]["replaced"]
    bench.clock.seconds += 600
    assert await bench.look() == 300.0
    assert bench.deleted == ["vendor"]
    assert bench.ready["reason"] == "OpeningTimedOut"


@pytest.mark.parametrize(("synced", "deleted"), [(True, ["vendor"]), (False, [])])
async def test_a_pod_of_the_former_daemon_that_does_not_open_goes_when_the_new_one_is_there(
    synced: bool, deleted: list[str]
) -> None:
    bench = Bench(phase=Phase.ACTIVE, daemon=FORMER)
    bench.synced = synced
    bench.store.see_slot(slot_body("free", Role.VENDOR, daemon=POOL.spec.daemon.digest))
    bench.fail("SlotNotReady", Role.VENDOR)
    await bench.look()
    assert bench.deleted == deleted
    assert bench.ready["reason"] == ("DaemonChanged" if deleted else "SlotNotReady")


async def test_open_wallets_are_replaced_although_they_reach_no_monerod() -> None:
    """A session that is cut off needs it most: it is decided before anything is read from the wallets."""
    bench = Bench(phase=Phase.ACTIVE, daemon=FORMER)
    bench.store.see_slot(slot_body("free", Role.BUYER, daemon=POOL.spec.daemon.digest))
    await bench.look()
    assert (bench.deleted, bench.ready["reason"]) == (["buyer"], "DaemonChanged")


async def test_nothing_is_replaced_for_a_monerod_that_does_not_answer() -> None:
    bench = Bench(phase=Phase.ACTIVE, daemon=FORMER)
    bench.synced = None
    bench.store.see_slot(slot_body("free", Role.BUYER, daemon=POOL.spec.daemon.digest))
    await bench.look()
    assert (bench.deleted, bench.ready["reason"]) == ([], "DaemonUnreachable")
