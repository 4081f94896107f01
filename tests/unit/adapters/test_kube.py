"""Lists in pages and watches, as an API server on loopback answers them."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import RawTestServer
from hypothesis import example, given, settings
from hypothesis import strategies as st
from kubernetes.aio import client

from escrow_operator.adapters import kube as kube_adapter
from escrow_operator.adapters.kube import POOLS, SECRETS, SESSIONS, Kube, Resource
from escrow_operator.adapters.kube_errors import ExpiredError, InvalidNameError, UnavailableError
from unit.adapters.fake_server import Handler, Serve


@asynccontextmanager
async def connected(serve: Serve, handler: Handler) -> AsyncIterator[Kube]:
    kube = Kube(client.ApiClient(configuration=client.Configuration(host=await serve(handler))))
    try:
        yield kube
    finally:
        await kube.close()


def event(version: str, annotation: str = "") -> bytes:
    meta = {"resourceVersion": version, "annotations": {"note": annotation}}
    return json.dumps({"type": "MODIFIED", "object": {"metadata": meta}}).encode()


def streams(*chunks: bytes) -> Handler:
    """A watch that is sent in these parts."""

    async def handle(request: web.Request) -> web.StreamResponse:
        answer = web.StreamResponse()
        await answer.prepare(request)
        for chunk in chunks:
            await answer.write(chunk)
        return answer

    return handle


async def versions(kube: Kube) -> list[str]:
    found = kube.watch(SESSIONS, None, version="1")
    return [event["object"]["metadata"]["resourceVersion"] async for event in found]


LONG = "a" * 250_000
"""About as long as all annotations of an object may be."""


@pytest.mark.parametrize(("size", "annotation"), [(7, ""), (10_000, ""), (100_000, LONG), (10_000_000, LONG)])
async def test_events_come_whole_however_they_were_sent(serve: Serve, size: int, annotation: str) -> None:
    text = b"\n".join([event("2", annotation), event("3"), event("4", annotation), b""])
    chunks = [text[at : at + size] for at in range(0, len(text), size)]

    async with connected(serve, streams(*chunks)) as kube:
        assert await versions(kube) == ["2", "3", "4"]


async def test_an_event_that_is_cut_off_is_none(serve: Serve) -> None:
    async with connected(serve, streams(event("2") + b"\n" + event("3")[:20])) as kube:
        assert await versions(kube) == ["2"]


async def test_a_version_that_is_too_old_is_told_apart(serve: Serve) -> None:
    status = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}
    text = json.dumps({"type": "ERROR", "object": status}).encode() + b"\n"

    async with connected(serve, streams(text)) as kube:
        with pytest.raises(ExpiredError):
            await versions(kube)


async def test_all_pages_come_in_order_and_the_next_one_is_asked_for_ahead(serve: Serve) -> None:
    asked: list[str | None] = []

    async def handle(request: web.Request) -> web.Response:
        token = request.query.get("continue")
        asked.append(token)
        number = int(token or 0)
        meta: dict[str, Any] = {"resourceVersion": "7"} | ({"continue": str(number + 1)} if number < 2 else {})
        return web.json_response({"items": [{"number": number}], "metadata": meta})

    async with connected(serve, handle) as kube:
        found = [(page.items[0]["number"], page.version) async for page in kube.pages(SESSIONS)]
        assert found == [(0, "7"), (1, "7"), (2, "7")]
        assert asked == [None, "1", "2"]
        assert kube.requests["list", "escrowsessions"] == 3


async def test_a_list_that_is_left_is_asked_no_further(serve: Serve) -> None:
    async def handle(_: web.Request) -> web.Response:
        return web.json_response({"items": [], "metadata": {"resourceVersion": "7", "continue": "more"}})

    async with connected(serve, handle) as kube:
        pages = kube.pages(SESSIONS)
        await anext(pages)
        await pages.aclose()  # type: ignore[attr-defined]
        assert kube.requests["list", "escrowsessions"] <= 2


RESOURCES = [value for value in vars(kube_adapter).values() if isinstance(value, Resource)]
NASTY = st.text(st.sampled_from("./%?#&=;:@+ aAz09-_\\\0\n\r\t\x7fäż２。／．\u202e\ud800"))


async def test_i10_no_more_of_a_list_is_held_than_one_page_may_have(serve: Serve) -> None:
    """A tenant's 250 objects of 1.4 MB would take all the memory that the operator may have: it would never start."""
    numbers: list[int] = []
    taken: list[int] = []
    lengths = [1_400_000] * 20 + [100] * 500

    async def handle(request: web.Request) -> web.Response:
        first, limit = int(request.query.get("continue", 0)), int(request.query["limit"])
        numbers.append(limit)
        items = [{"metadata": {"labels": {"others": "a" * length}}} for length in lengths[first : first + limit]]
        more = {"continue": str(first + limit)} if first + limit < len(lengths) else {}
        return web.json_response({"items": items, "metadata": {"resourceVersion": "7"} | more})

    async with connected(serve, handle) as kube:
        async for page in kube.pages(SESSIONS):
            taken.append(len(page.items))
            size = sum(len(body["metadata"]["labels"]["others"]) for body in page.items)
            assert size <= kube_adapter.PAGE_BYTES
    assert sum(taken) == len(lengths)
    assert numbers[0] == kube_adapter.PAGE_SIZE
    assert taken[-1] > 100, "what is short is listed in long pages again"


