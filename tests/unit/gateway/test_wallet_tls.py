"""Calls of the gateway to wallets over TLS: to the pod that the session names, and to no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from escrow_gateway import logins
from escrow_operator.core.manifests.common import endpoint_hosts
from escrow_operator.core.wallet_tls import derive_certificate
from escrow_operator.models.common import Role
from escrow_operator.models.pool import PoolKey
from escrow_operator.models.session import Phase
from unit.adapters.conftest import serving_tls
from unit.gateway.bench import LOGIN_KEY, Bench

HOSTS = endpoint_hosts(PoolKey("shop", "default"))


def open_over_tls(gateway: Bench) -> None:
    """The session, as the operator reports it of pods with a certificate."""
    buyer = {"pod": "pod-buyer", "podUID": "pod-buyer", "podIP": "10.0.0.1", "opened": True}
    buyer["endpoint"] = "https://demo-buyer.default-wallets.shop.svc:18083"
    gateway.put_session(Phase.ACTIVE, wallets={"buyer": buyer})


async def test_the_pods_own_certificate_is_expected_and_its_login_sent(gateway: Bench, tmp_path: Path) -> None:
    buyer = gateway.wallets[Role.BUYER]
    own = derive_certificate(LOGIN_KEY, "pod-buyer", HOSTS)
    async with serving_tls(buyer.handle, own, tmp_path) as url:
        gateway.lead(Role.BUYER, url)
        open_over_tls(gateway)
        answer = await gateway.call()
    assert answer.status_code == 200
    assert answer.json()["result"] == {"balance": 1}


@pytest.mark.parametrize("uid", ["pod-vendor", "another"])
async def test_another_pod_at_the_address_gets_nothing(gateway: Bench, tmp_path: Path, uid: str) -> None:
    buyer = gateway.wallets[Role.BUYER]
    async with serving_tls(buyer.handle, derive_certificate(LOGIN_KEY, uid, HOSTS), tmp_path) as url:
        gateway.lead(Role.BUYER, url)
        open_over_tls(gateway)
        answer = await gateway.call()
    assert answer.status_code == 502
    assert "not carried out" in answer.json()["detail"]
    assert not buyer.calls
    assert not buyer.challenges


async def test_a_key_that_has_changed_is_read_again(
    gateway: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody answers with 401 where the handshake fails."""
    monkeypatch.setattr(logins, "AGAIN_SECONDS", 0.0)
    gateway.publish("of-a-former-pool")
    own = derive_certificate(LOGIN_KEY, "pod-buyer", HOSTS)
    async with serving_tls(gateway.wallets[Role.BUYER].handle, own, tmp_path) as url:
        gateway.lead(Role.BUYER, url)
        open_over_tls(gateway)
        assert (await gateway.call()).status_code == 502
        gateway.publish(LOGIN_KEY)
        assert (await gateway.call()).status_code == 200
