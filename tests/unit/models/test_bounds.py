"""What tenants write on their objects without bound is not kept: the operator has one memory for all of them."""

from __future__ import annotations

from typing import Any

from escrow_operator.models.common import FINALIZER, POOL_FINALIZER, Finalizers
from escrow_operator.models.pool import Pool
from escrow_operator.models.session import Session
from unit.factories import pool_body, session_body

MANY = [f"theirs.dev/{number:x}" for number in range(100_000)]
"""As many as fit into one object: with them 40 sessions took all the memory that the operator may have."""


def flooded(body: dict[str, Any], own: str) -> dict[str, Any]:
    meta = {
        "finalizers": [*MANY, own],
        "labels": dict.fromkeys(MANY, ""),
        "annotations": dict.fromkeys(MANY, "a"),
        "ownerReferences": [{"uid": one} for one in MANY],
        "managedFields": [{"manager": one} for one in MANY],
    }
    return body | {"metadata": body["metadata"] | meta}


def test_i10_of_the_metadata_of_a_session_or_a_pool_nothing_is_kept_that_has_no_bound() -> None:
    for seen in (
        Session.parse(flooded(session_body(), FINALIZER)),
        Pool.parse(flooded(pool_body(), POOL_FINALIZER)),
    ):
        assert len(repr(seen)) < 5_000
        assert seen.finalizers == Finalizers(number=len(MANY) + 1, own=len(MANY))


def test_a_finalizer_is_put_beside_those_of_others() -> None:
    assert Finalizers.parse({}, FINALIZER).added(FINALIZER)["value"] == [FINALIZER]
    beside = Finalizers.parse({"finalizers": ["theirs.dev/one"]}, FINALIZER)
    assert (beside.own, beside.added(FINALIZER)["path"]) == (None, "/metadata/finalizers/-")
