"""Calls through the whole gateway."""

from __future__ import annotations

import asyncio
import contextlib
import json
import traceback
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from aiohttp import web

from escrow_gateway import identity
from escrow_gateway.app import AT_ONCE_BYTES
from escrow_gateway.identity import UNKNOWN_AT_ONCE
from escrow_gateway.lifecycle import wallet_path
from escrow_gateway.methods import NEVER
from escrow_gateway.wallets import Answer, Wallets
from escrow_operator.adapters.kube import POOLS, SESSIONS
from escrow_operator.adapters.kube_errors import KubeError, UnavailableError
from escrow_operator.models.common import ROLES, Label, Role
from escrow_operator.models.session import Phase, SessionKey
from unit.adapters.fake_server import Serve
from unit.factories import pool_body
from unit.gateway.bench import BUYERS, KEY, Bench


def kind(body: Any) -> str:
    """A problem's name."""
    return str(body["type"]).rpartition(":")[2]


async def test_a_call_reaches_the_wallet_and_its_answer_the_caller(gateway: Bench) -> None:
    response = await gateway.call("get_balance", {"account_index": 0})
    assert response.status_code == 200
    assert response.json() == {"id": "0", "jsonrpc": "2.0", "result": {"balance": 1}}
    assert gateway.wallets[Role.BUYER].calls == [("get_balance", {"account_index": 0})]


async def test_an_error_of_the_wallet_is_an_answer(gateway: Bench) -> None:
    response = await gateway.call("get_height")
    assert response.status_code == 200
    assert response.json()["error"]["code"] == -32601


async def test_the_answer_passes_byte_for_byte(gateway: Bench, serve: Serve) -> None:
    answer = b'{ "result" : {"amount": 18446744073709551615, "x": 1.10, "x": 2}}'

    async def odd(_: web.Request) -> web.Response:
        return web.Response(body=answer)

    gateway._urls["10.0.0.1"] = await serve(odd)
    assert (await gateway.call()).content == answer


async def test_a_long_answer_is_streamed(gateway: Bench) -> None:
    gateway.wallets[Role.BUYER].results["get_transfers"] = {"in": ["x" * 1000] * 1000}
    response = await gateway.call("get_transfers")
    assert len(response.json()["result"]["in"]) == 1000
    assert response.headers["content-length"] == str(len(response.content))


@pytest.mark.parametrize("token", [None, "", "nobodys", "x" * 20_000, "two words", "b\xe4d"])
async def test_without_a_good_token_nothing_is_told(gateway: Bench, token: str | None) -> None:
    headers = {} if token is None else {b"Authorization": f"Bearer {token}".encode("latin1")}
    response = await gateway.http.post(wallet_path(KEY, "buyer"), content=b"{}", headers=headers)
    assert (response.status_code, kind(response.json())) == (401, "unauthenticated")
    assert response.headers["www-authenticate"].startswith("Bearer")
    assert response.headers["content-type"] == "application/problem+json"
    assert not gateway.wallets[Role.BUYER].calls


async def test_a_token_for_another_audience_is_refused(gateway: Bench) -> None:
    gateway.kube.audiences = ["https://kubernetes.default.svc"]
    assert (await gateway.call()).status_code == 401


async def test_an_api_server_that_knows_no_audiences_is_not_believed(gateway: Bench) -> None:
    gateway.kube.audiences = []
    assert (await gateway.call()).status_code == 401


@pytest.mark.parametrize("role", ["vendor", "arbiter"])
async def test_another_partys_wallet_is_refused(gateway: Bench, role: str) -> None:
    response = await gateway.call(role=role)
    assert (response.status_code, kind(response.json())) == (403, "forbidden")
    assert f"read escrowsessions/{role}" in response.json()["detail"]


