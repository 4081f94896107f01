"""What the operator tells the gateway."""

from __future__ import annotations

from escrow_operator.core.manifests.gateway import login_entry, logins_secret
from escrow_operator.models.pool import PoolKey


def test_no_two_pools_share_an_entry() -> None:
    assert login_entry(PoolKey("shop", "a")) == "shop.a"
    assert login_entry(PoolKey("shop-a", "b")) != login_entry(PoolKey("shop", "a-b"))


def test_the_secret_is_nobodys() -> None:
    body = logins_secret("logins", {"shop.default": "a2V5"})
    assert body["data"] == {"shop.default": "a2V5"}
    assert "ownerReferences" not in body["metadata"]
