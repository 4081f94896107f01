"""The page: its files, and the lists that it shows to those who may list."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from escrow_gateway import overview
from escrow_gateway.page import FILES
from escrow_operator.adapters.kube import EVENTS, POOLS, SESSIONS, Listing
from escrow_operator.models.session import Phase
from unit.factories import pool_body, session_body
from unit.gateway.bench import BUYERS, Bench
from unit.kube import FORBIDDEN

Body = dict[str, Any]

VIEWERS = "viewers"
T = "2026-01-01T00:00:00Z"
LIST_SESSIONS, LIST_POOLS, LIST_EVENTS = (
    "list xmr-escrow.dev/escrowsessions",
    "list xmr-escrow.dev/walletpools",
    "list /events",
)


@pytest.fixture
def viewer(gateway: Bench) -> Bench:
    """Somebody who may list in the namespace ``shop``."""
    gateway.kube.tokens[VIEWERS] = "viewer"
    gateway.kube.rights |= {("viewer", "shop", what) for what in (LIST_SESSIONS, LIST_POOLS, LIST_EVENTS)}
    return gateway


async def get(bench: Bench, path: str, *, token: str | None = VIEWERS, **headers: str) -> httpx.Response:
    if token:
        headers["Authorization"] = f"Bearer {token}"
    return await bench.http.get(path, headers=headers)


def event(reason: str, at: str, *, name: str = "demo", kind: str = "EscrowSession") -> Body:
    return {
        "metadata": {"name": f"{name}.{reason}".lower(), "namespace": "shop"},
        "involvedObject": {"kind": kind, "name": name, "uid": "uid-shop-demo"},
        "type": "Normal",
        "reason": reason,
        "message": "It was so.",
        "lastTimestamp": at,
    }


@pytest.mark.parametrize("path", FILES)
async def test_its_files_are_anybodys_and_run_nothing_from_elsewhere(gateway: Bench, path: str) -> None:
    found = await get(gateway, path, token=None)
    assert found.status_code == 200
    policy = found.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    again = await get(gateway, path, token=None, **{"If-None-Match": found.headers["etag"]})
    assert again.status_code == 304


async def test_its_files_name_one_another_and_nothing_else(gateway: Bench) -> None:
    for path in FILES:
        text = (await get(gateway, path, token=None)).text
        named = re.findall(r'(?:from "\./|(?:src|href)="page/)([\w.]+)"', text)
        assert {f"/page/{name}" for name in named} <= FILES.keys()
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text)
        assert "innerHTML" not in text


async def test_sessions_are_listed_to_who_may_list_them(viewer: Bench) -> None:
    found = await get(viewer, "/v1/namespaces/shop/escrowsessions")
    assert found.status_code == 200
    [one] = found.json()["items"]
    assert (one["namespace"], one["name"], one["phase"]) == ("shop", "demo", "Active")
    assert not found.json()["more"]


@pytest.mark.parametrize("path", ["escrowsessions", "walletpools", "escrowsessions/demo/events"])
async def test_nobody_else_is_told(viewer: Bench, path: str) -> None:
    assert (await get(viewer, f"/v1/namespaces/shop/{path}", token=None)).status_code == 401
    assert (await get(viewer, f"/v1/namespaces/shop/{path}", token=BUYERS)).status_code == 403
    assert (await get(viewer, f"/v1/namespaces/other/{path}")).status_code == 403


async def test_all_namespaces_need_a_right_of_their_own(viewer: Bench) -> None:
    refused = await get(viewer, "/v1/escrowsessions")
    assert refused.status_code == 403
    assert "list escrowsessions in all namespaces" in refused.json()["detail"]
    viewer.kube.rights.add(("buyer", "", LIST_SESSIONS))
    viewer.kube.put(SESSIONS, session_body("far", namespace="other"))
    found = await get(viewer, "/v1/escrowsessions", token=BUYERS)
    assert {one["namespace"] for one in found.json()["items"]} == {"shop", "other"}
    assert (await get(viewer, "/v1/walletpools", token=BUYERS)).status_code == 403


async def test_a_right_to_list_one_thing_is_none_to_list_another(viewer: Bench) -> None:
    viewer.kube.rights -= {("viewer", "shop", LIST_EVENTS), ("viewer", "shop", LIST_POOLS)}
    assert (await get(viewer, "/v1/namespaces/shop/escrowsessions")).status_code == 200
    assert (await get(viewer, "/v1/namespaces/shop/escrowsessions/demo/events")).status_code == 403
    assert (await get(viewer, "/v1/namespaces/shop/walletpools")).status_code == 403


async def test_who_has_the_list_is_sent_nothing(viewer: Bench) -> None:
    path = "/v1/namespaces/shop/escrowsessions"
    tag = (await get(viewer, path)).headers["etag"]
    again = await get(viewer, path, **{"If-None-Match": tag})
    assert (again.status_code, again.content) == (304, b"")


async def test_many_viewers_cost_one_list(viewer: Bench) -> None:
    for _ in range(5):
        await get(viewer, "/v1/namespaces/shop/escrowsessions")
    assert viewer.kube.requests["list", "escrowsessions"] == 1


async def test_an_answer_is_bounded_and_has_what_needs_a_look(viewer: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overview, "MOST", 3)
    monkeypatch.setattr(overview, "PAGE", 2)
    for number in range(9):
        viewer.kube.put(SESSIONS, session_body(f"a-{number}", phase=Phase.ACTIVE))
    viewer.kube.put(SESSIONS, session_body("z-failed", phase=Phase.FAILED))
    viewer.kube.put(SESSIONS, session_body("z-robbed", phase=Phase.EXPIRED, status={"moneyMovedAt": T}))
    found = (await get(viewer, "/v1/namespaces/shop/escrowsessions")).json()
    assert ([one["name"] for one in found["items"]], found["more"]) == (["z-robbed", "z-failed", "a-0"], True)


async def test_of_many_events_the_newest_are_told(viewer: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overview, "MOST_EVENTS", 3)
    monkeypatch.setattr(overview, "PAGE", 2)
    for second in (5, 1, 4, 2, 3):
        viewer.kube.put(EVENTS, event(f"At{second}", f"2026-01-01T00:00:0{second}Z"))
    viewer.kube.put(EVENTS, event("Odd", "no time"))
    found = (await get(viewer, "/v1/namespaces/shop/escrowsessions/demo/events")).json()
    assert ([one["reason"] for one in found["items"]], found["more"]) == (["At3", "At4", "At5"], True)


async def test_events_of_what_is_no_session_are_not_looked_for(viewer: Bench) -> None:
    viewer.kube.put(EVENTS, event("Forged", T, name="nobody"))
    assert (await get(viewer, "/v1/namespaces/shop/escrowsessions/nobody/events")).status_code == 404
    assert not viewer.kube.requests["list", "events"]


async def test_few_lists_are_read_at_a_time(viewer: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    reading, most = 0, 0

    async def pages(*_: Any, **__: Any) -> AsyncIterator[Listing]:
        nonlocal reading, most
        reading += 1
        most = max(most, reading)
        await asyncio.sleep(0)
        reading -= 1
        yield Listing([], "1")

    monkeypatch.setattr(viewer.kube, "pages", pages)
    for number in range(9):
        viewer.kube.rights.add(("viewer", f"n-{number}", LIST_SESSIONS))
    paths = [f"/v1/namespaces/n-{number}/escrowsessions" for number in range(9)]
    found = await asyncio.gather(*(get(viewer, path) for path in paths))
    assert {one.status_code for one in found} == {200}
    assert most == overview.AT_ONCE


async def test_a_list_that_takes_long_is_used_for_longer() -> None:
    now = [0.0]
    asked = 0

    class Slow:
        async def pages(self, *_: Any, **__: Any) -> AsyncIterator[Listing]:
            nonlocal asked
            asked += 1
            now[0] += 4.0
            yield Listing([], "1")

    lists = overview.Overview(Slow(), clock=lambda: now[0])  # type: ignore[arg-type]
    await lists.sessions("shop")
    now[0] += 30.0
    await lists.sessions("shop")
    assert asked == 1
    now[0] += 30.0
    await lists.sessions("shop")
    assert asked == 2


async def test_events_are_those_of_the_session_the_oldest_first(viewer: Bench) -> None:
    for one in (
        event("Second", "2026-01-01T00:00:02Z"),
        event("First", "2026-01-01T00:00:01Z"),
        event("Of", "2026-01-01T00:00:01Z", name="another"),
        event("Pod", "2026-01-01T00:00:01Z", kind="Pod"),
    ):
        viewer.kube.put(EVENTS, one)
    found = (await get(viewer, "/v1/namespaces/shop/escrowsessions/demo/events")).json()["items"]
    assert [one["reason"] for one in found] == ["First", "Second"]


async def test_a_name_cannot_become_a_part_of_a_selector(viewer: Bench) -> None:
    found = await get(viewer, "/v1/namespaces/shop/escrowsessions/demo,type=Warning/events")
    assert found.status_code == 404
    assert not viewer.kube.requests["list", "events"]


async def test_a_pool_says_how_full_it_is(viewer: Bench) -> None:
    status = {"summary": {"free": "1/1/1", "adopted": "2/2/2"}, "activeSessions": 2, "utilisation": "20%"}
    viewer.kube.put(POOLS, pool_body() | {"status": status})
    [found] = (await get(viewer, "/v1/namespaces/shop/walletpools")).json()["items"]
    assert (found["free"], found["utilisation"], found["ready"]) == ("1/1/1", "20%", "Unknown")


async def test_a_namespace_that_is_not_served_is_named(viewer: Bench) -> None:
    viewer.kube.refuses["shop"] = FORBIDDEN
    found = await get(viewer, "/v1/namespaces/shop/escrowsessions")
    assert found.status_code == 404
    assert "does not serve namespace shop" in found.json()["detail"]


async def test_what_tenants_write_is_shortened(viewer: Bench) -> None:
    ready = {"type": "Ready", "status": "False", "reason": "X", "message": "a\x1b[2J" + "b" * 10_000}
    ready["lastTransitionTime"] = T
    viewer.put_session(Phase.FAILED, status={"conditions": [ready]})
    [found] = (await get(viewer, "/v1/namespaces/shop/escrowsessions")).json()["items"]
    assert len(found["message"]) == overview.LONGEST_TEXT
    assert "\x1b" not in found["message"]
