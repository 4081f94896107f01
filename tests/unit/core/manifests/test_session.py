"""What a session consists of: whose each object is, and what is left when it goes."""

from __future__ import annotations

import base64
import dataclasses
from typing import Any

import pytest

from escrow_operator.adapters.kube_errors import ConflictError
from escrow_operator.core.claim import wallet_holders
from escrow_operator.core.manifests.common import endpoint_hosts
from escrow_operator.core.manifests.session import (
    adoption,
    connection_secret,
    deed_patch,
    deed_secret,
    disruption_budget,
    endpoint_slice,
    note_wallet_file,
    settled_patch,
    withdrawal,
)
from escrow_operator.core.wallet_tls import FORMAT, derive_certificate
from escrow_operator.models.common import ROLES, Label, Role, SlotState
from escrow_operator.models.deed import Deed, settled_mark
from escrow_operator.models.monero import Login
from escrow_operator.models.slot import Slot
from simulation.jsonpatch import applied
from unit.factories import session, slot, slot_body

SESSION = session()
DEED = Deed(Role.BUYER, "shop.demo.00000000", "hunter2", pool="default", restore_height=7)


def free_pod(**meta: Any) -> dict[str, Any]:
    body = slot_body("p")
    body["metadata"]["ownerReferences"] = [{"uid": "replicaset", "controller": True}]
    body["metadata"] |= meta
    return body


def test_i1_an_adopted_pod_is_the_sessions_and_says_which_file_it_may_hold() -> None:
    body = free_pod()
    adopted = Slot.parse(applied(body, adoption(Slot.parse(body), SESSION, "file", "1")))
    assert (adopted.state, adopted.session_uid) == (SlotState.ADOPTED, SESSION.uid)
    assert wallet_holders([adopted], {Role.BUYER: "file"}, "another") == {Role.BUYER: adopted}


def test_there_is_one_controller_at_every_moment() -> None:
    """With two, or none, garbage collection and the ReplicaSet would both act on it."""
    body = free_pod()
    owners = applied(body, adoption(Slot.parse(body), SESSION, "file", "1"))["metadata"]["ownerReferences"]
    assert [owner["uid"] for owner in owners if owner["controller"]] == [SESSION.uid]
    assert len(owners) == 1


def test_i2_a_pod_to_which_anything_happened_is_not_adopted() -> None:
    seen = Slot.parse(free_pod())
    for meta in ({"resourceVersion": "999999999"}, {"deletionTimestamp": "2026-01-01T00:00:00Z"}):
        now = free_pod(**{"resourceVersion": "999999999"} | meta)
        with pytest.raises(ConflictError):
            applied(now, adoption(seen, SESSION, "file", "1"))


def test_i1_another_file_is_noted_before_it_is_held() -> None:
    body = slot_body("p", owner=SESSION, wallet_file="before")
    noted = Slot.parse(applied(body, note_wallet_file(Slot.parse(body), "after", "3")))
    assert (noted.wallet_file, noted.term) == ("after", "3")


def test_i1_what_a_former_leader_notes_late_is_refused() -> None:
    free = free_pod()
    body = applied(free, adoption(Slot.parse(free), SESSION, "before", "3"))
    seen = Slot.parse(body)
    taken_up = applied(body, note_wallet_file(seen, "before", "4"))
    # Whatever kubelet wrote since.
    taken_up["metadata"]["resourceVersion"] = "999999999"
    with pytest.raises(ConflictError):
        applied(taken_up, note_wallet_file(seen, "late", "3"))
    another = taken_up | {"metadata": taken_up["metadata"] | {"uid": "another"}}
    with pytest.raises(ConflictError):
        applied(another, note_wallet_file(Slot.parse(taken_up), "late", "4"))


def test_i4_a_deed_is_changed_as_it_was_read() -> None:
    secret = deed_secret(SESSION, DEED, "3") | {"data": {}}
    secret["metadata"] |= {"resourceVersion": "7"}
    deed = dataclasses.replace(DEED, version="7", address="4xyz", sealed=True)
    sealed = applied(secret, deed_patch(deed, "4"))
    assert sealed["immutable"]
    assert sealed["stringData"]["address"] == "4xyz"
    assert sealed["metadata"]["annotations"][Label.TERM] == "4"
    sealed["metadata"]["resourceVersion"] = "8"
    with pytest.raises(ConflictError):
        applied(sealed, deed_patch(deed, "3"))
    # As it may be after a restore.
    del secret["metadata"]["annotations"]
    restored = applied(secret, deed_patch(dataclasses.replace(deed, is_annotated=False), "4"))
    assert restored["metadata"]["annotations"] == {Label.TERM: "4"}


def test_i4_a_deed_goes_with_nobody_and_says_what_it_is() -> None:
    secret = deed_secret(SESSION, DEED, "1")
    assert "ownerReferences" not in secret["metadata"]
    assert "lose the money" in str(secret["metadata"]["annotations"])
    assert "hunter2" not in str(secret["metadata"])
    assert secret["stringData"] == DEED.to_secret()


