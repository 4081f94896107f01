"""What the operator's own token is good for in other hands."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from escrow_operator.adapters.kube import NETWORK_POLICIES, SECRETS, SERVICES
from escrow_operator.core.manifests.common import BASE_LABELS
from escrow_operator.core.manifests.prepared import PREPARED_TYPE
from escrow_operator.core.manifests.session import DEED_TYPE
from escrow_operator.models.common import ROLES, Label
from harness.operator import NAMESPACE, RELEASE
from harness.place import Place
from harness.waiting import wait_for
from harness.world import World
from testbed.errors import ToolingError

WARM_SLOTS = 1

JsonPatch = list[dict[str, Any]]


class Thief:
    """Whoever has the operator's token, in one namespace."""

    def __init__(self, world: World, place: Place) -> None:
        self._world = world
        self._namespace = place.namespace

    async def does(self, *args: str, stdin: str = "") -> str:
        """What kubectl says; raises ToolingError with the API server's words."""
        who = f"--as=system:serviceaccount:{NAMESPACE}:{RELEASE}"
        words = (who, "--namespace", self._namespace, *args)
        return await asyncio.to_thread(self._world.cluster.kubectl, *words, stdin=stdin)

    async def is_denied(self, why: str, *args: str, stdin: str = "") -> None:
        with pytest.raises(ToolingError, match=why):
            await self.does(*args, stdin=stdin)


def _patch(kind: str, name: str, ops: JsonPatch) -> list[str]:
    return ["patch", kind, name, "--type=json", f"--patch={json.dumps(ops)}"]


async def test_i4_a_deed_with_an_address_can_be_neither_changed_nor_deleted(world: World, place: Place) -> None:
    escrow = await place.active("sealed")
    thief = Thief(world, place)
    gone = {"apiVersion": "v1", "kind": "Pod", "name": "gone", "uid": "11111111-1111-1111-1111-111111111111"}
    for role in ROLES:
        name = f"sealed-{role}-wallet"
        deed = await place.api.get(SECRETS, place.namespace, name)
        assert (deed["immutable"], deed["type"]) == (True, DEED_TYPE)
        await thief.is_denied("cannot delete resource", "delete", "secret", name)
        overwrite = _patch("secret", name, [{"op": "add", "path": "/data/password", "value": "eA=="}])
        await thief.is_denied("immutable", *overwrite)
        orphan = _patch("secret", name, [{"op": "add", "path": "/metadata/ownerReferences", "value": [gone]}])
        await thief.is_denied("a deed is owned by nothing", *orphan)
        assert (await place.api.get(SECRETS, place.namespace, name))["data"] == deed["data"]
    # What the operator writes of a deed without touching it stays possible.
    note = [{"op": "add", "path": "/metadata/annotations/xmr-escrow.dev~1note", "value": "x"}]
    await thief.does(*_patch("secret", "sealed-buyer-wallet", note))
    await escrow.delete()


async def test_what_is_somebody_elses_is_not_the_operators_to_change(world: World, place: Place) -> None:
    thief = Thief(world, place)
    await place.secret("bank", {"pin": "1234"})
    port = {"ports": [{"port": 80}]}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "shop"}, "spec": port}
    await place.api.create(SERVICES, place.namespace, service)
    guard = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "guard"},
        "spec": {"podSelector": {"matchLabels": {"app": "shop"}}},
    }
    await place.api.create(NETWORK_POLICIES, place.namespace, guard)

    overwrite = _patch("secret", "bank", [{"op": "add", "path": "/data/pin", "value": "eA=="}])
    await thief.is_denied("changes only deeds, prepared escrows, connection Secrets", *overwrite)
    # To patch by kubectl takes the right to get; to apply, as the operator does, takes none.
    redirect = json.dumps(service | {"spec": {"ports": [{"port": 80, "targetPort": 81}], "selector": {"app": "evil"}}})
    apply = ("apply", "--server-side", "--force-conflicts", "-f", "-")
    await thief.is_denied("changes only what it made", *apply, stdin=redirect)
    await thief.is_denied("changes only what it made", "delete", "networkpolicy", "guard")
    await thief.is_denied("no token for the API server", "create", "deployment", "miner", "--image=miner")


async def test_i14_a_prepared_escrow_that_was_given_is_given_to_nobody_else(world: World, place: Place) -> None:
    thief = Thief(world, place)
    claimed = {"name": "given", "annotations": {Label.CLAIMED_BY: "one"}, "labels": dict(BASE_LABELS)}
    await place.api.create(SECRETS, place.namespace, {"metadata": claimed, "type": PREPARED_TYPE})
    path = "/metadata/annotations/" + Label.CLAIMED_BY.replace("/", "~1")
    for op in ({"op": "replace", "path": path, "value": "two"}, {"op": "remove", "path": path}):
        await thief.is_denied("given to one session", *_patch("secret", "given", [op]))
    # What the operator writes of one besides stays possible.
    await thief.does(*_patch("secret", "given", [{"op": "add", "path": "/metadata/ownerReferences", "value": []}]))


async def test_what_the_operator_makes_is_no_right_to_more(world: World, place: Place) -> None:
    thief = Thief(world, place)
    own = {"app.kubernetes.io/managed-by": "xmr-escrow-operator"}
    token = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "token", "annotations": {"kubernetes.io/service-account.name": "default"}},
        "type": "kubernetes.io/service-account-token",
    }
    privileged = {"name": "c", "image": "evil", "securityContext": {"privileged": True}}
    root = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "root", "labels": own},
        "spec": {
            "selector": {"matchLabels": own},
            "template": {
                "metadata": {"labels": own},
                "spec": {"automountServiceAccountToken": False, "containers": [privileged]},
            },
        },
    }
    detour = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "detour", "labels": own},
        "spec": {"externalIPs": ["192.0.2.1"], "ports": [{"port": 443}], "selector": own},
    }
    intruder = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "intruder", "labels": own | {"kubernetes.io/service-name": "shop"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["192.0.2.1"]}],
    }
    opening = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "opening", "labels": own},
        "spec": {"podSelector": {}, "ingress": [{}]},
    }
    halt = {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": "halt", "labels": own},
        "spec": {"minAvailable": 3, "selector": {"matchLabels": {"app.kubernetes.io/name": "monero-wallet-rpc"}}},
    }
    for body, why in (
        (token, "makes only deeds, prepared escrows, connection Secrets, login keys"),
        (root, "no rights of root"),
        (detour, "headless and select nothing"),
        (intruder, "of its own Services"),
        (opening, "of wallet pods"),
        (halt, "of the wallet pods of one session"),
    ):
        await thief.is_denied(why, "create", "-f", "-", stdin=json.dumps(body))


async def test_connections_are_emptied_when_a_session_stays_without_wallets(place: Place) -> None:
    escrow = await place.active("brief")
    assert (await escrow.connection(ROLES[0]))["password"]
    await escrow.change(ttl="10s")
    await escrow.until_phase("Expired")

    async def emptied() -> bool:
        secrets = [await place.api.find(SECRETS, place.namespace, f"brief-{role}-rpc") for role in ROLES]
        return not any((secret or {}).get("data") for secret in secrets)

    await wait_for(emptied, what="connection Secrets without a login", explain=place.explain)
    await escrow.delete()