async def test_one_object_is_read_however_long_it_is(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kube_adapter, "PAGE_BYTES", 1_000)

    async def handle(_: web.Request) -> web.Response:
        item = {"metadata": {"labels": {"others": LONG}}}
        return web.json_response({"items": [item], "metadata": {"resourceVersion": "7"}})

    async with connected(serve, handle) as kube:
        assert [len(page.items) async for page in kube.pages(SESSIONS)] == [1]


def nested(depth: int) -> bytes:
    """A list with an object of before the schema of pools bounded what is in them."""
    deep = b'{"a":' * depth + b"1" + b"}" * depth
    return b'{"items":[{"spec":%s}],"metadata":{"resourceVersion":"7"}}' % deep


async def test_one_object_that_is_nested_does_not_hide_all_others(serve: Serve) -> None:
    async def handle(_: web.Request) -> web.Response:
        return web.Response(body=nested(300))

    async with connected(serve, handle) as kube:
        assert [page.version async for page in kube.pages(POOLS)] == ["7"]


@pytest.mark.parametrize("body", [nested(100_000), b"<html>", b"\xff", b""])
async def test_what_is_no_json_of_an_api_server_is_told_apart(serve: Serve, body: bytes) -> None:
    async def handle(_: web.Request) -> web.Response:
        return web.Response(body=body)

    async with connected(serve, handle) as kube:
        with pytest.raises(UnavailableError):
            _ = [page async for page in kube.pages(POOLS)]


CLIMBS = "../../other-namespace/secrets/bank"
ANYTHING = st.text() | NASTY | st.from_regex(r"[a-z0-9.-]*") | st.sampled_from([CLIMBS, "..", "", "a"])


@contextlib.asynccontextmanager
async def listening() -> AsyncIterator[tuple[Kube, list[str]]]:
    """A connection, and the request targets that reached its server, as they were on the wire."""
    reached: list[str] = []

    async def handle(request: web.BaseRequest) -> web.Response:
        reached.append(request.raw_path)
        body = {} if "watch" in request.query else {"items": [], "metadata": {"resourceVersion": "1"}}
        return web.json_response(body)

    server = RawTestServer(handle, host="127.0.0.1")
    await server.start_server()
    kube = Kube(client.ApiClient(configuration=client.Configuration(host=str(server.make_url("")).rstrip("/"))))
    try:
        yield kube, reached
    finally:
        await kube.close()
        await server.close()


async def ask(kube: Kube, verb: str, resource: Resource, namespace: str, name: str) -> None:
    match verb:
        case "get":
            await kube.get(resource, namespace, name)
        case "delete":
            await kube.delete(resource, namespace, name)
        case "patch":
            await kube.patch(resource, namespace, name, [])
        case "apply":
            await kube.apply(resource, namespace, {"metadata": {"name": name}})
        case "create":
            await kube.create(resource, namespace, {})
        case "list":
            _ = [page async for page in kube.pages(resource, namespace)]
        case "watch":
            async for _ in kube.watch(resource, namespace, version="1"):
                pass


WITHOUT_NAME = {"create", "list", "watch"}


@given(
    verb=st.sampled_from(["get", "delete", "patch", "apply", "create", "list", "watch"]),
    resource=st.sampled_from(RESOURCES),
    namespace=st.just("shop") | ANYTHING,
    name=ANYTHING,
)
@settings(max_examples=150)
@example("get", SECRETS, "shop", CLIMBS)
@example("delete", SECRETS, "shop", "")
@example("get", SECRETS, "shop/secrets/bank?", "password")
async def test_a_name_reaches_the_server_as_one_segment_or_nothing_does(
    verb: str, resource: Resource, namespace: str, name: str
) -> None:
    below = [*(["namespaces", namespace] if resource.namespaced else []), resource.plural]
    path = "/".join([resource.prefix, *below, *([] if verb in WITHOUT_NAME else [name])])
    async with listening() as (kube, reached):
        try:
            await ask(kube, verb, resource, namespace, name)
        except InvalidNameError:
            assert reached == []
        else:
            assert [target.partition("?")[0] for target in reached] == [path]


@pytest.mark.parametrize("name", [CLIMBS, "bank?watch=1", "bank#", "%2e%2e", "..", ".", "", "Bank", "b\n", "a" * 254])
async def test_what_is_no_name_is_told_and_not_sent(name: str) -> None:
    async with listening() as (kube, reached):
        for verb in ("get", "delete", "patch", "apply"):
            with pytest.raises(InvalidNameError, match="is not a valid name"):
                await ask(kube, verb, SECRETS, "shop", name)
        assert (reached, sum(kube.requests.values())) == ([], 0)
