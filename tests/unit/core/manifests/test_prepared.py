"""What a prepared escrow consists of: whose each object is, what is left when it goes, and that it is given once."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from escrow_operator.adapters.kube import SECRETS
from escrow_operator.adapters.kube_errors import ConflictError
from escrow_operator.core.manifests.prepared import (
    PREPARED_TYPE,
    claim,
    discarding,
    is_prepared_file,
    keeping,
    preparation,
    prepared_file,
    prepared_name,
    prepared_secret,
    proof,
    taking_up,
)
from escrow_operator.core.manifests.session import adoption
from escrow_operator.models.common import ROLES, Label, SlotState
from escrow_operator.models.prepared import PreparedEscrow
from escrow_operator.models.slot import Slot
from escrow_operator.services.wallets.deeds import is_own_file
from simulation.jsonpatch import applied
from unit.factories import pool, session, slot, slot_body
from unit.kube import InstantKube

POOL = pool()
FILE = prepared_file(POOL.key, "00ff00ff")
ESCROW = PreparedEscrow(prepared_name(POOL.key, "00ff00ff"), FILE, {role: f"pass-{role}" for role in ROLES}, 7)


def free_pod() -> dict[str, Any]:
    body = slot_body("p")
    body["metadata"]["ownerReferences"] = [{"kind": "ReplicaSet", "uid": "replicaset", "controller": True}]
    return body


def stored(**meta: Any) -> dict[str, Any]:
    """The Secret as the API server has it."""
    slots = [slot(role.value, role) for role in ROLES]
    body = InstantKube().put(SECRETS, prepared_secret(POOL, ESCROW, slots, "1"))
    body["data"] = {key: base64.b64encode(value.encode()).decode() for key, value in body.pop("stringData").items()}
    body["metadata"] |= meta
    return body


def test_a_prepared_pod_is_its_pools_and_says_which_file_it_may_hold() -> None:
    body = free_pod()
    prepared = Slot.parse(applied(body, preparation(Slot.parse(body), POOL, ESCROW.name, FILE, "1")))
    noted = (prepared.state, prepared.prepared, prepared.wallet_file, prepared.term)
    assert noted == (SlotState.PREPARED, ESCROW.name, FILE, "1")
    assert not prepared.claimable
    assert prepared.session_uid is None


def test_a_pod_that_no_pool_controls_is_no_part_of_a_prepared_escrow() -> None:
    body = free_pod()
    forged = applied(body, preparation(Slot.parse(body), POOL, ESCROW.name, FILE, "1"))
    forged["metadata"]["ownerReferences"] = [{"kind": "ReplicaSet", "uid": "rs", "controller": True}]
    assert Slot.parse(forged).prepared is None


def test_an_adopted_pod_is_a_part_of_it_no_more() -> None:
    body = free_pod()
    prepared = applied(body, preparation(Slot.parse(body), POOL, ESCROW.name, FILE, "1"))
    adopted = Slot.parse(applied(prepared, adoption(Slot.parse(prepared), session(), FILE, "1")))
    assert (adopted.state, adopted.prepared, adopted.wallet_file) == (SlotState.ADOPTED, None, FILE)


def owners(secret: dict[str, Any]) -> set[tuple[str, str]]:
    found = secret["metadata"].get("ownerReferences") or ()
    return {(owner["kind"], owner["name"]) for owner in found}


def test_until_its_address_is_proven_its_secret_goes_with_its_pods() -> None:
    secret = stored()
    assert owners(secret) == {("Pod", role.value) for role in ROLES}
    assert not owners(applied(secret, proof(PreparedEscrow.from_secret(secret))))


def test_only_when_it_is_thrown_away_its_secret_goes_with_its_pods_again() -> None:
    secret = stored(ownerReferences=[])
    slots = [slot(role.value, role) for role in ROLES]
    gone = applied(secret, discarding(PreparedEscrow.from_secret(secret), slots))
    assert owners(gone) == {("Pod", role.value) for role in ROLES}


def test_once_given_its_secret_goes_with_the_session() -> None:
    secret = stored(annotations={})
    assert owners(applied(secret, claim(PreparedEscrow.from_secret(secret), session(), "2"))) == {
        ("EscrowSession", "demo")
    }


def test_what_is_stored_is_read_back() -> None:
    escrow = PreparedEscrow.from_secret(stored())
    assert (escrow.file, escrow.passwords, escrow.restore_height) == (FILE, ESCROW.passwords, 7)
    assert (escrow.address, escrow.claimed_by) == (None, None)


def test_nothing_tells_its_passwords() -> None:
    assert "pass-" not in repr(ESCROW)


def test_it_is_given_once() -> None:
    secret = stored(annotations={})
    escrow = PreparedEscrow.from_secret(secret)
    given = applied(secret, claim(escrow, session("one"), "2"))
    given["metadata"]["resourceVersion"] = "another"
    assert PreparedEscrow.from_secret(given).claimed_by == session("one").uid
    with pytest.raises(ConflictError):
        applied(given, claim(escrow, session("two"), "2"))


def test_one_that_was_restored_without_annotations_is_given_and_kept_as_well() -> None:
    secret = stored(annotations={"theirs": "stays"})
    assert applied(secret, claim(PreparedEscrow.from_secret(secret), session(), "2"))["metadata"]["annotations"] == {
        "theirs": "stays",
        Label.CLAIMED_BY: session().uid,
        Label.TERM: "2",
    }
    del secret["metadata"]["annotations"]
    escrow = PreparedEscrow.from_secret(secret)
    for patch in (claim(escrow, session(), "2"), keeping(escrow, "used")):
        given = applied(secret, patch)
        assert Label.CLAIMED_BY in given["metadata"]["annotations"]


def test_what_a_former_leader_proves_late_is_refused() -> None:
    secret = stored(annotations={})
    seen = PreparedEscrow.from_secret(secret)
    ending = applied(secret, taking_up(seen, "3"))
    ending["metadata"]["resourceVersion"] = "another"
    assert PreparedEscrow.from_secret(ending).term == "3"
    assert owners(ending) == owners(secret), "it goes with its pods still"
    with pytest.raises(ConflictError):
        applied(ending, proof(seen))


def test_a_secret_of_another_type_is_not_given() -> None:
    secret = stored(annotations={}) | {"type": "Opaque"}
    with pytest.raises(ConflictError):
        applied(secret, claim(PreparedEscrow.from_secret(secret), session(), "2"))


def test_its_proof_cannot_be_changed() -> None:
    secret = stored()
    proven = applied(secret, proof(PreparedEscrow.from_secret(secret)))
    assert proven["immutable"] is True
    assert proven["type"] == PREPARED_TYPE


def test_a_kept_one_is_owned_by_nothing() -> None:
    kept = applied(secret := stored(), keeping(PreparedEscrow.from_secret(secret), "session shop/old/uid has them"))
    assert kept["metadata"]["ownerReferences"] == []
    assert kept["metadata"]["annotations"][Label.CLAIMED_BY] == "session shop/old/uid has them"


def test_its_file_can_be_no_sessions() -> None:
    assert is_prepared_file("shop", FILE)
    assert is_own_file(session(), FILE)
    assert not is_prepared_file("shop", "shop.prepared.00ff00ff")
    assert not is_prepared_file("other", FILE)
