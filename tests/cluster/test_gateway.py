"""The gateway on a real cluster: who may call which wallet, and what a call does to its session."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

import pytest
import pytest_asyncio

from escrow_gateway.methods import METHODS as METHODS_OF_ALL
from escrow_gateway.methods import NEVER, Access
from escrow_operator.adapters.kube import DISRUPTION_BUDGETS, PODS, SECRETS, SESSIONS
from escrow_operator.core.manifests.common import disruption_budget_name
from escrow_operator.models.common import ROLES, Label
from escrow_operator.models.session import SessionKey
from harness.gateway import GATEWAY, LABELS, Gateway, account, gateway_of, rule, token
from harness.operator import NAMESPACE
from harness.place import Place
from harness.waiting import wait_for
from harness.world import World
from testbed.errors import ToolingError

WARM_SLOTS = 2

METHODS: Mapping[str, tuple[str, Mapping[str, object]]] = {
    "read": ("get_address", {"account_index": 0}),
    "sign": ("set_tx_notes", {"txids": [], "notes": []}),
    "relay": ("relay_tx", {"hex": "00"}),
    "keys": ("query_key", {"key_type": "view_key"}),
    "never": ("close_wallet", {}),
}
"""One of each class; the wallet's own errors are answers."""

METHODS_OF_WALLETS = {
    method for method, access in METHODS_OF_ALL.items() if access not in (Access.NEVER, Access.KEYS)
} - {"export_multisig_info"}
"""Those that are forwarded, but for the one that begins a signing round."""

PARTIES = {"buyers": "buyer", "vendors": "vendor", "arbiters": "arbiter"}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def gateway(world: World) -> AsyncIterator[Gateway]:
    async with gateway_of(world) as found:
        yield found


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def tokens(place: Place) -> dict[str, str | None]:
    """Callers by name. ``nobody`` has none; the other accounts have rights by the chart's ClusterRoles."""
    for name, role in PARTIES.items():
        await account(place, name, cluster_role=f"xmr-escrow-{role}")
    await account(place, "viewer", cluster_role="xmr-escrow-wallet-view")
    await account(place, "editor", cluster_role="edit")
    await account(place, "stranger")
    await account(place, "keeper", rule("buyer", "read", "sign", "relay", "keys"))
    found: dict[str, str | None] = {
        name: await token(place, name) for name in (*PARTIES, "viewer", "editor", "stranger", "keeper")
    }
    found["elsewhere"] = await token(place, "buyers", audience="another-audience")
    found["api"] = await token(place, "buyers", audience="https://kubernetes.default.svc.cluster.local")
    found["revoked"] = await _revoked(place)
    found["nobody"] = None
    return found


async def _revoked(place: Place) -> str:
    """A token of the buyer's that is as good as expired: it was bound to an object that is gone."""
    await place.secret("bound", {"x": "y"}, use=None)
    found = await token(place, "buyers", "--bound-object-kind", "Secret", "--bound-object-name", "bound")
    await place.api.delete(SECRETS, place.namespace, "bound")
    return found


def _expected(caller: str, role: str, kind: str) -> int:
    """The HTTP status: 200 for whatever the wallet says."""
    if caller in ("elsewhere", "api", "revoked", "nobody"):
        return 401
    rights = {name: {(party, verb) for verb in ("read", "sign", "relay")} for name, party in PARTIES.items()}
    rights["viewer"] = {(party, "read") for party in PARTIES.values()}
    rights["keeper"] = {("buyer", verb) for verb in METHODS}
    if kind == "never":
        return 403
    if (role, kind) not in rights.get(caller, set()):
        return 403
    # The pool does not allow it.
    return 403 if kind == "keys" else 200


async def test_each_caller_may_what_his_roles_say(
    place: Place, gateway: Gateway, tokens: dict[str, str | None]
) -> None:
    """Role × method class × caller."""
    await place.active("matrix")
    wrong = []
    for caller, role, kind in itertools.product(tokens, ROLES, METHODS):
        method, params = METHODS[kind]
        response = await gateway.call(place, "matrix", role.value, method, params, token=tokens[caller])
        if response.status_code != _expected(caller, role.value, kind):
            wrong.append((caller, role.value, kind, response.status_code, response.text))
    assert not wrong


async def test_a_party_of_one_session_has_no_other(place: Place, gateway: Gateway) -> None:
    await place.active("matrix")
    await account(place, "single", rule("vendor", "read", session="matrix"))
    single = await token(place, "single")
    assert (await gateway.call(place, "matrix", "vendor", token=single)).status_code == 200
    assert (await gateway.call(place, "another", "vendor", token=single)).status_code == 403


async def test_rights_in_one_namespace_are_none_in_another(
    world: World, gateway: Gateway, tokens: dict[str, str | None]
) -> None:
    other = Place(world, "elsewhere")
    await other.open(warm_slots=None)
    try:
        response = await gateway.call(other, "matrix", "buyer", token=tokens["buyers"])
        assert response.status_code == 403
    finally:
        await other.close()


