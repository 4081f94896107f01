"""The checker of a soak finds what is wrong: each breach is planted once."""

from __future__ import annotations

import base64
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from escrow_operator.adapters.kube import EVENTS, PODS, SECRETS, SESSIONS, Resource
from escrow_operator.core.manifests.session import DEED_TYPE
from escrow_operator.models.common import ROLES, Role
from harness.api import Body
from harness.place import Place
from soak.books import Books
from soak.checker import STALE_SECONDS, Checker
from soak.timeline import Timeline
from unit.factories import session, session_body, slot_body

ADDRESS = "4" * 95


class Cluster:
    """What the API server shows: a funded session with three pods and a deed, and nothing wrong."""

    def __init__(self) -> None:
        self.term = 7
        self.metrics = "xmr_escrow_sessions 1"
        self.log = "nothing to tell"
        owner = session("trade")
        self.session = session_body("trade") | {
            "status": {
                "phase": "Active",
                "address": ADDRESS,
                "wallets": {role.value: {"pod": f"pod-{role}"} for role in ROLES},
                "conditions": [{"type": "Ready", "status": "True"}, {"type": "Funded", "status": "True"}],
            }
        }
        self.pods = [slot_body(f"pod-{role}", role, owner=owner, wallet_file=f"file-{role}") for role in ROLES]
        self.deed: Body = {"metadata": {"name": "trade-buyer-wallet"}, "type": DEED_TYPE, "data": {}}
        self.write_deed(file="file", password="s3cret-of-the-buyer")
        self.objects: dict[Resource, list[Body]] = {
            PODS: self.pods,
            SESSIONS: [self.session],
            SECRETS: [self.deed],
            EVENTS: [],
        }

    def write_deed(self, **data: str) -> None:
        self.deed["data"] |= {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}

    async def list(self, resource: Resource, _: str | None = None, **__: Any) -> list[Body]:
        return self.objects.get(resource, [])

    async def logs(self, *_: str, **__: bool) -> str:
        return self.log

    def checker(self) -> Checker:
        async def slots() -> list[Body]:
            return self.pods

        async def pool() -> Body:
            return {}

        async def term() -> int:
            return self.term

        async def metrics() -> str:
            return self.metrics

        async def operators() -> list[Body]:
            return []

        operator = SimpleNamespace(term=term, metrics=metrics, pods=operators)
        world = SimpleNamespace(operator=operator)
        place = SimpleNamespace(api=self, namespace="shop", slots=slots, pool=pool, world=world)
        books = Books(paid={ADDRESS}, settled={"settled"})
        return Checker(cast("Place", place), books, Timeline(), cap=1)


async def violations(change: Callable[[Cluster], None]) -> list[str]:
    """What is found in a look after a change, when a look before found nothing."""
    cluster = Cluster()
    checker = cluster.checker()
    await checker.look()
    assert not checker.timeline.violations
    change(cluster)
    await checker.look()
    return [violation.what for violation in checker.timeline.violations]


def _open_twice(cluster: Cluster) -> None:
    cluster.pods.append(slot_body("second", Role.BUYER, wallet_file="file-buyer", terminating=True))


def _over_the_cap(cluster: Cluster) -> None:
    cluster.pods.append(slot_body("other", owner=session("other"), wallet_file="other"))


def _deed_gone(cluster: Cluster) -> None:
    cluster.objects[SECRETS] = []


def _deed_changed(cluster: Cluster) -> None:
    cluster.write_deed(password="another")


def _unpaid(cluster: Cluster) -> None:
    cluster.session["status"]["address"] = "5" * 95


def _unsettled(cluster: Cluster) -> None:
    cluster.session["status"] |= {"phase": "Completed", "conditions": []}


def _older_term(cluster: Cluster) -> None:
    cluster.term = 6


@pytest.mark.parametrize(
    ("change", "invariant"),
    [
        (_open_twice, "I1"),
        (_over_the_cap, "I5"),
        (_deed_gone, "I4"),
        (_deed_changed, "I4"),
        (_unpaid, "I8"),
        (_unpaid, "I4"),
        (_unsettled, "I13"),
        (_older_term, "I15"),
    ],
)
async def test_each_breach_is_found(change: Callable[[Cluster], None], invariant: str) -> None:
    found = await violations(change)
    assert any(text.startswith(f"{invariant}:") for text in found), found


def _files_of_another_exchange(cluster: Cluster) -> None:
    cluster.write_deed(file="another")


def _answer_of_an_adoption_lost(cluster: Cluster) -> None:
    cluster.pods.append(slot_body("surplus", Role.BUYER, owner=session("trade"), wallet_file="file-buyer"))


@pytest.mark.parametrize(
    "change",
    [
        lambda cluster: cluster.write_deed(address=ADDRESS),
        _files_of_another_exchange,
        _answer_of_an_adoption_lost,
    ],
)
async def test_what_may_be_is_no_breach(change: Callable[[Cluster], None]) -> None:
    assert not await violations(change)


async def test_a_deed_with_an_address_keeps_its_file() -> None:
    cluster = Cluster()
    cluster.write_deed(address=ADDRESS)
    checker = cluster.checker()
    await checker.look()
    _files_of_another_exchange(cluster)
    await checker.look()
    assert [violation.what for violation in checker.timeline.violations] == [
        "I4: the deed trade-buyer-wallet was changed"
    ]


async def test_a_status_may_be_late_and_no_later(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster, seconds = Cluster(), [0.0]
    monkeypatch.setattr(Timeline, "seconds", property(lambda _: seconds[0]))
    checker = cluster.checker()
    cluster.pods.pop()
    for seconds[0] in (0.0, STALE_SECONDS):
        await checker.look()
        assert not checker.timeline.violations
    seconds[0] += 1.0
    await checker.look()
    assert [violation.what[:3] for violation in checker.timeline.violations] == ["I2:"]


@pytest.mark.parametrize("where", ["metrics", "log", "event", "status"])
async def test_a_secret_that_was_told_is_found(where: str) -> None:
    cluster = Cluster()
    checker = cluster.checker()
    await checker.look()
    text = "open_wallet failed for s3cret-of-the-buyer"
    if where == "status":
        cluster.session["status"]["message"] = text
        await checker.look()
    elif where == "event":
        cluster.objects[EVENTS] = [{"metadata": {"name": "e"}, "message": text}]
    else:
        setattr(cluster, where, text)
    await checker._nothing_was_told()
    assert {violation.what[:3] for violation in checker.timeline.violations} == {"I9:"}
