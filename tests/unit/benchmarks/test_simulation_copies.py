"""Copies of an Active session are what the operator itself would have left."""

from __future__ import annotations

from typing import Any

from benchmarks.fleet import objects
from benchmarks.fleet.copies import Copies, running_status
from escrow_operator.models.common import ROLES, Label, Role, SlotState
from escrow_operator.models.pool import PoolKey
from escrow_operator.models.session import Session
from escrow_operator.models.slot import Slot
from harness.api import Body

NAMESPACE = "simulation-scale"


class Place:
    """As much of a place as making a body takes."""

    class World:
        client = None

    world = World()
    namespace = NAMESPACE
    pools = (PoolKey(NAMESPACE, "pool-0"),)


def original_pod(role: Role) -> Body:
    return {
        "metadata": {
            "name": f"pool-0-{role.value}-5d9-abc",
            "namespace": NAMESPACE,
            "uid": f"uid-{role.value}",
            "resourceVersion": "7",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {
                Label.POOL: "pool-0",
                Label.ROLE: role.value,
                Label.SLOT: "adopted",
                Label.SESSION: "session-0",
                Label.SESSION_UID: "uid-0",
            },
            "annotations": {Label.WALLET_FILE: f"session-0-{role.value}", Label.LOGIN_KEY: "key"},
            "ownerReferences": [{"uid": "uid-0"}],
        },
        "spec": {"nodeName": "simulated-0", "containers": [{"name": "monero-wallet-rpc"}]},
        "status": {"phase": "Running"},
    }


def copies() -> Copies:
    wallets = {
        role.value: {"pod": f"pool-0-{role.value}-5d9-abc", "secret": f"session-0-{role.value}-rpc"} for role in ROLES
    }
    original = {"metadata": {"name": "session-0"}, "status": {"phase": "Active", "wallets": wallets}}
    place: Any = Place()
    return Copies(place, original, {role: original_pod(role) for role in ROLES})


def session(name: str) -> Session:
    body = objects.session(name, "pool-0")
    meta = {"namespace": NAMESPACE, "uid": "uid-9", "resourceVersion": "1", "creationTimestamp": "2026-01-01T00:00:00Z"}
    return Session.parse(body | {"metadata": body["metadata"] | meta})


def test_the_status_names_the_copy_and_its_pods() -> None:
    status = copies().status("copy-9", "2026-02-01T00:00:00Z")
    assert status["wallets"]["buyer"] == {"pod": "copy-9-buyer-pod", "secret": "copy-9-buyer-rpc"}
    assert (status["lastActivityTime"], status["expiresAt"]) == ("2026-02-01T00:00:00Z", "2026-02-02T00:00:00Z")


def test_a_pod_is_adopted_by_the_copy_and_bound_to_a_simulated_node() -> None:
    body = copies().pod(session("copy-9"), Role.VENDOR, 9)
    assert body["spec"]["nodeName"] == "simulated-1"
    assert "status" not in body
    server = {"namespace": NAMESPACE, "uid": "new", "resourceVersion": "8", "creationTimestamp": "2026-01-01T00:00:00Z"}
    slot = Slot.parse(body | {"metadata": body["metadata"] | server})
    assert (slot.state, slot.session_uid, slot.session_name) == (SlotState.ADOPTED, "uid-9", "copy-9")
    assert (slot.wallet_file, slot.login_key) == ("copy-9-vendor", "key")


def test_running_pods_are_claimable_slots_but_for_their_state_and_have_addresses_of_their_own() -> None:
    body = copies().pod(session("copy-9"), Role.VENDOR, 9)
    server = {"namespace": NAMESPACE, "uid": "new", "resourceVersion": "8", "creationTimestamp": "2026-01-01T00:00:00Z"}
    slot = Slot.parse(body | {"metadata": body["metadata"] | server, "status": running_status(9, Role.VENDOR)})
    assert slot.usable
    addresses = {running_status(number, role)["podIP"] for number in range(10_000) for role in ROLES}
    assert len(addresses) == 30_000
