"""A pool uses, changes and deletes what is its own, and nothing else, whatever it is called and says of itself."""

from __future__ import annotations

from typing import Any

import pytest

from escrow_operator.core.manifests import pool as manifests
from escrow_operator.core.manifests.common import owner_reference
from escrow_operator.core.ownership import Ownership, object_problem, ownership, volume_claim_problem
from escrow_operator.models.common import Label, Role
from unit.factories import pool, session

POOL = pool(uid="uid-of-the-pool")


def made(**meta: Any) -> dict[str, Any]:
    """The pool's own Service, changed."""
    body = manifests.service(POOL)
    return body | {"metadata": body["metadata"] | meta}


def owner(**change: Any) -> dict[str, Any]:
    return owner_reference(POOL) | change


def test_what_the_pool_makes_is_its_own() -> None:
    assert ownership(POOL, manifests.service(POOL)) is Ownership.OURS
    assert object_problem(POOL, "Service", manifests.service(POOL)) is None


@pytest.mark.parametrize(
    ("pretended", "found"),
    [
        ({"labels": {}}, Ownership.FOREIGN),
        ({"labels": None}, Ownership.FOREIGN),
        ({"labels": {Label.POOL: "default"}}, Ownership.FOREIGN),
        ({"labels": manifests.service(pool("other"))["metadata"]["labels"]}, Ownership.FOREIGN),
        ({"ownerReferences": None}, Ownership.FOREIGN),
        ({"ownerReferences": []}, Ownership.FOREIGN),
        ({"ownerReferences": [owner(controller=False)]}, Ownership.FOREIGN),
        ({"ownerReferences": [owner(kind="EscrowSession")]}, Ownership.FOREIGN),
        ({"ownerReferences": [owner(apiVersion="apps/v1")]}, Ownership.FOREIGN),
        ({"ownerReferences": [owner(uid="another", name="other")]}, Ownership.FOREIGN),
        ({"ownerReferences": [owner(uid="another")]}, Ownership.FORMER),
        ({"ownerReferences": [owner(uid="another", name="other"), owner()]}, Ownership.OURS),
    ],
)
def test_neither_labels_nor_owners_alone_make_it_so(pretended: dict[str, Any], found: Ownership) -> None:
    assert ownership(POOL, made(**pretended)) is found


def test_what_is_somebody_elses_is_for_a_person_and_what_is_a_former_pools_goes_by_itself() -> None:
    foreign = object_problem(POOL, "Service", made(labels={}))
    former = object_problem(POOL, "Service", made(ownerReferences=[owner(uid="another")]))
    assert foreign
    assert former
    assert (foreign.reason, foreign.passes) == ("ObjectNotOurs", False)
    assert (former.reason, former.passes) == ("FormerPool", True)
    assert all("Service default-wallets" in problem.message for problem in (foreign, former))


def test_a_session_that_is_called_as_the_pool_owns_nothing_of_it() -> None:
    reference = owner_reference(session("default"))
    assert ownership(POOL, made(ownerReferences=[reference])) is Ownership.FOREIGN


def claim(**labels: str | None) -> dict[str, Any]:
    """The pool's claim for buyers, with other labels."""
    body = manifests.volume_claim(POOL, Role.BUYER)
    changed = body["metadata"]["labels"] | labels
    return body | {"metadata": body["metadata"] | {"labels": {k: v for k, v in changed.items() if v is not None}}}


def test_i4_the_claims_of_a_pool_that_was_made_again_are_its_own() -> None:
    """They have no owner, so that nothing takes them along."""
    assert volume_claim_problem(pool(uid="made-again"), Role.BUYER, claim()) is None


@pytest.mark.parametrize(
    "labels",
    [{Label.ROLE: "vendor"}, {Label.POOL: "other"}, {Label.ROLE: None}, {"app.kubernetes.io/managed-by": "helm"}],
)
def test_a_volume_of_another_role_or_of_somebody_else_gets_no_keys(labels: dict[str, str | None]) -> None:
    """Two roles on one volume would be two of three keys in one place."""
    problem = volume_claim_problem(POOL, Role.BUYER, claim(**labels))
    assert problem
    assert (problem.reason, problem.passes) == ("VolumeClaimNotOurs", False)


def test_the_command_that_says_that_it_is_ours_makes_it_so() -> None:
    problem = volume_claim_problem(POOL, Role.BUYER, claim(**{Label.ROLE: "vendor", Label.POOL: "other"}))
    assert problem
    words = problem.message.split("kubectl -n shop label pvc default-buyer-wallets --overwrite ")[1].split()
    said: dict[str, Any] = dict(word.split("=") for word in words)
    assert volume_claim_problem(POOL, Role.BUYER, claim(**said)) is None
