"""Lists in pages and watches, as an API server on loopback answers them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from kubernetes.aio import client

from escrow_operator.adapters.kube import SESSIONS, Kube
from escrow_operator.adapters.kube_errors import ExpiredError
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