async def test_what_is_never_forwarded_leaves_the_wallet_open(
    place: Place, gateway: Gateway, tokens: dict[str, str | None]
) -> None:
    await place.active("matrix")
    for method in NEVER:
        assert (await gateway.call(place, "matrix", "buyer", method, token=tokens["buyers"])).status_code == 403
    response = await gateway.call(place, "matrix", "buyer", "get_address", token=tokens["buyers"])
    assert response.json()["result"]["address"] == (await place.escrow("matrix").status())["address"]


async def test_no_method_that_is_forwarded_ends_the_wallets_process(place: Place, gateway: Gateway) -> None:
    """As ``sign`` does, of a multisig wallet."""
    escrow = await place.active("matrix")
    await account(place, "tester", rule("buyer", "read", "sign", "relay"))
    tester = await token(place, "tester")
    address = (await escrow.status())["address"]
    params: Mapping[str, object] = {
        "account_index": 0,
        "address": address,
        "data": "x",
        "message": "x",
        "txid": "a" * 64,
        "all": True,
        "destinations": [{"amount": 1, "address": address}],
        "multisig_txset": "00",
        "unsigned_txset": "00",
        "key": "x",
        "uri": "monero:x",
        "index": {"major": 0, "minor": 0},
        "info": ["x"],
        "do_not_relay": True,
        "outputs_data_hex": "00",
        "signed_key_images": [],
        "transfer_type": "all",
        "signature": "x",
        "hex": "00",
    }

    async def restarts() -> int:
        pods = await escrow.pods()
        return sum(c["restartCount"] for pod in pods for c in pod["status"]["containerStatuses"])

    before = await restarts()
    for method in sorted(METHODS_OF_WALLETS):
        response = await gateway.call(place, "matrix", "buyer", method, params, token=tester)
        assert response.status_code == 200, (method, response.text)
    assert await restarts() == before


async def test_keys_are_shown_where_the_pool_allows_it(
    place: Place, gateway: Gateway, tokens: dict[str, str | None]
) -> None:
    await place.active("matrix")
    await place.make_pool(warmSlots=WARM_SLOTS, gateway={"allowKeyMethods": True})

    async def allowed() -> bool:
        response = await gateway.call(
            place, "matrix", "buyer", "query_key", {"key_type": "view_key"}, token=tokens["keeper"]
        )
        return response.status_code == 200 and "result" in response.json()

    await wait_for(allowed, what="the view key", explain=place.explain)
    refused = await gateway.call(
        place, "matrix", "buyer", "query_key", {"key_type": "view_key"}, token=tokens["buyers"]
    )
    assert refused.status_code == 403
    await place.make_pool(warmSlots=WARM_SLOTS)


async def test_a_call_keeps_its_session_and_wakes_it_when_it_expired(
    place: Place, gateway: Gateway, tokens: dict[str, str | None]
) -> None:
    escrow = place.escrow("sleeper")
    await escrow.apply(ttl="10s")
    await escrow.until_active()
    await escrow.until_phase("Expired")
    assert Label.TOUCH not in ((await escrow.get())["metadata"].get("annotations") or {})
    response = await gateway.call(place, "sleeper", "vendor", "get_address", token=tokens["vendors"])
    assert response.status_code == 200, response.text
    assert response.json()["result"]["address"] == (await escrow.status())["address"]
    assert Label.TOUCH in (await escrow.get())["metadata"]["annotations"]
    await escrow.delete()


