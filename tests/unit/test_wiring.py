"""The operator as a whole, on an API server in memory: what its services do for each other."""

from __future__ import annotations

from typing import cast

import pytest

from escrow_operator.adapters.clock import Clock
from escrow_operator.adapters.fence import Fence
from escrow_operator.adapters.kube import SECRETS, SESSIONS, Kube
from escrow_operator.core.manifests.common import connection_name
from escrow_operator.core.manifests.session import CONNECTION_TYPE
from escrow_operator.models.common import ROLES
from escrow_operator.models.session import Phase, Session, SessionKey
from escrow_operator.settings import Settings
from escrow_operator.wiring import Operator
from unit.factories import session, session_body, slot, slot_body
from unit.kube import InstantKube

KEY = SessionKey("shop", "demo")


def operator_on(kube: InstantKube) -> Operator:
    """Not started: nothing is looked at but what a test asks for."""
    return Operator(cast("Kube", kube), Settings(slot_login_image="operator"), Clock())


async def test_connections_are_withdrawn_before_the_pods_go() -> None:
    """A crash in between finds pods, and withdraws again."""
    kube = InstantKube()
    operator = operator_on(kube)
    operator.store.see_session(kube.put(SESSIONS, session_body(phase=Phase.EXPIRED)))
    for role in ROLES:
        meta = {"name": connection_name(KEY, role), "namespace": "shop"}
        kube.put(SECRETS, {"metadata": meta, "type": CONNECTION_TYPE, "data": {"password": "eA=="}})
        # Not ready: there is no wallet that could be asked to close.
        operator.store.see_slot(slot_body(f"pod-{role}", role, owner=session(), ready=False))

    await operator.sessions.reconcile(KEY)

    kinds = [(verb, kind) for verb, kind, _ in kube.writes]
    assert kinds == [("patch", "secrets")] * 3 + [("delete", "endpointslices")] + [("delete", "pods")] * 3


async def test_sessions_of_an_ending_namespace_end_as_if_they_were_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    operator = operator_on(InstantKube())
    operator.store.see_session(session_body(phase=Phase.ACTIVE))
    finished: list[str] = []

    async def finish(session: Session) -> None:
        finished.append(session.key.name)

    operator.store.ending.add("shop")
    monkeypatch.setattr(operator.sessions._closer, "finish", finish)
    await operator.sessions.reconcile(KEY)

    assert finished == ["demo"]


async def test_nothing_works_before_it_begins_and_what_happened_until_then_is_looked_at() -> None:
    kube, settings = InstantKube(), Settings(slot_login_image="operator")
    first = operator_on(kube)
    first.store.see_session(kube.put(SESSIONS, session_body()))
    first.wakeups.session(KEY)
    assert not first.wakeups.sessions_queue._waiting
    assert not first.is_working

    # The next term: other services on what is known.
    await first.end()
    first.store.reserve([slot("p")])
    first.context.memory.of("uid-shop-demo", list).append("a former service's")
    fence = Fence(Clock())
    second = Operator(cast("Kube", kube), settings, Clock(), fence=fence, store=first.store)
    assert second.store is first.store
    kube.remove(SESSIONS, "demo")
    kube.put(SESSIONS, session_body("other"))
    fence.open(2, Clock().uptime() + 60.0)
    await second.begin()

    assert second.is_working
    assert list(second.store.sessions) == [SessionKey("shop", "other")], "full lists"
    assert not second.store._reserved
    assert not second.context.memory.of("uid-shop-demo", list)
    assert second.wakeups.sessions_queue._waiting or len(second.wakeups.sessions_queue)
    await second.stop()
    fence.close()
