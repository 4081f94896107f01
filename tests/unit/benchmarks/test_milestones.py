"""What counts as seen of a session, and when."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from itertools import count
from types import SimpleNamespace
from typing import Any, cast

import httpx
import pytest

from benchmarks import milestones
from benchmarks.milestones import Milestone, Sight, watching
from escrow_operator.adapters.kube import SESSIONS, Resource
from escrow_operator.core.manifests.session import CONNECTION_TYPE, DEED_TYPE
from escrow_operator.models.common import ROLES, Label, Role
from harness.api import Api, Body

NAME = "trade"
PODS = {role.value: {"pod": f"pod-{role}"} for role in ROLES}
READY = {"phase": "Active", "conditions": [{"type": "Ready", "status": "True", "reason": "WalletsOpen"}]}


def session(status: Body) -> Body:
    return {"metadata": {"name": NAME}, "status": status}


def secret(role: Role, kind: str = DEED_TYPE, **data: str) -> Body:
    labels = {Label.SESSION: NAME, Label.ROLE: role.value}
    return {"metadata": {"name": f"{NAME}-{role}", "labels": labels}, "type": kind, "data": data}


def event(reason: str, *, kind: str = "EscrowSession", uid: str = "1") -> Body:
    return {
        "metadata": {"uid": uid},
        "reason": reason,
        "involvedObject": {"kind": kind, "name": NAME},
    }


@pytest.fixture
def sight() -> Sight:
    """Its clock says 1, 2, 3, … when a milestone is reached."""
    ticks = count(1)
    return Sight(clock=lambda: float(next(ticks)))


def walk(sight: Sight) -> None:
    """A session on its way, as the operator writes it."""
    for role in ROLES:
        sight.see_secret(secret(role))
    sight.see_session(session({"wallets": PODS}))
    sight.see_event(event("KeysExchanged"))
    for role in ROLES:
        sight.see_secret(secret(role, address="MTIz"))
    for role in ROLES:
        sight.see_secret(secret(role, CONNECTION_TYPE))
    sight.see_session(session({"wallets": PODS} | READY))


def test_each_stage_ends_at_its_milestone(sight: Sight) -> None:
    walk(sight)
    assert list(sight.moments(NAME)) == list(Milestone)
    stages = sight.stages(NAME, 0.0)
    # The clock was asked at every sight; only the first one of each milestone is kept.
    assert list(stages) == [milestone.value for milestone in Milestone]
    assert sum(stages.values()) == sight.moments(NAME)[Milestone.READY]
    assert min(stages.values()) > 0


def test_what_was_reached_is_not_reached_again(sight: Sight) -> None:
    walk(sight)
    before = dict(sight.moments(NAME))
    walk(sight)
    assert sight.moments(NAME) == before


def test_two_deeds_of_three_are_not_enough(sight: Sight) -> None:
    for role in (*ROLES[:2], ROLES[0]):
        sight.see_secret(secret(role))
    assert not sight.moments(NAME)


def test_a_session_that_lacks_a_milestone_has_no_stages(sight: Sight) -> None:
    sight.see_session(session({"wallets": PODS} | READY))
    assert sight.moments(NAME).keys() == {Milestone.CLAIMED, Milestone.READY}
    assert not sight.stages(NAME, 0.0)


def test_an_event_that_comes_late_takes_nobodys_time(sight: Sight) -> None:
    walk(sight)
    moments = cast("dict[Milestone, float]", sight.moments(NAME))
    late = moments[Milestone.PROVEN] + 0.5
    moments[Milestone.EXCHANGED] = late
    stages = sight.stages(NAME, 0.0)
    assert stages[Milestone.PROVEN] == 0.0
    assert sum(stages.values()) == moments[Milestone.READY]


@pytest.mark.parametrize(
    "body",
    [
        {"metadata": {"name": "another"}, "type": "Opaque", "data": {}},
        {"metadata": {"name": "a", "labels": {Label.SESSION: NAME, Label.ROLE: "buyer"}}, "type": "Opaque"},
    ],
)
def test_other_secrets_mean_nothing(sight: Sight, body: Body) -> None:
    for _ in ROLES:
        sight.see_secret(body)
    assert not sight.moments(NAME)


def test_events_of_pools_mean_nothing(sight: Sight) -> None:
    for reason in ("KeysExchanged", "WalletBusy"):
        sight.see_event(event(reason, kind="WalletPool"))
    assert not sight.moments(NAME)
    assert not sight.troubles([NAME])


def test_trouble_is_counted_of_those_that_were_asked_for_and_once(sight: Sight) -> None:
    for uid in ("1", "2", "2"):
        sight.see_event(event("WalletBusy", uid=uid))
    for reason in ("SlotsClaimed", "KeysExchanged", "WalletsOpen"):
        sight.see_event(event(reason, uid=reason))
    sight.see_secret(secret(ROLES[0], attempt="Mg=="))
    assert sight.troubles([NAME, "another"]) == {"WalletBusy": 2}
    assert not sight.troubles(["another"])
    assert sight.begun_again([NAME, "another"]) == 1
    assert sight.begun_again(["another"]) == 0


def test_why_a_session_is_not_ready_is_what_its_status_said_last(sight: Sight) -> None:
    assert sight.reason(NAME) == "nothing was said of it"
    said = {"type": "Ready", "status": "False", "reason": "WalletBusy"}
    sight.see_session(session({"phase": "Opening", "conditions": [said]}))
    assert sight.reason(NAME) == "Opening, WalletBusy"
    assert Milestone.READY not in sight.moments(NAME)


class Watches:
    """An API server whose watch of sessions breaks once, and whose others tell nothing."""

    def __init__(self, *bodies: Body | Exception) -> None:
        self.bodies = list(bodies)

    async def watch(self, resource: Resource, _: str) -> AsyncIterator[Body]:
        while resource is SESSIONS and self.bodies:
            body = self.bodies.pop(0)
            if isinstance(body, Exception):
                raise body
            yield body
        await asyncio.Event().wait()


async def test_a_watch_that_breaks_begins_again_and_who_waits_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(milestones, "AGAIN_SECONDS", 0.0)
    api = Watches(session({}), httpx.ReadError("broken"), session(READY))
    async with watching(cast("Api", api), "n") as sight:
        async with asyncio.timeout(10.0):
            await sight.until_ready([NAME], within=3600.0)
        assert Milestone.READY in sight.moments(NAME)


async def test_who_waits_gives_up_in_time() -> None:
    sight = Sight()
    await sight.until_ready([NAME], within=0.01)
    assert not sight.moments(NAME)


async def test_a_look_that_fails_fails_the_benchmark() -> None:
    broken: Any = SimpleNamespace(watch=Watches({"no": "metadata"}).watch)
    with pytest.raises(KeyError):
        async with watching(broken, "n") as sight:
            await sight.until_ready([NAME], within=0.05)