@pytest.mark.parametrize(
    ("method", "params", "verb"),
    [
        ("get_balance", {}, "read"),
        ("export_multisig_info", {}, "sign"),
        ("transfer", {"do_not_relay": True}, "sign"),
        ("transfer", {}, "relay"),
        ("submit_multisig", {}, "relay"),
    ],
)
async def test_each_class_has_a_verb_of_its_own(gateway: Bench, method: str, params: Any, verb: str) -> None:
    gateway.kube.rights.clear()
    for other in {"read", "sign", "relay", "keys"} - {verb}:
        gateway.allow("buyer", "buyer", other)
    assert (await gateway.call(method, params)).status_code == 403
    gateway.allow("buyer", "buyer", verb)
    gateway.kube.tokens["again"] = "buyer"
    gateway.kube.tokens["renamed"] = "buyer2"
    gateway.allow("buyer2", "buyer", verb)
    assert (await gateway.call(method, params, token="renamed")).status_code == 200


async def test_who_may_do_nothing_learns_not_even_whether_a_session_exists(gateway: Bench) -> None:
    there = await gateway.call(role="vendor")
    nowhere = await gateway.call(role="vendor", key=SessionKey("shop", "other"))
    assert there.content == nowhere.content


async def test_who_may_is_told_that_there_is_no_session(gateway: Bench) -> None:
    response = await gateway.call(key=SessionKey("shop", "other"))
    assert (response.status_code, kind(response.json())) == (404, "not-found")


@pytest.mark.parametrize("method", sorted(NEVER))
async def test_what_is_never_forwarded_is_forwarded_to_nobody(gateway: Bench, method: str) -> None:
    response = await gateway.call(method)
    assert (response.status_code, kind(response.json())) == (403, "never-forwarded")
    assert not gateway.wallets[Role.BUYER].calls


async def test_keys_are_shown_only_where_the_pool_allows_it(gateway: Bench) -> None:
    assert kind((await gateway.call("query_key", {"key_type": "view_key"})).json()) == "keys-off"
    gateway.kube.put(POOLS, pool_body(spec={"gateway": {"allowKeyMethods": True}}))
    gateway_pools_are_read_again(gateway)
    assert (await gateway.call("query_key", {"key_type": "view_key"})).status_code == 200


def gateway_pools_are_read_again(gateway: Bench) -> None:
    """As after ten seconds."""
    gateway.pools._allows._values.clear()


@pytest.mark.parametrize(
    "path",
    [
        "/page",
        "/page/../settings.py",
        "/v1",
        "/v1/namespaces/shop",
        "/v1/namespaces/shop/escrowsessions/demo/wallets/buyer",
        "/v1/namespaces/shop/escrowsessions/demo/wallets/buyer/json_rpc/",
        "/v1/namespaces/shop/escrowsessions/demo/wallets/broker/json_rpc",
        "/v1/namespaces/shop%2Fpods/escrowsessions/demo/wallets/buyer/json_rpc",
        "/v1/namespaces/../escrowsessions/demo/wallets/buyer/json_rpc",
    ],
)
async def test_other_paths_are_not_found(gateway: Bench, path: str) -> None:
    response = await gateway.post(path, b'{"method":"get_balance"}')
    assert response.status_code in (404, 403)
    assert response.headers["content-type"] == "application/problem+json"
    assert not gateway.wallets[Role.BUYER].calls


async def test_other_http_methods_say_which_there_are(gateway: Bench) -> None:
    response = await gateway.http.get(wallet_path(KEY, "buyer"))
    assert (response.status_code, kind(response.json())) == (405, "wrong-http-method")
    assert response.headers["allow"] == "POST"


async def test_a_request_that_is_too_long_is_refused(gateway: Bench) -> None:
    response = await gateway.post(wallet_path(KEY, "buyer"), b" " * (gateway.settings.longest_request + 1))
    assert (response.status_code, kind(response.json())) == (413, "too-large")


async def test_an_answer_that_is_too_long_is_refused(monkeypatch: pytest.MonkeyPatch, serve: Serve) -> None:
    bench = Bench(monkeypatch, longest_answer=2048)
    await bench.start(serve)
    bench.wallets[Role.BUYER].results["get_transfers"] = {"in": "x" * 4096}
    response = await bench.call("get_transfers")
    assert (response.status_code, kind(response.json())) == (502, "wallet-away")
    await bench.close()


