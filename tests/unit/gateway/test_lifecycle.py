"""Get or create, by PUT of a spec."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from escrow_operator.adapters.kube import SESSIONS
from escrow_operator.models.common import Label
from escrow_operator.models.session import Phase, SessionKey
from unit.gateway.bench import BUYERS, Bench
from unit.gateway.test_app import kind

SPEC = {"poolRef": {"name": "default"}, "amount": "0.35"}


async def put(gateway: Bench, name: str, body: Any, *, token: str = BUYERS) -> httpx.Response:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    path = f"/v1/namespaces/shop/escrowsessions/{name}"
    return await gateway.http.put(path, content=data, headers={"Authorization": f"Bearer {token}"})


@pytest.fixture(autouse=True)
def maker(gateway: Bench) -> None:
    """The buyer may make and see sessions."""
    gateway.allow("buyer", "", "create", "get")


async def test_one_is_created_with_the_name_of_its_maker(gateway: Bench) -> None:
    response = await put(gateway, "new", {"spec": SPEC})
    assert (response.status_code, response.json()["name"]) == (201, "new")
    body = gateway.kube.find(SESSIONS, "new")
    assert body is not None
    assert body["metadata"]["annotations"] == {"xmr-escrow.dev/created-by": "buyer"}
    assert body["spec"]["amount"] == "0.35"


async def test_the_one_there_is_is_given_and_counts_as_used(gateway: Bench) -> None:
    response = await put(gateway, "demo", {"apiVersion": "x", "kind": "y", "metadata": {"name": "demo"}, "spec": SPEC})
    assert response.status_code == 200
    assert response.json()["wallets"]["vendor"].endswith("/demo/wallets/vendor/json_rpc")
    await gateway.sessions.settle()
    body = gateway.kube.find(SESSIONS, "demo")
    assert body is not None
    assert Label.TOUCH in body["metadata"]["annotations"]


async def test_a_closed_one_is_woken(gateway: Bench) -> None:
    gateway.put_session(Phase.EXPIRED)
    assert (await put(gateway, "demo", {"spec": SPEC})).status_code == 200
    assert gateway.kube.written("merge") == ["escrowsessions/demo"]


async def test_one_with_another_spec_is_not_given(gateway: Bench) -> None:
    response = await put(gateway, "demo", {"spec": SPEC | {"amount": "1.0", "confirmations": True}})
    assert (response.status_code, kind(response.json())) == (409, "different")
    assert "amount, confirmations" in response.json()["detail"]
    assert not gateway.kube.written("merge")


async def test_what_the_api_server_refuses_is_told(gateway: Bench) -> None:
    response = await put(gateway, "new", {"spec": SPEC | {"amount": 7}})
    assert (response.status_code, kind(response.json())) == (422, "rejected")


@pytest.mark.parametrize("missing", ["create", "get"])
async def test_it_takes_both_rights(gateway: Bench, missing: str) -> None:
    gateway.kube.rights.discard(("buyer", missing, ""))
    assert (await put(gateway, "demo", {"spec": SPEC})).status_code == 403
    assert (await put(gateway, "new", {"spec": SPEC})).status_code == 403
    assert gateway.kube.find(SESSIONS, "new") is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[",
        b"[]",
        b"{}",
        {"spec": []},
        {"spec": SPEC, "status": {}},
        {"spec": SPEC, "metadata": {"name": "other"}},
        {"spec": SPEC, "metadata": {"finalizers": ["x"]}},
        {"spec": SPEC, "metadata": {"ownerReferences": []}},
        b'{"spec":{"a":[' + b"[]," * 2_000 + b"[]]}}",
    ],
)
async def test_what_is_no_spec_is_refused(gateway: Bench, body: Any) -> None:
    response = await put(gateway, "new", body)
    assert (response.status_code, kind(response.json())) == (400, "malformed")
    assert gateway.kube.find(SESSIONS, "new") is None


async def test_a_name_that_is_none_is_of_nothing(gateway: Bench) -> None:
    assert (await put(gateway, "No_Name", {"spec": SPEC})).status_code == 404


async def test_showing_is_no_use(gateway: Bench) -> None:
    headers = {"Authorization": f"Bearer {BUYERS}"}
    response = await gateway.http.get("/v1/namespaces/shop/escrowsessions/demo", headers=headers)
    assert (response.status_code, response.json()["phase"]) == (200, "Active")
    await gateway.sessions.settle()
    assert not gateway.kube.written("merge")
    assert SessionKey("shop", "demo") not in gateway.sessions._seen._values
