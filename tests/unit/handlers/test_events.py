"""What each handler of events notes, and whom it wakes; as kopf calls it, and out of order."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from escrow_operator.adapters.clock import Clock
from escrow_operator.handlers import Memo
from escrow_operator.handlers import pools as pool_handlers
from escrow_operator.handlers import sessions as session_handlers
from escrow_operator.handlers.slots import list_slots, slot_seen
from escrow_operator.models.pool import PoolKey
from escrow_operator.models.session import SessionKey
from escrow_operator.settings import Settings
from escrow_operator.wiring import Operator
from simulation.world import memo_of
from unit.factories import pool_body, session_body, slot_body
from unit.kube import InstantKube

pool_seen: Any = pool_handlers.pool_seen
session_seen: Any = session_handlers.session_seen


class Woken:
    """Whom the operator's queues were asked to look at, instead of looking."""

    def __init__(self, operator: Operator, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sessions: list[SessionKey] = []
        self.pools: list[PoolKey] = []
        self.lists: list[str | None] = []
        self.waiting: list[PoolKey] = []
        self.namespaces: list[str] = []
        wakeups = operator.wakeups
        monkeypatch.setattr(wakeups, "session", self.sessions.append)
        monkeypatch.setattr(wakeups, "sessions", self.sessions.extend)
        monkeypatch.setattr(wakeups, "pool", self.pools.append)
        monkeypatch.setattr(wakeups, "pod_ends", self.namespaces.append)
        monkeypatch.setattr(wakeups, "relist", self.lists.append)
        monkeypatch.setattr(wakeups, "slot_free", self.waiting.append)


@pytest.fixture
async def memo() -> AsyncIterator[Memo]:
    settings = Settings(slot_login_image="operator")
    memo = memo_of(settings, Operator(InstantKube(), settings, Clock()))  # type: ignore[arg-type]
    yield memo
    await memo.operator.stop()


@pytest.fixture
def woken(memo: Memo, monkeypatch: pytest.MonkeyPatch) -> Woken:
    return Woken(memo.operator, monkeypatch)


def at(body: dict[str, Any], version: int) -> dict[str, Any]:
    return body | {"metadata": body["metadata"] | {"resourceVersion": str(version)}}


async def test_a_session_is_looked_at_once_for_each_version(memo: Memo, woken: Woken) -> None:
    body = at(session_body(), 7)
    for kind in ("ADDED", "MODIFIED", None):
        await session_seen(event={"type": kind, "object": body}, memo=memo)
    [key] = memo.operator.store.sessions

    assert woken.sessions == [key]
    assert woken.pools == [PoolKey(key.namespace, body["spec"]["poolRef"]["name"])]
    assert woken.lists == [key.namespace], "what a list of kopf's does not contain is gone"


async def test_a_session_that_is_gone_stays_gone(memo: Memo, woken: Woken) -> None:
    await session_seen(event={"type": "ADDED", "object": at(session_body(), 7)}, memo=memo)
    await session_seen(event={"type": "DELETED", "object": at(session_body(), 9)}, memo=memo)
    await session_seen(event={"type": "MODIFIED", "object": at(session_body(), 8)}, memo=memo)

    assert not memo.operator.store.sessions
    assert len(woken.sessions) == 2, "its deletion is looked at, a late event of it is not"


async def test_a_pool_that_is_gone_stays_gone(memo: Memo, woken: Woken) -> None:
    await session_seen(event={"type": "ADDED", "object": at(session_body(), 3)}, memo=memo)
    woken.sessions.clear()
    await pool_seen(event={"type": None, "object": at(pool_body(), 5)}, memo=memo)
    assert len(memo.operator.store.pools) == 1
    await pool_seen(event={"type": "DELETED", "object": at(pool_body(), 7)}, memo=memo)
    await pool_seen(event={"type": "MODIFIED", "object": at(pool_body(), 6)}, memo=memo)

    assert not memo.operator.store.pools
    assert woken.sessions == [*memo.operator.store.sessions] * 2, "it came, and went"


async def test_of_a_pool_whose_status_changed_no_session_is_woken(memo: Memo, woken: Woken) -> None:
    await session_seen(event={"type": "ADDED", "object": at(session_body(), 3)}, memo=memo)
    await pool_seen(event={"type": "ADDED", "object": at(pool_body(), 5)}, memo=memo)
    woken.sessions.clear()
    await pool_seen(event={"type": "MODIFIED", "object": at(pool_body(), 6)}, memo=memo)

    assert woken.sessions == []
    assert len(woken.pools) == 3


async def test_a_free_slot_wakes_those_who_wait_for_one(memo: Memo, woken: Woken) -> None:
    slot_seen(memo.operator, "ADDED", at(slot_body("slot"), 7))

    assert woken.waiting == woken.pools != []


async def test_a_list_of_slots_has_the_other_kinds_listed_too(memo: Memo, woken: Woken) -> None:
    """Their watches may have lost their place as well, and kopf tells nothing of a list without objects."""
    await list_slots(memo.operator, None)

    assert woken.lists == [None]
