"""Spans of requests: what is told of a call, and whose trace it is in."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from aiohttp import web
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased
from opentelemetry.trace import SpanKind, StatusCode

from escrow_gateway.app import SESSION_PATH, WALLET_PATH
from escrow_gateway.lifecycle import wallet_path
from escrow_operator.models.common import Role
from escrow_operator.models.session import Phase, SessionKey
from unit.adapters.fake_server import Serve
from unit.gateway.bench import BUYERS, KEY, Bench
from unit.gateway.test_server import serving_app
from unit.spans import Spans, is_child, recorded

CANARY = "c4n4ry"

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED = f"00-{TRACE}-{SPAN}-01"

SERVER = f"POST {WALLET_PATH}"


@pytest.fixture
def spans() -> Iterator[Spans]:
    with recorded() as found:
        yield found


async def test_a_call_is_a_span_and_its_wallets_answer_one_in_it(gateway: Bench, spans: Spans) -> None:
    await gateway.call("get_balance", {"account_index": 0})
    assert spans.names == ["get_balance", SERVER]
    server, wallet = spans.named(SERVER), spans.named("get_balance")
    assert (server.kind, wallet.kind) == (SpanKind.SERVER, SpanKind.CLIENT)
    assert is_child(wallet, server)
    assert server.attributes == {
        "http.request.method": "POST",
        "url.scheme": "http",
        "http.route": WALLET_PATH,
        "http.response.status_code": 200,
        "k8s.namespace.name": "shop",
        "xmr_escrow.session": "demo",
        "xmr_escrow.role": "buyer",
        "xmr_escrow.access": "read",
    }
    assert wallet.attributes == {
        "rpc.system.name": "jsonrpc",
        "rpc.method": "get_balance",
        "server.address": "10.0.0.1",
        "xmr_escrow.role": "buyer",
    }
    assert server.parent is None
    assert not server.links
    assert server.status.status_code is StatusCode.UNSET


async def test_a_session_that_is_waited_for_is_one_span_however_often_it_is_read(gateway: Bench, spans: Spans) -> None:
    gateway.put_session(Phase.EXPIRED, opened=False)
    call = asyncio.create_task(gateway.call())
    await gateway.kube.until_merged()
    gateway.put_session(Phase.ACTIVE)
    assert (await call).status_code == 200
    assert spans.names == ["wait for session", "get_balance", SERVER]
    assert spans.named("wait for session").attributes == {"xmr_escrow.woken": True}
    assert is_child(spans.named("wait for session"), spans.named(SERVER))


async def test_a_session_is_read_and_shown(gateway: Bench, spans: Spans) -> None:
    gateway.allow("buyer", "", "get")
    path = "/v1/namespaces/shop/escrowsessions/demo"
    await gateway.http.get(path, headers={"Authorization": f"Bearer {BUYERS}"})
    attributes = spans.named(f"GET {SESSION_PATH}").attributes or {}
    assert attributes["xmr_escrow.session"] == "demo"
    assert "xmr_escrow.role" not in attributes


async def test_what_is_not_served_says_why(gateway: Bench, spans: Spans) -> None:
    await gateway.call(role="vendor")
    await gateway.http.request("BREW", "/pot")
    await gateway.http.delete(wallet_path(KEY, "buyer"))
    refused, nowhere, wrong = spans.all
    assert (refused.attributes or {})["xmr_escrow.problem"] == "forbidden"
    assert refused.status.status_code is StatusCode.UNSET
    assert nowhere.name == "HTTP"
    assert (nowhere.attributes or {})["http.request.method"] == "_OTHER"
    assert wrong.name == f"DELETE {WALLET_PATH}"
    assert (wrong.attributes or {})["http.response.status_code"] == 405


async def test_a_wallet_that_is_away_is_an_error(gateway: Bench, spans: Spans) -> None:
    gateway.move(Role.BUYER, "10.9.9.9")
    assert (await gateway.call()).status_code == 502
    assert spans.names == ["get_balance", "get_balance", SERVER]
    assert [(span.attributes or {}).get("error.type") for span in spans.all] == ["NotSent", "NotSent", "wallet-away"]
    assert {span.status.status_code for span in spans.all} == {StatusCode.ERROR}
    assert {span.status.description for span in spans.all} == {None}


async def test_i9_nothing_that_a_caller_or_a_wallet_says_is_told(gateway: Bench, spans: Spans) -> None:
    gateway.wallets[Role.BUYER].errors["get_transfers"] = (-1, CANARY)
    gateway.kube.tokens[CANARY] = f"{CANARY}-user"
    gateway.allow(f"{CANARY}-user", "buyer", "read", "relay", "sign")
    texts = {"tracestate": f"a={CANARY}", "baggage": f"a={CANARY}", "user-agent": CANARY, "prefer": CANARY}
    headers: dict[str, Any] = texts | {"traceparent": SAMPLED, "Host": f"{CANARY}.example"}
    await gateway.call("transfer", {"destinations": [{"address": CANARY, "amount": 1}]}, token=CANARY, **headers)
    await gateway.call("get_transfers", {CANARY: CANARY}, token=CANARY, **headers)
    await gateway.call(CANARY, {}, token=CANARY, **headers)
    await gateway.call(token=f"{CANARY}-of-nobody", **headers)
    await gateway.call(key=SessionKey(CANARY, CANARY), **headers)
    await gateway.call(key=SessionKey("shop", f"{CANARY}_is_no_name"), token=CANARY, **headers)
    await gateway.call(role=CANARY, **headers)
    await gateway.http.request(CANARY.upper(), f"/{CANARY}?{CANARY}={CANARY}", headers=headers)
    await gateway.post(wallet_path(KEY, "buyer") + f"?{CANARY}", f'{{"{CANARY}'.encode(), **headers)
    assert len([span for span in spans.all if span.kind is SpanKind.SERVER]) == 9
    assert CANARY not in spans.text.lower()


async def test_i9_an_error_of_ours_tells_its_type_alone(
    gateway: Bench, spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError(CANARY)

    monkeypatch.setattr(gateway.sessions, "wallet", broken)
    assert (await gateway.call()).status_code == 500
    assert (spans.named(SERVER).attributes or {})["error.type"] == "internal"
    assert CANARY not in spans.text


async def test_a_stranger_gets_a_trace_of_its_own_with_a_link(gateway: Bench, spans: Spans) -> None:
    await gateway.call(traceparent=SAMPLED)
    server = spans.named(SERVER)
    assert server.parent is None
    assert f"{server.context.trace_id:032x}" != TRACE
    (link,) = server.links
    assert (f"{link.context.trace_id:032x}", f"{link.context.span_id:016x}") == (TRACE, SPAN)


@pytest.mark.parametrize("trusted", [False, True])
async def test_a_strangers_flag_has_nothing_recorded(
    monkeypatch: pytest.MonkeyPatch, serve: Serve, trusted: bool
) -> None:
    bench = Bench(monkeypatch, trust_traceparent=trusted)
    await bench.start(serve)
    with recorded(ParentBased(ALWAYS_OFF)) as spans:
        for _ in range(3):
            await bench.call(traceparent=SAMPLED)
        await bench.call(traceparent=f"00-{TRACE}-{SPAN}-00")
        await bench.call()
    await bench.close()
    assert spans.names.count(SERVER) == (3 if trusted else 0)
    assert all(f"{span.context.trace_id:032x}" == TRACE for span in spans.all)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        SAMPLED[:-1],
        f"{SAMPLED}-more",
        f"ff{SAMPLED[2:]}",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"01{SAMPLED[2:]}-{'x' * 100}",
    ],
)
async def test_a_trace_context_that_is_none_is_left_out(gateway: Bench, spans: Spans, text: str) -> None:
    assert (await gateway.call(traceparent=text)).status_code == 200
    assert not spans.named(SERVER).links


async def test_two_trace_contexts_are_none(gateway: Bench, spans: Spans) -> None:
    headers = [("traceparent", SAMPLED), ("traceparent", SAMPLED), ("Authorization", f"Bearer {BUYERS}")]
    await gateway.http.post(wallet_path(KEY, "buyer"), content=b'{"method": "get_balance"}', headers=headers)
    assert not spans.named(SERVER).links


async def test_a_wallet_learns_of_no_trace(gateway: Bench, spans: Spans, serve: Serve) -> None:
    """It could tell by it which calls belong together, and has no use for it."""
    got: list[str] = []

    async def handle(request: web.Request) -> web.Response:
        got.extend(name.lower() for name in request.headers)
        return web.json_response({"result": {}})

    gateway._urls["10.0.0.1"] = await serve(handle)
    assert (await gateway.call(traceparent=SAMPLED, tracestate="a=b", baggage="a=b")).status_code == 200
    assert len(spans.all) == 2
    assert {"traceparent", "tracestate", "baggage"}.isdisjoint(got)


async def test_spans_end_when_the_caller_goes_away(gateway: Bench, spans: Spans, serve: Serve) -> None:
    asked, go = asyncio.Event(), asyncio.Event()

    async def slow(_: web.Request) -> web.Response:
        asked.set()
        await go.wait()
        return web.json_response({"result": {}})

    gateway._urls["10.0.0.1"] = await serve(slow)
    running = await serving_app(gateway.app)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{running.port}") as http:
        body = json.dumps({"method": "get_balance"}).encode()
        call = asyncio.create_task(
            http.post(wallet_path(KEY, "buyer"), content=body, headers={"Authorization": f"Bearer {BUYERS}"})
        )
        await asked.wait()
        call.cancel()
        await asyncio.wait([call])
    assert spans.all == ()
    go.set()
    await running.stop()
    assert spans.names == ["get_balance", SERVER]


async def test_spans_end_with_a_call_that_is_cancelled(gateway: Bench, spans: Spans, serve: Serve) -> None:
    asked = asyncio.Event()

    async def silent(_: web.Request) -> web.Response:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    gateway._urls["10.0.0.1"] = await serve(silent)
    call = asyncio.create_task(gateway.call())
    await asked.wait()
    call.cancel()
    await asyncio.wait([call])
    assert [(span.name, (span.attributes or {})["error.type"]) for span in spans.all] == [
        ("get_balance", "CancelledError"),
        (SERVER, "CancelledError"),
    ]