async def test_get_or_create(place: Place, gateway: Gateway) -> None:
    await account(place, "maker", rule("", "get", "create"))
    maker = {"Authorization": f"Bearer {await token(place, 'maker')}"}
    path = f"/v1/namespaces/{place.namespace}/escrowsessions/made"
    spec = {"poolRef": {"name": place.pool_name}, "amount": "0.35"}
    answers = await asyncio.gather(*(gateway.http.put(path, json={"spec": spec}, headers=maker) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [200, 200, 200, 201]
    await place.escrow("made").until_active()
    told = (await gateway.http.get(path, headers=maker)).json()
    assert told["ready"] is True
    assert told["address"] == (await place.escrow("made").status())["address"]
    different = await gateway.http.put(path, json={"spec": spec | {"amount": "0.36"}}, headers=maker)
    assert (different.status_code, "amount" in different.json()["detail"]) == (409, True)
    bad = await gateway.http.put(f"{path}-2", json={"spec": spec | {"amount": "lots"}}, headers=maker)
    assert (bad.status_code, "spec.amount" in bad.json()["detail"]) == (422, True)
    refused = await gateway.http.delete(path, headers=maker)
    assert refused.status_code == 405
    await place.escrow("made").delete()


async def test_an_export_holds_a_round_that_others_cannot_break(place: Place, gateway: Gateway) -> None:
    await place.active("matrix")
    for name in ("first", "second"):
        await account(place, name, rule("buyer", "read", "sign"))
    first, second = await token(place, "first"), await token(place, "second")
    assert (await gateway.call(place, "matrix", "buyer", "export_multisig_info", token=first)).status_code == 200
    refused = await gateway.call(place, "matrix", "buyer", "export_multisig_info", token=second)
    assert (refused.status_code, refused.json()["type"].rpartition(":")[2]) == (409, "signing-round")
    assert f"system:serviceaccount:{place.namespace}:first" in refused.json()["detail"]
    assert (await gateway.call(place, "matrix", "buyer", "export_multisig_info", token=first)).status_code == 200
    assert (await gateway.call(place, "matrix", "buyer", "get_balance", token=second)).status_code == 200


async def test_nobody_evicts_a_pod_in_the_middle_of_a_round(world: World, place: Place, gateway: Gateway) -> None:
    """A drain waits for the round, and no longer."""
    escrow = await place.active("drained")
    await account(place, "drainer", rule("vendor", "read", "sign", session="drained"))
    caller = await token(place, "drainer")
    (pod, *_) = (found["metadata"]["name"] for found in await escrow.pods())

    async def evict() -> str:
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": place.namespace}}
        path = f"/api/v1/namespaces/{place.namespace}/pods/{pod}/eviction"
        words = ("create", "--raw", path, "-f", "-")
        return await asyncio.to_thread(world.cluster.kubectl, *words, stdin=json.dumps(body))

    def guarded(wanted: bool) -> Callable[[], Awaitable[bool]]:
        async def look() -> bool:
            name = disruption_budget_name(SessionKey(place.namespace, "drained"))
            return (await place.api.find(DISRUPTION_BUDGETS, place.namespace, name) is not None) is wanted

        return look

    exported = await gateway.call(place, "drained", "vendor", "export_multisig_info", token=caller)
    assert exported.status_code == 200, exported.text
    await wait_for(guarded(True), what="the pods to be guarded", explain=escrow.explain)
    with pytest.raises(ToolingError, match="disruption budget"):
        await evict()
    # As the gateway does when a transaction was submitted.
    await place.kubectl("annotate", "escrowsession", "drained", f"{Label.SIGNING_ROUND}-")
    await wait_for(guarded(False), what="drains to go on", explain=escrow.explain)
    assert "Success" in await evict()

    async def replaced() -> bool:
        names = {found["metadata"]["name"] for found in await escrow.pods()}
        return pod not in names and len(names) == len(ROLES)

    await wait_for(replaced, what="another pod in the place of the evicted one", explain=escrow.explain)
    await escrow.until_active()
    await escrow.delete()


async def test_the_gateways_own_token_changes_nothing_but_its_annotations(world: World, place: Place) -> None:
    await place.active("matrix")

    async def does(*args: str) -> str:
        who = f"--as=system:serviceaccount:{NAMESPACE}:{GATEWAY}"
        return await asyncio.to_thread(world.cluster.kubectl, who, "--namespace", place.namespace, *args)

    def patch(body: object) -> tuple[str, ...]:
        return "patch", "escrowsession", "matrix", "--type=merge", f"--patch={json.dumps(body)}"

    await does(*patch({"metadata": {"annotations": {Label.TOUCH: "2026-01-01T00:00:00Z"}}}))
    changes: tuple[Mapping[str, object], ...] = (
        {"spec": {"settlement": {"outcome": "Release", "txid": "a" * 64}}},
        {"spec": {"ttl": "100h"}},
        {"metadata": {"labels": {"x": "y"}}},
        {"metadata": {"annotations": {"x": "y"}}},
        {"metadata": {"finalizers": []}},
    )
    for body in changes:
        with pytest.raises(ToolingError, match="the gateway changes no"):
            await does(*patch(body))
    for words in (("get", "secrets"), ("get", "secret", f"{place.pool_name}-slot-login"), ("get", "pods")):
        with pytest.raises(ToolingError, match="cannot"):
            await does(*words)
    with pytest.raises(ToolingError, match="cannot delete"):
        await does("delete", "escrowsession", "matrix")


async def test_i9_no_token_or_password_is_logged(world: World, place: Place, gateway: Gateway) -> None:
    await place.active("matrix")
    await account(place, "signer", rule("buyer", "sign"))
    signer = await token(place, "signer")
    canary = "canary-of-the-signer"
    told: Mapping[str, object] = {"notes": [canary], "txids": []}
    assert (await gateway.call(place, "matrix", "buyer", "set_tx_notes", told, token=signer)).status_code == 200
    told = {"filename": "x", "password": canary}
    assert (await gateway.call(place, "matrix", "buyer", "open_wallet", told, token=signer)).status_code == 403
    logs = [
        await world.api.logs(NAMESPACE, pod["metadata"]["name"])
        for pod in await world.api.list(PODS, NAMESPACE, labels=LABELS)
    ]
    assert any('"session": "matrix"' in log for log in logs)
    assert not any(canary in log or signer in log for log in logs)


async def test_its_object_is_found_by_no_name_of_another_kind(
    place: Place, gateway: Gateway, tokens: dict[str, str | None]
) -> None:
    for name in ("..", "matrix%2Fstatus", "Matrix", "a" * 300):
        response = await gateway.call(place, name, "buyer", token=tokens["buyers"])
        assert response.status_code in (403, 404), name
    assert await place.api.find(SESSIONS, place.namespace, "matrix")