async def test_a_wallet_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch, serve: Serve) -> None:
    bench = Bench(monkeypatch, call_deadline="1s")
    await bench.start(serve)

    async def never(_: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return web.Response()

    bench._urls["10.0.0.1"] = await serve(never)
    response = await bench.call()
    assert (response.status_code, kind(response.json())) == (504, "wallet-slow")
    await bench.close()


async def test_a_pod_that_was_replaced_is_found_at_its_new_place(gateway: Bench) -> None:
    assert (await gateway.call()).status_code == 200
    gateway.move(Role.BUYER, "10.0.0.9")
    wallets = {r.value: {"podUID": f"pod-{r}", "podIP": "10.0.0.9", "opened": True} for r in ROLES}
    gateway.put_session(Phase.ACTIVE, wallets=wallets)
    assert (await gateway.call()).status_code == 200


async def test_a_pod_that_is_gone_is_said_to_be(gateway: Bench) -> None:
    gateway.move(Role.BUYER, "10.0.0.9")
    response = await gateway.call()
    assert (response.status_code, kind(response.json())) == (502, "wallet-away")
    assert "was not carried out" in response.json()["detail"]
    assert response.headers["retry-after"]


async def test_a_wallet_that_is_not_open_is_none_of_the_callers_business(gateway: Bench) -> None:
    """As of a session that was closed since it was read."""
    gateway.wallets[Role.BUYER].errors["get_height"] = (-13, "No wallet file")
    response = await gateway.call("get_height")
    assert (response.status_code, kind(response.json())) == (502, "wallet-away")
    assert len(gateway.wallets[Role.BUYER].calls) == 2


async def test_a_namespace_that_is_not_served_has_no_sessions(gateway: Bench) -> None:
    gateway.kube.refuses["shop"] = KubeError(403, "Forbidden", "no")
    assert (await gateway.call()).status_code == 404


async def test_many_worthless_tokens_take_little_from_others(gateway: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await gateway.call()).status_code == 200
    go = asyncio.Event()
    create = gateway.kube.create
    monkeypatch.setattr(identity, "REVIEW_PATIENCE", 0.1)

    async def slow(*args: Any) -> Any:
        await go.wait()
        return await create(*args)

    monkeypatch.setattr(gateway.kube, "create", slow)
    many = [asyncio.create_task(gateway.call(token=f"worthless-{n}")) for n in range(UNKNOWN_AT_ONCE + 5)]
    await asyncio.sleep(0)
    gateway.identities._users._values.clear()
    known = asyncio.create_task(gateway.call())
    done, _ = await asyncio.wait(many, return_when=asyncio.FIRST_COMPLETED)
    assert {response.result().status_code for response in done} == {429}, "their review does not begin in time"
    assert len(done) <= 5
    go.set()
    assert (await known).status_code == 200, "who is known waits for none of them"
    assert sorted({response.status_code for response in await asyncio.gather(*many)}) == [401, 429]


async def test_a_login_key_that_changed_is_read_again(gateway: Bench) -> None:
    gateway.publish("n" * 64)
    assert (await gateway.call()).status_code == 502
    gateway.logins._keys._values.clear()
    gateway.publish("k" * 64)
    assert (await gateway.call()).status_code == 200


async def test_a_call_is_use_and_costs_one_write_a_minute(gateway: Bench) -> None:
    for _ in range(20):
        await gateway.call()
    await gateway.sessions.settle()
    assert gateway.kube.written("merge") == ["escrowsessions/demo"]
    found = gateway.kube.find(SESSIONS, "demo")
    assert found is not None
    assert Label.TOUCH in found["metadata"]["annotations"]


async def test_two_replicas_write_one_touch(gateway: Bench, monkeypatch: pytest.MonkeyPatch, serve: Serve) -> None:
    other = Bench(monkeypatch)
    await other.start(serve)
    other.sessions._kube = gateway.sessions._kube
    await other.sessions.read(KEY)
    await gateway.call()
    await gateway.sessions.settle()
    other.sessions.note_use(await other.sessions.read(KEY))
    await other.sessions.settle()
    assert gateway.kube.written("merge") == ["escrowsessions/demo"]
    await other.close()


async def test_a_refused_call_is_no_use(gateway: Bench) -> None:
    await gateway.call(role="vendor")
    await gateway.call("stop_wallet")
    await gateway.sessions.settle()
    assert not gateway.kube.written("merge")


@pytest.mark.parametrize("phase", [Phase.EXPIRED, Phase.SUSPENDED])
async def test_a_closed_session_is_woken_and_the_call_waits_for_it(gateway: Bench, phase: Phase) -> None:
    gateway.put_session(phase)
    call = asyncio.create_task(gateway.call())
    await gateway.kube.until_merged()
    assert not call.done()
    gateway.put_session(Phase.ACTIVE)
    assert (await call).status_code == 200
    assert gateway.kube.written("merge") == ["escrowsessions/demo"]


async def test_a_session_that_does_not_open_in_time_says_why(gateway: Bench) -> None:
    ready = {"type": "Ready", "status": "False", "reason": "AtCapacity", "message": "All places are taken."}
    ready["lastTransitionTime"] = "2026-01-01T00:00:00Z"
    gateway.put_session(Phase.PENDING, status={"conditions": [ready]}, opened=False)
    response = await gateway.call(Prefer="wait=0")
    assert (response.status_code, kind(response.json())) == (503, "not-ready")
    assert response.json()["reason"] == "AtCapacity"
    assert "All places are taken." in response.json()["detail"]
    assert response.headers["retry-after"]


@pytest.mark.parametrize("phase", [Phase.COMPLETED, Phase.REFUNDED, Phase.FAILED])
async def test_a_session_that_will_not_open_is_not_waited_for(gateway: Bench, phase: Phase) -> None:
    gateway.put_session(phase)
    response = await gateway.call(Prefer="wait=30")
    assert response.status_code == 409
    assert not gateway.kube.written("merge")


async def test_one_too_old_is_not_woken(gateway: Bench) -> None:
    gateway.put_session(Phase.EXPIRED, spec={"maxAge": "1h"})
    response = await gateway.call()
    assert (response.status_code, kind(response.json())) == (409, "ended")
    assert not gateway.kube.written("merge")


@pytest.mark.parametrize("method", ["get_balance", "export_multisig_info"])
@pytest.mark.parametrize("phase", [Phase.ACTIVE, Phase.SUSPENDED, Phase.EXPIRED])
async def test_one_that_its_spec_suspends_is_not_woken(gateway: Bench, phase: Phase, method: str) -> None:
    gateway.put_session(phase, spec={"suspend": True})
    response = await gateway.call(method)
    assert (response.status_code, kind(response.json())) == (409, "suspended")
    assert not gateway.kube.written("merge")


async def test_without_the_api_server_nothing_is_allowed(gateway: Bench) -> None:
    gateway.kube.refuses[None] = UnavailableError(0, "Unavailable", "away")
    response = await gateway.call()
    assert (response.status_code, kind(response.json())) == (503, "kubernetes-away")


async def test_reviews_are_kept_for_seconds(gateway: Bench) -> None:
    for _ in range(5):
        await gateway.call()
    assert gateway.kube.reviews == ["token", "access"]


async def test_calls_in_flight_are_bounded_by_wallet(monkeypatch: pytest.MonkeyPatch, serve: Serve) -> None:
    bench = Bench(monkeypatch, calls_per_wallet=4)
    await bench.start(serve)
    go = asyncio.Event()

    async def slow(request: web.Request) -> web.StreamResponse:
        await go.wait()
        return await bench.wallets[Role.BUYER].handle(request)

    bench._urls["10.0.0.1"] = await serve(slow)
    calls = [asyncio.create_task(bench.call()) for _ in range(3)]
    done, _ = await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
    [refused] = done
    assert (refused.result().status_code, kind(refused.result().json())) == (429, "busy")
    go.set()
    assert sorted(response.status_code for response in await asyncio.gather(*calls)) == [200, 200, 429]
    await bench.close()


async def test_every_request_is_logged_without_its_secrets(gateway: Bench) -> None:
    await gateway.call("set_tx_notes", {"notes": ["canary-of-the-buyer"]})
    await gateway.call("open_wallet", {"password": "canary-of-the-buyer"})
    await gateway.call(token="canary-token")
    assert "canary" not in gateway.log.getvalue()
    first, second, third = gateway.lines
    told = {
        "user": "buyer",
        "namespace": "shop",
        "session": "demo",
        "role": "buyer",
        "method": "set_tx_notes",
        "status": 200,
    }
    assert told.items() <= first.items()
    assert (second["problem"], second["status"]) == ("never-forwarded", 403)
    assert (third["problem"], third["status"]) == ("unauthenticated", 401)


async def test_an_error_of_its_own_tells_the_caller_nothing_of_it(
    gateway: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError(text)

    text = "-".join(["canary", "bird"])

    monkeypatch.setattr(gateway.sessions, "wallet", broken)
    response = await gateway.call()
    assert (response.status_code, kind(response.json())) == (500, "internal")
    assert text not in response.text + caplog.text + gateway.log.getvalue()


async def test_an_error_in_the_middle_of_an_answer_tells_the_servers_log_nothing_of_it(
    gateway: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """uvicorn logs whatever an application raises."""
    text = "-".join(["canary", "bird"])

    async def chunks() -> AsyncIterator[bytes]:
        yield b"x" * AT_ONCE_BYTES
        raise RuntimeError(text)

    @asynccontextmanager
    async def forward(*_: object) -> AsyncIterator[Answer]:
        yield Answer(None, chunks())

    monkeypatch.setattr(Wallets, "forward", forward)
    raising = httpx.AsyncClient(transport=httpx.ASGITransport(gateway.app), base_url="http://gateway")
    with pytest.raises(Exception, match="internal") as caught:
        await raising.post(
            wallet_path(KEY, "buyer"),
            content=b'{"method":"get_balance"}',
            headers={"Authorization": f"Bearer {BUYERS}"},
        )
    assert text not in "".join(traceback.format_exception(caught.value))
    assert gateway.lines[-1]["problem"] == "internal"


@pytest.mark.parametrize("size", [4_096, 2 * AT_ONCE_BYTES])
async def test_an_answer_without_an_end_is_cut_off(monkeypatch: pytest.MonkeyPatch, serve: Serve, size: int) -> None:
    bench = Bench(monkeypatch, longest_answer=size)
    await bench.start(serve)
    sent = 0

    async def endless(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):
            while sent < 64 * 2**20:
                await response.write(b"x" * 65_536)
                sent += 65_536
        return response

    bench._urls["10.0.0.1"] = await serve(endless)
    response = await bench.call()
    if size < AT_ONCE_BYTES:
        assert (response.status_code, kind(response.json())) == (502, "wallet-away")
    assert bench.lines[-1]["problem"] == "wallet-away"
    assert sent < 64 * 2**20, "it was read to the end"
    await bench.close()


async def test_metrics_name_no_session(gateway: Bench) -> None:
    await gateway.call()
    await gateway.call(role="vendor")
    names = {sample.name for metric in gateway.registry.collect() for sample in metric.samples}
    labels = json.dumps([sample.labels for metric in gateway.registry.collect() for sample in metric.samples])
    assert "xmr_escrow_gateway_requests_total" in names
    assert "demo" not in labels
    assert '"access": "read", "status": "200"' in labels


async def test_the_openapi_document_is_for_everybody(gateway: Bench) -> None:
    response = await gateway.http.get("/openapi.json")
    assert response.json()["openapi"].startswith("3.")
