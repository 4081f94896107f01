"""Names follow from names: whatever sessions and pools are called, no two of their objects have one."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from escrow_operator.core.manifests.common import (
    connection_name,
    deed_name,
    deployment_name,
    endpoint_host,
    endpoint_hosts,
    endpoint_slice_name,
    endpoint_url,
    free_slot_labels,
    login_key_name,
    owner_reference,
    service_name,
    volume_claim_name,
)
from escrow_operator.models.common import ROLES, Label, Role, is_name
from escrow_operator.models.pool import PoolKey
from escrow_operator.models.session import SessionKey
from unit.factories import pool, session

ALLOWED = re.compile(r"[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?")
"""What the CRDs allow as a name of either."""

DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")

# Names that end as the operator's own do are those by which somebody would get at another's objects.
PARTS = st.sampled_from(["a", "b-1", "buyer", "vendor", "wallet", "wallets", "rpc", "slot-login", "default"])
NAMES = st.lists(PARTS, min_size=1, max_size=4).map("-".join).filter(ALLOWED.fullmatch) | st.from_regex(
    ALLOWED, fullmatch=True
)


def secrets_of(name: str) -> list[str]:
    """The Secrets of a session, and of a pool, of this name."""
    key = SessionKey("shop", name)
    mine = [make(key, role) for make in (deed_name, connection_name) for role in ROLES]
    return [*mine, login_key_name(PoolKey("shop", name))]


@given(name=NAMES, other=NAMES)
def test_no_session_gets_at_the_secrets_of_another_by_its_name(name: str, other: str) -> None:
    assert len(set(secrets_of(name))) == 7
    if name != other:
        assert not set(secrets_of(name)) & set(secrets_of(other))


@given(name=NAMES, other=NAMES)
def test_no_two_pools_or_roles_share_a_volume_or_a_deployment(name: str, other: str) -> None:
    def parts(pool: str, make: object) -> set[str]:
        assert callable(make)
        return {make(PoolKey("shop", pool), role) for role in ROLES}

    for make in (volume_claim_name, deployment_name):
        assert len(parts(name, make)) == 3
        if name != other:
            assert not parts(name, make) & parts(other, make)


@given(name=NAMES, pool_name=NAMES)
def test_every_name_is_one_and_every_host_name_can_be_asked_for(name: str, pool_name: str) -> None:
    key, pool_key = SessionKey("shop", name), PoolKey("shop", pool_name)
    names = [*secrets_of(name), endpoint_slice_name(key), service_name(pool_key)]
    names += [make(pool_key, role) for make in (volume_claim_name, deployment_name) for role in ROLES]
    assert all(map(is_name, names))
    for role in ROLES:
        host = endpoint_host(key, pool_key, role)
        assert all(DNS_LABEL.fullmatch(label) for label in host.split("."))
        assert len(host) <= 253
        assert host in endpoint_url(key, pool_key, role, tls=True)
        # A wildcard stands for one label.
        assert f"*.{host.partition('.')[2]}" in endpoint_hosts(pool_key)
    # A Service's name is a DNS label of its own, and so is a Pod's host name.
    assert DNS_LABEL.fullmatch(service_name(pool_key))


def test_only_a_free_slot_of_its_role_is_a_deployments() -> None:
    labels = free_slot_labels(PoolKey("shop", "default"), Role.BUYER)
    assert labels == {Label.POOL: "default", Label.ROLE: "buyer", Label.SLOT: "free"}


def test_an_owner_is_named_with_its_uid_and_its_kind() -> None:
    """A session and a pool may have one name, and a name may be used again."""
    for owner, kind in ((pool("same", uid="p"), "WalletPool"), (session("same"), "EscrowSession")):
        reference = owner_reference(owner)
        assert (reference["kind"], reference["uid"], reference["controller"]) == (kind, owner.uid, True)