@pytest.mark.parametrize("annotations", [None, {}, {"theirs.dev/note": "keep"}])
def test_how_a_trade_ended_is_written_beside_what_others_wrote(annotations: dict[str, str] | None) -> None:
    deed: dict[str, Any] = {"metadata": {"resourceVersion": "5"}, "immutable": True, "data": {"file": "Zg=="}}
    if annotations is not None:
        deed["metadata"]["annotations"] = annotations
    ended = applied(deed, settled_patch(deed, "Release"))
    assert settled_mark(ended) == "Release"
    assert (annotations or {}).items() <= ended["metadata"]["annotations"].items()
    assert ended["data"] == deed["data"], "it may be immutable"


def test_how_a_trade_ended_is_not_written_into_a_deed_that_was_exchanged() -> None:
    deed = {"metadata": {"resourceVersion": "5"}}
    with pytest.raises(ConflictError):
        applied({"metadata": {"resourceVersion": "6"}}, settled_patch(deed, "Release"))


def told(secret: dict[str, Any]) -> dict[str, str]:
    return {key: base64.b64decode(text).decode() for key, text in secret["data"].items()}


def test_a_connection_goes_with_its_session_and_leads_to_its_own_role() -> None:
    for role in ROLES:
        secret = connection_secret(SESSION, slot("p", role), Login("slot", "pass"), None)
        data = told(secret)
        assert [owner["uid"] for owner in secret["metadata"]["ownerReferences"]] == [SESSION.uid]
        assert secret["metadata"]["name"] == f"demo-{role}-rpc"
        assert data["host"].startswith(f"demo-{role}.")
        assert data["url"] == f"http://{data['host']}:{data['port']}"
        assert "ca.crt" not in data, "the pod has none"


def test_i9_a_connection_has_the_pods_certificate_and_not_its_key() -> None:
    body = slot_body("p", tls=FORMAT)
    certificate = derive_certificate("key", "pod-p", endpoint_hosts(SESSION.pool_key))
    found = told(connection_secret(SESSION, Slot.parse(body), Login("slot", "pass"), certificate))
    assert found["url"].startswith("https://")
    assert found["ca.crt"] == certificate.pem
    assert certificate.private_key not in found.values()


def test_i4_a_withdrawal_empties_a_connection_and_never_a_deed() -> None:
    connection = connection_secret(SESSION, slot("p"), Login("slot", "pass"), None)
    assert applied(connection | {"data": {"password": "eA=="}}, withdrawal())["data"] == {}
    with pytest.raises(ConflictError):
        applied(deed_secret(SESSION, DEED, "1") | {"data": {"password": "eA=="}}, withdrawal())


def endpoints(**slots: Slot) -> dict[str, Any]:
    body = endpoint_slice(SESSION, {Role(role): one for role, one in slots.items()})
    assert body
    return body


def test_a_host_name_leads_to_the_pod_of_its_role() -> None:
    body = endpoints(**{role.value: slot(role.value, role, ip=f"10.0.0.{n}") for n, role in enumerate(ROLES)})
    found = {each["hostname"]: each["addresses"] for each in body["endpoints"]}
    assert found == {f"demo-{role}": [f"10.0.0.{n}"] for n, role in enumerate(ROLES)}
    assert body["metadata"]["labels"]["kubernetes.io/service-name"] == "default-wallets"
    assert body["metadata"]["ownerReferences"][0]["uid"] == SESSION.uid


@pytest.mark.parametrize("absent", [{"ready": False}, {"terminating": True}])
def test_nobody_is_led_to_a_pod_that_cannot_be_called(absent: dict[str, Any]) -> None:
    """After a restart of its node its address may be another pod's."""
    body = endpoints(buyer=slot("b", Role.BUYER, **absent), vendor=slot("v", Role.VENDOR, ip="10.0.0.2"))
    assert {each["hostname"]: each["conditions"]["ready"] for each in body["endpoints"]} == {
        "demo-buyer": False,
        "demo-vendor": True,
    }


def test_without_an_address_there_is_no_host_name() -> None:
    assert endpoint_slice(SESSION, {Role.BUYER: slot("b", ip=None)}) is None
    body = endpoints(buyer=slot("b", ip=None), vendor=slot("v", Role.VENDOR))
    assert [each["hostname"] for each in body["endpoints"]] == ["demo-vendor"]


@pytest.mark.parametrize(("ip", "kind"), [("10.0.0.1", "IPv4"), ("fd00::1", "IPv6")])
def test_the_kind_of_address_is_that_of_the_pods(ip: str, kind: str) -> None:
    assert endpoints(buyer=slot("b", ip=ip))["addressType"] == kind


def test_what_labels_anybody_has_put_on_a_session_is_in_none_of_them() -> None:
    named = session("demo", annotations={Label.POOL: "other"}, spec={"poolRef": {"name": "mine"}})
    assert deed_secret(named, DEED, "1")["metadata"]["labels"][Label.POOL] == "mine"


def test_a_budget_is_of_the_sessions_own_pods_and_needs_no_scale_of_their_controller() -> None:
    body = disruption_budget(SESSION)
    wanted = body["spec"]["selector"]["matchLabels"]
    mine, other = slot_body("p", owner=SESSION), slot_body("q", owner=session("another"))
    assert wanted.items() <= mine["metadata"]["labels"].items()
    assert not wanted.items() <= other["metadata"]["labels"].items()
    assert not wanted.items() <= slot_body("free")["metadata"]["labels"].items()
    assert body["spec"]["minAvailable"] == len(ROLES), "a number"
    assert [owner["uid"] for owner in body["metadata"]["ownerReferences"]] == [SESSION.uid]
